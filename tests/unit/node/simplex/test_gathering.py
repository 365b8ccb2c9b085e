"""R4: where events come in numbers, a leader waits a little for more, and nobody else is late."""

from node.simplex.pacemaker import GATHER_DELTAS
from node.simplex.types import Kind, PendingChanged
from tests.simulation.toy import ToyApplication
from tests.unit.node.simplex.builders import Bench, certify, subject_of

DELTA_MS = 300
GATHER_MS = DELTA_MS // GATHER_DELTAS
N = Kind.NOTARIZE


def leader_after(*events: bytes, at_ms: int = 1_000) -> Bench:
    """Validator 1, which leads view 2, as it enters that on a block with these events."""
    first = Bench(me=0, application=ToyApplication(me=0))
    for event in events:
        first.application.submit(event)
    first.step(PendingChanged())
    [block] = [each for each in first.application.blocks.values() if each.height == 1]
    bench = Bench(me=1, application=ToyApplication(me=1))
    for event in events:
        bench.application.submit(event)
    bench.receive(first.propose(block))
    bench.time_ms = at_ms
    bench.receive(certify(subject_of(N, block)))
    assert bench.core.current_view == 2
    assert (N, 2) not in bench.own_votes()
    return bench


def test_a_leader_gathers_after_a_block_with_many_events() -> None:
    bench = leader_after(b"1", b"2")
    bench.time_ms += 1
    effects = bench.submit(b"3")
    assert (N, 2) not in bench.own_votes()
    assert effects.wake_ms is not None
    assert effects.wake_ms <= 1_000 + GATHER_MS
    assert 1_000 + GATHER_MS in bench.core._pace.wake_times_ms()
    bench.tick(1_000 + GATHER_MS - 1)
    assert (N, 2) not in bench.own_votes()
    bench.tick(1_000 + GATHER_MS)
    assert (N, 2) in bench.own_votes()
    assert 1_000 + GATHER_MS not in bench.core._pace.wake_times_ms()


def test_nothing_is_woken_for_when_what_it_gathered_for_is_gone() -> None:
    """A time that is over would wake the driver again and again."""
    bench = leader_after(b"1", b"2")
    bench.time_ms += 1
    bench.submit(b"3")
    bench.application.pool.clear()
    effects = bench.tick(1_000 + GATHER_MS)
    assert (N, 2) not in bench.own_votes()
    assert effects.wake_ms is not None
    assert effects.wake_ms > bench.time_ms


def test_it_stops_as_soon_as_enough_wait() -> None:
    bench = leader_after(b"1", b"2")
    for number in range(4):
        assert (N, 2) not in bench.own_votes()
        bench.submit(b"more %d" % number)
    assert (N, 2) in bench.own_votes()


def test_a_lone_event_does_not_wait() -> None:
    # After a block with one event, and after a pause.
    bench = leader_after(b"1")
    bench.submit(b"2")
    assert (N, 2) in bench.own_votes()
    bench = leader_after(b"1", b"2")
    bench.time_ms += GATHER_MS
    bench.submit(b"3")
    assert (N, 2) in bench.own_votes()


def test_gathering_ends_long_before_others_give_the_leader_up() -> None:
    follower = Bench(me=2)
    follower.submit()
    follower.tick(GATHER_MS + DELTA_MS)
    assert follower.own_votes() == []
