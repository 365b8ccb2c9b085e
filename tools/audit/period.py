"""The period that a report or an export is about, in block time, by whole days of UTC."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tools.exits import InvalidUsage
from tools.options import option

DAY_MS = 86_400_000
_EPOCH = dt.date(1970, 1, 1)
F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """From `start_ms` up to and without `end_ms`; None: the log's own begin or end."""

    start_ms: int | None = None
    end_ms: int | None = None

    def has_begun(self, time_ms: int) -> bool:
        """Whether a block time is in the period or after it."""
        return self.start_ms is None or time_ms >= self.start_ms

    def is_over(self, time_ms: int) -> bool:
        """Whether a block time is after the period."""
        return self.end_ms is not None and time_ms >= self.end_ms

    def covers(self, time_ms: int) -> bool:
        """Whether a block time is in the period."""
        return self.has_begun(time_ms) and not self.is_over(time_ms)


EVER = Period()


def make_period(first: str | None, last: str | None) -> Period:
    """The period of two days (`2026-01-31`), both included. Raises `InvalidUsage`."""
    start, end = (None if day is None else _parse(day) for day in (first, last))
    if start is not None and end is not None and start > end:
        raise InvalidUsage("period-reversed", f"{first} > {last}")
    return Period(
        start_ms=None if start is None else start * DAY_MS,
        end_ms=None if end is None else (end + 1) * DAY_MS,
    )


def format_day(time_ms: int) -> str:
    """The day of a block time."""
    return (_EPOCH + dt.timedelta(days=time_ms // DAY_MS)).isoformat()


def format_moment(time_ms: int) -> str:
    """A block time to the minute."""
    minutes = time_ms // 60_000
    return f"{format_day(time_ms)} {minutes // 60 % 24:02}:{minutes % 60:02}"


def format_month(time_ms: int) -> str:
    """The month of a block time."""
    return format_day(time_ms)[:7]


def period_options(function: F) -> F:
    """Add `--from` and `--to` (parameters `first` and `last`)."""
    function = option("--to", "last", metavar="DATE", help="option.last_day")(function)
    return option("--from", "first", metavar="DATE", help="option.first_day")(function)


def _parse(text: str) -> int:
    """Days since 1970 of an ISO 8601 date."""
    try:
        day = dt.datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 - a day in UTC
    except ValueError:
        raise InvalidUsage("date-invalid", text) from None
    if day.isoformat() != text or day < _EPOCH:
        raise InvalidUsage("date-invalid", text)
    return (day - _EPOCH).days
