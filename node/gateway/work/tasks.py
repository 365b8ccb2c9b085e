"""Tasks and results, as frames between the gateway and its children.

A frame is its length (4 bytes, big-endian) and MessagePack. Keys travel only here, in the frame
that sets a child up: never in an argument, the environment, or a file.
"""

from typing import Any, Literal

import msgspec

from contracts.words import Language
from node.gateway.jobs import Form, Named

FRAME_BYTES_MAX = 64 * 1024 * 1024


class Plug(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A connector or receiver by name, with its options."""

    name: str
    options: dict[str, Any] = {}


# Which faults stop a message: those of the file, with those of records that the standard lists as
# grounds for rejecting a file, or all.
Stops = Literal["file", "listed", "any"]


class Messages(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How messages of a dataset are checked here; files are relative to the configuration.

    `schema` is a folder that `tally crs pin` has pinned, `reference_keys` are key files, one for
    each year. `holds` says what this agency does not send, `rejects` what it does not accept.
    """

    schema: str
    reference_keys: tuple[str, ...] = ()
    environment: Literal["production", "test"] = "production"
    holds: Stops = "any"
    rejects: Stops = "listed"
    language: Language = "en"


class Setup(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What a child needs for all its tasks. `seeds` are those of decryption keys, newest first."""

    network: bytes
    member: str
    seeds: tuple[bytes, ...]
    connectors: dict[str, Plug]
    receiver: Plug
    base: str
    memory_bytes_max: int
    messages: dict[str, Messages] = {}


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What records of a dataset keep to; an empty `text` means the schema that is shipped."""

    version: int
    form: Form = ""
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
    """Read, clean and seal the records of an exchange into the file `path`.

    A message is only checked; beside it a file gets what is to be named of it. `receiving` is the
    jurisdiction of the requester.
    """

    about: About
    rules: Rules
    subjects: tuple[bytes, ...]
    question: bytes
    recipient: bytes
    path: str
    receiving: str = ""


class Check(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Open a fetched payload and look at every record; nothing decrypted is kept.

    Of a message: the jurisdictions of requester and provider, and what the ledger names of it.
    """

    about: About
    rules: Rules
    commitment: bytes
    record_count: int
    path: str
    receiving: str = ""
    transmitting: str = ""
    named: Named | None = None


class Hand(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Give a checked payload to the receiver, a message with the status message about it."""

    about: About
    commitment: bytes
    plain_bytes: int
    record_count: int
    report: bytes
    path: str
    form: Form = ""
    answer: bytes = b""


class Erase(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Have the receiver erase what it took over."""

    exchange: bytes


class Reveal(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Open a sealed question again, for the agency itself."""

    about: About
    question: bytes


class ReadAnswer(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Look whether what a requester has sent is a status message."""

    document: bytes


class Probe(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Ask the connector of a dataset whether it can work now, or without one the receiver.

    `is_message`: look whether messages of the dataset could be checked.
    """

    dataset: str
    is_message: bool = False


class Asked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A question, sealed twice."""

    own: bytes
    partner: bytes


class Prepared(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A payload in the outbox; `blind` is sealed to the own key.

    `message` is the commitment of a message's id in hex; empty: it has no documents.
    """

    commitment: bytes
    record_count: int
    size_bytes: int
    quality_digest: bytes
    report: bytes
    blind: bytes
    message: str = ""


class Checked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Without codes the payload is what the ledger says; else it is to be rejected for them.

    `plain_bytes` is the size of the records, `answer` the status message about a message.
    """

    codes: tuple[int, ...]
    text: str
    blind: bytes = b""
    plain_bytes: int = 0
    answer: bytes = b""


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


Task = SealQuestion | Prepare | Check | Hand | Erase | Reveal | ReadAnswer | Probe
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
