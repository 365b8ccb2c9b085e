"""Frames between nodes, one byte of type and a content; see `node.peers.links` for the channels.

    consensus channel
      1  consensus message          bytes of `node.simplex.messages`
      2  cosignature line           final height u64 | `node.engine.cosign.Line`
      3  tip                        final height u64
    bulk channel (content: MessagePack, strict by type)
      16 events                     [event bytes, ...]
      18 block wanted               block hash
      19 block                      BlockData
      20 range wanted               RangeWanted
      21 range                      Range
      22 snapshot wanted            SnapshotWanted
      23 snapshot                   SnapshotOffer
      24 pairs wanted               PairsWanted
      25 pairs                      Pairs
      26 entries wanted             EntriesWanted
      27 entries                    Entries
      32 epoch proof wanted         epoch u64
      33 epoch proof                canonical `ledger.quorum.epochs.EpochProof`

Requests are answered on the responder's own bulk connection. A responder never stays silent: it
answers with what it has, cut to `RANGE_BYTES_MAX` and `RANGE_BLOCKS_MAX`, and says where it stands.
"""

from enum import IntEnum
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from node.errors import InvalidMessage

RANGE_BYTES_MAX = 4 * 1024 * 1024
# Blocks of a range are executed on top of each other before any is written: reading the state goes
# through as many overlays, one call inside the other.
RANGE_BLOCKS_MAX = 128
EVENTS_PER_FRAME_MAX = 1_000
# A part of a snapshot: reading it holds up the responder for some milliseconds at most.
PART_BYTES_MAX = 1024 * 1024
WINDOW_ENTRIES_MAX = 1_024
EPOCH_PROOFS_MAX = 256

Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
Height = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Size = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class FrameType(IntEnum):
    """First byte of a frame."""

    CONSENSUS = 1
    COSIGNATURE = 2
    TIP = 3
    EVENTS = 16
    BLOCK_WANTED = 18
    BLOCK = 19
    RANGE_WANTED = 20
    RANGE = 21
    SNAPSHOT_WANTED = 22
    SNAPSHOT = 23
    PAIRS_WANTED = 24
    PAIRS = 25
    ENTRIES_WANTED = 26
    ENTRIES = 27
    EPOCH_WANTED = 32
    EPOCH = 33


class BlockData(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A block with its events' signed bytes."""

    header: bytes
    events: tuple[bytes, ...]


class RangeWanted(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Blocks from a height on."""

    from_height: Height


class Range(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Blocks in height order, the quorum checkpoint that covers them, and the proof of it.

    `consistency` proves that the tree after the last block is a prefix of the checkpoint's tree.
    """

    from_height: Height
    final_height: Height
    blocks: Annotated[tuple[BlockData, ...], Meta(max_length=RANGE_BLOCKS_MAX)]
    checkpoint: bytes
    consistency: tuple[Digest, ...]


class SnapshotWanted(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A snapshot of the state after a tree of at least so many entries; we are in this epoch."""

    tree_size: Size
    epoch: Height


class SnapshotOffer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The state after the block of `header` can be had; without a header: none can be had now.

    `proof` is that of the header's inclusion in the tree of `checkpoint`, `epoch_proofs` lead from
    the epoch of whoever asked to the one that judges the checkpoint.
    """

    header: Annotated[bytes, Meta(max_length=2_048)]
    checkpoint: bytes
    proof: tuple[Digest, ...]
    epoch_proofs: Annotated[tuple[bytes, ...], Meta(max_length=EPOCH_PROOFS_MAX)]


class PairsWanted(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The next pairs of the offered snapshot after the block at `height`, behind a key."""

    height: Height
    after: bytes


class Pairs(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Pairs of a state in key order. None and not the last: the snapshot is gone."""

    height: Height
    after: bytes
    pairs: tuple[tuple[bytes, bytes], ...]
    is_last: bool


class EntriesWanted(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Entries from `first` on, proven in the tree of `tree_size` entries."""

    tree_size: Size
    first: Size
    count: Annotated[int, Meta(ge=1, le=WINDOW_ENTRIES_MAX)]


class Entries(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A window of entries (`ledger.catchup.proofs`) and its proof; no entries: none to give."""

    tree_size: Size
    first: Size
    entries: Annotated[tuple[bytes, ...], Meta(max_length=WINDOW_ENTRIES_MAX)]
    proof: tuple[Digest, ...]


class EventList(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Signed events."""

    events: Annotated[tuple[bytes, ...], Meta(max_length=EVENTS_PER_FRAME_MAX)]


T = TypeVar("T")
_ENCODER = msgspec.msgpack.Encoder()


def encode_frame(frame_type: FrameType, content: object) -> bytes:
    """Frame of a value; byte strings stand as they are."""
    body = content if isinstance(content, bytes) else _ENCODER.encode(content)
    return bytes([frame_type]) + body


def decode_content(content: bytes, type_: type[T]) -> T:
    """Value of a frame's content. Raises `InvalidMessage`."""
    try:
        return msgspec.msgpack.decode(content, type=type_)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise InvalidMessage(f"{type_.__name__}: {error}") from None
