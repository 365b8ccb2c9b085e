"""Who carries what: shares, second keys, own officers."""

import msgspec
import pytest

from contracts.governance.catalogue import class_of
from contracts.governance.rules import (
    DEFAULT_RULES,
    SHARE_MAX,
    SHARE_MIN,
    count_needed,
    rule_of,
    voters_of,
)
from contracts.lookup import find_officer, find_voting_rule, read_freezes
from ledger.blocks import quorum_of
from ledger.governance.actions import (
    LiftFreeze,
    RevokeOfficer,
    SetFreeze,
    SetRule,
    SuspendMember,
    VotingRule,
)
from ledger.registry import Freeze
from tests.builders import HEIGHT, ballot, key_of, propose
from tests.unit.contracts.governance.parts import (
    ASIDE,
    FIRST,
    FOURTH,
    SECOND,
    THIRD,
    after,
    block,
    codes,
    faults,
    found,
    fresh_officer,
    passed,
    refusal,
    second_admin,
    states,
    votes,
    with_second_admins,
)

FREEZE = SetFreeze(freeze=Freeze(requester="", provider="", dataset="", reason="drill"))


def rule(action_class: str, share: int, factors: int = 1) -> SetRule:
    return SetRule(
        rule=msgspec.convert(
            {"action_class": action_class, "share": share, "factors": factors}, VotingRule
        )
    )


@pytest.mark.parametrize("voters", range(4, 31))
def test_the_shares_that_ship_are_a_quorum_and_one_more_than_can_be_faulty(voters: int) -> None:
    assert count_needed(DEFAULT_RULES["parties"], voters) == quorum_of(voters)
    assert count_needed(DEFAULT_RULES["emergency"], voters) == voters - quorum_of(voters) + 1
    assert count_needed(DEFAULT_RULES["keys"], voters) == voters // 2 + 1


@pytest.mark.parametrize("voters", range(4, 31))
def test_no_share_that_is_allowed_lets_one_decide_or_asks_for_more_than_all(voters: int) -> None:
    for share in (SHARE_MIN, SHARE_MAX):
        needed = count_needed(VotingRule(action_class="keys", share=share, factors=1), voters)
        assert 2 <= needed <= voters


def test_an_emergency_needs_fewer_votes_than_its_end() -> None:
    freeze = propose(FREEZE)
    state = after(*votes(freeze, SECOND))
    assert found(state, freeze).status == "in_force"
    assert read_freezes(state) == (FREEZE.freeze,)
    lift = LiftFreeze(requester="", provider="", dataset="")
    assert (class_of(FREEZE), class_of(lift)) == ("emergency", "parties")
    ending = propose(lift)
    after(*votes(ending, SECOND), state=state)
    assert found(state, ending).status == "open"
    after(ballot(ending, THIRD), state=state)
    assert read_freezes(state) == ()


def test_a_suspended_member_is_no_voter() -> None:
    state = after(*passed(SuspendMember(member=FOURTH, grounds="breach")))
    assert voters_of(state) == (FIRST, SECOND, THIRD)
    proposal = propose(FREEZE, label="later")
    block(state, proposal, height=HEIGHT + 1)
    assert refusal(state, ballot(proposal, FOURTH)).code == "member-not-active"


def test_members_are_not_suspended_until_nobody_can_decide() -> None:
    one, two = (SuspendMember(member=id_, grounds="breach") for id_ in (THIRD, FOURTH))
    assert faults(states(), one) == []
    assert faults(states(), one, two) == ["voters-too-few"]
    state = after(*votes(propose(two), SECOND, THIRD))
    assert refusal(state, propose(one), HEIGHT + 1).code == "voters-too-few"
    # Three voters are left: a third of them is one, who would decide alone.
    alone = propose(FREEZE)
    after(alone, state=state, height=HEIGHT + 1)
    assert found(state, alone).status == "open"


def test_a_rule_changes_what_carries() -> None:
    state = after(*passed(rule("keys", 700)))
    assert rule_of(state, "keys").share == 700
    proposal = propose(fresh_officer(ASIDE, "requester"))
    after(*votes(proposal, SECOND), state=state)
    assert found(state, proposal).status == "open"
    after(ballot(proposal, THIRD), state=state)
    assert found(state, proposal).status == "in_force"


def test_a_rule_must_be_possible() -> None:
    state = states()
    for share in (0, 1, SHARE_MIN - 1, SHARE_MAX + 1):
        assert faults(state, rule("keys", share)) == ["rule-invalid"]
    assert faults(state, rule("keys", 500)) == ["unchanged"]
    assert refusal(state, propose(rule("keys", 1))).code == "rule-invalid"


