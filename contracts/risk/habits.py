"""Habits in the state: read for an assessment, counted by a request, written at the block's end.

An offer is nobody's request: it is neither assessed nor counted.
"""

from functools import lru_cache

from contracts.facts import block_date
from contracts.risk.reasons import DEFAULT_RULES
from contracts.risk.score import Asked, Assessor, Counts, hour_of
from ledger.events import Event, ShareRequested
from ledger.exchange.risk import (
    HABIT_USES_MAX,
    HABITS,
    NO_RISK,
    RISK_RULES,
    RISKS,
    AskedMonth,
    AskedUse,
    Habit,
    Risk,
    RiskRules,
)
from ledger.state import RISK_RULES_KEY, Overlay, StateReader, habit_key, risk_key

_DEFAULT_ASSESSOR = Assessor(DEFAULT_RULES)
_decode_habit = lru_cache(4_096)(HABITS.decode)


@lru_cache(16)
def _make_assessor(data: bytes) -> Assessor:
    return Assessor(RISK_RULES.decode(data))


def _read_assessor(state: StateReader) -> Assessor:
    data = state.get(RISK_RULES_KEY)
    return _DEFAULT_ASSESSOR if data is None else _make_assessor(data)


def read_risk_rules(state: StateReader) -> RiskRules:
    """The rules in force: those of the software until a vote has set others."""
    return _read_assessor(state).rules


def read_risk(state: StateReader, exchange: bytes) -> Risk:
    """Risk of the request that opened an exchange, when it was decided."""
    data = state.get(risk_key(exchange))
    return NO_RISK if data is None else RISKS.decode(data)


def month_of(time_ms: int) -> int:
    """The month of a block time, counted from the year 0."""
    day = block_date(time_ms)
    return day.year * 12 + day.month - 1


class Habits:
    """The habits of all members while one block is executed.

    The rules are those that the block found: as contracts do, a vote takes effect with the next.
    """

    def __init__(self, overlay: Overlay, time_ms: int) -> None:
        self._overlay = overlay
        self._assessor = _read_assessor(overlay)
        self._month, self._hour = month_of(time_ms), hour_of(time_ms)
        self._found: dict[tuple[str, str], Counts] = {}
        self._changed: dict[tuple[str, str], Counts] = {}

    def assess(self, event: Event, body: ShareRequested) -> Risk:
        """Risk of a request; it is not counted yet."""
        use = AskedUse(body.dataset, body.purpose)
        asked = Asked(len(body.subjects), use, self._month, self._hour)
        own, pair = self._find(event.member, ""), self._find(event.member, body.provider)
        return self._assessor.assess(asked, own, pair)

    def count_request(self, event: Event, body: ShareRequested, *, is_denied: bool) -> None:
        """Count a request that was decided."""
        use = AskedUse(body.dataset, body.purpose)
        for provider in ("", body.provider):
            counts = self._change(event.member, provider)
            counts.asked += 1
            counts.subjects += len(body.subjects)
            counts.turned_down += is_denied
            if provider and use not in counts.uses:
                counts.uses = (*counts.uses, use)[-HABIT_USES_MAX:]

    def count_refusal(self, requester: str, provider: str) -> None:
        """Count that an approver of the provider refused a request."""
        for name in ("", provider):
            self._change(requester, name).turned_down += 1

    def write(self) -> None:
        """Put what was counted into the state: once a block, however many requests it has."""
        for (requester, provider), counts in self._changed.items():
            month = AskedMonth(self._month, counts.asked, counts.subjects, counts.turned_down)
            habit = Habit(months=(*counts.before, month), uses=counts.uses)
            self._overlay.put(habit_key(requester, provider), HABITS.encode(habit))

    def _change(self, requester: str, provider: str) -> Counts:
        counts = self._find(requester, provider)
        self._changed[requester, provider] = counts
        return counts

    def _find(self, requester: str, provider: str) -> Counts:
        counts = self._found.get((requester, provider))
        if counts is None:
            data = self._overlay.get(habit_key(requester, provider))
            counts = self._found[requester, provider] = self._open(data)
        return counts

    def _open(self, data: bytes | None) -> Counts:
        if data is None:
            return Counts((), (), 0, 0, 0)
        habit = _decode_habit(data)
        first = self._month - self._assessor.rules.months
        before = tuple(each for each in habit.months if first <= each.month < self._month)
        now = next((each for each in habit.months if each.month == self._month), None)
        _, asked, subjects, turned_down = now or AskedMonth(self._month, 0, 0, 0)
        return Counts(before, habit.uses, asked, subjects, turned_down)
