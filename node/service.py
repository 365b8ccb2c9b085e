"""What the node offers to its interfaces: the values and the port that the HTTP API consumes."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from ledger.blocks import Header, Outcome
from ledger.events import Event
from ledger.genesis import Genesis
from ledger.registry import EpochRecord
from ledger.state import StateReader
from node.diagnosis.facts import Facts
from node.oversight.duties import DutyBook
from node.oversight.overseer import Oversight


class EventState(StrEnum):
    """Where an event is. `unknown` means: never seen by this node."""

    PENDING = "pending"
    FINAL = "final"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStatus:
    """Answer to "what became of this event?". `index`, `height`, `outcome` only when final."""

    digest: bytes
    state: EventState
    code: str = ""
    detail: str = ""
    index: int = -1
    height: int = -1
    outcome: Outcome | None = None
    retry_after_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalRecord:
    """One record of a final block."""

    index: int
    event: Event
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalBlock:
    """A final, durable block as told to subscribers."""

    header: Header
    block_hash: bytes
    first_index: int
    records: tuple[FinalRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why the node is not ready: a stable code, and values for its words."""

    code: str
    values: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStatus:
    """A peer as this node sees it."""

    member: str
    connected: bool
    final_height: int
    last_seen_ms_ago: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """Snapshot for `/v1/status` and `tally localnet status`.

    Counts are since the start: frames and consensus messages that did not fit into a queue, and
    contradictory pairs of votes.
    """

    member: str
    network: bytes
    height: int
    view: int
    leader: str
    tree_size: int
    checkpoint_size: int
    pending: int
    syncing: bool
    peers: tuple[PeerStatus, ...]
    epoch: int = 0
    is_validator: bool = True
    dropped_frames: int = 0
    dropped_messages: int = 0
    evidence: int = 0


class Service(Protocol):
    """The node behind its interfaces. Reads see the final, durable state only."""

    genesis: Genesis
    network: bytes

    async def submit(self, events: Sequence[bytes], *, client: str) -> list[EventStatus]:
        """Admit signed events, in order. Each answer is pending, final (seen before) or refused."""

    def event_status(self, digest: bytes) -> EventStatus:
        """Status of an event by its digest."""

    def event_by_nonce(self, member: str, nonce: bytes) -> EventStatus:
        """Status of the event that a member's nonce names."""

    async def wait_final(self, digest: bytes, timeout_s: float) -> EventStatus:
        """Status as soon as it is not pending any more, or after `timeout_s`."""

    def state(self) -> StateReader:
        """The final state."""

    def scan_state(self, prefix: bytes, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Up to `limit` pairs under `prefix` with keys >= `start`, in key order."""

    def tree_size(self) -> int:
        """Number of final entries."""

    def final_time_ms(self) -> int:
        """Time of the newest final block; that of the genesis before the first."""

    def read_entries(self, start: int, count: int) -> list[bytes]:
        """Entries `start` to `start + count`, as many as exist."""

    def block_height_of(self, index: int) -> int:
        """Height of the block that holds entry `index`."""

    def exchange_indexes(self, exchange: bytes, first: int, limit: int) -> list[int]:
        """Up to `limit` indexes, from `first` on, of the records of an exchange or proposal."""

    def checkpoint(self) -> bytes | None:
        """Newest checkpoint note that has a quorum of cosignatures."""

    def receipt(self, index: int) -> bytes | None:
        """tlog-proof file of an entry under the newest quorum checkpoint, or None yet."""

    async def wait_receipt(self, index: int, timeout_s: float) -> bytes | None:
        """Receipt as soon as a quorum checkpoint covers the entry, or None after `timeout_s`."""

    def tile(self, path: str) -> bytes | None:
        """C2SP tlog-tiles file (`tile/0/000`, `tile/entries/000.p/5`, ...) or None."""

    def subscribe(self, from_height: int) -> AsyncIterator[FinalBlock]:
        """Final blocks from `from_height` on, then live. A slow reader re-reads from storage."""

    def status(self) -> NodeStatus:
        """Present state of the node."""

    def validators(self) -> EpochRecord:
        """The present epoch and its validators."""

    def epoch_proof(self, epoch: int) -> bytes | None:
        """Canonical `EpochProof` that ends an epoch; None: it has not ended, or not yet here."""

    def duties(self) -> DutyBook:
        """What members owe by when."""

    def oversight(self) -> Oversight:
        """What administrators must not overlook: open proposals, freezes, what ends soon."""

    async def facts(self) -> Facts:
        """What a diagnosis of the node looks at."""

    def not_ready(self) -> tuple[Reason, ...]:
        """Empty when the node can take events and make progress."""

    def fail(self, error: Exception) -> None:
        """Stop the node because of what a read found: nothing goes on half-dead."""

    async def wait_change(self) -> None:
        """Return when the answer of `not_ready` may have changed."""
