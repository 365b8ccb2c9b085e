"""The arithmetic of risk: integers, from the rules, the request and the habits before it.

    score = the sum of the points of all reasons, at most 100

A mean is that of the months before this one, from the first that is kept on: months without a
request count as 0. Without such a month there is no habit, so nothing is unusual. In a month that
runs, the counts so far are compared with whole months: what is usual is never taken for unusual.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from contracts.risk.reasons import (
    MANY_SUBJECTS,
    NEW_PURPOSE,
    OFF_HOURS,
    OFTEN_ASKED,
    OFTEN_DENIED,
    TABLE,
    VOLUME,
)
from ledger.exchange.risk import (
    NO_RISK,
    RISK_MAX,
    SHARE_WHOLE,
    AskedMonth,
    AskedUse,
    Risk,
    RiskReason,
    RiskRules,
)

_HOUR_MS = 3_600_000
_UTC_OFFSET_HOURS = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as far as it is assessed; `month` and `hour` are those of its block."""

    subjects: int
    use: AskedUse
    month: int
    hour: int


@dataclass(slots=True)
class Counts:
    """A habit taken apart: the months before the one that runs, and the counts of that one."""

    before: tuple[AskedMonth, ...]
    uses: tuple[AskedUse, ...]
    asked: int
    subjects: int
    turned_down: int


def hour_of(time_ms: int) -> int:
    """Hour of a block time in UTC+8, where there is no summer time."""
    return (time_ms // _HOUR_MS + _UTC_OFFSET_HOURS) % 24


class Assessor:
    """Rules made ready for use. Compared by identity: there is one for each set of rules."""

    def __init__(self, rules: RiskRules) -> None:
        self.rules = rules
        own = {row.id: row.points for row in TABLE}
        self._points = own | {weight.reason: weight.points for weight in rules.weights}
        # One for each combination of reasons that was met.
        self._risks: dict[tuple[str, ...], Risk] = {}

    def assess(self, asked: Asked, own: Counts, pair: Counts) -> Risk:
        """Risk of a request, given how its member asked everybody and this provider before."""
        rules, codes = self.rules, []
        if asked.subjects > rules.subjects_many:
            codes.append(MANY_SUBJECTS)
        if pair.uses and asked.use not in pair.uses:
            codes.append(NEW_PURPOSE)
        if not rules.open_hour <= asked.hour < rules.close_hour:
            codes.append(OFF_HOURS)
        often = pair.asked + 1
        if often > rules.asked_floor and self._is_unusual(
            often, asked.month, pair.before, [each.asked for each in pair.before]
        ):
            codes.append(OFTEN_ASKED)
        if self._turned_down(own, asked.month) >= rules.denied_floor:
            codes.append(OFTEN_DENIED)
        volume = own.subjects + asked.subjects
        if volume > rules.volume_floor and self._is_unusual(
            volume, asked.month, own.before, [each.subjects for each in own.before]
        ):
            codes.append(VOLUME)
        if not codes:
            return NO_RISK
        found = tuple(codes)
        risk = self._risks.get(found)
        if risk is None:
            risk = self._risks[found] = self._risk(found)
        return risk

    def _is_unusual(
        self, count: int, month: int, before: tuple[AskedMonth, ...], counts: Iterable[int]
    ) -> bool:
        if not before:
            return False
        mean = sum(counts) // (month - before[0].month)
        return count * SHARE_WHOLE > mean * self.rules.usual_share

    def _turned_down(self, own: Counts, month: int) -> int:
        last = own.before[-1] if own.before else None
        is_last = last is not None and last.month == month - 1
        return own.turned_down + (last.turned_down if last is not None and is_last else 0)

    def _risk(self, codes: tuple[str, ...]) -> Risk:
        found = ((code, self._points[code]) for code in codes)
        reasons = tuple(sorted(RiskReason(code, points) for code, points in found if points))
        if not reasons:
            return NO_RISK
        score = min(RISK_MAX, sum(each.points for each in reasons))
        return Risk(score=score, reasons=reasons, rules_version=self.rules.version)
