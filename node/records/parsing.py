"""Rows of CSV and JSON Lines, fed bytes in pieces of any size; memory is bounded by one row.

Rows are cut before they are decoded: in UTF-8 and in GB 18030 no byte of a longer character is a
line feed or a quotation mark. So one row in a wrong encoding spoils nothing but itself.
"""

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from contracts.registers.schema import INTEGER_MAX
from node.records.errors import InvalidSource

Encoding = Literal["utf-8", "gb18030"]
Row = tuple[dict[str, Any], str]  # values by the source's own names, rule that the row breaks


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a source may ask of us at most."""

    rows_max: int = 10_000_000
    row_bytes_max: int = 65_536
    columns_max: int = 256
    depth_max: int = 8
    digests_max: int = 4_000_000  # about 25 bytes of memory each


class Parser(Protocol):
    """Bytes in, rows out. Both raise `InvalidSource`."""

    def feed(self, data: bytes) -> Iterator[Row]:
        """Rows that are complete with this piece."""
        ...

    def close(self) -> Iterator[Row]:
        """What is left at the end of the source."""
        ...


class Lines:
    """Cuts a source into lines. With `quoted`, a line feed between quotation marks cuts nothing."""

    def __init__(self, limits: Limits, *, quoted: bool) -> None:
        self._max = limits.row_bytes_max
        self._quoted = quoted
        self._tail = b""
        self._open: list[bytes] = []
        self._open_bytes = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Complete lines without their end, blank ones left out."""
        *lines, self._tail = (self._tail + data).split(b"\n")
        for line in lines:
            yield from self._take(line)
        self._bound(len(self._tail))

    def close(self) -> Iterator[bytes]:
        """The last line, where no line feed ended it."""
        tail, self._tail = self._tail, b""
        yield from self._take(tail)
        if self._open:
            raise InvalidSource("source-truncated", "")

    def _bound(self, size_bytes: int) -> None:
        if self._open_bytes + size_bytes > self._max:
            raise InvalidSource("row-size", str(self._max))

    def _take(self, line: bytes) -> Iterator[bytes]:
        self._bound(len(line))
        if self._quoted and (line.count(b'"') & 1 or self._open):
            closes = bool(self._open) and line.count(b'"') & 1
            self._open.append(line)
            self._open_bytes += len(line) + 1
            if not closes:
                return
            line = b"\n".join(self._open)
            self._open, self._open_bytes = [], 0
        line = line.removesuffix(b"\r")
        if line and not line.isspace():
            yield line


class CsvParser:
    """Comma-separated values (RFC 4180) with a first row of names."""

    def __init__(self, limits: Limits, encoding: Encoding, check_head: Callable[[list[str]], None]):
        self._lines = Lines(limits, quoted=True)
        self._limits = limits
        self._encoding = encoding
        self._check_head = check_head
        self._head: list[str] = []

    def feed(self, data: bytes) -> Iterator[Row]:
        """Rows that are complete with this piece."""
        for line in self._lines.feed(data):
            yield from self._row(line)

    def close(self) -> Iterator[Row]:
        """The last row; a source without a first row is refused."""
        for line in self._lines.close():
            yield from self._row(line)
        if not self._head:
            raise InvalidSource("source-empty", "")

    def _row(self, line: bytes) -> Iterator[Row]:
        try:
            cells = _cells(line.decode(self._encoding))
        except UnicodeDecodeError:
            if not self._head:
                raise InvalidSource("source-encoding", self._encoding) from None
            yield {}, "row-encoding"
            return
        except csv.Error:
            if not self._head:
                raise InvalidSource("columns-unknown", "") from None
            yield {}, "row-unreadable"
            return
        if not self._head:
            self._head = self._read_head(cells)
        elif len(cells) != len(self._head):
            yield {}, "row-columns"
        else:
            yield dict(zip(self._head, cells, strict=True)), ""

    def _read_head(self, cells: list[str]) -> list[str]:
        head = [cell.strip() for cell in cells]
        if len(head) > self._limits.columns_max:
            raise InvalidSource("columns-many", str(self._limits.columns_max))
        if len(set(head)) != len(head):
            raise InvalidSource("columns-repeated", "")
        self._check_head(head)
        return head


def _cells(text: str) -> list[str]:
    if '"' not in text:
        return text.split(",")
    return next(csv.reader((text,), strict=True))


class _Broken(ValueError):
    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


class JsonLinesParser:
    """One JSON object a line; no name twice in one object, no fraction, no integer beyond 2^53."""

    def __init__(self, limits: Limits, encoding: Encoding) -> None:
        self._lines = Lines(limits, quoted=False)
        self._limits = limits
        self._encoding = encoding
        self._decode = json.JSONDecoder(
            object_pairs_hook=self._pairs,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
            parse_int=_integer,
        ).decode

    def feed(self, data: bytes) -> Iterator[Row]:
        """Rows that are complete with this piece."""
        return map(self._row, self._lines.feed(data))

    def close(self) -> Iterator[Row]:
        """The last row."""
        return map(self._row, self._lines.close())

    def _row(self, line: bytes) -> Row:
        try:
            if line.count(b"[") + line.count(b"{") > self._limits.depth_max:
                _check_depth(line, self._limits.depth_max)
            values = self._decode(line.decode(self._encoding))
        except UnicodeDecodeError:
            return {}, "row-encoding"
        except _Broken as error:
            return {}, error.rule
        except (ValueError, RecursionError):
            return {}, "row-unreadable"
        return (values, "") if type(values) is dict else ({}, "row-unreadable")

    def _pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise _Broken("key-repeated")
        if len(found) > self._limits.columns_max:
            raise _Broken("row-columns")
        return found


def _refuse_number(text: str) -> None:
    del text
    raise _Broken("number-unsafe")


def _integer(text: str) -> int:
    # Digits are counted first: reading a number takes time with the square of its length.
    if len(text) > 17 or abs(int(text)) > INTEGER_MAX:
        raise _Broken("number-unsafe")
    return int(text)


def _check_depth(line: bytes, depth_max: int) -> None:
    depth, in_text, escaped = 0, False, False
    for byte in line:
        if in_text:
            in_text = escaped or byte != 0x22
            escaped = not escaped and byte == 0x5C
        elif byte == 0x22:
            in_text = True
        elif byte in b"[{":
            depth += 1
            if depth > depth_max:
                raise _Broken("row-nested")
        elif byte in b"]}":
            depth -= 1
