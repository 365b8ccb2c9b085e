"""Search: what it finds is what a walk through the whole log finds."""

import csv
import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.lifecycle import STATUSES
from contracts.lookup import find_exchange
from ledger.blocks import RECORDS, Outcome
from ledger.events import Event, ShareOpening, parse_event
from ledger.exchange.bodies import ShareOffered
from ledger.keys import fingerprint, format_public_key
from tests.unit.contracts.drafts.pasts import write_copy
from tests.unit.ledger.builders import MEMBERS, ChainBuilder, officer_secret
from tests.unit.tools.audit.logs import ASKER, OWNER, Story
from tests.unit.tools.test_epochs import code_of, tally
from tools.audit.index.asking import Found, Query, count_decisions, search
from tools.audit.index.build import open_index
from tools.audit.index.tables import SCHEMA, Index
from tools.cli import main
from tools.exits import ERROR, OK, USAGE

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Line:
    """A record as a walk through the log finds it, with the opening of its exchange."""

    index: int
    time_ms: int
    event: Event
    outcome: Outcome
    opened: Event | None
    status: str


OFFER = ShareOffered(
    recipient=ASKER, manner="spontaneous", dataset="filing", purpose="audit",
    legal_basis="law-1", fields=("uscc",), period_from="2023-01-01", period_to="2023-06-30",
    subjects=(), urgency="normal", retention_days=100, case="",
)  # fmt: skip


def make_story() -> Story:
    """With records on several days."""
    story = Story().wait(2).live().wait(3)
    story.act(OWNER, OFFER)
    return story


def walk(chain: ChainBuilder) -> Iterator[Line]:
    """Every record, the slow way."""
    openings: dict[bytes, Event] = {}
    index = 0
    for block in chain.blocks:
        for place, data in enumerate(block.records, start=index + 1):
            record = RECORDS.decode(data)
            event = parse_event(record.event)
            if isinstance(event.body, ShareOpening):
                openings[event.digest] = event
            opened = openings.get(event.exchange)
            found = None if opened is None else find_exchange(chain.state, opened.digest)
            status = "" if found is None else found.status
            yield Line(place, block.header.time_ms, event, record.outcome, opened, status)
        index += 1 + len(block.records)


def fits(line: Line, query: Query) -> bool:
    """Whether a record fits, written without the index in mind."""
    event, outcome = line.event, line.outcome
    body = None if line.opened is None else line.opened.body
    sides = ("", "")
    if line.opened is not None:
        offer = isinstance(body, ShareOffered)
        other = body.recipient if isinstance(body, ShareOffered) else getattr(body, "provider", "")
        sides = (other, line.opened.member) if offer else (line.opened.member, other)
    codes = [outcome.code, getattr(event.body, "reason", "")]
    codes += map(str, getattr(event.body, "codes", ()))
    about = {name: getattr(body, name, "") for name in ("dataset", "purpose", "legal_basis")}
    about |= {"requester": sides[0], "provider": sides[1], "kind": event.kind}
    about |= {"decision": outcome.decision, "status": line.status}
    checks = [getattr(query, name) in ("", value) for name, value in about.items()]
    checks.append(query.party in ("", event.member, *sides))
    checks.append(query.contract in ("", *outcome.policies))
    checks.append(not query.code or query.code in codes)
    checks.append(query.officer in ("", event.officer, fingerprint(event.officer)))
    checks.append(query.since_ms is None or line.time_ms >= query.since_ms)
    checks.append(query.until_ms is None or line.time_ms < query.until_ms)
    if query.data_from or query.data_until:
        checks.append(body is not None)
        last, first = getattr(body, "period_to", ""), getattr(body, "period_from", "")
        checks.append(not query.data_from or query.data_from <= last)
        checks.append(not query.data_until or query.data_until >= first)
    checks.append(not query.is_decided or bool(outcome.decision or outcome.policies))
    return all(checks)


@pytest.fixture(scope="module")
def story() -> Story:
    return make_story()


