"""What a plug-in is: plain synchronous code in a process of its own, one job at a time.

A connector or receiver is made by a factory `factory(options, base)`, mostly its class. `options`
is its table of the configuration file, `base` the folder of that file, for relative paths. A
factory raises `InvalidOptions`; every other method raises what its description says. An error's
code is one of those in `node.connectors.words` or the plug-in's own (it is then shown as it is);
its detail never holds a value of a record, since it is logged.

The process may be killed at any moment: when it hangs, or takes more memory than it may. So nothing
may depend on `close`, and a receiver takes over a delivery wholly or not at all.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from node.connectors.errors import ConnectorFailed, InvalidOptions, ReceiverFailed
from node.records.normalise import Amounts
from node.records.parsing import Encoding
from node.records.pipeline import FORMATS, Format

__all__ = [
    "Ask",
    "Connector",
    "ConnectorFactory",
    "ConnectorFailed",
    "Delivery",
    "InvalidOptions",
    "Receiver",
    "ReceiverFactory",
    "ReceiverFailed",
    "Source",
    "Subject",
]

# A message of the reporting standard goes as it is: it is no table of records.
SourceFormat = Format | Literal["message"]
SOURCE_FORMATS: tuple[SourceFormat, ...] = (*FORMATS, "message")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Who is asked about, in the clear. `kind` is a kind of identifier (`uscc`, ...) or empty."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a permitted exchange asks for. Without subjects: all there is (automatic exchange).

    Dates are ISO 8601, both within the period. `fields` are those permitted, by their ids; a
    connector should leave the others behind, and the pipeline drops what it does not.
    """

    exchange: bytes
    dataset: str
    requester: str
    purpose: str
    fields: tuple[str, ...]
    period_from: str
    period_to: str
    subjects: tuple[Subject, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Records as the bytes of a file, and how to read them (`node.records.pipeline.Options`).

    Of the format `message` it is one message of the reporting standard, byte for byte.

    `pieces` are of any size up to about a mebibyte, iterated once, perhaps not to the end. Each is
    a sign of life, an empty one too: a source that gives none for minutes is ended. Taking the next
    one may raise `ConnectorFailed` or `node.records.errors.InvalidSource`: what came
    before is then void.
    """

    format: SourceFormat
    encoding: Encoding = "utf-8"
    amounts: Amounts = "fen"
    pieces: Iterator[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A delivery that was opened and checked, for the agency's own systems.

    `pieces` are the records as JSON Lines, iterated once: `record_count` lines, `size_bytes` bytes.
    With the form `crs` they are a message of the reporting standard instead, and `answer` is the
    status message (XML) that its sender gets.
    `correction` is 0 for the first delivery of an exchange and counts those that supersede it.
    `report` holds the canonical bytes of the quality report (`node.records.report`). Taking a piece
    is a sign of life; a receiver that works on after the last one calls `alive` now and then.
    """

    exchange: bytes
    correction: int
    dataset: str
    provider: str
    purpose: str
    record_count: int
    size_bytes: int
    commitment: bytes
    report: bytes
    pieces: Iterator[bytes]
    form: str = ""
    answer: bytes = b""
    alive: Callable[[], None] = lambda: None

    def describe(self) -> bytes:
        """What it is, but for its records and report, as one line of JSON in ASCII."""
        document = {
            "exchange": self.exchange.hex(),
            "correction": self.correction,
            "dataset": self.dataset,
            "provider": self.provider,
            "purpose": self.purpose,
            "record_count": self.record_count,
            "size_bytes": self.size_bytes,
            "commitment": self.commitment.hex(),
            **({"form": self.form} if self.form else {}),
        }
        return json.dumps(document, separators=(",", ":")).encode()

    def checked_pieces(self) -> Iterator[bytes]:
        """The pieces; `ReceiverFailed` at their end if there are not as many as announced."""
        size_bytes = lines = 0
        for piece in self.pieces:
            size_bytes += len(piece)
            lines += piece.count(b"\n")
            yield piece
        if self.form:
            lines = self.record_count
        if (size_bytes, lines) != (self.size_bytes, self.record_count):
            raise ReceiverFailed("delivery-incomplete", f"{size_bytes} B, {lines}", retry=True)


@runtime_checkable
class Connector(Protocol):
    """Where records come from."""

    def check(self) -> None:
        """Whether the source can be reached now. Raises `ConnectorFailed`."""

    def read(self, ask: Ask) -> Source:
        """Records of an ask; those of its subjects only. Raises `ConnectorFailed`."""
        ...

    def close(self) -> None:
        """Let go of what is open; a second time does nothing."""


@runtime_checkable
class Receiver(Protocol):
    """Where records go."""

    def check(self) -> None:
        """Whether deliveries can be taken over now. Raises `ReceiverFailed`."""

    def receive(self, delivery: Delivery) -> None:
        """Take over durably. Raises `ReceiverFailed`.

        Called again after a crash: the same exchange and correction twice is one delivery.
        """

    def erase(self, exchange: bytes) -> None:
        """Erase what was received, at the end of retention; nothing there is fine.

        Raises `ReceiverFailed`.
        """

    def close(self) -> None:
        """Let go of what is open; a second time does nothing."""


ConnectorFactory = Callable[[Mapping[str, Any], Path], Connector]
ReceiverFactory = Callable[[Mapping[str, Any], Path], Receiver]
