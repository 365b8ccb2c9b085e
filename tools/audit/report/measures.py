"""Counters of what happened in a period: of everything, of a pair, of a month.

An act counts in the period in which it became final, whenever the exchange was opened. Times are
block times, in milliseconds; everything is an integer.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from contracts.drafts.history import Happened
from ledger.events import ShareDelivered, ShareReceived, ShareRejected
from ledger.exchange.bodies import ShareRated
from tools.audit.period import DAY_MS
from tools.audit.stories import Story

HOUR_MS = 3_600_000
# Spans of time from one act to the next, in the order of an exchange.
SPANS = ("answer", "delivery", "receipt", "whole")
# Upper ends of the classes of a distribution; what is longer is in one more class.
CLASSES_MS = (HOUR_MS, 6 * HOUR_MS, DAY_MS, 3 * DAY_MS, 7 * DAY_MS, 30 * DAY_MS)
STARS = (1, 2, 3, 4, 5)


@dataclass(slots=True)
class Measures:
    """What was counted. `codes` are code set and code; `finish` sorts the durations of `spans`."""

    counts: Counter[str] = field(default_factory=Counter)
    codes: Counter[tuple[str, str]] = field(default_factory=Counter)
    quality: Counter[int] = field(default_factory=Counter)
    usefulness: Counter[int] = field(default_factory=Counter)
    spans: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in SPANS})

    def finish(self) -> None:
        """Nothing more is counted: sort what has an order."""
        for durations in self.spans.values():
            durations.sort()


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Of durations: how many, two percentiles and the longest, and how many in each class."""

    count: int
    median_ms: int
    p90_ms: int
    longest_ms: int
    classes: tuple[int, ...]


def count(each: Happened, story: Story, deadline_ms: int, measures: Sequence[Measures]) -> None:
    """Count a record that was applied, after its story went on, in every one of `measures`."""
    event, body = each.event, each.event.body
    name = event.kind.removeprefix("share.")
    for counted in measures:
        counted.counts[name] += 1
        if name in ("requested", "offered"):
            counted.counts[each.outcome.decision] += 1
        if name in ("approved", "refused"):
            counted.spans["answer"].append(each.time_ms - story.opened_ms)
        if isinstance(body, ShareDelivered) and story.deliveries == 1:
            counted.counts["late" if each.time_ms > deadline_ms else "in_time"] += 1
            counted.counts["records_sent"] += body.record_count
            counted.spans["delivery"].append(each.time_ms - story.permitted_ms)
        elif isinstance(body, ShareReceived):
            counted.counts["records_received"] += body.record_count
            counted.spans["receipt"].append(each.time_ms - story.delivered_ms)
            counted.spans["whole"].append(each.time_ms - story.opened_ms)
        elif isinstance(body, ShareRejected):
            counted.codes.update((body.code_set, str(code)) for code in body.codes)
        elif isinstance(body, ShareRated):
            counted.quality[body.quality] += 1
            counted.usefulness[body.usefulness] += 1


def distribute(durations: Sequence[int]) -> Distribution:
    """The distribution of sorted durations; all zero where there are none."""
    classes = [0] * (len(CLASSES_MS) + 1)
    for duration in durations:
        at = next((at for at, end in enumerate(CLASSES_MS) if duration <= end), len(CLASSES_MS))
        classes[at] += 1
    return Distribution(
        count=len(durations),
        median_ms=percentile(durations, 50),
        p90_ms=percentile(durations, 90),
        longest_ms=durations[-1] if durations else 0,
        classes=tuple(classes),
    )


def percentile(values: Sequence[int], per_cent: int) -> int:
    """The smallest of sorted values that so many per cent of them do not exceed; none: 0."""
    if not values:
        return 0
    return values[(len(values) * per_cent + 99) // 100 - 1]


def mean_hundredths(stars: Counter[int]) -> int:
    """The mean of ratings, in hundredths of a star, rounded to the nearest; none: 0."""
    rated = stars.total()
    if not rated:
        return 0
    return (200 * sum(value * times for value, times in stars.items()) + rated) // (2 * rated)


def share_per_mille(part: int, whole: int) -> int | None:
    """A share in thousandths, rounded down; None: there is no whole."""
    return part * 1_000 // whole if whole else None
