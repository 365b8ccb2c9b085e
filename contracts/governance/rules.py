"""Who votes, and by how much: voters, and the rule of each class of actions.

Voters are the active members with a validator in the epoch in force, one vote each. More than
`share` thousandths of them carry a proposal. A member's approval is made up of the ballots of
`factors` different administrators of it.

No administrator decides alone, and no more members are suspended than a quorum of the validators
can spare (`find_voter_faults`).
"""

from contracts.governance.faults import Fault
from contracts.lookup import find_member, find_voting_rule, read_validators
from ledger.blocks import quorum_of
from ledger.governance.actions import ActionClass, VotingRule
from ledger.state import StateReader

APPROVALS_MIN = 2
SHARE_MIN, SHARE_MAX = 333, 999


def _rule(action_class: ActionClass, share: int) -> VotingRule:
    return VotingRule(action_class=action_class, share=share, factors=1)


# In force until members set others. For 4 to 30 voters 667 is a quorum, and 333 one more than can
# be faulty: in an emergency at least one honest member agrees.
DEFAULT_RULES: dict[ActionClass, VotingRule] = {
    "parties": _rule("parties", 667),
    "keys": _rule("keys", 500),
    "contracts": _rule("contracts", 667),
    "parameters": _rule("parameters", 667),
    "emergency": _rule("emergency", 333),
}


def rule_of(state: StateReader, action_class: ActionClass) -> VotingRule:
    """The rule in force for a class."""
    return find_voting_rule(state, action_class) or DEFAULT_RULES[action_class]


def count_needed(rule: VotingRule, voters: int) -> int:
    """How many of so many voters carry a proposal: more than `rule.share` thousandths, never one.

    While members are suspended there may be fewer voters than validators.
    """
    return max(APPROVALS_MIN, voters * rule.share // 1_000 + 1)


def voters_of(state: StateReader) -> tuple[str, ...]:
    """Members that may vote now, sorted."""
    seats = sorted(validator.member for validator in read_validators(state))
    found = ((seat, find_member(state, seat)) for seat in seats)
    return tuple(seat for seat, member in found if member is not None and member.status == "active")


def find_voter_faults(state: StateReader) -> list[Fault]:
    """Why so few voters could not decide anything any more."""
    voters, validators = len(voters_of(state)), len(read_validators(state))
    if voters >= quorum_of(validators):
        return []
    detail = f"{voters} of {validators} members with a validator would be active"
    return [Fault(code="voters-too-few", detail=detail)]
