"""The arithmetic of a report, against naive twins."""

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tools.audit.period import DAY_MS, Period, format_day, format_moment, make_period
from tools.audit.report.measures import (
    CLASSES_MS,
    distribute,
    mean_hundredths,
    percentile,
    share_per_mille,
)

DURATIONS = st.lists(st.integers(0, 60 * DAY_MS), max_size=60).map(sorted)


@given(DURATIONS, st.integers(1, 100))
def test_a_percentile_is_the_smallest_value_that_covers_so_many(
    values: list[int], per_cent: int
) -> None:
    found = percentile(values, per_cent)
    enough = [
        value
        for value in values
        if 100 * sum(other <= value for other in values) >= per_cent * len(values)
    ]
    assert found == min(enough, default=0)


@given(DURATIONS)
@example(list(CLASSES_MS))
def test_every_duration_is_in_one_class(values: list[int]) -> None:
    found = distribute(values)
    assert sum(found.classes) == found.count == len(values)
    for at, end in enumerate(CLASSES_MS):
        assert sum(found.classes[: at + 1]) == sum(value <= end for value in values)
    assert found.longest_ms == max(values, default=0)


@pytest.mark.parametrize(
    ("stars", "mean"), [({}, 0), ({4: 1}, 400), ({1: 1, 2: 2}, 167), ({1: 2, 2: 1}, 133)]
)
def test_a_mean_is_rounded_to_the_nearest_hundredth(stars: dict[int, int], mean: int) -> None:
    assert mean_hundredths(Counter(stars)) == mean


def test_a_share_of_nothing_is_none() -> None:
    assert share_per_mille(0, 0) is None
    assert share_per_mille(2, 3) == 666


@given(st.integers(0, 2_932_896 * DAY_MS), st.integers(0, 400))
def test_a_period_covers_whole_days(time_ms: int, days: int) -> None:
    first = format_day(time_ms)
    start_ms = time_ms // DAY_MS * DAY_MS
    if start_ms + days * DAY_MS > 2_932_896 * DAY_MS:
        return
    period = make_period(first, format_day(start_ms + days * DAY_MS))
    assert period == Period(start_ms=start_ms, end_ms=start_ms + (days + 1) * DAY_MS)
    assert period.covers(time_ms)
    assert not period.covers(start_ms - 1)
    assert not period.covers(start_ms + (days + 1) * DAY_MS)
    assert format_moment(time_ms).startswith(first)
