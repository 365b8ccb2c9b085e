r"""Lines of an access log, and how an auditor compares them with the ledger.

A line is one JSON object with its fields in declared order and no white space. `n` counts lines
from 1, `previous` is the hash of the line before, zeros in the first one:

    hash of a line = SHA-256("tallystick/access/v1\0" || its bytes without the line feed)

Worked example, checked by a test; its hash begins with 7e209a4a:

    {"n":1,"previous":"0000000000000000000000000000000000000000000000000000000000000000",
     "at_ms":1767225600000,"address":"192.0.2.7","agent":"curl/8","route":"readEntry",
     "ids":{"index":"5"},"status":200}

(without the two line breaks and the spaces after them). `compare` takes all kept lines in order and
the anchors of the member in order:

1. Every line is well formed and has the number and the hash that follow from the one before.
2. The digest of every anchor is the hash of a line, as many lines after the anchor before as it
   says. Before the first kept line, a period that ended before `kept_since_ms` may be gone, and
   lines of one that began before it.
3. No line is gone that no anchor covers.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

from ledger.access.anchors import AccessLogged
from ledger.errors import InvalidEncoding
from ledger.scalars import Uint

LINE_DOMAIN = b"tallystick/access/v1\0"
LINE_BYTES_MAX = 4_096
NO_LINE = bytes(32)

_Short = Annotated[str, Meta(max_length=128)]


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One reading: when, from where, of what route and ids, and how it was answered."""

    n: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    previous: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    at_ms: Uint
    address: _Short
    agent: _Short
    route: _Short
    ids: Annotated[dict[_Short, _Short], Meta(max_length=8)]
    status: Annotated[int, Meta(ge=100, le=599)]


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Line)


def encode_line(line: Line) -> bytes:
    """Bytes of a line without the line feed."""
    return _ENCODER.encode(line)


def parse_line(data: bytes) -> Line:
    """The line whose bytes are `data`. Raises `InvalidEncoding`."""
    if len(data) > LINE_BYTES_MAX:
        raise InvalidEncoding(f"a line has {LINE_BYTES_MAX} bytes at most")
    try:
        line = _DECODER.decode(data)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise InvalidEncoding(str(error)) from None
    if encode_line(line) != data:
        raise InvalidEncoding("the bytes are not those that a node writes")
    return line


def hash_line(data: bytes) -> bytes:
    """Hash (32 bytes) of the bytes of a line."""
    return hashlib.sha256(LINE_DOMAIN + data).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a line stands: the file, and its line there, from 1."""

    file: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """An anchor on the ledger: the index of its record, and what it says."""

    index: int
    body: AccessLogged


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFault:
    """What is wrong: `line-malformed`, `-rewritten`, `-missing`, `-extra`, `anchor-miscounted`.

    `first` and `last` are numbers of lines (`n`), `place` is where that shows; None: nowhere.
    """

    code: str
    first: int
    last: int
    place: Place | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Lines read, of them anchored ones, lines before the first that were not kept, and faults."""

    lines: int
    anchored: int
    not_kept: int
    faults: tuple[LineFault, ...]


@dataclass(slots=True)
class _Walk:
    """What a walk over the lines has found so far."""

    wanted: frozenset[bytes]
    first: int = 0
    last: int = 0
    lines: int = 0
    before: bytes = NO_LINE
    place: Place | None = None
    numbers: dict[bytes, int] = field(default_factory=dict)  # of the wanted hashes

    def step(self, place: Place, data: bytes) -> Iterator[LineFault]:
        """Take the next line. Yields what is wrong between it and the one before (1)."""
        self.lines += 1
        try:
            line = parse_line(data)
        except InvalidEncoding as error:
            self.last, self.before, self.place = self.last + 1, b"", place
            yield _fault("line-malformed", self.last, self.last, place, str(error))
            return
        if self.lines == 1:
            self.first = line.n
        elif line.n > self.last + 1:
            yield _fault("line-missing", self.last + 1, line.n - 1, place, "")
        elif line.n <= self.last:
            yield _fault("line-extra", line.n, line.n, place, "")
        elif self.before and line.previous != self.before.hex():
            yield _fault("line-rewritten", self.last, self.last, self.place, "")
        self.last, self.before, self.place = line.n, hash_line(data), place
        if self.before in self.wanted:
            self.numbers[self.before] = line.n


def compare(
    lines: Iterable[tuple[Place, bytes]], anchors: Sequence[Anchor], *, kept_since_ms: int
) -> Comparison:
    """Compare the kept lines of a node with the anchors of its member, both oldest first."""
    walk = _Walk(wanted=frozenset(anchor.body.digest for anchor in anchors))
    faults = [fault for place, data in lines for fault in walk.step(place, data)]
    faults += _anchor_faults(walk, anchors, kept_since_ms)
    not_kept = max(walk.first - 1, 0)
    return Comparison(
        lines=walk.lines,
        anchored=max(0, max(walk.numbers.values(), default=0) - not_kept),
        not_kept=not_kept,
        faults=tuple(faults),
    )


def _anchor_faults(
    walk: _Walk, anchors: Sequence[Anchor], kept_since_ms: int
) -> Iterator[LineFault]:
    """Yield what the ledger knows better (2, 3)."""
    reached, is_sure = 0, True  # number of the line under the anchor before
    for anchor in anchors:
        body, where = anchor.body, f"#{anchor.index}"
        found = walk.numbers.get(body.digest)
        end = reached + body.entries if found is None else found
        first = end - body.entries + 1
        is_removed = end < walk.first or not walk.lines
        if found is None and not (is_removed and body.period_to_ms < kept_since_ms):
            is_there = 0 < walk.first <= end <= walk.last
            yield _fault("line-rewritten" if is_there else "line-missing", first, end, None, where)
        elif found is not None and is_sure and first != reached + 1:
            yield _fault("anchor-miscounted", reached + 1, end, None, where)
        elif found is not None and first < walk.first and body.period_from_ms >= kept_since_ms:
            yield _fault("line-missing", first, walk.first - 1, None, where)
        reached, is_sure = end, found is not None
    if walk.first - 1 > reached:
        yield _fault("line-missing", reached + 1, walk.first - 1, None, "")


def _fault(code: str, first: int, last: int, place: Place | None, detail: str) -> LineFault:
    return LineFault(code=code, first=first, last=last, place=place, detail=detail)
