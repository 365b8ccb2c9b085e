"""What a report says of a log in which everything happens, and of logs where little does."""

import datetime as dt
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.drafts.history import Happened, History
from contracts.lookup import find_exchange
from contracts.risk.habits import read_risk
from ledger.blocks import RECORDS, is_header
from ledger.events import Event, ShareRequested, parse_event
from ledger.exchange.risk import Risk
from ledger.governance.keys import SetTerm
from ledger.registry import OFFICERS, LegalBasis
from ledger.state import MapState, officer_key
from ledger.verify import BlockEntries
from tests import builders as make
from tests import exchanges as later
from tests.builders import ASKER, OWNER
from tests.unit.contracts.drafts.pasts import write_copy
from tests.unit.ledger.builders import read_records
from tests.unit.tools.audit.quarter import HOUR_MS, OTHER, Log, rich, write
from tests.unit.tools.test_epochs import code_of, tally
from tools.audit.period import DAY_MS, Period, make_period
from tools.audit.report.controls import CONTROLS, SAMPLES_MAX, Controls, covers
from tools.audit.report.findings import Findings, ranked
from tools.audit.report.gathering import RISK_BANDS, _Gathering, gather
from tools.audit.report.page import render_page
from tools.audit.report.standing import find_keyless, find_members
from tools.audit.stories import Stories
from tools.contract.past import Past
from tools.exits import ERROR, UNVERIFIED, USAGE, InvalidInput
from tools.words import LANGUAGES

EVER = Period()


def silent(done: int, total: int) -> None:
    assert done <= total


def gathered(copy: Path, period: Period = EVER, *pair: str) -> Findings:
    return gather(Past(copy, None), period, frozenset(pair), map, silent)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("copy"))


@pytest.fixture(scope="module")
def whole(copy: Path) -> Findings:
    return gathered(copy)


def of_log(log: Log, folder: Path, period: Period = EVER) -> Findings:
    return gathered(write_copy(log, folder), period)


def control(found: Findings, id_: str) -> tuple[int, int, str]:
    (one,) = (each for each in found.controls if each.id == id_)
    return one.evidence.count, one.exceptions.count, one.verdict


# --- measures -------------------------------------------------------------------------------------


def test_what_happened_is_counted(whole: Findings) -> None:
    counts = whole.total.counts
    assert (counts["requested"], counts["offered"]) == (8, 1)
    assert (counts["permit"], counts["review"], counts["deny"]) == (5, 3, 1)
    assert (counts["in_time"], counts["late"], counts["delivered"]) == (3, 1, 5)
    assert (counts["received"], counts["rejected"]) == (4, 1)
    assert whole.total.codes == {("tallystick-1", "50007"): 1}
    assert whole.total.quality == {4: 1, 1: 1}
    assert whole.not_applied == {"exchange-state": 1}
    assert whole.flows == {("330200", "320500"): 1, ("330200", "330100"): 3}
    assert whole.actions == {"code-list.set": 1}


def test_requests_are_counted_by_their_risk_and_decision(whole: Findings) -> None:
    risks = {}
    for block in rich().blocks:
        for data in block.records:
            record = RECORDS.decode(data)
            event = parse_event(record.event)
            if isinstance(event.body, ShareRequested):
                risks[event.digest] = read_risk(rich().state, event.digest)
    assert sum(sum(counts.values()) for counts in whole.risk.values()) == len(risks) == 8
    bands = [*list(whole.risk), 101]
    for least, most in pairwise(bands):
        inside = [risk for risk in risks.values() if least <= risk.score < most]
        assert sum(whole.risk[least].values()) == len(inside)
    told = Counter(reason.code for risk in risks.values() for reason in risk.reasons)
    assert whole.risk_reasons == told
    assert told


