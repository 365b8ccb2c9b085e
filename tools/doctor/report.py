"""What a node says of itself (`GET /v1/diagnosis`), and what was found by whom."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal

import msgspec

from tools.words import catalogue, language

SeverityWord = Literal["ok", "warning", "fault"]


class Severity(IntEnum):
    """How bad a finding is."""

    OK = 0
    WARNING = 1
    FAULT = 2

    @property
    def word(self) -> SeverityWord:
        """Its stable name."""
        words: tuple[SeverityWord, ...] = ("ok", "warning", "fault")
        return words[self]


class _Value(msgspec.Struct, frozen=True, kw_only=True):
    """What a newer node adds is passed over."""


class Software(_Value, frozen=True, kw_only=True):
    """What a node runs."""

    version: str
    engine: str


class PeerView(_Value, frozen=True, kw_only=True):
    """A peer as a node sees it."""

    member: str
    is_validator: bool
    is_connected: bool
    silent_ms: int
    final_height: int
    address: str = ""
    software: Software | None = None


class ViewState(_Value, frozen=True, kw_only=True):
    """The consensus view of a node."""

    epoch: int
    view: int
    leader: str
    quorum: int
    validators: tuple[str, ...]
    final_view: int
    certified: str
    certified_view: int


class NodeFacts(_Value, frozen=True, kw_only=True):
    """The facts that are compared; times in milliseconds."""

    member: str
    standing: str
    wall_ms: int
    height: int
    block_hash: str
    header_index: int
    stalled_ms: int
    precision_ms: int
    software: Software
    view: ViewState
    peers: tuple[PeerView, ...]


class Finding(_Value, frozen=True, kw_only=True):
    """One cause in words, of a node or of the network; `members` are those who found it."""

    code: str
    severity: SeverityWord
    title: str
    detail: str
    advice: str
    members: tuple[str, ...] = ()

    @property
    def weight(self) -> Severity:
        """Its severity as a number."""
        return Severity[self.severity.upper()]


class Report(_Value, frozen=True, kw_only=True):
    """The answer of a node."""

    network: str
    findings: tuple[Finding, ...]
    facts: NodeFacts


class Entry(_Value, frozen=True, kw_only=True):
    """What is compared of a log entry."""

    height: int
    leaf_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One node that was asked: its report, or the findings of why there is none.

    `clock_ms` is our clock half way between question and answer, `delay_ms` half the time between.
    `anchors` are entries of this node at the places where other nodes have their tip.
    """

    member: str
    url: str
    report: Report | None = None
    findings: tuple[Finding, ...] = ()
    clock_ms: int = 0
    delay_ms: int = 0
    anchors: dict[int, Entry] = field(default_factory=dict)


def clean(value: Any) -> Any:
    """A JSON value whose texts are printable: what others say must not steer the terminal."""
    if isinstance(value, str):
        return "".join(char if char.isprintable() else "?" for char in value)
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, dict):
        return {name: clean(item) for name, item in value.items()}
    return value


def decode_report(data: bytes) -> Report:
    """A node's answer. Raises `msgspec.DecodeError` or `RecursionError`."""
    return msgspec.convert(clean(msgspec.json.decode(data)), Report)


def make_finding(code: str, severity: Severity, *members: str, **values: object) -> Finding:
    """A finding of our own, in the chosen language."""
    words = catalogue(language())
    return Finding(
        code=code,
        severity=severity.word,
        title=words[f"findings.{code}.title"],
        detail=words[f"findings.{code}.detail"].format(**values),
        advice=words[f"findings.{code}.advice"].format(**values),
        members=members,
    )


def sort_findings(findings: list[Finding]) -> tuple[Finding, ...]:
    """Worst first, else as they came."""
    return tuple(sorted(findings, key=lambda finding: -finding.weight))
