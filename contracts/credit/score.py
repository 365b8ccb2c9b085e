"""The arithmetic of credit: counts within a window, points, score and grade. Integers only.

    score = base + the sum over the behaviours of (points x amount in the window, within the limit)

kept within minimum and maximum. The window is made of whole buckets of days in UTC, the one that
runs and those before it: a bucket leaves as a whole, when the first block after midnight asks.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from contracts.credit.behaviours import DEFAULT_RULES, TABLE
from ledger.registry import (
    CREDIT_EVENTS_MAX,
    CreditBucket,
    CreditEvent,
    CreditRules,
    CreditTally,
    Grade,
)

_DAY_MS = 86_400_000
_AMOUNT_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What a behaviour gives or takes in the window."""

    behaviour: str
    amount: int
    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Score and grade at one time, and what they are made of, sorted by behaviour."""

    score: int
    grade: Grade
    contributions: tuple[Contribution, ...]

    def amount_of(self, behaviour: str) -> int:
        """How often a behaviour was seen."""
        seen = (each.amount for each in self.contributions if each.behaviour == behaviour)
        return next(seen, 0)


class Formula:
    """Rules made ready for use. Compared by identity: one for each set of rules."""

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

    def weigh(self, buckets: tuple[CreditBucket, ...], *, start: int, bucket_day: int) -> Standing:
        """Standing of a member that starts at `start`, in the bucket that runs."""
        first = self.first_day(bucket_day)
        amounts: dict[str, int] = {}
        for bucket in buckets:
            if bucket.start_day >= first:
                for tally in bucket.tallies:
                    amounts[tally.behaviour] = amounts.get(tally.behaviour, 0) + tally.amount
        return self.stand(amounts, start=start)

    def stand(self, amounts: Mapping[str, int], *, start: int) -> Standing:
        """Standing of a member that starts at `start` and was seen to do so much of each."""
        contributions = tuple(
            Contribution(behaviour=name, amount=amount, points=self.points(name, amount))
            for name, amount in sorted(amounts.items())
        )
        base = start if self.rules.base is None else self.rules.base
        total = base + sum(each.points for each in contributions)
        score = max(self.rules.minimum, min(self.rules.maximum, total))
        return Standing(score=score, grade=self.grade(score), contributions=contributions)


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
    buckets: tuple[CreditBucket, ...],
    day: int,
    behaviour: str,
    amount: int,
    events: tuple[CreditEvent, ...],
) -> tuple[CreditBucket, ...]:
    """The buckets with `amount` more of a behaviour, and its new events, in that of `day`."""
    found = next((each for each in buckets if each.start_day == day), None)
    tallies = {tally.behaviour: tally for tally in found.tallies} if found else {}
    before = tallies.get(behaviour, CreditTally(behaviour, 0, ()))
    tallies[behaviour] = CreditTally(
        behaviour,
        min(before.amount + amount, _AMOUNT_MAX),
        (*events, *before.events)[:CREDIT_EVENTS_MAX],
    )
    changed = CreditBucket(
        start_day=day, tallies=tuple(tally for _, tally in sorted(tallies.items()))
    )
    others = (each for each in buckets if each.start_day != day)
    return tuple(sorted((*others, changed), key=lambda each: each.start_day))
