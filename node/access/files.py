"""Files of the access log: JSON Lines, each line bound to the one before by its hash.

A file holds lines of one day (UTC) and at most `FILE_BYTES_MAX`; its name is that day and the
number of its first line, `20260101-000000000001.jsonl`, so names sort as lines do. Lines are only
ever appended. After a power cut the end of the last file may be half a line, which is cut off: what
an anchor covers was synced before. Everything here runs on one thread, that of `AccessLog`.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from itertools import pairwise
from pathlib import Path

import structlog

from ledger.access.lines import (
    LINE_BYTES_MAX,
    NO_LINE,
    Line,
    encode_line,
    hash_line,
    parse_line,
)
from ledger.errors import InvalidEncoding
from ledger.storage import sync_folder
from node.errors import StartRefused

LOG = structlog.get_logger("access")

FILE_BYTES_MAX = 64 * 1024 * 1024
DAY_MS = 86_400_000
_NAME = re.compile(r"([0-9]{8})-([0-9]{12})\.jsonl\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One answer that the node gave: to whom, of what, and how it ended."""

    at_ms: int
    address: str
    agent: str
    route: str
    ids: dict[str, str]
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The last line: its number (0: there is none), hash and time."""

    n: int
    digest: bytes
    at_ms: int


NO_TAIL = Tail(n=0, digest=NO_LINE, at_ms=0)


class Files:
    """The folder of an access log. Raises `StartRefused` for a folder that cannot be continued."""

    def __init__(self, folder: Path, *, file_bytes_max: int = FILE_BYTES_MAX) -> None:
        self._folder = folder
        self._file_bytes_max = file_bytes_max
        self._file: FileIO | None = None
        self._day = -1
        self._size_bytes = 0
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.tail = self._find_tail()
            self.first = self._find_first()
        except OSError as error:
            raise StartRefused("start-access-unusable", path=folder, reason=error) from None

    def append(self, readings: Sequence[Reading]) -> None:
        """Write lines and hand them to the system. A line is never older than the one before."""
        tail, pending = self.tail, bytearray()
        for reading in readings:
            at_ms = max(reading.at_ms, tail.at_ms)
            data = encode_line(
                Line(
                    n=tail.n + 1,
                    previous=tail.digest.hex(),
                    at_ms=at_ms,
                    address=reading.address,
                    agent=reading.agent,
                    route=reading.route,
                    ids=reading.ids,
                    status=reading.status,
                )
            )
            if at_ms // DAY_MS != self._day or self._size_bytes >= self._file_bytes_max:
                self._write(pending)
                pending.clear()
                self._open(at_ms, tail.n + 1)
            pending += data
            pending += b"\n"
            self._size_bytes += len(data) + 1
            tail = Tail(n=tail.n + 1, digest=hash_line(data), at_ms=at_ms)
        self._write(pending)
        if self.first is None and tail.n:
            self.first = Tail(n=self.tail.n + 1, digest=NO_LINE, at_ms=readings[0].at_ms)
        self.tail = tail

    def sync(self) -> Tail:
        """Make every line durable; the last of them."""
        if self._file is not None:
            os.fsync(self._file.fileno())
        return self.tail

    def find(self, digest: bytes) -> int | None:
        """Number of the kept line with this hash, newest files first, or None."""
        for path in reversed(self._paths()):
            for data in _read_lines(path):
                if hash_line(data) == digest:
                    return parse_line(data).n
        return None

    def trim(self, *, before_ms: int, size_bytes_max: int, anchored: int) -> int:
        """Remove the oldest files that end before a time, or are too much; how many.

        A line above the number `anchored` is never removed: the ledger does not know it yet.
        """
        paths = self._paths()
        total_bytes = sum(path.stat().st_size for path in paths)
        removed = 0
        for path, after in pairwise(paths):
            is_old = _end_ms(path) <= before_ms
            if not is_old and total_bytes <= size_bytes_max:
                break
            if _first_number(after) - 1 > anchored:
                LOG.warning("access log is too large, and not anchored yet", file=path.name)
                break
            total_bytes -= path.stat().st_size
            path.unlink()
            removed += 1
        return removed

    def close(self) -> None:
        """Make every line durable and close the file."""
        if self._file is not None:
            self.sync()
            self._file.close()
            self._file = None

    def _paths(self) -> list[Path]:
        return sorted(path for path in self._folder.iterdir() if _NAME.match(path.name))

    def _open(self, at_ms: int, number: int) -> None:
        self.close()
        day = f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y%m%d}"
        path = self._folder / f"{day}-{number:012}.jsonl"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._file = FileIO(descriptor, "a")
        self._day = at_ms // DAY_MS
        self._size_bytes = os.fstat(descriptor).st_size
        sync_folder(self._folder)

    def _write(self, data: bytearray) -> None:
        if not data:
            return
        assert self._file is not None, "the first line opened one"
        view = memoryview(bytes(data))
        while view:
            view = view[self._file.write(view) or 0 :]

    def _find_tail(self) -> Tail:
        """The last whole line; what a power cut left of one after it is cut off."""
        for path in reversed(self._paths()):
            data = _read_end(path)
            whole = data[: data.rfind(b"\n") + 1]
            if (half := len(data) - len(whole)) and half < LINE_BYTES_MAX:
                LOG.warning("half a line of the access log is cut off", file=path.name)
                os.truncate(path, path.stat().st_size - half)
            if path.stat().st_size == 0:
                path.unlink()
                continue
            line = whole[:-1].rpartition(b"\n")[2]
            try:
                parsed = parse_line(line)
            except InvalidEncoding as error:
                raise StartRefused("start-access-damaged", path=path, reason=error) from None
            return Tail(n=parsed.n, digest=hash_line(line), at_ms=parsed.at_ms)
        return NO_TAIL

    def _find_first(self) -> Tail | None:
        """The first kept line."""
        for path in self._paths():
            for data in _read_lines(path):
                try:
                    line = parse_line(data)
                except InvalidEncoding:
                    return None
                return Tail(n=line.n, digest=hash_line(data), at_ms=line.at_ms)
        return None


def _read_end(path: Path) -> bytes:
    """The end of a file, in which the last two lines begin."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2 * LINE_BYTES_MAX))
        return file.read()


def _read_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for data in file:
            yield data.rstrip(b"\n")


def _first_number(path: Path) -> int:
    match = _NAME.match(path.name)
    assert match is not None, "only such names are listed"
    return int(match[2])


def _end_ms(path: Path) -> int:
    """The end of the day whose lines a file holds."""
    match = _NAME.match(path.name)
    assert match is not None, "only such names are listed"
    start = datetime.strptime(match[1], "%Y%m%d").replace(tzinfo=UTC)
    return int(start.timestamp()) * 1000 + DAY_MS
