"""Where a proposal stands: the one place that writes it once it is there."""

import msgspec

from contracts.lookup import find_proposal
from ledger.governance.proposals import PROPOSALS, ProposalStatus
from ledger.state import Overlay, proposal_key


def set_status(overlay: Overlay, digest: bytes, status: ProposalStatus) -> None:
    """Let the proposal made by the event with this digest stand as `status` says."""
    proposal = find_proposal(overlay, digest)
    assert proposal is not None, "only what was proposed moves on"
    moved = msgspec.structs.replace(proposal, status=status)
    overlay.put(proposal_key(digest), PROPOSALS.encode(moved))