@pytest.fixture(scope="module")
def lines(story: Story) -> list[Line]:
    return list(walk(story.chain))


@pytest.fixture(scope="module")
def folder(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_copy(story.chain, tmp_path_factory.mktemp("asked") / "copy")


@pytest.fixture(scope="module")
def index(folder: Path) -> Iterator[Index]:
    with open_index(folder, genesis=None, jobs=1) as opened:
        yield opened


WORDS = {
    "party": MEMBERS,
    "requester": MEMBERS,
    "provider": (*MEMBERS, "nobody"),
    "dataset": ("registration", "filing", "invoice", "account", "unknown"),
    "purpose": ("assessment", "criminal", "statistics", "audit"),
    "legal_basis": ("law-1", "law-2"),
    "status": STATUSES,
    "kind": ("share.requested", "share.delivered", "share.rejected", "incident.reported"),
    "decision": ("permit", "review", "deny"),
    "contract": ("routine-release", "tax-request", "delivery", "necessity", "none"),
    "code": ("50007", "incomplete", "wrong-amount", "commitment-mismatch", "contract-denied"),
}
DAYS = st.sampled_from(("", "2024-06-01", "2025-03-01", "2026-01-01"))
TIMES = st.none() | st.integers(1_767_225_600_000, 1_767_225_600_000 + 6 * DAY_MS)
OFFICERS = st.sampled_from([officer_secret(member).public for member in MEMBERS])


@st.composite
def queries(draw: st.DrawFn) -> Query:
    """A few filters at a time: with all of them nothing would ever be found."""
    names = draw(st.lists(st.sampled_from(sorted(WORDS)), max_size=3, unique=True))
    words: dict[str, Any] = {name: draw(st.sampled_from(WORDS[name])) for name in names}
    extra = draw(st.sampled_from(("", "officer", "days", "times", "decided")))
    if extra == "officer":
        key = draw(OFFICERS)
        words["officer"] = draw(st.sampled_from((key, fingerprint(key))))
    if extra == "days":
        words |= {"data_from": draw(DAYS), "data_until": draw(DAYS)}
    if extra == "times":
        words |= {"since_ms": draw(TIMES), "until_ms": draw(TIMES)}
    return Query(**words, is_decided=extra == "decided")


@settings(max_examples=200)
@given(query=queries(), limit=st.integers(1, 40))
def test_a_search_finds_what_a_walk_finds(
    index: Index, lines: list[Line], query: Query, limit: int
) -> None:
    expected = [line.index for line in lines if fits(line, query)]
    found: list[int] = []
    after = -1
    while True:
        page = search(index, query, after=after, limit=limit)
        assert page.total == len(expected)
        assert len(page.rows) <= limit
        found += [row.index for row in page.rows]
        if page.following is None:
            break
        assert len(page.rows) == limit
        after = page.following
    assert found == expected


def test_every_filter_finds_something(index: Index, lines: list[Line]) -> None:
    """So the law above is not about nothing."""
    for name, words in WORDS.items():
        totals = [search(index, Query(**{name: word}), limit=1).total for word in words]
        assert max(totals) > 0, name
        assert all(total < len(lines) or name == "legal_basis" for total in totals), name


def test_a_row_says_what_the_record_says(index: Index, lines: list[Line]) -> None:
    rows = {row.index: row for row in search(index, Query(), limit=10_000).rows}
    assert sorted(rows) == [line.index for line in lines]
    for line in lines:
        row = rows[line.index]
        assert (row.time_ms, row.kind, row.member) == (
            line.time_ms, line.event.kind, line.event.member,
        )  # fmt: skip
        assert (row.applied, row.code, row.decision, row.contracts) == (
            line.outcome.applied, line.outcome.code, line.outcome.decision, line.outcome.policies,
        )  # fmt: skip
        assert row.event == line.event.digest.hex()
        assert row.roles == "requester,approver,provider"
        opened = "" if line.opened is None else line.opened.digest.hex()
        assert row.exchange == opened


def test_decisions_are_counted_by_contract(index: Index, lines: list[Line]) -> None:
    for query in (Query(is_decided=True), Query(is_decided=True, contract="delivery")):
        expected: dict[tuple[str, str], int] = {}
        for line in lines:
            if fits(line, query):
                for contract in line.outcome.policies or ("",):
                    place = (contract, line.outcome.decision)
                    expected[place] = expected.get(place, 0) + 1
        counts = count_decisions(index, query)
        assert {(contract, decision): count for contract, decision, count in counts} == expected
        assert counts
    assert count_decisions(index, Query(contract="none")) == []


def count_steps(index: Index, records: int) -> int:
    """How many thousand steps of SQLite it takes to count the decisions of so many records."""
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(SCHEMA)
        db.executemany("INSERT INTO word VALUES (?, ?)", [(1, ""), (2, "permit"), (3, "c")])
        rows = [(idx, *[1] * 3, 2, idx, *[1] * 5, 0, 0, 1, 1) for idx in range(records)]
        db.executemany(f"INSERT INTO event VALUES ({', '.join('?' * 15)})", rows)
        db.executemany("INSERT INTO policy VALUES (3, ?)", [(idx,) for idx in range(records)])
        db.set_progress_handler(step, 1_000)
        counts = count_decisions(replace(index, db=db), Query(is_decided=True, contract="c"))
    assert counts == [("c", "permit", records)]
    return steps


def test_counting_takes_as_much_longer_as_there_are_more_records(index: Index) -> None:
    assert count_steps(index, 8_000) < 6 * count_steps(index, 2_000)


def test_a_word_that_no_record_has_is_told_and_one_of_our_own_is_not(index: Index) -> None:
    unknown = "0" * 16
    page = search(index, Query(party="nobody", officer=unknown, kind="drill.run"), limit=9)
    assert (page.total, page.unknown) == (0, ("nobody", unknown))
    key = b"\x01" + bytes(32)
    assert search(index, Query(officer=key), limit=9).unknown == (format_public_key(key),)
    assert search(index, Query(party=ASKER, kind="drill.run"), limit=9).unknown == ()
    assert search(index, Query(party=ASKER), limit=9).unknown == ()


# The commands.


def ask(folder: Path, *arguments: object) -> dict[str, Any]:
    return tally("audit", "search", folder, "--jobs", 1, *arguments)


def test_filters_of_the_command(folder: Path, lines: list[Line]) -> None:
    key = officer_secret(ASKER).public
    day = "2026-01-03"
    asked = {
        ("--pair", ASKER, OWNER): Query(requester=ASKER, provider=OWNER),
        ("--party", OWNER, "--decision", "deny"): Query(party=OWNER, decision="deny"),
        ("--officer", format_public_key(key)): Query(officer=key),
        ("--officer", fingerprint(key)): Query(officer=key),
        ("--from", day, "--to", day): Query(
            since_ms=1_767_225_600_000 + 2 * DAY_MS, until_ms=1_767_225_600_000 + 3 * DAY_MS
        ),
        ("--data-from", "2025-12-31", "--data-to", "2026-02-01"): Query(
            data_from="2025-12-31", data_until="2026-02-01"
        ),
        ("--kind", "share.rejected", "--code", "50007"): Query(kind="share.rejected", code="50007"),
    }
    for arguments, query in asked.items():
        expected = [line.index for line in lines if fits(line, query)]
        told = ask(folder, *arguments, "--limit", 10_000)
        assert [row["index"] for row in told["records"]] == expected, arguments
        assert expected, arguments


def test_pages_of_the_command(folder: Path, lines: list[Line]) -> None:
    first = ask(folder, "--limit", 3)
    second = ask(folder, "--limit", 3, "--after", first["next_after"])
    found = [row["index"] for row in first["records"] + second["records"]]
    assert found == [line.index for line in lines[:6]]
    assert first["total"] == second["total"] == len(lines)
    last = ask(folder, "--after", lines[-2].index)
    assert (len(last["records"]), last["next_after"]) == (1, None)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def test_csv_has_every_column(folder: Path, lines: list[Line]) -> None:
    done = run("audit", "search", folder, "--jobs", 1, "--csv", "--limit", 10_000)
    assert done.exit_code == OK
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == len(lines)
    assert tuple(rows[0]) == Found.__struct_fields__
    for row, line in zip(rows, lines, strict=True):
        assert row["applied"] == ("true" if line.outcome.applied else "false")
        assert row["contracts"].split() == list(line.outcome.policies)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_table_names_what_was_found(folder: Path, language: str) -> None:
    words = {
        "en": ("1 of 1 records that fit.", "delivery rejected", "as it was"),
        "zh": ("符合条件的记录 1 条，列出 1 条。", "退回交付", "沿用"),
    }
    run("audit", "index", folder, "--jobs", 1)
    done = run("audit", "search", folder, "--code", "50007", "--lang", language)
    assert done.exit_code == OK
    for word in (*words[language], f"{ASKER} → {OWNER}", "registration · assessment · law-1"):
        assert word in done.stdout
    some = run("audit", "search", folder, "--limit", 2, "--lang", language)
    assert "--after 2" in some.stdout


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "No record of this log names nobody"), ("zh", "没有记录提到 nobody")],
)
def test_the_command_says_what_no_record_names(folder: Path, language: str, words: str) -> None:
    done = run("audit", "search", folder, "--party", "nobody", "--lang", language)
    assert (done.exit_code, words in done.stderr) == (OK, True)
    assert ask(folder, "--party", "nobody", "--lang", language)["unknown"] == ["nobody"]


