"""Whose clock is wrong: judged from several statuses, so that a late one blames nobody."""

from node.simplex.core import CLOCK_SAMPLES_MAX, CLOCK_SAMPLES_MIN
from node.simplex.types import Now, Received
from tests.unit.node.simplex.builders import Bench


def hear(bench: Bench, sender: int, *, ahead_ms: int = 0, delay_ms: int = 0) -> None:
    """A status of a validator whose clock is ahead, after so long on its way."""
    now = bench.now()
    sent = Now(mono_ms=now.mono_ms, wall_ms=now.wall_ms + ahead_ms - delay_ms)
    status = Bench(me=sender).core.status(sent)
    bench.step(Received(sender=sender, message=status))


def test_one_status_is_not_enough() -> None:
    bench = Bench()
    for number in range(CLOCK_SAMPLES_MIN):
        assert bench.core.clock_skew_ms() is None, number
        hear(bench, 1, ahead_ms=100)
    assert bench.core.clock_offsets_ms() == {1: 100}
    assert bench.core.clock_skew_ms() == 100


def test_a_status_that_came_late_does_not_make_our_clock_wrong() -> None:
    bench = Bench()
    for sender in (1, 2, 3):
        for delay_ms in (900, 20, 700):
            hear(bench, sender, delay_ms=delay_ms)
    assert bench.core.clock_offsets_ms() == {1: -20, 2: -20, 3: -20}


def test_the_median_is_that_of_most_clocks() -> None:
    bench = Bench()
    for sender, ahead_ms in ((1, 30), (2, 40), (3, 3_600_000)):
        for _ in range(CLOCK_SAMPLES_MIN):
            hear(bench, sender, ahead_ms=ahead_ms)
    assert bench.core.clock_skew_ms() == 40


def test_a_clock_that_was_corrected_is_believed_again() -> None:
    bench = Bench()
    for _ in range(CLOCK_SAMPLES_MAX):
        hear(bench, 1, ahead_ms=5_000)
    for _ in range(CLOCK_SAMPLES_MAX):
        assert bench.core.clock_offsets_ms() == {1: 5_000}
        hear(bench, 1, ahead_ms=1)
    assert bench.core.clock_offsets_ms() == {1: 1}
