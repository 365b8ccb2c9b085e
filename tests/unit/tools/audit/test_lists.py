"""Gaps, reciprocity and persons, offline: what the state of the log says, no node."""

import json
from pathlib import Path
from typing import Any
from xml.parsers import expat

import pytest
from click.testing import CliRunner

from contracts.exchange.duties import exchange_duties, incident_duties
from contracts.exchange.matters import read_deadlines, read_matters
from contracts.exchange.reciprocity import read_receipts
from ledger.exchange.incidents import INCIDENTS
from ledger.exchange.subjects import commit_subject
from ledger.registry import EXCHANGES, PAIR_COUNTERS
from ledger.state import exchange_key, incident_key
from tests.builders import hash32
from tests.unit.contracts.drafts.pasts import make_past, records_of, write_copy
from tests.unit.ledger.builders import make_request
from tests.unit.tools.audit.logs import ASKER, BLIND, OWNER, PERSON, THIRD, Story
from tests.unit.tools.test_epochs import code_of, tally
from tools.cli import main
from tools.custody.blinds import blind_subjects, decode_kept, encode_blinds
from tools.exits import ERROR, NOT_FOUND, OK

STRANGER = "91330200MA2TEST99X"


@pytest.fixture(scope="module")
def story() -> Story:
    return Story().live().wait(800)


