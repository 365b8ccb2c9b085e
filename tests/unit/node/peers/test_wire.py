"""Frames between nodes: strict, bounded, one error."""

import random

import msgspec
import pytest

from node.errors import InvalidMessage
from node.peers.wire import (
    EVENTS_PER_FRAME_MAX,
    RANGE_BLOCKS_MAX,
    BlockData,
    EventList,
    FrameType,
    Range,
    RangeWanted,
    decode_content,
    encode_frame,
)

RANGE = Range(
    from_height=3,
    final_height=9,
    blocks=(BlockData(header=b"h", events=(b"e", b"f")),),
    checkpoint=b"note",
    consistency=(bytes(32),),
)
SAMPLES = [
    (FrameType.EVENTS, EventList(events=(b"a", b"b"))),
    (FrameType.BLOCK, BlockData(header=b"h", events=())),
    (FrameType.RANGE_WANTED, RangeWanted(from_height=0)),
    (FrameType.RANGE, RANGE),
]


@pytest.mark.parametrize(("kind", "content"), SAMPLES, ids=lambda each: type(each).__name__)
def test_content_comes_back_as_it_was(kind: FrameType, content: object) -> None:
    frame = encode_frame(kind, content)
    assert frame[0] == kind
    assert decode_content(frame[1:], type(content)) == content


def test_bytes_stand_as_they_are() -> None:
    assert encode_frame(FrameType.TIP, bytes(8)) == b"\x03" + bytes(8)


@pytest.mark.parametrize(("kind", "content"), SAMPLES, ids=lambda each: type(each).__name__)
def test_damaged_content_gives_one_error_or_another_value(kind: FrameType, content: object) -> None:
    data = encode_frame(kind, content)[1:]
    chance = random.Random(int(kind))
    for _ in range(500):
        broken = bytearray(data[: chance.randrange(len(data) + 1)])
        for _ in range(chance.randrange(3)):
            if broken:
                broken[chance.randrange(len(broken))] = chance.randrange(256)
        try:
            decode_content(bytes(broken), type(content))
        except InvalidMessage:
            continue


@pytest.mark.parametrize(
    "value",
    [
        [],
        [b"h"],
        ["h", []],
        [b"h", [b"e"], 1],
        {"header": b"h", "events": []},
        [b"h", ["text"]],
    ],
)
def test_another_shape_is_refused(value: object) -> None:
    with pytest.raises(InvalidMessage):
        decode_content(msgspec.msgpack.encode(value), BlockData)


def test_counts_and_numbers_are_bounded() -> None:
    too_many = EventList(events=(b"",) * (EVENTS_PER_FRAME_MAX + 1))
    for content in (too_many, RangeWanted(from_height=-1), RangeWanted(from_height=2**63)):
        with pytest.raises(InvalidMessage):
            decode_content(msgspec.msgpack.encode(content), type(content))
    with pytest.raises(InvalidMessage):
        decode_content(b"\x91" * 100_000, BlockData)


def test_no_more_blocks_are_taken_than_can_be_executed_on_top_of_each_other() -> None:
    most = msgspec.structs.replace(RANGE, blocks=RANGE.blocks * RANGE_BLOCKS_MAX)
    assert decode_content(encode_frame(FrameType.RANGE, most)[1:], Range) == most
    more = msgspec.structs.replace(RANGE, blocks=RANGE.blocks * (RANGE_BLOCKS_MAX + 1))
    with pytest.raises(InvalidMessage):
        decode_content(encode_frame(FrameType.RANGE, more)[1:], Range)
