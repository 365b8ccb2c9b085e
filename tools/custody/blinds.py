"""Subjects of a request and their blinds: drawn fresh, kept in a file of the requester's own.

The file has one JSON object a line, `{"subject": ..., "blind": 64 hex digits}`.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from ledger.codec import Value
from ledger.exchange.subjects import BLIND_BYTES, commit_subject


class _Line(Value, frozen=True, kw_only=True):
    subject: Annotated[str, Meta(min_length=1)]
    blind: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class _Pair(msgspec.Struct, frozen=True, kw_only=True):
    id: Annotated[str, Meta(min_length=1)]
    blind: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    subjects: tuple[_Pair, ...]


@dataclass(frozen=True, slots=True)
class Blinded:
    """A subject, its blind, and the commitment that the ledger sees."""

    subject: str
    blind: bytes
    commitment: bytes


def new_blind() -> bytes:
    """A fresh blind from the system's generator. One is used once."""
    return secrets.token_bytes(BLIND_BYTES)


def blind_subject(subject: str) -> Blinded:
    """A subject under a blind of its own."""
    blind = new_blind()
    return Blinded(subject, blind, commit_subject(subject, blind))


def blind_subjects(names: Iterable[str]) -> tuple[Blinded, ...]:
    """Each subject under a blind of its own, sorted by commitment.

    In the order of a sorted list of ids, a commitment's place would tell about the id.
    """
    return tuple(sorted(map(blind_subject, names), key=lambda each: each.commitment))


def encode_blinds(blinded: Iterable[Blinded]) -> bytes:
    """The file of blinds."""
    lines = [
        msgspec.json.encode({"subject": each.subject, "blind": each.blind.hex()})
        for each in blinded
    ]
    return b"\n".join(lines) + b"\n"


def decode_blinds(data: bytes) -> tuple[Blinded, ...]:
    """The subjects in a file of blinds. Raises `msgspec.DecodeError`."""
    found = (msgspec.json.decode(line, type=_Line) for line in data.split(b"\n") if line.strip())
    pairs = [(each.subject, bytes.fromhex(each.blind)) for each in found]
    return tuple(Blinded(name, blind, commit_subject(name, blind)) for name, blind in pairs)


def decode_kept(data: bytes) -> tuple[Blinded, ...]:
    """The same, or what a gateway keeps: `{"subjects": [{"id", "blind"}, ...]}`."""
    try:
        kept = msgspec.json.decode(data, type=_Kept)
    except msgspec.DecodeError:
        return decode_blinds(data)
    pairs = [(each.id, bytes.fromhex(each.blind)) for each in kept.subjects]
    return tuple(Blinded(name, blind, commit_subject(name, blind)) for name, blind in pairs)
