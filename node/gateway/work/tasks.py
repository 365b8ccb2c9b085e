"""Tasks and results, as frames between the gateway and its children.

A frame is its length (4 bytes, big-endian) and MessagePack. Keys travel only here, in the frame
that sets a child up: never in an argument, the environment, or a file.
"""

from typing import Any

import msgspec

FRAME_BYTES_MAX = 64 * 1024 * 1024


class Plug(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A connector or receiver by name, with its options."""

    name: str
    options: dict[str, Any] = {}


class Setup(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What a child needs for all its tasks. `seeds` are those of decryption keys, newest first."""

    network: bytes
    member: str
    seeds: tuple[bytes, ...]
    connectors: dict[str, Plug]
    receiver: Plug
    base: str
    memory_bytes_max: int


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What records of a dataset keep to; an empty `text` means the schema that is shipped."""

    version: int
    text: str = ""
    codes: dict[str, tuple[str, ...]] = {}


class About(msgspec.Struct, frozen=True, kw_only=True):
    """The exchange that a task is for."""

    exchange: bytes
    correction: int
    requester: str
    provider: str
    dataset: str
    purpose: str
    fields: tuple[str, ...]
    period_from: str
    period_to: str


class SealQuestion(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Seal who is asked about: to the provider, and to the own key."""

    about: About
    subjects: tuple[tuple[str, bytes], ...]
    recipient: bytes


class Prepare(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Read, clean and seal the records of an exchange into the file `path`."""

    about: About
    rules: Rules
    subjects: tuple[bytes, ...]
    question: bytes
    recipient: bytes
    path: str


class Check(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Open a fetched payload and look at every record; nothing decrypted is kept.

    With a `report` it is handed over at once if it is good: for payloads that fit into memory.
    """

    about: About
    rules: Rules
    commitment: bytes
    record_count: int
    path: str
    report: bytes = b""


class Hand(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Give a checked payload to the receiver."""

    about: About
    commitment: bytes
    plain_bytes: int
    record_count: int
    report: bytes
    path: str


class Erase(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Have the receiver erase what it took over."""

    exchange: bytes


class Reveal(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Open a sealed question again, for the agency itself."""

    about: About
    question: bytes


class Probe(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Ask the connector of a dataset whether it can work now, or without one the receiver."""

    dataset: str


class Asked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A question, sealed twice."""

    own: bytes
    partner: bytes


class Prepared(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A payload in the outbox; `blind` is sealed to the own key."""

    commitment: bytes
    record_count: int
    size_bytes: int
    quality_digest: bytes
    report: bytes
    blind: bytes


class Checked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Without codes the payload is what the ledger says; else it is to be rejected for them.

    `plain_bytes` is the size of the records. `handed`: the receiver has them already.
    """

    codes: tuple[int, ...]
    text: str
    handed: bool = False
    blind: bytes = b""
    plain_bytes: int = 0


class Revealed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Subjects with their blinds."""

    subjects: tuple[tuple[str, bytes], ...]


class Done(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Nothing to tell."""


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A sign of life: rows or bytes so far."""

    done: int


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A task that failed."""

    code: str
    detail: str
    retry: bool


Task = SealQuestion | Prepare | Check | Hand | Erase | Reveal | Probe
Result = Asked | Prepared | Checked | Revealed | Done
Answer = Result | Progress | Fault

encode = msgspec.msgpack.Encoder().encode
SETUPS = msgspec.msgpack.Decoder(Setup)
TASKS: msgspec.msgpack.Decoder[Task] = msgspec.msgpack.Decoder(Task)
ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def frame(value: object) -> bytes:
    """Bytes of a frame."""
    data = encode(value)
    return len(data).to_bytes(4, "big") + data
