"""Votes on proposals in any order, against a naive count of who said what."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.governance.rules import DEFAULT_RULES, count_needed
from ledger.governance.actions import Action, SetFreeze, SetPurpose, SuspendMember
from ledger.registry import Freeze, Purpose
from tests.builders import HEIGHT, VALIDATORS, ballot, propose
from tests.unit.contracts.governance.parts import ASIDE, block, found, fresh_officer, states

ACTIONS: dict[str, Action] = {
    "parties": SuspendMember(member=ASIDE, grounds="x"),
    "keys": fresh_officer(ASIDE, "requester"),
    "contracts": SetPurpose(purpose=Purpose(id="pensions", name_zh="x", name_en="x")),
    "emergency": SetFreeze(freeze=Freeze(requester="", provider="", dataset="", reason="x")),
}

Vote = tuple[str, bool]


def outcome_of(votes: list[Vote], needed: int) -> tuple[str, list[str]]:
    """The naive twin: status, and the code of each ballot."""
    said = {VALIDATORS[0]: True}
    status, codes = "open", []
    for member, approve in votes:
        if status != "open":
            codes.append("proposal-closed")
        elif member in said:
            codes.append("ballot-repeated")
        else:
            codes.append("")
            said[member] = approve
            for_it = sum(said.values())
            if for_it >= needed:
                status = "in_force"
            elif len(VALIDATORS) - (len(said) - for_it) < needed:
                status = "rejected"
    return status, codes


@settings(max_examples=60, deadline=None)
@given(
    action_class=st.sampled_from(sorted(ACTIONS)),
    votes=st.lists(st.tuples(st.sampled_from(VALIDATORS), st.booleans()), max_size=8),
    cuts=st.lists(st.integers(0, 8), max_size=3),
)
def test_votes_count_the_same_in_whatever_blocks(
    action_class: str, votes: list[Vote], cuts: list[int]
) -> None:
    state = states()
    proposal = propose(ACTIONS[action_class], ballots_until_height=HEIGHT + 50)
    events = [proposal] + [
        ballot(proposal, member, approve=approve, label=str(number))
        for number, (member, approve) in enumerate(votes)
    ]
    codes: list[str] = []
    edges = sorted({0, *(min(cut, len(events)) for cut in cuts), len(events)})
    for height, (start, end) in enumerate(pairwise(edges), HEIGHT):
        execution = block(state, *events[start:end], height=height)
        codes += [outcome.code for outcome in execution.outcomes]
    needed = count_needed(DEFAULT_RULES[action_class], len(VALIDATORS))
    expected, expected_codes = outcome_of(votes, needed)
    assert codes[1:] == expected_codes
    assert found(state, proposal).status == expected
