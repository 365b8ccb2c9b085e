"""The arithmetic of credit: counts within a window, points, score and grade. Integers only.

    score = base + the sum over the behaviours of (points x amount in the window, within the limit)

kept within minimum and maximum. The window is made of whole buckets of days in UTC, the one that
runs and those before it: a bucket leaves as a whole, with the first block after a midnight.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from contracts.credit.behaviours import DEFAULT_RULES, TABLE
from ledger.registry import (
    CREDIT_BUCKETS_KEPT_MAX,
    CREDIT_CAUSES_MAX,
    CreditBucket,
    CreditCause,
    CreditRules,
    CreditTally,
    Grade,
)

_DAY_MS = 86_400_000
_AMOUNT_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Standing:
    """Score and grade at one time, and how often each behaviour stands in the window."""

    score: int
    grade: Grade
    amounts: Mapping[str, int]


class Formula:
    """Rules made ready for use. Compared by identity: there is one for each set of rules."""

    def __init__(self, rules: CreditRules) -> None:
        self.rules = rules
        own = {row.id: (row.points, row.limit) for row in TABLE}
        voted = {weight.behaviour: (weight.points, weight.limit) for weight in rules.weights}
        self._weights: Mapping[str, tuple[int, int]] = own | voted

    def bucket_day(self, time_ms: int) -> int:
        """First day (since 1970) of the bucket that a time falls into."""
        day = time_ms // _DAY_MS
        return day - day % self.rules.bucket_days

    def first_day(self, bucket_day: int) -> int:
        """First day of the window whose last bucket begins on `bucket_day`."""
        return bucket_day - (self.rules.buckets - 1) * self.rules.bucket_days

    def limit(self, behaviour: str) -> int:
        """The most that a behaviour gives or takes in the window."""
        return self._weights.get(behaviour, (0, 0))[1]

    def points(self, behaviour: str, amount: int) -> int:
        """Points of a behaviour seen `amount` times. One that no row knows has none."""
        each, limit = self._weights.get(behaviour, (0, 0))
        return max(-limit, min(limit, each * amount))

    def grade(self, score: int) -> Grade:
        """Grade of a score."""
        if score >= self.rules.grade_a:
            return "A"
        if score >= self.rules.grade_b:
            return "B"
        return "C" if score >= self.rules.grade_c else "D"

    def weigh(self, buckets: Iterable[CreditBucket], start: int, bucket_day: int) -> Standing:
        """Standing of a member that starts at `start`, in the bucket that runs."""
        first = self.first_day(bucket_day)
        amounts: dict[str, int] = {}
        for start_day, tallies in buckets:
            if start_day >= first:
                for behaviour, amount in tallies:
                    amounts[behaviour] = amounts.get(behaviour, 0) + amount
        return self.stand(amounts, start)

    def stand(self, amounts: Mapping[str, int], start: int) -> Standing:
        """Standing of a member that starts at `start` and was seen to do so much of each."""
        score = self.score(self.total(amounts, start))
        return Standing(score, self.grade(score), amounts)

    def total(self, amounts: Mapping[str, int], start: int) -> int:
        """The sum that a score is, before it is kept within its bounds."""
        total = start if self.rules.base is None else self.rules.base
        for behaviour, amount in amounts.items():
            total += self.points(behaviour, amount)
        return total

    def score(self, total: int) -> int:
        """A sum within the bounds of a score."""
        return max(self.rules.minimum, min(self.rules.maximum, total))


DEFAULT_FORMULA = Formula(DEFAULT_RULES)


def find_rules_faults(rules: CreditRules) -> tuple[str, ...]:
    """What keeps rules from being put to the vote, in words for people; empty: nothing."""
    known = frozenset(row.id for row in TABLE)
    names = [weight.behaviour for weight in rules.weights]
    reasons = list(rules.permitted_reasons)
    faults = [f"unknown behaviour {name}" for name in names if name not in known]
    if names != sorted(frozenset(names)):
        faults.append("weights: not sorted by behaviour, or one stands twice")
    if reasons != sorted(frozenset(reasons)):
        faults.append("permitted_reasons: not sorted, or one stands twice")
    if not rules.minimum <= rules.grade_c <= rules.grade_b <= rules.grade_a <= rules.maximum:
        faults.append("minimum <= grade_c <= grade_b <= grade_a <= maximum does not hold")
    if rules.base is not None and not rules.minimum <= rules.base <= rules.maximum:
        faults.append("base is not between minimum and maximum")
    return tuple(faults)


def add_to_bucket(
    buckets: tuple[CreditBucket, ...], day: int, behaviour: str, amount: int
) -> tuple[CreditBucket, ...]:
    """The buckets with `amount` more of a behaviour in the one that begins on `day`."""
    found = dict(buckets)
    amounts = dict(found.get(day, ()))
    amounts[behaviour] = min(amounts.get(behaviour, 0) + amount, _AMOUNT_MAX)
    found[day] = tuple(map(CreditTally._make, sorted(amounts.items())))
    return tuple(map(CreditBucket._make, sorted(found.items())))[-CREDIT_BUCKETS_KEPT_MAX:]


def add_causes(
    causes: tuple[CreditCause, ...], newer: Sequence[CreditCause]
) -> tuple[CreditCause, ...]:
    """The causes after those that came later (the newest last): of each behaviour the newest.

    The newest stands first. Causes that are equal, as one vote can make them, leave together.
    """
    together = (*reversed(newer), *causes)
    if len(frozenset(together)) < len(together):
        for cause in newer:
            causes = _add_cause(causes, cause)
        return causes
    kept: list[CreditCause] = []
    counts: dict[str, int] = {}
    for cause in together:
        count = counts.get(cause.behaviour, 0)
        if count < CREDIT_CAUSES_MAX:
            counts[cause.behaviour] = count + 1
            kept.append(cause)
    return tuple(kept)


def _add_cause(causes: tuple[CreditCause, ...], cause: CreditCause) -> tuple[CreditCause, ...]:
    same = [each for each in causes if each.behaviour == cause.behaviour]
    dropped = same[CREDIT_CAUSES_MAX - 1 :]
    return (cause, *(each for each in causes if each not in dropped))