def test_spans_are_block_time_between_the_acts(whole: Findings) -> None:
    hours = {name: [span // HOUR_MS for span in spans] for name, spans in whole.total.spans.items()}
    assert hours == {
        "answer": [5, 5],  # a grant and a refusal
        "delivery": [3, 5, 19, 18 * 24],  # a review counts from its grant
        "receipt": [1, 1, 6, 24],  # of the delivery that was received, not of the rejected one
        "whole": [6, 9, 4 * 24, 18 * 24 + 1],
    }


def test_records_and_ratings_are_counted(whole: Findings) -> None:
    """Of first deliveries and of receipts, three records each."""
    assert (whole.total.counts["records_sent"], whole.total.counts["records_received"]) == (12, 12)
    assert whole.total.usefulness == {5: 1, 2: 1}


def test_every_code_of_a_rejection_counts(tmp_path: Path) -> None:
    log = Log()
    asked = make.request()
    log.at(1, asked)
    log.at(2, make.deliver(asked))
    log.at(3, make.reject(asked, codes=(3, 50007)))
    codes = of_log(log, tmp_path).total.codes
    assert codes == {("tallystick-1", "3"): 1, ("tallystick-1", "50007"): 1}


@pytest.mark.parametrize(("hours", "name"), [(0, "in_time"), (1, "late")])
def test_a_delivery_at_its_deadline_is_in_time(tmp_path: Path, hours: int, name: str) -> None:
    log = Log()
    asked = make.request()
    log.at(1, asked)
    exchange = find_exchange(log.state, asked.digest)
    assert exchange is not None
    due, rest = divmod(exchange.deadline_ms - make.TIME_MS, HOUR_MS)
    assert rest == 0
    log.at(due + hours, make.deliver(asked))
    found = of_log(log, tmp_path)
    counts = found.total.counts
    assert {each: counts[each] for each in ("in_time", "late") if counts[each]} == {name: 1}
    assert control(found, "timeliness")[:2] == (1 - hours, hours)


def test_the_most_frequent_come_first() -> None:
    assert list(ranked({"b": 1, "c": 2, "a": 1})) == ["c", "a", "b"]


@pytest.mark.parametrize("least", RISK_BANDS)
def test_a_risk_is_in_the_band_that_begins_with_its_score(least: int) -> None:
    gathering = _Gathering(period=EVER, pair=frozenset())
    gathering._add_risk(Risk(score=least, reasons=(), rules_version=1), "permit")
    assert {band for band, counts in gathering.risk.items() if counts} == {least}


def test_pairs_and_months_add_up_to_everything(whole: Findings) -> None:
    for parts in (whole.pairs, whole.months):
        for name, count in whole.total.counts.items():
            assert sum(each.counts[name] for each in parts.values()) == count, name
        for name, spans in whole.total.spans.items():
            together = [span for each in parts.values() for span in each.spans[name]]
            assert sorted(together) == spans


def test_months_add_up_when_each_is_a_period_of_its_own(copy: Path, whole: Findings) -> None:
    """An act counts in the period in which it became final, whenever the exchange was opened."""
    ends = {"2026-01": "31", "2026-02": "28", "2026-03": "31"}
    for month, day in ends.items():
        found = gathered(copy, make_period(f"{month}-01", f"{month}-{day}"))
        assert found.total == whole.months[month]
        assert list(found.months) == [month]


def test_a_pair_has_what_is_between_the_two_only(copy: Path, whole: Findings) -> None:
    found = gathered(copy, EVER, OWNER, OTHER)
    assert found.total == whole.pairs[OTHER, OWNER]
    assert {each.member for each in found.grades} == {OWNER, OTHER}
    # The exchange that nobody answered is of another pair, and so is who reported the incident.
    assert found.gaps == found.incidents == found.drills == ()
    assert [each.member for each in found.access] == [OTHER, OWNER]
    assert found.pair == (OTHER, OWNER)


# --- standing at the end --------------------------------------------------------------------------


def test_gaps_are_those_at_the_end_of_the_period(copy: Path, whole: Findings) -> None:
    assert [(gap.gap, gap.member) for gap in whole.gaps] == [
        ("permit-without-delivery", OWNER),
        ("incident-without-notice", OTHER),
    ]
    # Late and never, until the late one comes on day 50; the incident from its third day on.
    for days, gaps in ((32, 0), (36, 2), (64, 1), (69, 2)):
        end_ms = make.TIME_MS + (days + 1) * DAY_MS
        found = gathered(copy, Period(end_ms=end_ms))
        assert found.ground.until_ms < end_ms
        assert len(found.gaps) == gaps, (days, found.gaps)


def test_incidents_are_those_that_were_open_in_the_period(copy: Path, whole: Findings) -> None:
    assert [(each.category, each.status) for each in whole.incidents] == [
        ("data-leak", "closed"), ("key-loss", "open"),
    ]  # fmt: skip
    assert whole.incidents[0].notified == whole.incidents[0].partners == 1
    after = gathered(copy, make_period("2026-03-11", None))
    assert [each.category for each in after.incidents] == ["key-loss"]
    assert gathered(copy, make_period(None, "2026-02-28")).incidents == ()
    assert [(each.category, each.result) for each in whole.drills] == [
        ("restore", "passed"), ("failover", "failed"),
    ]  # fmt: skip


def test_credit_is_that_of_the_end_and_changes_those_of_the_period(tmp_path: Path) -> None:
    log = Log()
    for number in range(12):
        asked = make.request(label=f"late {number}")
        log.at(1 + 24 * 30 * number, asked)
        log.at(24 * 30 * number + 24 * 25, make.deliver(asked))
    found = of_log(log, tmp_path / "a")
    (change,) = (each for each in found.grade_changes if each.after == "B")
    assert (change.member, change.before, change.reason) == (OWNER, "A", "behaviour")
    (grade,) = (each for each in found.grades if each.member == OWNER)
    assert grade.grade != "A"
    day = make.TIME_MS // DAY_MS + 40
    early = of_log(log, tmp_path / "b", Period(end_ms=day * DAY_MS))
    assert early.grade_changes == ()
    after = of_log(log, tmp_path / "c", Period(start_ms=change.time_ms + 1))
    assert change not in after.grade_changes


def test_access_has_a_row_for_every_node(whole: Findings) -> None:
    rows = {each.member: (each.anchors, each.lines) for each in whole.access}
    assert rows == {
        make.VALIDATORS[0]: (1, 3), **dict.fromkeys(make.VALIDATORS[1:], (0, 0)),
    }  # fmt: skip
    assert control(whole, "access") == (1, 3, "exceptions")


# --- controls -------------------------------------------------------------------------------------


def test_controls_count_evidence_and_exceptions(whole: Findings) -> None:
    assert {each.id: each.verdict for each in whole.controls} == {
        **{id_: "shown" for id_, _, _ in CONTROLS},
        "keys": "nothing",
        **dict.fromkeys(("timeliness", "access", "integrity", "incidents", "drills"), "exceptions"),
    }
    assert control(whole, "timeliness") == (3, 2, "exceptions")  # one late, one never
    assert control(whole, "integrity") == (0, 1, "exceptions")
    assert control(whole, "signatures")[0] == sum(len(block.records) for block in rich().blocks)


def test_samples_are_indexes_of_such_records(whole: Findings) -> None:
    (shown,) = (each for each in whole.controls if each.id == "retention")
    assert [_event_at(index).kind for index in shown.evidence.samples] == ["share.destroyed"]
    (late,) = (each for each in whole.controls if each.id == "timeliness")
    assert _event_at(late.exceptions.samples[0]).kind == "share.delivered"
    assert _event_at(late.exceptions.samples[1]).kind == "share.requested"


def test_samples_are_the_first_of_many(whole: Findings) -> None:
    (signed,) = (each for each in whole.controls if each.id == "signatures")
    places = [index for index, entry in enumerate(rich().entries) if not is_header(entry)]
    assert signed.evidence.samples == places[:SAMPLES_MAX]
    assert signed.evidence.count == len(places) > SAMPLES_MAX


def test_only_what_a_record_is_about_is_evidence(whole: Findings) -> None:
    """One of three uses has a consent; no vote is about keys; one answer was refused."""
    assert control(whole, "use")[0] == 3
    assert control(whole, "onward")[0] == 4 + 2
    assert control(whole, "keys") == (0, 0, "nothing")
    assert control(whole, "four-eyes")[0] == 2


def test_a_later_holder_shows_no_retention_of_who_asked(tmp_path: Path) -> None:
    log = Log()
    asked = make.request(retention_days=10)
    consent = later.ask_consent(asked)
    log.at(1, asked)
    log.at(2, make.deliver(asked))
    log.at(3, make.receive(asked))
    log.at(4, consent)
    log.at(5, later.give_consent(asked, consent))
    log.at(6, later.use(asked, consent=consent.digest))
    log.at(7, later.destroy(asked, member=OTHER))
    found = of_log(log, tmp_path)
    assert found.total.counts["destroyed"] == 1
    assert control(found, "retention") == (0, 0, "nothing")


def test_a_member_without_a_key_in_force_is_an_exception(tmp_path: Path) -> None:
    """Its keys have had their last day; or were revoked."""
    log = Log()
    keys = sorted(make.key_of("de-tax", role).public for role in make.ROLES)
    terms = [SetTerm(member="de-tax", key=key, not_after="2026-01-20") for key in keys]
    log.at(1, *make.carried(*terms))
    for hour in range(2, 9):
        log.at(hour)
    for days, exceptions in ((19, 0), (20, 1)):
        log.at(24 * days)
        found = of_log(log, tmp_path / str(days))
        assert control(found, "keys")[1] == exceptions
    state = MapState(dict(rich().state.pairs))
    members, time_ms = find_members(state).values(), make.TIME_MS
    assert find_keyless(state, members, time_ms) == []
    for key in keys:
        officer = OFFICERS.decode(state.pairs[officer_key(key)])
        gone = msgspec.structs.replace(officer, status="revoked")
        state.pairs[officer_key(key)] = OFFICERS.encode(gone)
    assert find_keyless(state, members, time_ms) == ["de-tax"]


def _event_at(index: int) -> Event:
    return parse_event(RECORDS.decode(rich().entries[index]).event)


def test_destruction_after_the_end_of_retention_is_an_exception(tmp_path: Path) -> None:
    log = Log()
    asked = make.request(retention_days=10)
    log.at(1, asked)
    log.at(2, make.deliver(asked))
    log.at(3, make.receive(asked))
    log.at(3 + 24 * 10, later.destroy(asked))
    assert control(of_log(log, tmp_path / "a"), "retention") == (1, 0, "shown")
    late = Log()
    late.at(1, asked)
    late.at(2, make.deliver(asked))
    late.at(3, make.receive(asked))
    late.at(4 + 24 * 10, later.destroy(asked))
    assert control(of_log(late, tmp_path / "b"), "retention") == (0, 1, "exceptions")


def happened(*events: Event) -> tuple[list[Happened], History]:
    """Records of executed events, each in a block of its own, and the history after them."""
    log = Log()
    for event in events:
        log.at(1 + len(log.blocks), event)
    history, found, index = History(log.genesis), [], 0
    for block in log.blocks:
        entries = BlockEntries(
            index=index, header_bytes=block.header_bytes, header=block.header,
            block_hash=block.block_hash, records=block.records, **read_records(block.records),
        )  # fmt: skip
        found += history.add(entries)
        index += 1 + len(block.records)
    return found, history


def exceptions(each: Happened, **lies: Any) -> dict[str, int]:
    """Controls from which an opening record is an exception."""
    controls, stories = Controls(), Stories()
    told = msgspec.structs.replace(each, **lies)
    controls.add(told, stories.add(told), None)
    return {id_: one.exceptions.count for id_, one in controls.of.items() if one.exceptions.count}


def test_a_permit_without_ground_or_bound_is_an_exception() -> None:
    """No log that executes has it: only a quorum that changed the rules could write one."""
    (asked,), _ = happened(make.request())
    assert exceptions(asked) == {}
    assert exceptions(asked, basis=None) == {"legality": 1}
    ended = msgspec.structs.replace(asked.basis, in_force_to="2025-12-31")
    assert exceptions(asked, basis=ended) == {"legality": 1}
    undecided = msgspec.structs.replace(asked.outcome, policy_set=b"")
    assert exceptions(asked, outcome=undecided) == {"legality": 1}
    unbound = msgspec.structs.replace(asked.outcome, obligations=None)
    assert exceptions(asked, outcome=unbound) == {"necessity": 1}
    duties = msgspec.structs.replace(asked.outcome.obligations, retention_days=0)
    endless = msgspec.structs.replace(asked.outcome, obligations=duties)
    assert exceptions(asked, outcome=endless) == {"necessity": 1}


def test_an_approval_by_who_asked_is_an_exception() -> None:
    review = make.reviewed_request()
    (asked, approved), history = happened(review, make.approve(review))
    exchange = find_exchange(history.state, review.digest)
    controls, stories = Controls(), Stories()
    for each in (asked, approved):
        controls.add(each, stories.add(each), exchange)
    assert controls.of["four-eyes"].verdict == "shown"
    same = msgspec.structs.replace(approved.event, officer=asked.event.officer)
    forged = msgspec.structs.replace(approved, event=same)
    controls.add(forged, stories.add(forged), exchange)
    assert controls.of["four-eyes"].exceptions.count == 1


@pytest.mark.parametrize(
    ("day", "is_covered"),
    [("2001-04-30", False), ("2001-05-01", True), ("2099-12-31", True), ("2100-01-01", False)],
)
def test_a_basis_covers_its_first_and_last_day(day: str, is_covered: bool) -> None:
    basis: LegalBasis = make.legal_basis("a")
    assert covers(basis, dt.date.fromisoformat(day)) == is_covered


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "last", "covered"),
    [
        ("2026-05-01", None, "2026-01-01 – 2026-03-22"),
        ("2026-05-01", "2026-05-31", "2026-01-01 – 2026-03-22"),
        (None, "2025-12-31", "2026-01-01"),
    ],
)
def test_a_period_outside_of_the_copy_is_refused(
    copy: Path, first: str, last: str, covered: str
) -> None:
    """What the copy covers is told, so that the next attempt is the last."""
    with pytest.raises(InvalidInput) as caught:
        gathered(copy, make_period(first, last))
    assert (caught.value.code, caught.value.detail) == ("period-empty", covered)


