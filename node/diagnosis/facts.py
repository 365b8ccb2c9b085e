"""What a diagnosis looks at: one snapshot of a running node, without any judgement.

Ages and times are in milliseconds, sizes in bytes. None means: not known, or there is none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from node.peers.software import Software

Members = tuple[str, ...]


class Standing(StrEnum):
    """What this node is in the present epoch. `joining`: it is in the list that comes next."""

    VALIDATOR = "validator"
    JOINING = "joining"
    REMOVED = "removed"
    OBSERVER = "observer"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFacts:
    """A peer as this node sees it. `silent_ms` is -1 when nothing came since the start."""

    member: str
    address: str
    is_validator: bool
    is_connected: bool
    silent_ms: int
    final_height: int
    clock_offset_ms: int | None = None
    software: Software | None = None
    certificate_expires_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewFacts:
    """The current view. Kinds are `notarize`, `nullify`, `finalize`, or empty for none.

    `awaited` is the kind of certificate that comes next, of view `awaited_view`, and empty when
    nothing waits; `votes` maps kinds to members whose vote of that view is here. `certified` is the
    kind of the highest certificate held, of view `certified_view`.
    """

    epoch: int
    view: int
    leader: str
    quorum: int
    validators: Members
    has_proposal: bool
    awaited: str
    awaited_view: int
    votes: Mapping[str, Members]
    final_view: int
    certified: str
    certified_view: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncFacts:
    """Catching up: `target_height` is believed, `best_height` is what the best peer claims."""

    is_behind: bool
    target_height: int
    best_height: int
    best_peer: str
    source: str
    blocks_per_minute: int
    progress_ms_ago: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFacts:
    """The file system of the data directory; `sync_ms` is the last durable write of a vote."""

    path: str
    free_bytes: int
    total_bytes: int
    sync_ms: int | None
    engine: str
    store_bytes: int
    votes_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFacts:
    """Pending events; `oldest_ms` is how long the oldest one waits here."""

    count: int
    count_max: int
    oldest_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeFacts:
    """A pending change of the validators: who is in the next list, who of them is ready."""

    next_epoch: int
    activate_height: int
    validators: Members
    ready: Members
    quorum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CosigningFacts:
    """The newest tree: how long it waits for its quorum checkpoint, and whose lines are there."""

    tree_size: int
    checkpoint_size: int
    behind_ms: int
    signers: Members
    quorum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DropFacts:
    """What was dropped in a bounded queue since the start; the age of the last drop."""

    count: int = 0
    last_ms_ago: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The whole snapshot. `stalled_ms`: how long something waits and nothing became final.

    `block_hash` (hex) is that of the final tip, `header_index` its place in the log: what other
    nodes have there must be the same.
    """

    member: str
    standing: Standing
    wall_ms: int
    height: int
    tip_time_ms: int
    block_hash: str
    header_index: int
    stalled_ms: int
    precision_ms: int
    software: Software
    certificate_expires_ms: int
    clock_skew_ms: int | None
    view: ViewFacts
    peers: tuple[PeerFacts, ...]
    sync: SyncFacts
    disk: DiskFacts
    pool: PoolFacts
    change: ChangeFacts | None
    cosigning: CosigningFacts
    frames: DropFacts = field(default_factory=DropFacts)
    messages: DropFacts = field(default_factory=DropFacts)
    contradictions: Members = ()
