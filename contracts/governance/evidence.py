"""Evidence of a double vote: recorded once for each validator and view, by whoever saw it first."""

from contracts.errors import unfit
from contracts.governance.validators import check_validator
from contracts.lookup import find_epoch, find_evidence, read_validators
from ledger.errors import InvalidEncoding, InvalidEvidence
from ledger.events import Event
from ledger.quorum.evidence import verify_equivocation
from ledger.quorum.governance import EvidenceEquivocation
from ledger.quorum.votes import Vote, decode_vote
from ledger.registry import EpochRecord
from ledger.state import Overlay, StateReader, evidence_key


def check_evidence(state: StateReader, event: Event, body: EvidenceEquivocation) -> None:
    """Check evidence that a validator submits. Raises `RefusedEvent`, never one to be recorded."""
    check_validator(event, read_validators(state))
    try:
        first, second = decode_vote(body.first), decode_vote(body.second)
    except InvalidEncoding as error:
        raise unfit("evidence-invalid", str(error)) from None
    epoch = find_epoch(state, first.subject.epoch)
    if epoch is None:
        raise unfit("evidence-invalid", f"epoch {first.subject.epoch} is not known")
    try:
        verify_equivocation(event.network, epoch.validators, first, second)
    except InvalidEvidence as error:
        raise unfit("evidence-invalid", str(error)) from None
    known = find_evidence(state, epoch.epoch, first.subject.view, accused(epoch, first))
    if known is not None:
        raise unfit("evidence-known", f"event {known.hex()} holds evidence about this view")


def apply_evidence(overlay: Overlay, event: Event, body: EvidenceEquivocation) -> None:
    """Note that checked evidence is on the ledger; the votes stand in the record."""
    vote = decode_vote(body.first)
    epoch = find_epoch(overlay, vote.subject.epoch)
    assert epoch is not None, "check_evidence has found it"
    key = evidence_key(epoch.epoch, vote.subject.view, accused(epoch, vote))
    overlay.put(key, event.digest)


def accused(epoch: EpochRecord, vote: Vote) -> str:
    """Member whose validator signed the vote; its index is in the epoch's list."""
    return epoch.validators[vote.signer].member