def test_decisions_of_the_command(folder: Path) -> None:
    told = tally("audit", "decisions", folder, "--contract", "tax-request", "--decision", "permit")
    assert told["total"] > 0
    assert all("tax-request" in row["contracts"] for row in told["records"])
    counts = {row["contract"]: row["count"] for row in told["contracts"]}
    assert counts["tax-request"] == told["total"]
    text = run("audit", "decisions", folder, "--contract", "delivery", "--lang", "en").stdout
    assert "delivery  applied" in text


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--kind", "share.unheard"), "filter-invalid"),
        (("--party", "North"), "filter-invalid"),
        (("--pair", "north", "so uth"), "filter-invalid"),
        (("--purpose", "x" * 65), "filter-invalid"),
        (("--code", "%"), "filter-invalid"),
        (("--from", "2026-1-1"), "filter-invalid"),
        (("--from", "2026-02-30"), "filter-invalid"),
        (("--data-to", "tomorrow"), "filter-invalid"),
        (("--officer", "somebody"), "filter-invalid"),
    ],
)
def test_what_nothing_could_fit_is_refused(
    folder: Path, arguments: tuple[str, ...], code: str
) -> None:
    told = tally("audit", "search", folder, *arguments, exit_code=ERROR)
    assert code_of(told) == code


@pytest.mark.parametrize(
    "arguments",
    [
        ("--limit", "0"), ("--limit", "10001"), ("--after", "-1"), ("--decision", "maybe"),
        ("--status", "lost"), ("--pair", "north"), ("--csv",),
    ],
)  # fmt: skip
def test_wrong_options(folder: Path, arguments: tuple[str, ...]) -> None:
    assert code_of(tally("audit", "search", folder, *arguments, exit_code=USAGE)) == (
        "usage-invalid"
    )


@pytest.mark.parametrize("flags", [("--from", "--to"), ("--data-from", "--data-to")])
def test_days_in_the_wrong_order_are_refused(folder: Path, flags: tuple[str, str]) -> None:
    first, last = flags
    told = tally(
        "audit", "search", folder, first, "2026-02-02", last, "2026-02-01", exit_code=USAGE
    )
    assert code_of(told) == "period-reversed"
    assert (
        tally("audit", "search", folder, first, "2026-02-02", last, "2026-02-02")["unknown"] == []
    )
