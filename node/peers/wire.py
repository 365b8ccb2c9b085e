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

Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
Height = Annotated[int, Meta(ge=0, le=2**63 - 1)]


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