def test_a_period_in_which_the_log_stood_still_has_a_report(copy: Path) -> None:
    """An idle network makes no blocks; a month of nothing is a finding, and what is owed stays."""
    idle = gathered(copy, make_period("2026-01-03", "2026-01-04"))
    assert not idle.total.counts
    assert not idle.pairs
    until = gathered(copy, make_period(None, "2026-01-04"))
    assert (idle.gaps, idle.grades) == (until.gaps, until.grades)
    assert (idle.ground.height, idle.ground.state_digest) == (
        until.ground.height, until.ground.state_digest,
    )  # fmt: skip
    for language in LANGUAGES:
        text = render_page(idle, (language,))
        assert "2026-01-03" in text
        # Empty frames and tables would look like a fault of the report.
        for name in ("flows", "reciprocity", "decisions", "risk", "times", "timeliness"):
            (part,) = re.findall(rf'id="{language}-{name}">(.*?)</section>', text, re.DOTALL)
            assert "<svg" not in part, name
        assert not re.search(r"<tbody>\s*</tbody>", text)


def test_two_members_without_a_node_have_no_table_of_nodes(copy: Path) -> None:
    idle = replace(gathered(copy), access=())
    assert not re.search(r"<tbody>\s*</tbody>", render_page(idle, ("zh",)))


