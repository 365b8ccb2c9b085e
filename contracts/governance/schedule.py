"""Carried changes wait for their height, and take effect at the end of the block before it.

So a change is in force from the first event of the block at its height on, or of the next block if
that height is past: never in the middle of a block. What has become impossible meanwhile fails as a
whole and leaves everything as it was.
"""

from contracts.errors import refused
from contracts.governance.catalogue import target_of
from contracts.governance.effects import rehearse
from contracts.governance.faults import Moment
from contracts.governance.status import set_status
from contracts.lookup import find_proposal, read_waiting
from ledger.governance.proposals import (
    REVISIONS,
    WAITING_MAX,
    WAITINGS,
    Proposal,
    Revision,
    Waiting,
)
from ledger.state import WAITING_KEY, Overlay, StateReader, revision_key


def check_room(state: StateReader, proposal: Proposal, height: int) -> None:
    """Check that a proposal can wait. Raises `RefusedEvent`.

    One that waits for a later block holds what it changes: nothing else may be decided about it.
    """
    waiting = read_waiting(state)
    if len(waiting) >= WAITING_MAX:
        raise refused("waiting-full", str(WAITING_MAX))
    targets = frozenset(map(target_of, proposal.actions))
    for each in waiting:
        other = find_proposal(state, each.proposal)
        assert other is not None, "what waits is a proposal"
        taken = targets.intersection(map(target_of, other.actions))
        if taken and each.height > height + 1:
            detail = f"{min(taken)}: proposal {each.proposal.hex()} at height {each.height}"
            raise refused("target-waiting", detail)


def wait(overlay: Overlay, digest: bytes, proposal: Proposal, height: int) -> None:
    """Let a proposal that the block at `height` carries wait for its own height."""
    later = Waiting(height=max(proposal.activate_height, height + 1), proposal=digest)
    waiting = sorted((*read_waiting(overlay), later), key=lambda each: each.height)
    overlay.put(WAITING_KEY, WAITINGS.encode(tuple(waiting)))


def enact_due(overlay: Overlay, height: int, *, time_ms: int, network: bytes) -> None:
    """At the end of the block at `height`: put in force what the next block begins with."""
    waiting = read_waiting(overlay)
    due = [each for each in waiting if each.height <= height + 1]
    if not due:
        return
    overlay.put(WAITING_KEY, WAITINGS.encode(waiting[len(due) :]))
    for each in due:
        proposal = find_proposal(overlay, each.proposal)
        assert proposal is not None, "what waits is a proposal"
        moment = Moment(proposal=each.proposal, height=height + 1, time_ms=time_ms)
        rehearsal = rehearse(overlay, proposal.actions, network=network, moment=moment)
        if not rehearsal.faults:
            for key, value in rehearsal.overlay.changes.items():
                overlay.put(key, value)
            _note_revisions(overlay, proposal, each.proposal, height + 1)
        set_status(overlay, each.proposal, "failed" if rehearsal.faults else "in_force")


def _note_revisions(overlay: Overlay, proposal: Proposal, digest: bytes, height: int) -> None:
    """The history of everything that was changed; of two changes in one block the last counts."""
    revision = REVISIONS.encode(Revision(proposal=digest, height=height))
    for action in proposal.actions:
        overlay.put(revision_key(target_of(action), height), revision)
