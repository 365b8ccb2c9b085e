"""What ends soon: certificate, keys, legal bases, sunset dates. One warning a threshold."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal, cast

import structlog

from ledger.governance.registers import Sunset
from ledger.registry import LegalBasis
from node.diagnosis.rules import (
    CERTIFICATE_FAULT_DAYS,
    CERTIFICATE_NOTICE_DAYS,
    CERTIFICATE_WARNING_DAYS,
    DAY_MS,
)

LOG = structlog.get_logger("node.oversight")
THRESHOLDS_DAYS = (CERTIFICATE_FAULT_DAYS, CERTIFICATE_WARNING_DAYS, CERTIFICATE_NOTICE_DAYS)


Kind = Literal[
    "certificate",
    "legal-basis",
    "officer-key",
    "encryption-key",
    "gateway-certificate",
    "contract",
    "dataset",
    "purpose",
    "code-list",
    "record-schema",
    "parameters",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiring:
    """Something that ends within so many days; what has ended has fewer than 0.

    `ends` is its last day (UTC), `within_days` the least threshold that holds. A key has its
    fingerprint as id.
    """

    kind: Kind
    id: str
    ends: str
    days_left: int
    within_days: int


def find_threshold(days_left: int) -> int | None:
    """The least threshold that so many whole days are within, or None."""
    return next((each for each in THRESHOLDS_DAYS if days_left < each), None)


def judge_certificate(
    name: str, ends_ms: int, wall_ms: int, *, kind: Kind = "certificate"
) -> Iterator[Expiring]:
    """The certificate of a node or gateway, if it ends soon or has ended."""
    ends = f"{datetime.fromtimestamp(ends_ms / 1000, UTC):%Y-%m-%d}"
    yield from _judge(kind, name, ends, (ends_ms - wall_ms) // DAY_MS)


def judge_basis(basis: LegalBasis, wall_ms: int) -> Iterator[Expiring]:
    """A legal basis that is in force today, if it ends soon. Its last day is included."""
    today = datetime.fromtimestamp(wall_ms / 1000, UTC).date()
    if not basis.in_force_from <= today.isoformat() <= basis.in_force_to:
        return
    try:
        days_left = count_days(basis.in_force_to, wall_ms)
    except ValueError:
        return  # 30 February: the ledger compares dates as text, and so it will end
    yield from _judge("legal-basis", basis.id, basis.in_force_to, days_left)


def judge_key(kind: Kind, name: str, ends: str, wall_ms: int) -> Iterator[Expiring]:
    """A key with a last day, which is included.

    An officer's key that has ended is not news. Nobody can send anything to a member whose
    encryption key has ended: that is told until there is another.
    """
    days_left = count_days(ends, wall_ms)
    if days_left >= 0 or kind == "encryption-key":
        yield from _judge(kind, name, ends, days_left)


def count_days(last_day: str, wall_ms: int) -> int:
    """Days from today (UTC) to a day. Raises `ValueError` for one that the calendar has not."""
    today = datetime.fromtimestamp(wall_ms / 1000, UTC).date()
    return (date.fromisoformat(last_day) - today).days


def judge_sunset(sunset: Sunset, wall_ms: int) -> Iterator[Expiring]:
    """What has a sunset date, if it ends soon; none of what has ended."""
    if sunset.ended:
        return
    last = (date.fromisoformat(sunset.date) - timedelta(days=1)).isoformat()
    kind, _, name = sunset.target.partition("/")
    yield from _judge(cast(Kind, kind), name, last, count_days(last, wall_ms))


def _judge(kind: Kind, name: str, ends: str, days_left: int) -> Iterator[Expiring]:
    within_days = find_threshold(days_left)
    if within_days is not None:
        yield Expiring(kind=kind, id=name, ends=ends, days_left=days_left, within_days=within_days)


class Reminder:
    """Warns in the log, once for each thing and threshold."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str, str], int] = {}

    def tell(self, expiring: tuple[Expiring, ...]) -> None:
        """Warn of what was not told of yet, or for a later threshold only."""
        for each in expiring:
            name = (each.kind, each.id, each.ends)
            if self._told.get(name, each.within_days + 1) > each.within_days:
                LOG.warning(
                    "ends soon",
                    kind=each.kind,
                    id=each.id,
                    ends=each.ends,
                    days_left=each.days_left,
                )
        self._told = {(each.kind, each.id, each.ends): each.within_days for each in expiring}
