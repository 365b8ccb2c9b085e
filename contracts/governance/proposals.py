"""Proposals and ballots: who may vote, what carries a proposal, and what a carried one does.

Voters are the members with a validator in the epoch in force, one vote each. A proposal counts as
its member's approval; it is carried by the ballot that makes a quorum of the voters approve, and
takes effect with that ballot. Who is a voter is asked when votes are counted: the approval of a
member that has left counts no more. If a carried change is not possible (any more), the ballot is
refused and the proposal stays open.
"""

import msgspec

from contracts.errors import RefusedEvent, refused
from contracts.governance.validators import Preview, enact, preview_change
from contracts.lookup import find_proposal, read_parameters, read_validators
from ledger.blocks import quorum_of
from ledger.events import Event
from ledger.quorum.governance import (
    PROPOSALS,
    GovernanceBalloted,
    GovernanceProposed,
    GovernanceWithdrawn,
    Proposal,
)
from ledger.state import Overlay, StateReader, proposal_key


def check_governance(state: StateReader, event: Event, *, height: int) -> None:
    """Check an administrator's event. Raises `RefusedEvent`, always one to be recorded."""
    body = event.body
    if isinstance(body, GovernanceProposed):
        _require_voter(state, event.member)
        _check_heights(state, body, height)
        _require_possible(preview_change(state, body.actions, network=event.network))
    elif isinstance(body, GovernanceBalloted):
        _require_voter(state, event.member)
        _check_ballot(state, event, body, height)
    elif isinstance(body, GovernanceWithdrawn):
        proposal = _find_open(state, body.proposal)
        if proposal.member != event.member:
            raise refused("not-the-proposer", f"only {proposal.member} may withdraw it")


def apply_governance(overlay: Overlay, event: Event) -> None:
    """Change the state as a checked event says."""
    body = event.body
    if isinstance(body, GovernanceProposed):
        digest, proposal = event.digest, _open(event, body)
    elif isinstance(body, GovernanceBalloted):
        before = find_proposal(overlay, body.proposal)
        assert before is not None, "check_governance has found it"
        digest, proposal = body.proposal, _cast(before, event.member, approve=body.approve)
    else:
        assert isinstance(body, GovernanceWithdrawn), "there is no other kind"
        digest, before = body.proposal, find_proposal(overlay, body.proposal)
        assert before is not None, "check_governance has found it"
        proposal = msgspec.structs.replace(before, status="withdrawn")
    if proposal.status == "open" and is_carried(overlay, proposal):
        preview = preview_change(overlay, proposal.actions, network=event.network)
        enact(overlay, digest, proposal, preview)
        proposal = msgspec.structs.replace(proposal, status="enacted")
    overlay.put(proposal_key(digest), PROPOSALS.encode(proposal))


def voters_of(state: StateReader) -> tuple[str, ...]:
    """Members that may vote now, sorted."""
    return tuple(sorted(validator.member for validator in read_validators(state)))


def is_carried(state: StateReader, proposal: Proposal) -> bool:
    """Whether a quorum of today's voters approves."""
    voters = voters_of(state)
    return len(frozenset(voters) & frozenset(proposal.approved)) >= quorum_of(len(voters))


def _check_heights(state: StateReader, body: GovernanceProposed, height: int) -> None:
    last = height + read_parameters(state).expiry_blocks_max
    if not height <= body.ballots_until_height <= last:
        detail = f"height {body.ballots_until_height}, from {height} to {last} are allowed"
        raise refused("ballot-period-invalid", detail)


def _check_ballot(state: StateReader, event: Event, body: GovernanceBalloted, height: int) -> None:
    proposal = _find_open(state, body.proposal)
    if height > proposal.ballots_until_height:
        detail = f"ballots counted up to height {proposal.ballots_until_height}, now {height}"
        raise refused("proposal-expired", detail)
    if event.member in proposal.approved or event.member in proposal.rejected:
        raise refused("ballot-repeated", event.member)
    if is_carried(state, _cast(proposal, event.member, approve=body.approve)):
        _require_possible(preview_change(state, proposal.actions, network=event.network))


def _open(event: Event, body: GovernanceProposed) -> Proposal:
    return Proposal(
        status="open",
        member=event.member,
        actions=body.actions,
        activate_height=body.activate_height,
        ballots_until_height=body.ballots_until_height,
        approved=(event.member,),
        rejected=(),
    )


def _cast(proposal: Proposal, member: str, *, approve: bool) -> Proposal:
    side = "approved" if approve else "rejected"
    members = tuple(sorted((*getattr(proposal, side), member)))
    return msgspec.structs.replace(proposal, **{side: members})


def _find_open(state: StateReader, digest: bytes) -> Proposal:
    proposal = find_proposal(state, digest)
    if proposal is None:
        raise refused("proposal-unknown", digest.hex())
    if proposal.status != "open":
        raise refused("proposal-closed", f"it is {proposal.status}")
    return proposal


def _require_voter(state: StateReader, member: str) -> None:
    if member not in voters_of(state):
        raise refused("not-a-voter", f"{member} has no validator in this epoch")


def _require_possible(preview: Preview) -> None:
    if preview.faults:
        first = preview.faults[0]
        raise RefusedEvent(first.code, first.detail, recordable=True)
