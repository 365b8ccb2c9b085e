"""Habits: what requests leave in the state, and how it comes back into an assessment."""

import pytest

from contracts.risk.habits import month_of, read_risk
from ledger.events import Event
from ledger.exchange.risk import HABIT_USES_MAX, HABITS, AskedMonth, AskedUse, Habit
from ledger.state import MapState, habit_key, risk_key
from tests.builders import (
    ASKER,
    OWNER,
    TIME_MS,
    deliver,
    hash32,
    refuse,
    request,
    reviewed_request,
)
from tests.exchanges import offer
from tests.unit.contracts.samples import run, states

DAY_MS = 86_400_000
NIGHT_MS = TIME_MS - 4 * 3_600_000
OTHER = "cn-3205-tax"
JANUARY = month_of(TIME_MS)


def habit(state: MapState, provider: str = "") -> Habit:
    return HABITS.decode(state.pairs[habit_key(ASKER, provider)])


def go(state: MapState, *events: Event, time_ms: int = TIME_MS) -> MapState:
    execution = run(state, *events, time_ms=time_ms)
    assert all(outcome.applied for outcome in execution.outcomes)
    state.pairs.update(execution.overlay.changes)
    return state


def test_months_are_counted_from_the_year_0() -> None:
    assert JANUARY == 2026 * 12
    assert month_of(TIME_MS - 1) == JANUARY - 1


def test_requests_are_counted_for_all_and_for_the_provider() -> None:
    state = go(
        states(), request(subject_count=3), request(label="b", provider=OTHER),
        reviewed_request(label="c"), request(label="d", legal_basis="ended", subject_count=2),
    )  # fmt: skip
    assert habit(state) == Habit(months=(AskedMonth(JANUARY, 4, 7, 1),), uses=())
    assert habit(state, OWNER) == Habit(
        months=(AskedMonth(JANUARY, 3, 6, 1),),
        uses=(AskedUse("registration", "assessment"), AskedUse("account", "audit")),
    )
    assert habit(state, OTHER).months == (AskedMonth(JANUARY, 1, 1, 0),)


def test_a_refusal_counts_when_it_comes() -> None:
    opened = reviewed_request()
    state = go(states(), opened)
    go(state, refuse(opened), time_ms=TIME_MS + 31 * DAY_MS)
    months = (AskedMonth(JANUARY, 1, 1, 0), AskedMonth(JANUARY + 1, 0, 0, 1))
    assert habit(state).months == habit(state, OWNER).months == months


def test_blocks_add_up_as_one_block_does() -> None:
    events = [request(label=str(number), subject_count=number + 1) for number in range(4)]
    one, four = go(states(), *events), states()
    for event in events:
        go(four, event)
    assert habit(one) == habit(four)
    assert habit(one, OWNER) == habit(four, OWNER)


def test_offers_and_steps_leave_no_habit() -> None:
    opened = request()
    state = go(states(), opened)
    before = dict(state.pairs)
    go(state, deliver(opened), offer())
    assert {key for key in state.pairs if key[:2] == b"H/"} == {
        habit_key(ASKER), habit_key(ASKER, OWNER)
    }  # fmt: skip
    assert all(state.pairs[key] == value for key, value in before.items() if key[:2] == b"H/")


def test_months_leave_with_the_window() -> None:
    state = states()
    for number in range(16):
        go(state, request(label=str(number)), time_ms=TIME_MS + number * 31 * DAY_MS)
    months = [month.month for month in habit(state).months]
    assert months == list(range(months[-1] - 12, months[-1] + 1))


def test_the_oldest_use_leaves_where_there_are_too_many() -> None:
    state = states()
    uses = tuple(AskedUse("registration", f"p{number}") for number in range(HABIT_USES_MAX))
    full = Habit(months=(AskedMonth(JANUARY, 9, 9, 0),), uses=uses)
    state.pairs[habit_key(ASKER, OWNER)] = HABITS.encode(full)
    go(state, request())
    after = habit(state, OWNER).uses
    assert after == (*uses[1:], AskedUse("registration", "assessment"))


def test_risk_stands_in_the_state_if_there_is_any() -> None:
    day, night = request(), request(label="night")
    state = go(go(states(), day), night, time_ms=NIGHT_MS)
    assert risk_key(day.digest) not in state.pairs
    assert read_risk(state, day.digest).score == 0
    risk = read_risk(state, night.digest)
    assert (risk.score, risk.reasons) == (15, (("off-hours", 15),))


def test_a_request_is_judged_by_what_was_before_it_in_its_block_too() -> None:
    first = request(label="first")
    other = request(label="other", purpose="audit")
    again = request(label="again", purpose="audit", subjects=(hash32("x"),))
    state = go(states(), first, other, again)
    scores = [read_risk(state, event.digest).reasons for event in (first, other, again)]
    assert scores == [(), (("new-purpose", 15),), ()]


@pytest.mark.parametrize("urgency", ["normal", "critical"])
def test_high_risk_goes_to_review(urgency: str) -> None:
    state = states()
    before = (AskedMonth(JANUARY - 1, 2, 3, 0),)
    now = AskedMonth(JANUARY, 200, 600, 4)
    uses = (AskedUse("registration", "assessment"),)
    for provider in ("", OWNER):
        known = Habit(months=(*before, now), uses=uses if provider else ())
        state.pairs[habit_key(ASKER, provider)] = HABITS.encode(known)
    asked = request(purpose="criminal", urgency=urgency)
    execution = run(state, asked)
    (outcome,) = execution.outcomes
    assert outcome.decision == "review"
    assert "risk" in outcome.policies
    state.pairs.update(execution.overlay.changes)
    risk = read_risk(state, asked.digest)
    codes = [reason.code for reason in risk.reasons]
    assert (risk.score, codes) == (70, ["new-purpose", "often-asked", "volume"])
