"""Events that a node signs by itself: readiness, evidence (R12), anchors of its access log.

All are offered again until the state shows them, so neither a lost message nor a restart loses
one. Evidence is stored in the log's meta value `evidence` before anything else happens with it; the
votes in it are in no other place once the view they belong to is final.
"""

import hashlib

import structlog

from contracts.lookup import (
    find_access_anchor,
    find_epoch,
    find_evidence,
    read_epoch,
    read_parameters,
    read_pending,
)
from ledger.access.anchors import AccessLogged
from ledger.codec import Codec
from ledger.events import Event, NodeBody
from ledger.log import Log
from ledger.quorum.governance import EvidenceEquivocation, ValidatorReady
from ledger.quorum.votes import Vote, decode_vote, encode_vote
from node.engine.ports import AccessAnchors
from node.simplex.guard import GuardedSigner
from node.simplex.types import Evidence

LOG = structlog.get_logger("duties")

EVIDENCE_META = b"evidence"
EVIDENCE_MAX = 64
EXPIRY_BLOCKS = 500

_EVIDENCES = Codec(tuple[EvidenceEquivocation, ...], size_bytes_max=65_536)


class Duties:
    """What this node owes the ledger. `member` and `consensus_key` say who it is."""

    def __init__(
        self, *, log: Log, member: str, consensus_key: bytes, guard: GuardedSigner
    ) -> None:
        self._log = log
        self._member = member
        self._consensus_key = consensus_key
        self._guard = guard
        self.access: AccessAnchors | None = None
        self._made: dict[bytes, Event] = {}  # by nonce
        stored = log.get_meta(EVIDENCE_META)
        self._evidence = _EVIDENCES.decode(stored) if stored else ()

    def note_evidence(self, evidence: Evidence) -> None:
        """Keep two contradictory votes: one pair of a validator and epoch, the first that came."""
        first, second = sorted((encode_vote(evidence.first), encode_vote(evidence.second)))
        found = EvidenceEquivocation(first=first, second=second)
        who = _who(decode_vote(first))
        if any(_who(decode_vote(each.first)) == who for each in self._evidence):
            return
        self._evidence = (*self._evidence, found)[-EVIDENCE_MAX:]
        self._log.append((), {EVIDENCE_META: _EVIDENCES.encode(self._evidence)})

    def due(self, *, is_validator: bool, is_synced: bool) -> list[Event]:
        """Events to be offered to the network now; the same ones until they are recorded."""
        bodies: list[NodeBody] = []
        if is_validator:
            bodies += [each for each in self._evidence if self._is_open(each)]
            # A log that is behind does not know the last anchor.
            anchor = self._anchor() if is_synced else None
            bodies += [] if anchor is None else [anchor]
        ready = self._ready() if is_synced else None
        if ready is not None:
            bodies.append(ready)
        made = [self._make(body) for body in bodies]
        self._made = {event.nonce: event for event in made}
        return made

    def _is_open(self, evidence: EvidenceEquivocation) -> bool:
        """Whether the state holds nothing yet about that validator in that view."""
        vote = decode_vote(evidence.first)
        record = find_epoch(self._log, vote.subject.epoch)
        if record is None or vote.signer >= len(record.validators):
            return False
        member = record.validators[vote.signer].member
        return find_evidence(self._log, record.epoch, vote.subject.view, member) is None

    def _anchor(self) -> AccessLogged | None:
        """What is to be said about the access log."""
        if self.access is None:
            return None
        return self.access.due(find_access_anchor(self._log, self._member))

    def _ready(self) -> ValidatorReady | None:
        """The word that is missing for the pending list, if this node is in it."""
        pending = read_pending(self._log)
        if pending is None or self._member in pending.ready:
            return None
        mine = (self._member, self._consensus_key)
        if mine not in [(each.member, each.consensus_key) for each in pending.validators]:
            return None
        epoch = read_epoch(self._log).epoch + 1
        for event in self._made.values():
            body = event.body
            if isinstance(body, ValidatorReady) and body.set_hash == pending.set_hash:
                return body  # as it was said before, with the height of that time
        return ValidatorReady(
            next_epoch=epoch, set_hash=pending.set_hash, synced_height=self._log.tip.height
        )

    def _make(self, body: NodeBody) -> Event:
        """The signed event over a body: the one made before, unless it has expired."""
        nonce = _nonce_of(body)
        made = self._made.get(nonce)
        height = self._log.tip.height
        if made is not None and made.expires_height > height:
            return made
        blocks = min(EXPIRY_BLOCKS, read_parameters(self._log).expiry_blocks_max)
        return self._guard.sign_event(
            body, member=self._member, nonce=nonce, expires_height=height + blocks
        )


def _nonce_of(body: NodeBody) -> bytes:
    """The first 16 bytes of the hash of what is said, so that a node says it once."""
    if isinstance(body, EvidenceEquivocation):
        content = body.first + body.second
    elif isinstance(body, AccessLogged):
        content = body.previous + body.digest
    else:
        numbers = body.next_epoch.to_bytes(8, "big") + body.synced_height.to_bytes(8, "big")
        content = numbers + body.set_hash
    return hashlib.sha256(content).digest()[:16]


def _who(vote: Vote) -> tuple[int, int]:
    return vote.subject.epoch, vote.signer
