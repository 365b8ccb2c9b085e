"""Who owes what by when, for every state of an exchange, and when it becomes a gap."""

import msgspec
import pytest

from contracts.errors import InvalidMoment
from contracts.exchange.duties import (
    GAPS,
    Duty,
    exchange_duties,
    incident_duties,
    look_ahead,
)
from contracts.exchange.incidents import find_incident
from contracts.exchange.matters import DAY_MS, HOUR_MS, read_deadlines, read_matters
from contracts.lifecycle import STATUSES, STEPS
from contracts.lookup import find_exchange
from ledger.events import BODY_TYPES, Event
from ledger.exchange.matters import DEFAULT_DEADLINES
from ledger.governance.actions import SetDeadlines
from tests.builders import ASKER, OWNER, TIME_MS
from tests.exchanges import (
    ASKED,
    DISPUTED,
    HELD,
    OPEN,
    OTHER,
    PATHS,
    acknowledge,
    confirm,
    correct,
    destroy,
    give_consent,
    remedy,
    report,
    use,
)
from tests.unit.contracts.governance.parts import after, faults, passed
from tests.unit.contracts.samples import state_after

# Gaps of an exchange that has just come into a state, by member.
OWED = {
    "permitted": {(OWNER, "permit-without-delivery")},
    "in_review": {(OWNER, "review-without-answer")},
    "delivered": {(ASKER, "delivery-without-receipt")},
    "rejected": {(OWNER, "rejection-without-delivery")},
    "received": {
        (ASKER, "receipt-without-use"), (ASKER, "retention-without-destruction")
    },
    "used": {(ASKER, "retention-without-destruction")},
    "refused": set(), "withdrawn": set(), "destroyed": set(),
}  # fmt: skip


def duties_of(*events: Event) -> tuple[Duty, ...]:
    state = state_after(*events)
    exchange = find_exchange(state, events[0].digest)
    assert exchange is not None
    matters = read_matters(state, events[0].digest, exchange)
    return exchange_duties(exchange, matters, read_deadlines(state))


def owed(*events: Event) -> set[tuple[str, str]]:
    return {(duty.member, duty.gap) for duty in duties_of(*events)}


@pytest.mark.parametrize("status", PATHS)
def test_every_state_names_who_owes_what(status: str) -> None:
    assert owed(*PATHS[status]) == OWED[status]


def test_every_state_but_denied_has_its_path() -> None:
    assert PATHS.keys() | {"denied"} == {*STATUSES}


def test_matters_add_their_own_duties() -> None:
    assert (OWNER, "consent-without-answer") in owed(*HELD, ASKED)
    assert (OWNER, "consent-without-answer") not in owed(*HELD, ASKED, give_consent(OPEN, ASKED))
    assert (ASKER, "correction-without-acknowledgement") in owed(*HELD, correct(OPEN))
    answered = owed(*HELD, correct(OPEN), acknowledge(OPEN))
    assert (ASKER, "correction-without-acknowledgement") not in answered
    assert (OWNER, "dispute-without-resolution") in owed(*HELD, DISPUTED)


def test_an_onward_recipient_owes_destruction_also_after_the_requester() -> None:
    onward = use(OPEN, consent=ASKED.digest)
    found = owed(*HELD, ASKED, give_consent(OPEN, ASKED), onward, destroy(OPEN))
    assert found == {(OTHER, "retention-without-destruction")}


def test_a_duty_is_a_gap_after_its_time_not_at_it() -> None:
    (duty,) = duties_of(*HELD[:2])
    assert duty.due_ms == TIME_MS + DEFAULT_DEADLINES.receipt_hours * HOUR_MS
    assert not duty.is_overdue(duty.due_ms)
    assert duty.is_overdue(duty.due_ms + 1)


