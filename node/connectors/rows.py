"""Rows of an ask out of files that hold those of others too: by subject and by period, in one pass.

CSV and JSON Lines keep the bytes of every row that goes on; rows of XML go on as JSON Lines, since
two documents of XML are not one. A row that cannot be read goes on, for the pipeline to count: it
may be one of the subject's. A row whose period cannot be told goes on as one that cannot be read.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

import msgspec

from node.connectors.errors import ConnectorFailed
from node.connectors.interface import Ask
from node.records.formats import is_date, is_period
from node.records.normalise import canonical_date, canonical_identifier, canonical_period
from node.records.parsing import CsvParser, Encoding, JsonLinesParser, Limits, Lines, Parser, Row
from node.records.parsing_xml import XmlParser

Verdict = Literal["keep", "drop", "reject"]

# Lengths of periods in months.
MONTHS = {"year": 12, "half": 6, "quarter": 3, "month": 1}
_LETTERS = {"half": "H", "quarter": "Q"}

_MARK = b"\xef\xbb\xbf"
_UNREADABLE = b"!\n"
_LIMITS = Limits()


def period_labels(length: str, start: date, end: date) -> Iterator[str]:
    """Periods that a span of days touches: `2026`, `2026-H1`, `2026-Q3`, `2026-07`, in order."""
    months = MONTHS[length]
    first = (start.year * 12 + start.month - 1) // months
    last = (end.year * 12 + end.month - 1) // months
    for number in range(first, last + 1):
        year, place = divmod(number, 12 // months)
        if length == "year":
            yield f"{year:04}"
        elif length == "month":
            yield f"{year:04}-{place + 1:02}"
        else:
            yield f"{year:04}-{_LETTERS[length]}{place + 1}"


def period_of(ask: Ask) -> tuple[date, date]:
    """First and last day."""
    return date.fromisoformat(ask.period_from), date.fromisoformat(ask.period_to)


def day_after(day: date) -> str:
    """The first day after, in ISO 8601; the calendar's last day has none and stays."""
    return (day if day == date.max else day + timedelta(days=1)).isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFilter:
    """Which rows are of an ask. Fields by the names that the source has for them; empty: all."""

    subjects: frozenset[str]
    subject_fields: tuple[str, ...]
    period_field: str
    start: str
    end: str
    labels: frozenset[str]

    @classmethod
    def of(cls, ask: Ask, subject_fields: tuple[str, ...], period_field: str) -> "RowFilter":
        """The filter of an ask. Raises `ConnectorFailed` where it would let all subjects pass."""
        if ask.subjects and not subject_fields:
            raise ConnectorFailed("subjects-unfiltered", ask.dataset, retry=False)
        start, end = period_of(ask)
        return cls(
            subjects=frozenset(canonical_identifier(subject.id) for subject in ask.subjects),
            subject_fields=subject_fields if ask.subjects else (),
            period_field=period_field,
            start=ask.period_from,
            end=ask.period_to,
            labels=frozenset(
                label for length in MONTHS for label in period_labels(length, start, end)
            ),
        )

    @property
    def is_idle(self) -> bool:
        """Whether every row is of the ask."""
        return not self.subject_fields and not self.period_field

    def check_head(self, head: list[str]) -> None:
        """Without a field to go by nothing would be found, and that would look like an answer."""
        wanted = {*self.subject_fields, *filter(None, (self.period_field,))}
        if missing := sorted(wanted - set(head)):
            raise ConnectorFailed("filter-field-missing", ", ".join(missing), retry=False)

    def judge(self, values: dict[str, Any]) -> Verdict:
        """What becomes of a row."""
        if self.subject_fields and not any(
            self._is_subject(values.get(name)) for name in self.subject_fields
        ):
            return "drop"
        return self._judge_period(values.get(self.period_field)) if self.period_field else "keep"

    def _is_subject(self, value: Any) -> bool:
        # A number of JSON is an id too, where it has no leading zero.
        text = str(value) if type(value) is int else value
        if not isinstance(text, str):
            return False
        return text in self.subjects or canonical_identifier(text) in self.subjects

    def _judge_period(self, value: Any) -> Verdict:
        value = str(value) if type(value) is int else value
        text = canonical_date(value)
        if isinstance(text, str) and is_date(text[:10]) and (len(text) == 10 or text[10] in "T "):
            return "keep" if self.start <= text[:10] <= self.end else "drop"
        text = canonical_period(value)
        if isinstance(text, str) and is_period(text):
            return "keep" if text in self.labels else "drop"
        return "reject"


def select_lines(
    files: Iterable[Iterable[bytes]],
    *,
    is_csv: bool,
    encoding: Encoding,
    row_filter: RowFilter,
) -> Iterator[bytes]:
    """One source of several files of CSV (all with the same first row) or JSON Lines."""
    head = b""
    for pieces in files:
        lines = Lines(_LIMITS, quoted=is_csv)
        judge = _judge_line(is_csv, encoding, row_filter)
        needs_head = is_csv
        for found in _lines(lines, pieces):
            out = []
            for line in found:
                if needs_head:
                    needs_head = False
                    judge(line)
                    if head and line != head:
                        raise ConnectorFailed("heads-differ", retry=False)
                    out += [line + b"\n"] if not head else []
                    head = line
                elif (verdict := judge(line)) != "drop":
                    out.append(line + b"\n" if verdict == "keep" else _UNREADABLE)
            # Also where nothing was found: whoever waits sees that it goes on.
            yield b"".join(out)


def _lines(lines: Lines, pieces: Iterable[bytes]) -> Iterator[Iterator[bytes]]:
    is_first = True
    for piece in pieces:
        yield lines.feed(piece.removeprefix(_MARK) if is_first else piece)
        is_first = False
    yield lines.close()


def _judge_line(
    is_csv: bool, encoding: Encoding, row_filter: RowFilter
) -> Callable[[bytes], Verdict]:
    if row_filter.is_idle:
        return lambda _line: "keep"
    parser: Parser = (
        CsvParser(_LIMITS, encoding, row_filter.check_head)
        if is_csv
        else JsonLinesParser(_LIMITS, encoding)
    )

    def judge(line: bytes) -> Verdict:
        # The first row of CSV is none.
        for values, rule in parser.feed(line + b"\n"):
            return "keep" if rule else row_filter.judge(values)
        return "keep"

    return judge


def select_xml(
    files: Iterable[Iterable[bytes]], *, encoding: Encoding, row_filter: RowFilter
) -> Iterator[bytes]:
    """Rows of several documents of XML, as JSON Lines in UTF-8."""
    encode = msgspec.json.Encoder().encode

    def line(row: Row) -> bytes:
        values, rule = row
        verdict = "reject" if rule else row_filter.judge(values)
        if verdict == "drop":
            return b""
        return encode(values) + b"\n" if verdict == "keep" else _UNREADABLE

    for pieces in files:
        parser = XmlParser(_LIMITS, encoding)
        for piece in pieces:
            yield b"".join(map(line, parser.feed(piece)))
        yield b"".join(map(line, parser.close()))
