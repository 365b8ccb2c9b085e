"""Wire bytes: exact, strict, canonical, bounded."""

import pytest

from node.simplex.errors import InvalidMessage
from node.simplex.messages import (
    FRONTIER_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    decode_message,
    encode_message,
    signed_vote,
)
from node.simplex.types import Frontier, Kind, Message, Proposal, Status, Vote
from tests.unit.node.simplex.builders import NETWORK_ID, certify, make_block, sign, subject_of

BLOCK = make_block(view=3, parent_view=1, height=2, refs=(b"r" * 32, b"s" * 32))
VOTE = sign(subject_of(Kind.NOTARIZE, BLOCK), 2)
NULLIFY = sign(subject_of(Kind.NULLIFY, view=2), 3)
CERTIFICATE = certify(subject_of(Kind.NULLIFY, view=2))
MESSAGES: list[Message] = [
    VOTE,
    NULLIFY,
    CERTIFICATE,
    certify(subject_of(Kind.FINALIZE, BLOCK), signers=(0, 1, 3)),
    Proposal(header=BLOCK.header, refs=BLOCK.refs, justification=(CERTIFICATE,), vote=VOTE),
    Frontier(epoch=1, certificates=(CERTIFICATE,), votes=(NULLIFY, VOTE)),
    Status(epoch=1, view=4, final_view=1, final_height=1, time_ms=9, signer=1, signature=bytes(64)),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda each: type(each).__name__)
def test_a_message_is_read_back_and_no_cut_or_tail_is(message: Message) -> None:
    data = encode_message(message)
    assert decode_message(data) == message
    for length in range(len(data)):
        with pytest.raises(InvalidMessage):
            decode_message(data[:length])
    with pytest.raises(InvalidMessage):
        decode_message(data + b"\0")


@pytest.mark.parametrize("message", MESSAGES, ids=lambda each: type(each).__name__)
def test_flipped_bits_are_another_message_or_refused(message: Message) -> None:
    data = encode_message(message)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        try:
            other = decode_message(bytes(damaged))
        except InvalidMessage:
            continue
        assert other != message
        assert encode_message(other) == bytes(damaged)


def test_the_worked_example() -> None:
    vote = Vote(subject=subject_of(Kind.NULLIFY, view=2), signer=3, signature=b"\xee" * 64)
    text = "01 0000000000000001  02 0000000000000001 0000000000000002 0003"
    assert encode_message(vote) == bytes.fromhex(text) + b"\xee" * 64


def test_signed_bytes_bind_network_kind_epoch_view_height_parent_and_hash() -> None:
    subject = subject_of(Kind.NOTARIZE, BLOCK)
    numbers = (1).to_bytes(8, "big") + (3).to_bytes(8, "big")
    body = (2).to_bytes(8, "big") + (1).to_bytes(8, "big") + BLOCK.hash
    expected = b"tallystick/simplex/v1\0" + NETWORK_ID + b"\x01" + numbers + body
    assert signed_vote(NETWORK_ID, subject) == expected


def test_sizes_are_bounded_before_parsing() -> None:
    with pytest.raises(InvalidMessage, match="at most"):
        decode_message(b"\x01" + bytes(MESSAGE_BYTES_MAX))
    frontier = Frontier(epoch=1, certificates=(), votes=(VOTE,) * (FRONTIER_BYTES_MAX // 100))
    with pytest.raises(InvalidMessage, match="frontier"):
        decode_message(encode_message(frontier))