def test_a_report_of_use_is_due_no_later_than_destruction() -> None:
    duties = {duty.gap: duty.due_ms for duty in duties_of(*HELD)}
    assert duties["receipt-without-use"] == TIME_MS + 180 * DAY_MS
    assert duties["retention-without-destruction"] == TIME_MS + 365 * DAY_MS


def test_duties_stand_in_order_of_time() -> None:
    times = [duty.due_ms for duty in duties_of(*HELD, ASKED, DISPUTED, correct(OPEN))]
    assert times == sorted(times)
    assert len(times) == 5


def test_voted_deadlines_count_also_for_what_is_open_already() -> None:
    rules = msgspec.structs.replace(DEFAULT_DEADLINES, receipt_hours=1)
    state = after(*passed(SetDeadlines(rules=rules)), state=state_after(*HELD[:2]))
    assert read_deadlines(state) == rules
    assert faults(state, SetDeadlines(rules=rules)) == ["unchanged"]
    exchange = find_exchange(state, OPEN.digest)
    assert exchange is not None
    matters = read_matters(state, OPEN.digest, exchange)
    (duty,) = exchange_duties(exchange, matters, read_deadlines(state))
    assert duty.due_ms == TIME_MS + HOUR_MS


def test_incidents_have_duties_of_their_own() -> None:
    reported = report()

    def owed_after(*events: Event) -> set[tuple[str, str]]:
        incident = find_incident(state_after(*events), reported.digest)
        assert incident is not None
        return {(each.member, each.gap) for each in incident_duties(incident, DEFAULT_DEADLINES)}

    assert owed_after(reported) == {
        (OWNER, "incident-without-notice"), (ASKER, "incident-without-remedy")
    }  # fmt: skip
    assert owed_after(reported, confirm(reported), remedy(reported)) == {
        (OWNER, "incident-without-closing")
    }


def test_every_gap_names_events_that_fulfil_it() -> None:
    kinds = {kind for kind, _ in BODY_TYPES}
    for gap in GAPS.values():
        assert kinds >= {*gap.kinds}
        assert gap.zh != gap.en
        assert all(kind in STEPS or kind.startswith("incident.") for kind in gap.kinds)


NOON = 1_796_126_400_000  # 2026-12-01T12:00Z


@pytest.mark.parametrize(
    ("text", "ahead_ms"),
    [
        ("+1 day", DAY_MS),
        ("+30 days", 30 * DAY_MS),
        ("2026-12-01T12:00Z", 0),
        ("2026-12-01T12:00:01Z", 1_000),
        ("2026-12-01T20:00:00.001+08:00", 1),
        # A day is over at its end: what is due on it is overdue only afterwards.
        ("2026-12-01", 12 * HOUR_MS - 1),
        ("2026-12-02", DAY_MS + 12 * HOUR_MS - 1),
    ],
)
def test_a_moment_ahead(text: str, ahead_ms: int) -> None:
    assert look_ahead(text, NOON) == NOON + ahead_ms


@pytest.mark.parametrize(
    "text",
    [
        "", "soon", "30", "30 days", "+0 days", "+100000 days", "+1  day", "+١ days", "+1 day\n",
        "2026-12-01T11:59:59.999Z", "2026-11-30", "2026-12-02T08:00", "2026-12-02 08:00Z",
        "2026-13-01", "2026-12-32T00:00Z", "20261202", "2026-W50-1", "2026-12-02T08Z",
        "2026-12-02T08:00+24:00", "0001-01-01T00:00+01:00", "9999-12-31T23:59-23:59",
    ],
)  # fmt: skip
def test_what_is_no_moment_ahead(text: str) -> None:
    with pytest.raises(InvalidMoment):
        look_ahead(text, NOON)


def test_the_last_day_can_be_looked_ahead_to() -> None:
    last_ms = look_ahead("9999-12-31", NOON)
    assert look_ahead("9999-12-31T23:59:59.999Z", NOON) == last_ms
    with pytest.raises(InvalidMoment):
        look_ahead("+1 day", last_ms)
