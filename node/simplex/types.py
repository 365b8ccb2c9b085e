"""Values of the Simplex core: votes, certificates, blocks, inputs, effects, log records.

All are immutable. Times: `mono_ms` is a monotonic clock, `wall_ms` Unix time, both in milliseconds.
Hashes are 32 bytes, signatures raw Ed25519 (64 bytes), validators are indexes into the epoch's
ordered list.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Protocol, TypeAlias

import msgspec

from ledger.quorum.votes import HASH_BYTES, SIGNATURE_BYTES, Kind, Subject, Vote

__all__ = ["HASH_BYTES", "SIGNATURE_BYTES", "Kind", "Subject", "Vote"]

VALIDATORS_MIN = 4
VALIDATORS_MAX = 30


class _Value(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the values here."""


class Certificate(_Value, frozen=True, kw_only=True):
    """A quorum of votes on one subject; `signers` ascend, `signatures` stand in their order."""

    subject: Subject
    committee: int  # number of validators of the epoch
    signers: tuple[int, ...]
    signatures: tuple[bytes, ...]


class Proposal(_Value, frozen=True, kw_only=True):
    """A leader's block: opaque header, event digests, the certificates that justify its place."""

    header: bytes
    refs: tuple[bytes, ...]
    justification: tuple[Certificate, ...]
    vote: Vote  # the leader's notarize vote is the signature of the proposal


class Frontier(_Value, frozen=True, kw_only=True):
    """Stored certificates and own votes, sent again (R10)."""

    epoch: int
    certificates: tuple[Certificate, ...]
    votes: tuple[Vote, ...]


class Status(_Value, frozen=True, kw_only=True):
    """Where a validator stands; signed."""

    epoch: int
    view: int
    final_view: int
    final_height: int
    time_ms: int
    signer: int
    signature: bytes


Message: TypeAlias = Vote | Certificate | Proposal | Frontier | Status


class Block(_Value, frozen=True, kw_only=True):
    """What the core knows of a block; the application parses it from header and refs.

    `is_seal`: it names the next epoch's validators and is the last block of its epoch.
    """

    hash: bytes  # SHA-256 of the header
    header: bytes
    refs: tuple[bytes, ...]  # 32-byte event digests, in order
    epoch: int
    view: int
    parent_view: int
    height: int
    parent_hash: bytes
    time_ms: int
    proposer: int
    is_seal: bool = False


class Verdict(Enum):
    """Result of `Application.validate`."""

    VALID = "valid"
    INVALID = "invalid"
    MISSING = "missing"


class Application(Protocol):
    """What the core asks of the chain. Synchronous; every answer is deterministic given the data.

    `holds` and `block` must answer for the final block the core starts from (also the genesis).
    """

    def parse(self, header: bytes, refs: tuple[bytes, ...]) -> Block:
        """The block. Raises a `ValueError` when the header is objectively invalid."""
        ...

    def has_pending(self, parent_hash: bytes) -> bool:
        """R9 (a): events are pending that the chain ending at `parent_hash` does not contain."""
        ...

    def expects_more(self, parent_hash: bytes) -> bool:
        """R4: it pays to wait a little for more events before a child of `parent_hash` is built."""
        ...

    def build(
        self, parent_hash: bytes, *, epoch: int, view: int, parent_view: int, wall_ms: int
    ) -> Block | None:
        """Execute and build a child of `parent_hash`, which is then held; None: cannot."""
        ...

    def validate(self, block: Block) -> Verdict:
        """Execute and compare. VALID: the block is held from now on. MISSING is never cached."""
        ...

    def holds(self, block_hash: bytes) -> bool:
        """The block is here with all its events."""
        ...

    def block(self, block_hash: bytes) -> Block | None:
        """The block of that hash, if held."""
        ...


class Signer(Protocol):
    """The guard: signs exact vote bytes and refuses contradictions (`node.simplex.guard`)."""

    def sign_vote(self, message: bytes) -> bytes:
        """Signature (64 bytes) over the signed bytes of a vote. Raises `ConflictingVote`."""
        ...

    def sign_status(self, message: bytes) -> bytes:
        """Signature (64 bytes) over the signed bytes of a status."""
        ...

    def advance_floor(self, *, epoch: int, view: int) -> None:
        """Nothing at or below (epoch, view) will be signed any more."""
        ...


class Config(_Value, frozen=True, kw_only=True):
    """Constants of one epoch and the final block to start from (the genesis, or the stored tip)."""

    network_id: bytes
    epoch: int
    validators: tuple[bytes, ...]  # raw 32-byte Ed25519 keys, in order
    me: int | None  # None: observer
    genesis_hash: bytes  # view 0 of the epoch
    rotation: int = 0
    delta_ms: int = 300
    cap_ms: int = 60_000
    precision_ms: int = 500
    message_delay_ms: int = 2_000
    heartbeat_ms: int = 3_600_000
    retransmit_ms: int = 1_000
    silent_leader_ms: int = 30_000
    final_view: int = 0
    final_height: int = 0
    final_hash: bytes = b""  # empty: the genesis


class Now(_Value, frozen=True, kw_only=True):
    """The two clocks at one step."""

    mono_ms: int
    wall_ms: int


