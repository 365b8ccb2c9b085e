"""Credit in the state: what events do to it, who sees it when, and what a change names."""

import msgspec
import pytest

from contracts.credit.accounts import (
    Credits,
    apply_sanction,
    read_causes,
    read_changes,
    read_credit,
)
from contracts.credit.behaviours import DEFAULT_RULES, IN_TIME, LATE, SANCTIONED, UNFOUNDED
from contracts.lookup import find_member
from ledger.events import Event
from ledger.registry import CREDIT_RULES, Credit, CreditRules, GradeChange, Member
from ledger.state import CREDIT_RULES_KEY, MapState, Overlay, credit_key
from tests import builders
from tests.builders import (
    ASKER,
    HEIGHT,
    OWNER,
    TIME_MS,
    deliver,
    hash32,
    refuse,
    reject,
    request,
    reviewed_request,
)
from tests.unit.contracts.samples import run, states

DAY_MS = 86_400_000
BUCKET_MS = 30 * DAY_MS
WINDOW_MS = 12 * BUCKET_MS


def member_of(state: MapState | Overlay, id_: str = OWNER) -> Member:
    found = find_member(state, id_)
    assert found is not None
    return found


def credit_of(state: MapState | Overlay, time_ms: int = TIME_MS, id_: str = OWNER) -> Credit:
    return read_credit(state, member_of(state, id_), time_ms)[0]


def grade_of(state: MapState | Overlay, time_ms: int = TIME_MS, id_: str = OWNER) -> str:
    return read_credit(state, member_of(state, id_), time_ms)[1].grade


def count(
    overlay: Overlay, member: str, behaviour: str, *, event: bytes, height: int, time_ms: int
) -> None:
    credits_ = Credits(overlay, height=height, time_ms=time_ms)
    credits_.count(member, behaviour, event=event)
    credits_.write()


def changes_of(state: MapState | Overlay, id_: str = OWNER) -> list[GradeChange]:
    return read_changes(state, id_, credit_of(state, TIME_MS, id_).changes, 100)


def starting_at(score: int, id_: str = OWNER) -> MapState:
    return states(
        members=tuple(
            builders.member(each, **({"credit": score} if each == id_ else {}))
            for each in sorted(builders.MEMBERS)
        )
    )


def apply(state: MapState, *events: Event, height: int = HEIGHT, time_ms: int = TIME_MS) -> None:
    execution = run(state, *events, height=height, time_ms=time_ms)
    assert all(outcome.applied for outcome in execution.outcomes), execution.outcomes
    state.pairs.update(execution.overlay.changes)


def test_a_member_starts_where_genesis_put_it() -> None:
    state = states()
    assert credit_of(state).score == builders.MEMBERS[OWNER][2]
    assert state.get(credit_key(OWNER)) is None


def test_answers_refusals_and_rejections_move_the_provider_only() -> None:
    state = states()
    opened, late, reviewed = request(), request(label="late"), reviewed_request()
    apply(state, opened, late, reviewed)
    apply(state, deliver(opened), reject(opened), height=HEIGHT + 1)
    assert credit_of(state).score == 890 + 1 - 10
    apply(state, deliver(late), height=HEIGHT + 2, time_ms=TIME_MS + DAY_MS + 1)
    assert credit_of(state).score == 890 + 1 - 10 - 10
    apply(state, refuse(reviewed, reason="no-time"), height=HEIGHT + 3, time_ms=TIME_MS + DAY_MS)
    assert credit_of(state).score == 890 + 1 - 10 - 10 - 15
    assert state.get(credit_key(ASKER)) is None


def test_a_change_names_the_event_that_caused_it_first() -> None:
    state = starting_at(812)
    first, second = reviewed_request(label="1"), reviewed_request(label="2")
    refusals = [refuse(each, reason="no-time", label=each.nonce.hex()) for each in (first, second)]
    apply(state, first, second)
    apply(state, refusals[0], height=HEIGHT + 1)
    apply(state, refusals[1], height=HEIGHT + 2)
    (change,) = changes_of(state)
    assert (change.before, change.after, change.reason) == ("A", "B", "behaviour")
    assert (change.score_before, change.score_after) == (812, 797)
    assert (change.height, change.time_ms) == (HEIGHT + 1, TIME_MS)
    assert change.causes == ((refusals[0].digest, UNFOUNDED, -15, HEIGHT + 1),)
    opened = [request(label=f"in time {number}") for number in range(18)]
    apply(state, *opened, height=HEIGHT + 3)
    answers = [deliver(each, label=each.nonce.hex()) for each in opened]
    apply(state, *answers, height=HEIGHT + 4)
    back = changes_of(state)[0]
    assert (back.before, back.after, back.score_after) == ("B", "A", 800)
    assert [each.points for each in back.causes] == [1, 1, 1]
    assert back.causes[0].event == answers[17].digest


def test_causes_are_bounded_and_newest_first() -> None:
    overlay = Overlay(starting_at(605))
    for month in range(4):
        for number in range(4):
            height = 10 * month + number
            count(
                overlay, OWNER, LATE, event=hash32(f"{height}"), height=height,
                time_ms=TIME_MS + month * BUCKET_MS,
            )  # fmt: skip
    causes = read_causes(overlay, OWNER, credit_of(overlay))
    heights = [each.height for each in causes]
    assert heights == [33, 32, 31, 23, 22, 21, 13, 12, 11, 3, 2, 1]
    apply_sanction(overlay, OWNER, 100, hash32("vote"), TIME_MS + 3 * BUCKET_MS, height=99)
    newest = changes_of(overlay)[0]
    assert (newest.before, newest.after) == ("C", "D")
    assert newest.causes[0] == (hash32("vote"), SANCTIONED, -100, 99)
    assert [each.height for each in newest.causes] == [99, 33, 32, 31, 23, 22, 21, 13]