@pytest.mark.parametrize(
    ("options", "code", "exit_code"),
    [
        (("--pair", ASKER, "cn-9999-tax"), "report-member-unknown", ERROR),
        (("--pair", ASKER, ASKER), "report-pair-same", USAGE),
        (("--from", "2027-01-01"), "period-empty", ERROR),
        (("--from", "2026-01-02", "--to", "2026-01-01"), "period-reversed", USAGE),
        (("-o", "a.docx"), "report-ending-unknown", USAGE),
    ],
)
def test_what_cannot_be_reported_is_refused(
    copy: Path, tmp_path: Path, options: tuple[str, ...], code: str, exit_code: int
) -> None:
    out = () if "-o" in options else ("-o", tmp_path / "a.html")
    found = tally("audit", "report", copy, "--jobs", 1, *options, *out, exit_code=exit_code)
    assert code_of(found) == code
    assert not list(tmp_path.iterdir())


def test_a_copy_that_diverges_is_not_reported(tmp_path: Path) -> None:
    forged = write(tmp_path / "copy")
    (forged / "checkpoint").write_bytes(rich().checkpoint(make.VALIDATORS[:2]))
    arguments = ("audit", "report", forged, "--jobs", 1, "-o", tmp_path / "a.html")
    assert code_of(tally(*arguments, exit_code=UNVERIFIED)) == "replay-diverged"
    assert not (tmp_path / "a.html").exists()
