"""The pool: its limits, its order, and what it forgets and tells."""

import pytest

from ledger.events import Event
from node.pool import Pool, PoolFull, PoolLimits
from tests.builders import OWNER, request


def pool(**changed: int) -> Pool:
    return Pool(PoolLimits(**{"events_max": 4, "events_per_member_max": 3, **changed}))


def events(count: int, **changed: object) -> list[Event]:
    return [request(label=f"{changed} {number}", **changed) for number in range(count)]


def test_events_come_out_in_the_order_of_arrival() -> None:
    held, given = pool(), events(3)
    for event in reversed(given):
        held.add(event)
    assert list(held) == given[::-1]
    assert [held.get(event.digest) for event in given] == given


def test_a_member_has_a_share_and_others_still_have_room() -> None:
    held, given = pool(), events(4)
    for event in given[:3]:
        held.add(event)
    with pytest.raises(PoolFull) as full:
        held.add(given[3])
    assert full.value.scope == "member"
    held.add(request(member=OWNER, label="other"))
    assert len(held) == 4


def test_the_whole_is_bounded_in_events_and_in_bytes() -> None:
    held, given = pool(events_per_member_max=9), events(5)
    for event in given[:4]:
        held.add(event)
    with pytest.raises(PoolFull) as full:
        held.add(given[4])
    assert full.value.scope == "pool"
    small = pool(bytes_max=len(given[0].data) + 10)
    small.add(given[0])
    with pytest.raises(PoolFull):
        small.add(given[1])
    small.remove([given[0].digest])
    small.add(given[1])


def test_what_is_removed_makes_room_again() -> None:
    held, given = pool(), events(4)
    for event in given[:3]:
        held.add(event)
    held.remove([given[0].digest, bytes(32)])
    held.add(given[3])
    assert list(held) == given[1:]


def test_a_final_event_takes_its_rival_with_it() -> None:
    held = pool()
    first, rival = request(label="same", case="a"), request(label="same", case="b")
    held.add(rival)
    assert held.settle([first], 1) == [(rival, "nonce-reused")]
    assert len(held) == 0
    assert held.digest_of_nonce(first.member, first.nonce) is None


def test_a_proposed_event_replaces_its_rival() -> None:
    held = pool()
    first, rival = request(label="same", case="a"), request(label="same", case="b")
    held.add(first)
    held.hold(rival)
    held.hold(rival)
    assert list(held) == [rival]
    assert held.digest_of_nonce(first.member, first.nonce) == rival.digest


def test_an_event_is_lost_when_no_block_can_hold_it_any_more() -> None:
    held = pool()
    soon, late = request(label="soon", expires_height=5), request(label="late", expires_height=6)
    held.add(late)
    held.add(soon)
    assert held.settle([], 4) == []
    assert held.settle([], 5) == [(soon, "event-expired")]
    assert list(held) == [late]


def test_the_expiry_queue_does_not_grow_with_the_events_of_all_time() -> None:
    held = pool()
    for number in range(3_000):
        event = request(label=str(number))
        held.add(event)
        held.settle([event], 1)
    assert len(held._expiry) <= 1_025


def test_the_pool_says_how_long_its_oldest_event_waits() -> None:
    now_ms = [1_000]
    kept = Pool(PoolLimits(events_max=4, events_per_member_max=3), lambda: now_ms[0])
    assert kept.oldest_ms() == 0
    first, second = events(2)
    kept.add(first)
    now_ms[0] = 4_000
    kept.add(second)
    assert kept.oldest_ms() == 3_000
    kept.remove([first.digest])
    now_ms[0] = 4_500
    assert kept.oldest_ms() == 500
    kept.remove([second.digest])
    assert kept.oldest_ms() == 0


def test_an_event_that_makes_way_for_a_proposed_one_is_told() -> None:
    held, told = pool(), list[Event]()
    held.on_displaced = told.append
    waiting, proposed = request(label="same", case="a"), request(label="same", case="b")
    held.add(waiting)
    held.hold(waiting)
    assert told == []
    held.hold(proposed)
    assert told == [waiting]
    assert list(held) == [proposed]