def test_what_leaves_the_window_is_forgiven_and_recorded_at_the_next_request() -> None:
    state = starting_at(812)
    reviewed = reviewed_request()
    refusal = refuse(reviewed, reason="no-time")
    apply(state, reviewed, refusal)
    last_ms = (TIME_MS // BUCKET_MS) * BUCKET_MS + WINDOW_MS
    assert (grade_of(state, last_ms - 1), grade_of(state, last_ms)) == ("B", "A")
    assert credit_of(state, last_ms).grade == "B"
    apply(state, request(label="later"), height=HEIGHT + 1, time_ms=last_ms)
    change = changes_of(state)[0]
    assert (change.before, change.after, change.reason) == ("B", "A", "window")
    assert change.causes == ((refusal.digest, UNFOUNDED, 15, HEIGHT),)
    assert credit_of(state, last_ms).buckets == ()
    apply(state, request(label="again"), height=HEIGHT + 2, time_ms=last_ms + 1)
    assert credit_of(state, last_ms).changes == 2


def test_events_beyond_a_limit_are_named_when_they_leave() -> None:
    overlay = Overlay(starting_at(700))
    for month in (0, 1):
        for number in range(30):
            count(
                overlay, OWNER, LATE, event=hash32(f"{month} {number}"), height=month,
                time_ms=TIME_MS + month * BUCKET_MS,
            )  # fmt: skip
    first_gone = TIME_MS // BUCKET_MS * BUCKET_MS + WINDOW_MS
    count(overlay, OWNER, IN_TIME, event=hash32("x"), height=8, time_ms=first_gone)
    assert grade_of(overlay, first_gone) == "C"
    count(overlay, OWNER, IN_TIME, event=hash32("x"), height=9, time_ms=first_gone + BUCKET_MS)
    change = changes_of(overlay)[0]
    assert (change.before, change.after, change.reason) == ("C", "B", "window")
    assert [each.points for each in change.causes] == [10, 10, 10]
    assert all(each.height == 1 for each in change.causes)


def set_rules(state: MapState | Overlay, **changed: object) -> CreditRules:
    rules = msgspec.structs.replace(DEFAULT_RULES, **{"version": 1, **changed})
    pairs = state.pairs if isinstance(state, MapState) else state.changes
    pairs[CREDIT_RULES_KEY] = CREDIT_RULES.encode(rules)
    return rules


def test_rules_set_by_vote_hold_from_the_next_block_and_their_change_is_recorded() -> None:
    overlay = Overlay(starting_at(812))
    count(overlay, OWNER, LATE, event=hash32("late"), height=1, time_ms=TIME_MS)
    assert grade_of(overlay) == "A"
    set_rules(overlay, grade_a=805)
    assert grade_of(overlay) == "B"
    count(overlay, OWNER, IN_TIME, event=hash32("same block"), height=1, time_ms=TIME_MS)
    assert changes_of(overlay) == []
    overlay = Overlay(overlay)
    count(overlay, OWNER, IN_TIME, event=hash32("next block"), height=2, time_ms=TIME_MS)
    (change,) = changes_of(overlay)
    assert (change.before, change.after, change.reason) == ("A", "B", "rules")
    assert (change.rules_version, change.causes) == (1, ())
    assert credit_of(overlay).rules_version == 1


def test_reasons_set_by_vote_decide_what_a_refusal_costs() -> None:
    state, reviewed = states(), reviewed_request()
    set_rules(state, permitted_reasons=("no-time",))
    apply(state, reviewed, refuse(reviewed, reason="not-held"))
    assert credit_of(state).score == 890 - 15


def test_buckets_of_another_length_keep_what_was_counted() -> None:
    overlay = Overlay(states())
    for day in (0, 40, 80):
        count(
            overlay, OWNER, LATE, event=hash32(f"{day}"), height=day, time_ms=TIME_MS + day * DAY_MS
        )
    set_rules(overlay, bucket_days=7, buckets=20)
    overlay = Overlay(overlay)
    now_ms = TIME_MS + 81 * DAY_MS
    count(overlay, OWNER, LATE, event=hash32("now"), height=99, time_ms=now_ms)
    assert credit_of(overlay, now_ms).score == 890 - 40
    causes = read_causes(overlay, OWNER, credit_of(overlay))
    assert [each.height for each in causes] == [99, 80, 40, 0]
    set_rules(overlay, version=2, bucket_days=90, buckets=4)
    overlay = Overlay(overlay)
    count(overlay, OWNER, LATE, event=hash32("coarse"), height=100, time_ms=now_ms)
    assert credit_of(overlay, now_ms).score == 890 - 50
    assert len(read_causes(overlay, OWNER, credit_of(overlay))) == 5


def test_refused_records_change_no_credit() -> None:
    state, opened = starting_at(612), reviewed_request()
    apply(state, opened)
    before = dict(state.pairs)
    outcome = run(state, refuse(opened, role="requester", reason="no-time")).outcomes[0]
    assert not outcome.applied
    execution = run(state, refuse(opened, role="requester", reason="no-time"))
    assert [key for key in execution.overlay.changes if key.startswith(b"k/")] == []
    assert state.pairs == before


@pytest.mark.parametrize("points", [0, 1_001, -1])
def test_a_sanction_takes_a_bounded_number_of_points(points: int) -> None:
    with pytest.raises(AssertionError):
        apply_sanction(Overlay(states()), OWNER, points, hash32("vote"), TIME_MS, height=1)
