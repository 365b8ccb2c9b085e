"""What votes on a proposal come to: how many are needed, and whether it is carried or lost.

What concerns only the keys of the member that proposes it (`officer.*`, `encryption.set`,
`gateway.set`) is also carried by `OWN_FACTORS` of its own administrators: an agency appoints its
officers, but none of them alone; and no single stolen key turns an agency's payloads to a key of
somebody else, or those who fetch them to a gateway of somebody else.
The other way, a vote, is how a member that has lost its keys gets new ones.

A rule is changed by votes that satisfy the old rule and the new one: so what nobody can satisfy,
for want of second keys, cannot become a rule.
"""

from collections.abc import Sequence

from contracts.governance.catalogue import class_of
from contracts.governance.rules import count_needed, rule_of, voters_of
from contracts.lookup import find_ballot_box, find_officer
from ledger.governance.actions import Action, AddOfficer, OfficerAction, SetRule, VotingRule
from ledger.governance.keys import RotateOfficer, SetEncryptionKey, SetGateway, SetTerm
from ledger.governance.proposals import Proposal
from ledger.state import StateReader

OWN_FACTORS = 2


def rules_for(state: StateReader, actions: Sequence[Action]) -> tuple[VotingRule, ...]:
    """Rules that votes on these actions, which are of one class, must all satisfy."""
    new = tuple(action.rule for action in actions if isinstance(action, SetRule))
    return (rule_of(state, class_of(actions[0])), *new)


def count_factors(state: StateReader, actions: Sequence[Action]) -> int:
    """How many administrators of a member make up its approval of these actions."""
    return max(rule.factors for rule in rules_for(state, actions))


def count_approvals_needed(state: StateReader, actions: Sequence[Action]) -> int:
    """How many voters must approve these actions."""
    voters = len(voters_of(state))
    return max(count_needed(rule, voters) for rule in rules_for(state, actions))


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
    if isinstance(action, AddOfficer | SetTerm | SetEncryptionKey | SetGateway):
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
