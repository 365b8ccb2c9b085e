"""Whose votes carry what: classes of actions, voters, and the rule of each class.

Voters are the active members with a validator in the epoch in force, one vote each. More than
`share` thousandths of them carry a proposal. A member's approval is made up of the ballots of
`factors` different administrators of it.

What concerns only the keys of the member that proposes it (`officer.*`, `encryption.set`) is also
carried by `OWN_FACTORS` of its own administrators: an agency appoints its officers, but none of
them alone; and no single stolen key can turn an agency's payloads to a key of somebody else.
The other way, a vote, is how a member that has lost its keys gets new ones.

A rule is changed by votes that satisfy the old rule and the new one: so what nobody can satisfy,
for want of second keys, cannot become a rule. No administrator decides alone, and no more members
are suspended than a quorum of the validators can spare (`find_voter_faults`).
"""

from collections.abc import Sequence

from contracts.governance.faults import Fault
from contracts.lookup import (
    find_ballot_box,
    find_member,
    find_officer,
    find_voting_rule,
    read_validators,
)
from ledger.blocks import quorum_of
from ledger.governance.actions import (
    Action,
    ActionClass,
    AddOfficer,
    ContractAction,
    OfficerAction,
    ParameterAction,
    RegistryAction,
    RotateOfficer,
    SetEncryptionKey,
    SetFreeze,
    SetRule,
    SetTerm,
    VotingRule,
)
from ledger.governance.proposals import Proposal
from ledger.state import StateReader

OWN_FACTORS = 2
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


def class_of(action: Action) -> ActionClass:
    """The class that an action belongs to. Ending a freeze is not urgent: it is for `parties`."""
    if isinstance(action, SetFreeze):
        return "emergency"
    if isinstance(action, OfficerAction):
        return "keys"
    if isinstance(action, ContractAction | RegistryAction):
        return "contracts"
    if isinstance(action, ParameterAction):
        return "parameters"
    return "parties"


def rule_of(state: StateReader, action_class: ActionClass) -> VotingRule:
    """The rule in force for a class."""
    return find_voting_rule(state, action_class) or DEFAULT_RULES[action_class]


def rules_for(state: StateReader, actions: Sequence[Action]) -> tuple[VotingRule, ...]:
    """Rules that votes on these actions, which are of one class, must all satisfy."""
    new = tuple(action.rule for action in actions if isinstance(action, SetRule))
    return (rule_of(state, class_of(actions[0])), *new)


def count_needed(rule: VotingRule, voters: int) -> int:
    """How many of so many voters carry a proposal: more than `rule.share` thousandths, never one.

    While members are suspended there may be fewer voters than validators.
    """
    return max(APPROVALS_MIN, voters * rule.share // 1_000 + 1)


def count_factors(state: StateReader, actions: Sequence[Action]) -> int:
    """How many administrators of a member make up its approval of these actions."""
    return max(rule.factors for rule in rules_for(state, actions))


def count_approvals_needed(state: StateReader, actions: Sequence[Action]) -> int:
    """How many voters must approve these actions."""
    voters = len(voters_of(state))
    return max(count_needed(rule, voters) for rule in rules_for(state, actions))


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


def is_own(state: StateReader, proposal: Proposal) -> bool:
    """Whether a proposal concerns only keys of the member that proposes it."""
    return all(
        isinstance(action, OfficerAction) and member_of(state, action) == proposal.member
        for action in proposal.actions
    )


def member_of(state: StateReader, action: OfficerAction) -> str | None:
    """Member whose keys an action concerns; None: the key is not known."""
    if isinstance(action, RotateOfficer):
        return action.statement.rotation.member
    if isinstance(action, AddOfficer | SetTerm | SetEncryptionKey):
        return action.member
    officer = find_officer(state, action.key)
    return None if officer is None else officer.member


def is_carried(state: StateReader, digest: bytes, proposal: Proposal) -> bool:
    """Whether enough of today's voters approve, or enough of the own administrators."""
    if is_own(state, proposal):
        box = find_ballot_box(state, digest, proposal.member)
        if box is not None and len(box.officers) >= OWN_FACTORS:
            return True
    approving = frozenset(voters_of(state)) & frozenset(proposal.approved)
    return len(approving) >= count_approvals_needed(state, proposal.actions)


def is_lost(state: StateReader, proposal: Proposal) -> bool:
    """Whether so many of today's voters reject that the rest cannot carry it.

    Never of what is a member's own: its administrators can carry that whatever others say.
    """
    if is_own(state, proposal):
        return False
    voters = voters_of(state)
    rejecting = frozenset(voters) & frozenset(proposal.rejected)
    return len(voters) - len(rejecting) < count_approvals_needed(state, proposal.actions)