def test_a_rule_is_carried_by_votes_that_satisfy_it_too() -> None:
    """With one administrator each, nothing could pass under a rule that asks for two keys."""
    demand = propose(rule("contracts", 667, factors=2))
    state = after(*votes(demand, SECOND, THIRD, FOURTH))
    assert (found(state, demand).status, found(state, demand).approved) == ("open", ())
    state = with_second_admins(FIRST, SECOND, THIRD)
    after(*votes(demand, SECOND, THIRD), state=state)
    seconds = [ballot(demand, id_, key=second_admin(id_), label=id_) for id_ in (FIRST, SECOND)]
    after(*seconds, state=state)
    assert (found(state, demand).status, found(state, demand).approved) == ("open", (FIRST, SECOND))
    after(ballot(demand, THIRD, key=second_admin(THIRD), label="3"), state=state)
    assert found(state, demand).status == "in_force"
    chosen = find_voting_rule(state, "contracts")
    assert chosen is not None
    assert chosen.factors == 2
    unanimous = propose(rule("parameters", 999))
    state = after(*votes(unanimous, SECOND, THIRD))
    assert found(state, unanimous).status == "open"
    after(ballot(unanimous, FOURTH), state=state)
    assert found(state, unanimous).status == "in_force"


def test_the_same_key_is_no_second_factor() -> None:
    state = with_second_admins(SECOND)
    demand = propose(rule("contracts", 667, factors=2))
    after(*votes(demand, SECOND), state=state)
    again = ballot(demand, SECOND, label="again")
    assert refusal(state, again).code == "ballot-repeated"
    # Its other administrator may disagree: then the member is against it, once.
    against = ballot(demand, SECOND, key=second_admin(SECOND), approve=False)
    after(against, state=state)
    assert found(state, demand).rejected == (SECOND,)
    now_for = ballot(demand, SECOND, key=second_admin(SECOND), label="now for it")
    assert refusal(state, now_for).code == "ballot-repeated"


def test_two_own_administrators_appoint_officers_and_one_does_not() -> None:
    state = with_second_admins(ASIDE)
    action = fresh_officer(ASIDE, "requester")
    own = propose(action, member=ASIDE)
    after(own, state=state)
    assert find_officer(state, action.officer.key) is None
    assert refusal(state, ballot(own, ASIDE, label="same")).code == "ballot-repeated"
    after(ballot(own, ASIDE, key=second_admin(ASIDE)), state=state)
    officer = find_officer(state, action.officer.key)
    assert officer is not None
    assert (officer.member, officer.roles, officer.status) == (ASIDE, ("requester",), "active")


def test_others_do_not_keep_a_member_from_appointing_its_officers() -> None:
    state = with_second_admins(ASIDE)
    own = propose(fresh_officer(ASIDE, "requester"), member=ASIDE)
    against = [ballot(own, id_, approve=False) for id_ in (FIRST, SECOND, THIRD)]
    after(own, *against, state=state)
    assert found(state, own).status == "open"
    after(ballot(own, ASIDE, key=second_admin(ASIDE)), state=state)
    assert found(state, own).status == "in_force"


def test_a_member_without_a_validator_proposes_nothing_else() -> None:
    state = with_second_admins(ASIDE)
    assert refusal(state, propose(FREEZE, member=ASIDE)).code == "not-a-voter"
    foreign = propose(fresh_officer(FIRST, "admin"), member=ASIDE)
    assert refusal(state, foreign).code == "not-a-voter"
    both = propose(
        fresh_officer(ASIDE, "admin"), fresh_officer(FIRST, "admin", label="b"), member=ASIDE
    )
    assert refusal(state, both).code == "not-a-voter"


def test_lost_keys_come_back_by_vote() -> None:
    """A member whose only administrator lost its key cannot vote on it; the others can."""
    action = fresh_officer(ASIDE, "admin")
    lost = RevokeOfficer(key=key_of(ASIDE, "admin").public, grounds="lost")
    state = after(*votes(propose(action, lost), SECOND, THIRD))
    old = find_officer(state, lost.key)
    assert old is not None
    assert old.status == "revoked"
    assert find_officer(state, action.officer.key) is not None
    assert refusal(state, propose(FREEZE, member=ASIDE)).code == "officer-revoked"


def test_a_proposal_that_cannot_be_carried_any_more_is_rejected() -> None:
    proposal = propose(FREEZE)
    against = [ballot(proposal, id_, approve=False) for id_ in (SECOND, THIRD, FOURTH)]
    state = after(proposal, *against[:2])
    assert found(state, proposal).status == "open", "two of four carry an emergency"
    assert codes(block(state, against[2])) == [""]
    assert found(state, proposal).status == "rejected"
