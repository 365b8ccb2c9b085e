r"""Consensus votes: the exact bytes a validator signs, and which two votes contradict (R12).

An auditor judges evidence of a double vote with this module alone. Integers are big-endian and of
fixed width. Signed bytes of a vote (CONSENSUS 1.1):

    "tallystick/simplex/v1\0" | network id 32 | subject
    subject   kind u8 | epoch u64 | view u64 | body

where the body of a notarize (1) and a finalize (3) is `height u64 | parent view u64 | hash 32` and
that of a nullify (2) is empty. A vote is `subject | signer u16 | signature 64`; the signer is the
index in the list of the epoch's validators. One value has one encoding. Worked example, a nullify
of epoch 1, view 2 by validator 3 with the signature 64 times ee:

    02 0000000000000001 0000000000000002 0003 ee..ee
"""

import struct
from enum import IntEnum

import msgspec

from ledger.errors import InvalidEncoding

VOTE_DOMAIN = b"tallystick/simplex/v1\0"
HASH_BYTES = 32
SIGNATURE_BYTES = 64

_HEAD = struct.Struct(">BQQ")
_BODY = struct.Struct(">QQ32s")
_SIGNER_BYTES = 2
_U64_MAX = 2**64 - 1

BODY_AT = _HEAD.size  # where the body of a notarize or finalize begins in its subject
SUBJECT_BYTES_MAX = _HEAD.size + _BODY.size
VOTE_BYTES_MAX = SUBJECT_BYTES_MAX + _SIGNER_BYTES + SIGNATURE_BYTES


class Kind(IntEnum):
    """What a vote says."""

    NOTARIZE = 1
    NULLIFY = 2
    FINALIZE = 3


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What is voted on. A nullify has height 0, parent view 0 and an empty hash."""

    kind: Kind
    epoch: int
    view: int
    height: int = 0
    parent_view: int = 0
    block_hash: bytes = b""


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """One validator's signature over a subject."""

    subject: Subject
    signer: int
    signature: bytes


def signed_vote(network_id: bytes, subject: Subject) -> bytes:
    """The exact bytes a vote signs."""
    return VOTE_DOMAIN + network_id + encode_subject(subject)


def size_subject(subject: Subject) -> int:
    """Number of bytes of `encode_subject`."""
    return _HEAD.size if subject.kind is Kind.NULLIFY else SUBJECT_BYTES_MAX


def encode_subject(subject: Subject) -> bytes:
    """`kind | epoch | view | body`."""
    head = _HEAD.pack(subject.kind, subject.epoch, subject.view)
    if subject.kind is Kind.NULLIFY:
        return head
    return head + _BODY.pack(subject.height, subject.parent_view, subject.block_hash)


def read_subject(data: bytes, at: int = 0) -> tuple[Subject, int]:
    """The subject that begins at byte `at`, and where it ends. Raises `InvalidEncoding`."""
    if at + _HEAD.size > len(data):
        raise InvalidEncoding("a vote ends too early")
    kind, epoch, view = _HEAD.unpack_from(data, at)
    at += _HEAD.size
    if kind not in (Kind.NOTARIZE, Kind.NULLIFY, Kind.FINALIZE):
        raise InvalidEncoding(f"vote kind {kind} is unknown")
    if view in (0, _U64_MAX):
        raise InvalidEncoding("a view is out of range")
    if kind == Kind.NULLIFY:
        return Subject(kind=Kind.NULLIFY, epoch=epoch, view=view), at
    if at + _BODY.size > len(data):
        raise InvalidEncoding("a vote ends too early")
    height, parent_view, block_hash = _BODY.unpack_from(data, at)
    if parent_view >= view:
        raise InvalidEncoding("a parent view is not below its view")
    subject = Subject(
        kind=Kind(kind),
        epoch=epoch,
        view=view,
        height=height,
        parent_view=parent_view,
        block_hash=block_hash,
    )
    return subject, at + _BODY.size


def decode_subject(data: bytes) -> Subject:
    """The subject whose bytes are exactly `data`. Raises `InvalidEncoding`."""
    subject, end = read_subject(data)
    if end != len(data):
        raise InvalidEncoding("bytes follow the end of a subject")
    return subject


def encode_vote(vote: Vote) -> bytes:
    """`subject | signer | signature`."""
    signer = vote.signer.to_bytes(_SIGNER_BYTES, "big")
    return encode_subject(vote.subject) + signer + vote.signature


def decode_vote(data: bytes) -> Vote:
    """The vote whose bytes are exactly `data`. Raises `InvalidEncoding`."""
    subject, at = read_subject(data)
    if len(data) != at + _SIGNER_BYTES + SIGNATURE_BYTES:
        raise InvalidEncoding("a vote has another size")
    signer = int.from_bytes(data[at : at + _SIGNER_BYTES], "big")
    return Vote(subject=subject, signer=signer, signature=data[at + _SIGNER_BYTES :])


def is_contradiction(one: Subject, other: Subject) -> bool:
    """R12: no honest validator signs both. A notarize and a nullify of one view are legal."""
    if (one.epoch, one.view) != (other.epoch, other.view):
        return False
    if one.kind is other.kind:
        return one != other
    kinds = {one.kind, other.kind}
    if kinds == {Kind.NULLIFY, Kind.FINALIZE}:
        return True
    return kinds == {Kind.NOTARIZE, Kind.FINALIZE} and _body(one) != _body(other)


def _body(subject: Subject) -> tuple[int, int, bytes]:
    return subject.height, subject.parent_view, subject.block_hash