class Received(_Value, frozen=True, kw_only=True):
    """Message bytes of an authenticated peer; from n up: peers that are no validators."""

    sender: int
    message: bytes


class Tick(_Value, frozen=True, kw_only=True):
    """The time of `Effects.wake_ms` has come."""


class PendingChanged(_Value, frozen=True, kw_only=True):
    """Events came into or left the pool."""


class DataArrived(_Value, frozen=True, kw_only=True):
    """The application now holds more data for this block."""

    block_hash: bytes


class Connected(_Value, frozen=True, kw_only=True):
    """A link to this peer came up."""

    peer: int


class Synced(_Value, frozen=True, kw_only=True):
    """State sync moved the application's final tip."""

    view: int
    height: int
    block_hash: bytes


Input: TypeAlias = Received | Tick | PendingChanged | DataArrived | Connected | Synced


class Sealed(_Value, frozen=True, kw_only=True):
    """The end of an epoch, delivered: its seal block, and the encoded finalization message.

    `finalization` is empty when the block came by state sync.
    """

    block: Block
    finalization: bytes


class Snapshot(_Value, frozen=True, kw_only=True):
    """Where a core stands, for people and their tools. Times are monotonic, in milliseconds.

    `awaited` is the kind of certificate that comes next, of `awaited_view`, None: idle; `votes` are
    the signers seen in that view. `certified` is the certificate of the highest view held.
    """

    epoch: int
    view: int
    leader: int
    quorum: int
    final_view: int
    final_height: int
    delivered_height: int
    is_over: bool
    has_proposal: bool
    demand_ms: int | None
    timeout_ms: int | None
    awaited: Kind | None
    awaited_view: int
    votes: Mapping[Kind, tuple[int, ...]]
    certified: Kind | None
    certified_view: int
    heard_ms: tuple[int | None, ...]  # by validator; None: nothing since the start
    clock_skew_ms: int | None


class OwnVote(_Value, frozen=True, kw_only=True):
    """A vote of this node: durable before it is sent (I4)."""

    vote: Vote


class PeerVote(_Value, frozen=True, kw_only=True):
    """First vote seen of another validator, kept as evidence across restarts (R12)."""

    vote: Vote


class BlockRecord(_Value, frozen=True, kw_only=True):
    """A block; the driver adds the raw `events`, so that it can be replayed after a crash."""

    hash: bytes
    header: bytes
    refs: tuple[bytes, ...]
    events: tuple[bytes, ...] = ()


class CertificateRecord(_Value, frozen=True, kw_only=True):
    """A certificate seen first."""

    certificate: Certificate


class FloorRecord(_Value, frozen=True, kw_only=True):
    """Everything at or below `view` is final; no vote at or below it, ever (I8)."""

    epoch: int
    view: int
    height: int
    block_hash: bytes


WalRecord: TypeAlias = OwnVote | PeerVote | BlockRecord | CertificateRecord | FloorRecord


def epochs_of(records: Iterable[WalRecord]) -> list[int]:
    """Epochs of votes, certificates and floors; blocks are of the chain, not of a voting."""
    epochs = []
    for record in records:
        match record:
            case OwnVote() | PeerVote():
                epochs.append(record.vote.subject.epoch)
            case CertificateRecord():
                epochs.append(record.certificate.subject.epoch)
            case FloorRecord():
                epochs.append(record.epoch)
            case BlockRecord():
                pass
    return epochs


def final_height_of(records: Iterable[WalRecord]) -> int:
    """The highest height that floors and finalizations name, 0 if there is none."""
    heights = [0]
    for record in records:
        if isinstance(record, FloorRecord):
            heights.append(record.height)
        elif isinstance(record, CertificateRecord):
            subject = record.certificate.subject
            heights += [subject.height] if subject.kind is Kind.FINALIZE else []
    return max(heights)


class Send(_Value, frozen=True, kw_only=True):
    """Message bytes to one validator, or to all others (`to` None)."""

    to: int | None
    message: bytes


class Fetch(_Value, frozen=True, kw_only=True):
    """Get this block, or its missing events, from one of `ask`; answer with `DataArrived`.

    Repeated while the block is needed; the driver ignores a repetition of a running fetch.
    """

    block_hash: bytes
    ask: tuple[int, ...]


class Evidence(_Value, frozen=True, kw_only=True):
    """Two votes of one signer in one view that no honest validator signs together (R12)."""

    first: Vote
    second: Vote


class Rejected(_Value, frozen=True, kw_only=True):
    """A message, or the rest of one, was refused; `is_fault` blames the sender."""

    sender: int
    reason: str
    is_fault: bool


class Effects(_Value, frozen=True, kw_only=True):
    """What the driver does after a step, in the order of the fields.

    `sync`: one fdatasync after `persist` and before `send` and `commit`. `commit`: final blocks in
    height order, each exactly once, all held. `wake_ms`: monotonic time of the next `Tick`, None:
    silence. It replaces the earlier one.
    """

    persist: tuple[WalRecord, ...] = ()
    sync: bool = False
    send: tuple[Send, ...] = ()
    commit: tuple[Block, ...] = ()
    fetch: tuple[Fetch, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    wake_ms: int | None = None


Records: TypeAlias = Iterable[WalRecord]
