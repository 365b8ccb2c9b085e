"""The second, independent guard against double signing: holds the key, refuses contradictions.

The guard keeps its own table `(epoch, view) -> notarized hash, nullified, finalized hash` above a
floor and decides from the exact bytes it is asked to sign; it shares no state and no parser with
the core. It has no file of its own, hence no second fsync a vote: at start the table is rebuilt, by
the code here, from the raw own votes and floors in the log. That holds under a kill at any
instruction, because a vote leaves the node only after its log record is synced: a signature that is
not in the log was never sent, so signing something else in its place is harmless. When the log is
rotated, `check_rotation` insists that every entry of the table is carried over, so no fault of the
core can lose one. Against two hosts with one key no local table helps: activating a key is an
operator step.
"""

from dataclasses import dataclass

from ledger.events import Event, NodeBody, sign_event
from ledger.keys import RawSigner
from node.simplex.errors import ConflictingVote
from node.simplex.types import FloorRecord, OwnVote, Records

_DOMAIN = b"tallystick/simplex/v1\0"
_STATUS_DOMAIN = b"tallystick/status/v1\0"
_KIND_AT = len(_DOMAIN) + 32
_HEAD_BYTES = _KIND_AT + 17
_BODY_BYTES = 48
_NOTARIZE, _NULLIFY, _FINALIZE = 1, 2, 3


@dataclass(slots=True)
class _Entry:
    """What was signed in one view."""

    notarized: bytes | None = None  # the whole body, which ends with the block hash
    is_nullified: bool = False
    finalized: bytes | None = None


class GuardedSigner:
    """Signs votes, statuses and events of one validator on one network with one Ed25519 key."""

    def __init__(self, *, key: RawSigner, network_id: bytes) -> None:
        self.public_key = key.public[1:]
        self._key = key
        self._network_id = network_id
        self._floor = (0, 0)
        self._table: dict[tuple[int, int], _Entry] = {}

    def restore(self, records: Records) -> None:
        """Rebuild the table from the records of the log, in any order. Raises `ConflictingVote`."""
        held = list(records)
        for record in held:
            if isinstance(record, FloorRecord):
                self.advance_floor(epoch=record.epoch, view=record.view)
        for record in held:
            if isinstance(record, OwnVote):
                subject = record.vote.subject
                if (subject.epoch, subject.view) > self._floor:
                    body = b"" if subject.kind == _NULLIFY else _pack_body(record)
                    self._admit(int(subject.kind), subject.epoch, subject.view, body)

    def sign_vote(self, message: bytes) -> bytes:
        """Signature (64 bytes) over the signed bytes of a vote. Raises `ConflictingVote`."""
        kind, epoch, view, body = self._read(message)
        if (epoch, view) <= self._floor:
            raise ConflictingVote(f"epoch {epoch} view {view} is not above the floor {self._floor}")
        entry = self._table.get((epoch, view))
        if kind == _NOTARIZE and entry is not None and entry.is_nullified:
            raise ConflictingVote(f"notarize after nullify refused in epoch {epoch} view {view}")
        self._admit(kind, epoch, view, body)
        return self._key.sign_raw(message)

    def sign_status(self, message: bytes) -> bytes:
        """Signature (64 bytes) over the signed bytes of a status. Raises `ConflictingVote`."""
        if not message.startswith(_STATUS_DOMAIN + self._network_id):
            raise ConflictingVote("not the bytes of a status of this network")
        return self._key.sign_raw(message)

    def sign_event(
        self, body: NodeBody, *, member: str, nonce: bytes, expires_height: int
    ) -> Event:
        """Event of a node, signed with its consensus key under the domain of events."""
        return sign_event(
            self._key,
            network=self._network_id,
            member=member,
            nonce=nonce,
            expires_height=expires_height,
            body=body,
        )

    def advance_floor(self, *, epoch: int, view: int) -> None:
        """Nothing at or below is signed any more; a floor never moves back (I8)."""
        self._floor = max(self._floor, (epoch, view))
        for key in [key for key in self._table if key <= self._floor]:
            del self._table[key]

    def check_rotation(self, live_records: Records) -> None:
        """Raises `ConflictingVote` if a rotated log would forget a vote above the floor."""
        floors = {(0, 0)}
        kept = set()
        for record in live_records:
            if isinstance(record, FloorRecord):
                floors.add((record.epoch, record.view))
            elif isinstance(record, OwnVote):
                subject = record.vote.subject
                kept.add((int(subject.kind), subject.epoch, subject.view))
        floor = max(floors)
        for (epoch, view), entry in self._table.items():
            kinds = [_NOTARIZE] if entry.notarized is not None else []
            kinds += [_NULLIFY] if entry.is_nullified else []
            kinds += [_FINALIZE] if entry.finalized is not None else []
            for kind in kinds:
                if (epoch, view) > floor and (kind, epoch, view) not in kept:
                    raise ConflictingVote(f"the new log lacks a vote of epoch {epoch} view {view}")
        if floor < self._floor:
            raise ConflictingVote(f"the new log's floor {floor} is below {self._floor}")

    def _read(self, message: bytes) -> tuple[int, int, int, bytes]:
        if not message.startswith(_DOMAIN + self._network_id) or len(message) < _HEAD_BYTES:
            raise ConflictingVote("not the bytes of a vote on this network")
        kind = message[_KIND_AT]
        epoch = int.from_bytes(message[_KIND_AT + 1 : _KIND_AT + 9], "big")
        view = int.from_bytes(message[_KIND_AT + 9 : _HEAD_BYTES], "big")
        body = message[_HEAD_BYTES:]
        sizes = {_NOTARIZE: _BODY_BYTES, _NULLIFY: 0, _FINALIZE: _BODY_BYTES}
        if sizes.get(kind) != len(body):
            raise ConflictingVote("a vote of an unknown form")
        return kind, epoch, view, body

    def _admit(self, kind: int, epoch: int, view: int, body: bytes) -> None:
        """I1, I2, I3; the table changes only if the vote is admitted."""
        entry = self._table.get((epoch, view), _Entry())
        where = f"in epoch {epoch} view {view}"
        if kind == _NOTARIZE:
            if entry.notarized not in (None, body):
                raise ConflictingVote(f"second notarize refused {where}")
            if entry.finalized not in (None, body):
                raise ConflictingVote(f"notarize refused {where}")
            entry.notarized = body
        elif kind == _NULLIFY:
            if entry.finalized is not None:
                raise ConflictingVote(f"nullify after finalize refused {where}")
            entry.is_nullified = True
        else:
            if entry.is_nullified or entry.finalized not in (None, body):
                raise ConflictingVote(f"finalize refused {where}")
            if entry.notarized not in (None, body):
                raise ConflictingVote(f"finalize of another block refused {where}")
            entry.finalized = body
        self._table[(epoch, view)] = entry


def _pack_body(record: OwnVote) -> bytes:
    subject = record.vote.subject
    numbers = subject.height.to_bytes(8, "big") + subject.parent_view.to_bytes(8, "big")
    return numbers + subject.block_hash