@pytest.fixture(scope="module")
def folder(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_copy(story.chain, tmp_path_factory.mktemp("listed") / "copy")


def text_of(*arguments: object) -> str:
    done = CliRunner().invoke(main, ["audit", *map(str, arguments), "--jobs", "1"])
    assert done.exit_code == OK, done.output
    return done.stdout


# Gaps.


def owed(story: Story) -> list[tuple[int, str, str, str, bool]]:
    """Every duty by a walk through the state, as the node computes them."""
    state, now_ms = story.chain.state, story.chain.time_ms
    rules, found = read_deadlines(state), []
    for key, value in state.pairs.items():
        about = key[2:]
        if key.startswith(exchange_key(b"")):
            exchange = EXCHANGES.decode(value)
            duties = exchange_duties(exchange, read_matters(state, about, exchange), rules)
        elif key.startswith(incident_key(b"")):
            duties = incident_duties(INCIDENTS.decode(value), rules)
        else:
            continue
        found += [
            (each.due_ms, about.hex(), each.gap, each.member, each.is_overdue(now_ms))
            for each in duties
        ]
    return sorted(found)


@pytest.mark.parametrize("member", ["", THIRD])
@pytest.mark.parametrize("days", [0, 3, 800])
def test_gaps_are_those_of_the_state(tmp_path: Path, member: str, days: int) -> None:
    story = Story().live().wait(days)
    folder = write_copy(story.chain, tmp_path / "copy")
    expected = [row for row in owed(story) if member in ("", row[3])]
    arguments = ("audit", "gaps", folder, "--jobs", 1, *(("--member", member) if member else ()))
    for options, rows in (((), [row for row in expected if row[4]]), (("--all",), expected)):
        told = tally(*arguments, *options)
        assert told["verified"] is True
        assert told["time_ms"] == story.chain.time_ms
        assert [
            (row["due_ms"], row["subject"], row["gap"], row["member"], row["is_overdue"])
            for row in told["tasks"]
        ] == rows
    assert expected


def test_gaps_in_words(folder: Path, story: Story, tmp_path: Path) -> None:
    text = text_of("gaps", folder, "--lang", "zh")
    assert "留存期满而未销毁" in text
    assert story.digests["incident"].hex() in text
    assert "索引覆盖" in text
    early = write_copy(Story().chain, tmp_path / "early")
    told = text_of("gaps", early, "--lang", "en")
    assert "Nothing is overdue; what is due later: --all." in told
    empty = write_copy(make_past(0), tmp_path / "empty")
    assert "Nothing is owed." in text_of("gaps", empty, "--all", "--lang", "en")


# Reciprocity.


def test_reciprocity_is_that_of_the_state(folder: Path, story: Story, tmp_path: Path) -> None:
    expected: dict[tuple[str, str], list[int]] = {}
    state = story.chain.state
    for key, value in state.pairs.items():
        if not key.startswith(b"c/"):
            continue
        requester, provider, purpose, year = key[2:].decode().split("\0")
        counters = PAIR_COUNTERS.decode(value)
        receipts = read_receipts(state, requester, int(year), provider, purpose)
        sums = expected.setdefault((requester, provider), [0] * 4)
        for at, count in enumerate(
            (counters.asked, counters.delivered, counters.records, receipts.records)
        ):
            sums[at] += count
    path = tmp_path / "pairs.svg"
    told = tally("audit", "reciprocity", folder, "--jobs", 1, "--svg", path)
    assert told["verified"] is True
    found = {
        (row["requester"], row["provider"]): [
            row[name] for name in ("asked", "answered", "records_sent", "records_received")
        ]
        for row in told["pairs"]
    }
    assert found == expected
    assert found[ASKER, OWNER][3] == 3
    expat.ParserCreate().Parse(path.read_text("utf-8"), True)
    own = tally("audit", "reciprocity", folder, "--member", THIRD, "--purpose", "audit")
    assert {THIRD} <= set.intersection(
        *({row["requester"], row["provider"]} for row in own["pairs"])
    )


# Persons.


def kept(tmp_path: Path, form: str) -> Path:
    """Blinds of one that the log knows and of one that it does not, in one of the two forms."""
    pairs = [(PERSON, BLIND), (STRANGER, hash32("other blind"))]
    path = tmp_path / f"{form}.json"
    if form == "lines":
        lines = [json.dumps({"subject": name, "blind": blind.hex()}) for name, blind in pairs]
        path.write_text("\n".join([*lines, ""]))
    else:
        document = {"subjects": [{"id": name, "blind": blind.hex()} for name, blind in pairs]}
        path.write_text(json.dumps(document, indent=2))
    return path


@pytest.mark.parametrize("command", ["gaps", "reciprocity"])
def test_of_a_member_that_there_never_was_nothing_is_said(folder: Path, command: str) -> None:
    told = tally("audit", command, folder, "--member", "nobody", exit_code=NOT_FOUND)
    assert code_of(told) == "member-unknown"
    assert tally("audit", command, folder, "--member", THIRD)["verified"]


@pytest.mark.parametrize("form", ["lines", "gateway"])
def test_who_received_what_about_a_person(
    folder: Path, story: Story, tmp_path: Path, form: str
) -> None:
    told = tally("audit", "subject", folder, "--blind", kept(tmp_path, form), "--jobs", 1)
    (found,) = told["exchanges"]
    assert told["not_in_log"] == [STRANGER]
    assert (found["subject"], found["exchange"]) == (PERSON, story.exchange.hex())
    assert (found["requester"], found["provider"], found["status"]) == (ASKER, OWNER, "destroyed")
    assert found["fields"] == ["uscc", "name"]
    holders = {row["member"]: row for row in found["holders"]}
    assert set(holders) == {ASKER, THIRD}
    assert holders[ASKER]["destroyed_ms"] > 0
    assert holders[THIRD]["destroyed_ms"] is None


def test_a_person_in_words(folder: Path, tmp_path: Path) -> None:
    text = text_of("subject", folder, "--blind", kept(tmp_path, "lines"), "--lang", "en")
    assert f"{ASKER} (destroyed 2026-01-01" in text
    assert f"{THIRD} (until 2027-01-01" in text
    assert f"under these blinds: {STRANGER}" in text
    chinese = text_of("subject", folder, "--blind", kept(tmp_path, "gateway"), "--lang", "zh")
    assert "已销毁" in chinese


def test_a_wrong_blind_opens_nothing(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "blinds"
    path.write_text(json.dumps({"subject": PERSON, "blind": hash32("wrong").hex()}))
    told = tally("audit", "subject", folder, "--blind", path)
    assert (told["exchanges"], told["not_in_log"]) == ([], [PERSON])


def test_a_person_whose_requests_were_not_met(tmp_path: Path) -> None:
    """One is refused and one waits: asked for, but nobody has received anything."""
    story = Story(blocks=1)
    commitment = commit_subject(PERSON, BLIND)
    story.act(ASKER, make_request(provider="nobody", subjects=(commitment,)), applied=False)
    folder = write_copy(story.chain, tmp_path / "copy")
    told = tally("audit", "subject", folder, "--blind", kept(tmp_path, "lines"), "--jobs", 1)
    statuses = [row["status"] for row in told["exchanges"]]
    assert statuses == ["permitted", "not_opened"]
    assert all(row["holders"] == [] for row in told["exchanges"])
    text = text_of("subject", folder, "--blind", kept(tmp_path, "lines"), "--lang", "en")
    assert "not opened" in text


@pytest.mark.parametrize(
    "data",
    [
        b"{", b"[]", b'{"subject": "a"}', b'{"subject": "a", "blind": "00"}', b"\xff",
        b'{"subjects": [{"id": "a", "blind": "AA"}]}', b"[" * 100_000,
        b'{"subject": "", "blind": "' + b"0" * 64 + b'"}',
    ],
)  # fmt: skip
def test_a_file_that_holds_no_blinds(folder: Path, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "blinds"
    path.write_bytes(data)
    told = tally("audit", "subject", folder, "--blind", path, exit_code=ERROR)
    assert code_of(told) == "blinds-invalid"


def test_both_forms_give_the_same() -> None:
    blinded = blind_subjects(("a", "b"))
    pairs: list[Any] = [{"id": each.subject, "blind": each.blind.hex()} for each in blinded]
    assert decode_kept(encode_blinds(blinded)) == blinded
    assert decode_kept(json.dumps({"subjects": pairs}).encode()) == blinded


def test_every_subject_of_the_log_is_found(story: Story, folder: Path) -> None:
    """The request of the story is the only one about its person."""
    commitments = [
        commitment
        for event, _ in records_of(story.chain)
        for commitment in getattr(event.body, "subjects", ())
    ]
    assert commitments.count(commit_subject(PERSON, BLIND)) == 1
    assert len(commitments) > 100
