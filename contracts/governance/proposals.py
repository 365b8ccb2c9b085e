"""Proposals and ballots: what an administrator may do, and what follows when votes suffice.

A proposal counts as its member's approval. It is carried by the ballot with which enough of today's
voters approve (`contracts.governance.counts`), and lost by the one after which they cannot. If a
carried change is not possible (any more), the deciding ballot is refused and the proposal stays
open. Carried changes wait for their height (`contracts.governance.schedule`).
"""

from dataclasses import dataclass

import msgspec

from contracts.errors import RefusedEvent, refused, unfit
from contracts.governance.counts import OWN_FACTORS, count_factors, is_carried, is_lost, is_own
from contracts.governance.effects import find_faults, is_about_validators
from contracts.governance.parties import put_member
from contracts.governance.rules import voters_of
from contracts.governance.schedule import check_room, wait
from contracts.governance.status import set_status
from contracts.governance.validators import enact, preview_change
from contracts.lookup import find_ballot_box, find_member, find_proposal, read_parameters
from ledger.events import Event
from ledger.governance.actions import AdmitMember
from ledger.governance.proposals import (
    BALLOT_BOXES,
    PROPOSALS,
    BallotBox,
    GovernanceAcknowledged,
    GovernanceBalloted,
    GovernanceProposed,
    GovernanceWithdrawn,
    Proposal,
)
from ledger.state import Overlay, StateReader, ballot_box_key, proposal_key


@dataclass(frozen=True, slots=True, kw_only=True)
class _Count:
    """A proposal and its member's box after a vote."""

    digest: bytes
    proposal: Proposal
    box: BallotBox

    def on(self, state: StateReader, member: str) -> Overlay:
        """The state with this count in it."""
        overlay = Overlay(state)
        overlay.put(proposal_key(self.digest), PROPOSALS.encode(self.proposal))
        overlay.put(ballot_box_key(self.digest, member), BALLOT_BOXES.encode(self.box))
        return overlay


def check_governance(state: StateReader, event: Event, *, height: int) -> None:
    """Check an administrator's event. Raises `RefusedEvent`, always one to be recorded."""
    body = event.body
    if isinstance(body, GovernanceProposed):
        _check_heights(state, body, height)
        count = _open(state, event, body)
        if event.member not in voters_of(state) and not is_own(state, count.proposal):
            raise refused("not-a-voter", f"{event.member} has no validator in this epoch")
        _require_possible(state, event, count.proposal, height)
    elif isinstance(body, GovernanceBalloted):
        _check_ballot(state, event, body, height)
    elif isinstance(body, GovernanceWithdrawn):
        proposal = _find_open(state, body.proposal)
        if proposal.member != event.member:
            raise refused("not-the-proposer", f"only {proposal.member} may withdraw it")


def check_acknowledgement(state: StateReader, event: Event, body: GovernanceAcknowledged) -> None:
    """Check that an admitted member acknowledges its own admission. Raises `RefusedEvent`."""
    proposal = find_proposal(state, body.proposal)
    if proposal is None:
        raise unfit("proposal-unknown", body.proposal.hex())
    admitted = [
        action.application.id for action in proposal.actions if isinstance(action, AdmitMember)
    ]
    member = find_member(state, event.member)
    if event.member not in admitted or member is None or member.status != "applied":
        raise unfit("acknowledge-unexpected", event.member)


def apply_governance(overlay: Overlay, event: Event, *, height: int) -> None:
    """Change the state as a checked event of the block at `height` says."""
    body = event.body
    if isinstance(body, GovernanceAcknowledged):
        member = find_member(overlay, event.member)
        assert member is not None, "check_acknowledgement has found it"
        put_member(overlay, msgspec.structs.replace(member, status="active"))
    elif isinstance(body, GovernanceWithdrawn):
        set_status(overlay, body.proposal, "withdrawn")
    elif isinstance(body, GovernanceProposed):
        _settle(overlay, event, _open(overlay, event, body), height)
    else:
        assert isinstance(body, GovernanceBalloted), "there is no other kind"
        _settle(overlay, event, _cast(overlay, event, body), height)


