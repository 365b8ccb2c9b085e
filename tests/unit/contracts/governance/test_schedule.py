"""When carried changes take effect: never in a block, all or nothing, in the order of heights."""

import pytest

from contracts.lookup import find_member, find_purpose, read_waiting
from ledger.governance.actions import (
    ReinstateMember,
    RetireMember,
    SetPurpose,
    SuspendMember,
)
from ledger.governance.proposals import REVISIONS, Revision
from ledger.registry import Purpose
from ledger.state import revision_key
from tests.builders import HEIGHT, ballot, propose
from tests.unit.contracts.governance.parts import (
    ASIDE,
    FIRST,
    SECOND,
    THIRD,
    after,
    block,
    found,
    passed,
    refusal,
    states,
    votes,
)


def purpose(name: str, title: str = "x") -> SetPurpose:
    return SetPurpose(purpose=Purpose(id=name, name_zh=title, name_en=title))


def test_a_change_waits_for_its_height_and_an_empty_block_brings_it() -> None:
    events = passed(purpose("pensions"), activate_height=HEIGHT + 3)
    state = after(*events)
    assert found(state, events[0]).status == "waiting"
    assert [(each.height, each.proposal) for each in read_waiting(state)] == [
        (HEIGHT + 3, events[0].digest)
    ]
    assert block(state, height=HEIGHT + 1).overlay.changes == {}
    assert find_purpose(state, "pensions") is None
    # In force from the first event of the block at its height on.
    block(state, height=HEIGHT + 2)
    assert find_purpose(state, "pensions") is not None
    assert found(state, events[0]).status == "in_force"
    assert read_waiting(state) == ()
    assert block(state, height=HEIGHT + 3).overlay.changes == {}


@pytest.mark.parametrize("ask", [0, HEIGHT, HEIGHT + 1])
def test_a_height_that_is_past_means_the_next_block(ask: int) -> None:
    events = passed(purpose("pensions"), activate_height=ask)
    state = after(*events)
    assert found(state, events[0]).status == "in_force"


def test_changes_come_in_the_order_of_their_heights() -> None:
    late = passed(purpose("pensions", "late"), activate_height=HEIGHT + 2, label="late")
    soon = passed(purpose("tolls", "soon"), activate_height=HEIGHT + 4, label="soon")
    state = after(*soon, *late)
    assert [each.height for each in read_waiting(state)] == [HEIGHT + 2, HEIGHT + 4]
    block(state, height=HEIGHT + 9)
    assert read_waiting(state) == ()
    assert find_purpose(state, "tolls") is not None


def test_what_waits_holds_its_target() -> None:
    events = passed(purpose("pensions"), activate_height=HEIGHT + 9)
    state = after(*events)
    again = propose(purpose("pensions", "other"), label="again")
    assert refusal(state, again, HEIGHT + 1).code == "target-waiting"
    block(state, height=HEIGHT + 8)
    after(*votes(again, SECOND, THIRD), state=state, height=HEIGHT + 9)


def test_proposals_that_contradict_each_other() -> None:
    """Both are open; what is carried first makes the deciding ballot of the other impossible."""
    retire, suspend = (
        propose(RetireMember(member=ASIDE, grounds="x")),
        propose(SuspendMember(member=ASIDE, grounds="x")),
    )
    state = after(*votes(retire, SECOND), *votes(suspend, SECOND))
    after(ballot(retire, THIRD), state=state, height=HEIGHT + 1)
    last = refusal(state, ballot(suspend, THIRD), HEIGHT + 2)
    assert (last.code, last.recordable) == ("member-state", True)
    assert found(state, suspend).status == "open"


def test_two_contradicting_changes_of_one_block_the_later_fails_as_a_whole() -> None:
    retire = passed(RetireMember(member=ASIDE, grounds="x"), label="a")
    suspend = passed(SuspendMember(member=ASIDE, grounds="x"), label="b")
    state = after(*retire, *suspend)
    assert found(state, retire[0]).status == "in_force"
    assert found(state, suspend[0]).status == "failed"
    member = find_member(state, ASIDE)
    assert member is not None
    assert member.status == "retired"


def test_a_proposal_takes_effect_as_a_whole() -> None:
    actions = (
        SuspendMember(member=ASIDE, grounds="x"),
        ReinstateMember(member=FIRST, grounds="it is not suspended"),
    )
    state = states()
    assert refusal(state, propose(*actions)).code == "member-state"
    mixed = propose(SuspendMember(member=ASIDE, grounds="x"), purpose("pensions"))
    assert refusal(state, mixed).code == "classes-mixed"


def test_the_history_of_what_was_changed() -> None:
    events = passed(purpose("pensions", "one"))
    state = after(*events)
    later = passed(purpose("pensions", "two"), label="two")
    after(*later, state=state, height=HEIGHT + 5)
    for height, event in ((HEIGHT + 1, events[0]), (HEIGHT + 6, later[0])):
        data = state.get(revision_key("purpose/pensions", height))
        assert data is not None
        assert REVISIONS.decode(data) == Revision(proposal=event.digest, height=height)


def test_so_many_changes_wait_and_no_more() -> None:
    state = states()
    for number in range(64):
        events = passed(purpose(f"p{number}"), activate_height=HEIGHT + 50, label=str(number))
        after(*events, state=state)
    more = propose(purpose("p64"), activate_height=HEIGHT + 50)
    assert refusal(state, more, HEIGHT + 1).code == "waiting-full"