def _settle(overlay: Overlay, event: Event, count: _Count, height: int) -> None:
    """Write a count, and do what follows from it."""
    for key, value in count.on(overlay, event.member).changes.items():
        overlay.put(key, value)
    proposal = count.proposal
    if is_carried(overlay, count.digest, proposal):
        if is_about_validators(proposal.actions):
            preview = preview_change(overlay, proposal.actions, network=event.network)
            enact(overlay, count.digest, proposal, preview)
            set_status(overlay, count.digest, "enacted")
        else:
            wait(overlay, count.digest, proposal, height)
            set_status(overlay, count.digest, "waiting")
    elif is_lost(overlay, proposal):
        set_status(overlay, count.digest, "rejected")


def _check_heights(state: StateReader, body: GovernanceProposed, height: int) -> None:
    last = height + read_parameters(state).expiry_blocks_max
    if not height <= body.ballots_until_height <= last:
        detail = f"height {body.ballots_until_height}, from {height} to {last} are allowed"
        raise refused("ballot-period-invalid", detail)


def _check_ballot(state: StateReader, event: Event, body: GovernanceBalloted, height: int) -> None:
    proposal = _find_open(state, body.proposal)
    is_own_one = is_own(state, proposal) and event.member == proposal.member
    if event.member not in voters_of(state) and not is_own_one:
        raise refused("not-a-voter", f"{event.member} has no validator in this epoch")
    if height > proposal.ballots_until_height:
        detail = f"ballots counted up to height {proposal.ballots_until_height}, now {height}"
        raise refused("proposal-expired", detail)
    box = find_ballot_box(state, body.proposal, event.member)
    officers = () if box is None else box.officers
    has_said = event.member in (*proposal.approved, *proposal.rejected)
    needs_more = is_own_one and body.approve and len(officers) < OWN_FACTORS
    if event.officer in officers or (has_said and not needs_more):
        raise refused("ballot-repeated", event.member)
    count = _cast(state, event, body)
    if is_carried(count.on(state, event.member), count.digest, count.proposal):
        _require_possible(state, event, proposal, height)


def _open(state: StateReader, event: Event, body: GovernanceProposed) -> _Count:
    is_whole = count_factors(state, body.actions) == 1
    proposal = Proposal(
        status="open",
        member=event.member,
        actions=body.actions,
        activate_height=body.activate_height,
        ballots_until_height=body.ballots_until_height,
        approved=(event.member,) if is_whole else (),
        rejected=(),
    )
    return _Count(digest=event.digest, proposal=proposal, box=BallotBox(officers=(event.officer,)))


def _cast(state: StateReader, event: Event, body: GovernanceBalloted) -> _Count:
    """Count a ballot: an approval is whole once enough administrators of the member gave it."""
    proposal = find_proposal(state, body.proposal)
    assert proposal is not None, "check_governance has found it"
    box = find_ballot_box(state, body.proposal, event.member) or BallotBox(officers=())
    approved, rejected = frozenset(proposal.approved), frozenset(proposal.rejected)
    if body.approve:
        box = BallotBox(officers=tuple(sorted((*box.officers, event.officer))))
        if len(box.officers) >= count_factors(state, proposal.actions):
            approved |= {event.member}
    else:
        rejected |= {event.member}
    proposal = msgspec.structs.replace(
        proposal, approved=tuple(sorted(approved)), rejected=tuple(sorted(rejected))
    )
    return _Count(digest=body.proposal, proposal=proposal, box=box)


def _find_open(state: StateReader, digest: bytes) -> Proposal:
    proposal = find_proposal(state, digest)
    if proposal is None:
        raise refused("proposal-unknown", digest.hex())
    if proposal.status != "open":
        raise refused("proposal-closed", proposal.status)
    return proposal


def _require_possible(state: StateReader, event: Event, proposal: Proposal, height: int) -> None:
    faults = find_faults(state, proposal.actions, network=event.network)
    if faults:
        raise RefusedEvent(faults[0].code, faults[0].detail, recordable=True)
    if not is_about_validators(proposal.actions):
        check_room(state, proposal, height)
