"""Admission at a node: what is kept, what is refused and why, and what peers can do to it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ledger.events import Event
from node import node as node_module
from node.diagnosis.gather import Gatherer
from node.engine.ports import Threads
from node.metrics import Metrics
from node.node import Node
from node.oversight.overseer import Overseer
from node.peers.links import Channel, Peer
from node.peers.wire import EventList, FrameType, decode_content, encode_frame
from node.pool import PoolLimits
from node.service import EventState, EventStatus
from tests.builders import (
    OWNER,
    TIME_MS,
    add_validator,
    carried,
    propose,
    request,
    validator,
)
from tests.unit.node.world import GENESIS, VALIDATORS, Bench, bench


class PeerWire:
    """What the node asks of its links beyond the driver's transport."""

    def __init__(self, mine: Bench) -> None:
        self.send = mine.wire.send
        self.is_connected = mine.wire.is_connected
        self.peers: tuple[Peer, ...] = ()

    def set_peers(self, peers: Iterable[Peer]) -> None:
        self.peers = tuple(peers)

    @property
    def members(self) -> list[str]:
        return [peer.member for peer in self.peers]

    def silent_ms(self, peer: str) -> int:
        return len(peer)

    def dropped_frames(self) -> int:
        return 0


def with_node(folder: Path, test: Callable[[Node, Bench], Awaitable[None]], **limits: int) -> None:
    async def run() -> None:
        with bench(folder) as mine, ThreadPoolExecutor(1) as workers:
            rate = limits.pop("rate", 1_000)
            if limits:
                mine.ledger.pool._limits = PoolLimits(
                    **{"events_max": 10, "events_per_member_max": 10, **limits}
                )
            links: Any = PeerWire(mine)
            node = Node(
                genesis=GENESIS,
                chain=mine.ledger.chain,
                driver=mine.driver,
                links=links,
                addresses={},
                metrics=Metrics(),
                workers=Threads(workers),
                clock=mine.clock,
                events_per_second_per_member=rate,
                gatherer=Gatherer(
                    driver=mine.driver,
                    links=links,
                    clock=mine.clock,
                    workers=Threads(workers),
                    data_dir=folder,
                    certificate_expires_ms=2_000_000_000_000,
                ),
                overseer=Overseer(
                    log=mine.ledger.log,
                    member=mine.driver.epochs.member,
                    certificate_ends_ms=2_000_000_000_000,
                ),
            )
            await test(node, mine)

    asyncio.run(run())


async def submit(node: Node, *events: Event) -> list[EventStatus]:
    statuses = await node.submit([event.data for event in events], client="test")
    await asyncio.sleep(0)  # dissemination leaves at the end of the loop's turn
    return statuses


def codes(statuses: list[EventStatus]) -> list[str]:
    return [each.code or each.state.value for each in statuses]


def test_an_admitted_event_is_pending_and_goes_to_all(tmp_path: Path) -> None:
    async def test(node: Node, mine: Bench) -> None:
        events = [request(label=str(number)) for number in range(3)]
        assert codes(await submit(node, *events)) == ["pending"] * 3
        ((to, content),) = mine.wire.take(FrameType.EVENTS)
        assert to is None
        assert decode_content(content, EventList).events == tuple(each.data for each in events)
        assert codes(await submit(node, events[0])) == ["pending"]
        assert mine.wire.take(FrameType.EVENTS) == []

    with_node(tmp_path, test)


def test_a_final_block_is_a_reason_to_look_for_what_ends_soon(tmp_path: Path) -> None:
    async def test(node: Node, mine: Bench) -> None:
        # The own certificate ends years after the tests' time, so step close to its end.
        mine.clock.mono_ms += 2_000_000_000_000 - TIME_MS - 10 * 86_400_000
        proposal = propose(add_validator("de-tax"))
        with capture_logs() as logs:
            node.on_final((mine.ledger.finalize(request()),))
            node.on_final((mine.ledger.finalize(request(label="2")),))
        ends = [each for each in logs if each["event"] == "ends soon"]
        assert [(each["kind"], each["days_left"]) for each in ends] == [("certificate", 9)]
        assert node.oversight().open == ()
        node.on_final((mine.ledger.finalize(proposal),))
        assert [digest for digest, _ in node.oversight().open] == [proposal.digest]

    with_node(tmp_path, test)


def test_a_used_up_share_is_told_with_a_time_and_leaves_room_to_others(
    tmp_path: Path,
) -> None:
    async def test(node: Node, mine: Bench) -> None:
        statuses = await submit(node, *(request(label=str(number)) for number in range(4)))
        assert codes(statuses) == ["pending", "pending", "quota-pending", "quota-pending"]
        assert statuses[3].retry_after_s > 0
        assert codes(await submit(node, request(member=OWNER, provider="cn-3301-tax"))) == [
            "pending"
        ]

    with_node(tmp_path, test, events_per_member_max=2)


def test_a_member_that_sends_too_fast_is_slowed_and_others_are_not(tmp_path: Path) -> None:
    async def test(node: Node, mine: Bench) -> None:
        statuses = await submit(node, *(request(label=str(number)) for number in range(5)))
        assert codes(statuses)[:2] == ["pending", "pending"]
        assert "rate-limited" in codes(statuses)
        assert codes(await submit(node, request(member=OWNER, provider="cn-3301-tax"))) == [
            "pending"
        ]

    with_node(tmp_path, test, rate=1)


def test_a_second_body_under_a_pending_nonce_is_refused(tmp_path: Path) -> None:
    async def test(node: Node, mine: Bench) -> None:
        first, rival = request(label="same", case="a"), request(label="same", case="b")
        assert codes(await submit(node, first, rival)) == ["pending", "nonce-reused"]
        assert list(mine.ledger.pool) == [first]

    with_node(tmp_path, test)


def test_a_final_event_is_answered_with_its_first_outcome(tmp_path: Path) -> None:
    async def test(node: Node, mine: Bench) -> None:
        event = request()
        final = mine.ledger.finalize(event)
        (status,) = await submit(node, event)
        assert (status.state, status.index) == (EventState.FINAL, final.first_index)
        assert status.outcome == final.records[0].outcome

    with_node(tmp_path, test)


def test_an_event_that_waited_too_long_is_told_as_refused(tmp_path: Path) -> None:
    async def test(node: Node, mine: Bench) -> None:
        late, good = request(label="late", expires_height=1), request()
        assert codes(await submit(node, late)) == ["pending"]
        waiter = asyncio.create_task(node.wait_final(late.digest, 10))
        await asyncio.sleep(0)
        mine.ledger.pool.remove([late.digest])
        block = mine.ledger.build(good)
        mine.ledger.pool.hold(late)
        node.on_final(mine.ledger.chain.commit([block], {}))
        assert (await waiter).code == "event-expired"
        assert node.event_status(late.digest).code == "event-expired"

    with_node(tmp_path, test)


def test_events_of_peers_are_judged_like_any_other(tmp_path: Path) -> None:
    async def test(node: Node, mine: Bench) -> None:
        good, alien = request(), request(network=bytes(32), label="alien")
        forged = good.data[:-1] + bytes([good.data[-1] ^ 1])
        batch = EventList(events=(forged, alien.data, b"garbage", good.data))
        node.on_frame(VALIDATORS[1], Channel.BULK, encode_frame(FrameType.EVENTS, batch))
        node.on_frame(VALIDATORS[1], Channel.BULK, bytes([FrameType.EVENTS]) + b"\xff")
        await mine.helpers()
        assert list(mine.ledger.pool) == [good]
        assert mine.wire.take(FrameType.EVENTS) == []

    with_node(tmp_path, test)


def test_a_peer_cannot_keep_the_workers_busy_without_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(node: Node, mine: Bench) -> None:
        events = [request(label=str(number)) for number in range(3)]
        frames = [encode_frame(FrameType.EVENTS, EventList(events=(each.data,))) for each in events]
        monkeypatch.setattr(node_module, "JUDGING_BYTES_MAX", len(events[0].data) + 100)
        for frame in frames[:2]:
            node.on_frame(VALIDATORS[1], Channel.BULK, frame)
        node.on_frame(VALIDATORS[2], Channel.BULK, frames[2])
        await mine.helpers()
        assert set(mine.ledger.pool) == {events[0], events[2]}
        node.on_frame(VALIDATORS[1], Channel.BULK, frames[1])
        await mine.helpers()
        assert len(mine.ledger.pool) == 3

    with_node(tmp_path, test)


def test_a_peer_that_comes_back_gets_what_waits(tmp_path: Path) -> None:
    async def test(node: Node, mine: Bench) -> None:
        event = request()
        await submit(node, event)
        mine.wire.sent.clear()
        node.on_connected(VALIDATORS[2])
        ((to, content),) = mine.wire.take(FrameType.EVENTS)
        assert (to, decode_content(content, EventList).events) == (VALIDATORS[2], (event.data,))

    with_node(tmp_path, test)


def test_who_waits_for_an_event_is_told_when_a_block_proposes_its_rival(tmp_path: Path) -> None:
    async def test(node: Node, mine: Bench) -> None:
        waiting, proposed = request(label="same", case="a"), request(label="same", case="b")
        assert codes(await submit(node, waiting)) == ["pending"]
        waiter = asyncio.create_task(node.wait_final(waiting.digest, 10))
        await asyncio.sleep(0)
        mine.ledger.pool.hold(proposed)
        assert (await waiter).code == "nonce-reused"

    with_node(tmp_path, test)


def test_the_node_speaks_with_the_validators_that_the_state_names(tmp_path: Path) -> None:
    async def test(node: Node, mine: Bench) -> None:
        links: Any = node._links
        assert [peer.member for peer in links.peers] == VALIDATORS[1:]
        for event in carried(add_validator("de-tax"), activate_height=100):
            node.on_final((mine.ledger.finalize(event),))
        (added,) = [peer for peer in links.peers if peer.member == "de-tax"]
        assert (added.address.host, added.address.port) == ("de-tax.example", 7001)
        assert added.certificates == (validator("de-tax").tls_certificate,)
        assert [peer.member for peer in links.peers] == sorted([*VALIDATORS[1:], "de-tax"])

    with_node(tmp_path, test)


def test_a_node_is_not_ready_before_a_quorum_has_told_how_long_the_log_is(tmp_path: Path) -> None:
    """It has a link to all, and an empty log: it may be the newest, or years behind."""

    async def test(node: Node, mine: Bench) -> None:
        links: Any = node._links
        links.is_connected = lambda peer: True

        def tip(height: int) -> bytes:
            return encode_frame(FrameType.TIP, height.to_bytes(8, "big"))

        (reason,) = node.not_ready()
        assert (reason.code, reason.values) == (
            "quorum-unheard", {"heard": 0, "others": 3, "needed": 2}
        )  # fmt: skip
        first, second, third = VALIDATORS[1:]
        node.on_frame(first, Channel.CONSENSUS, tip(0))
        (reason,) = node.not_ready()
        assert reason.values["heard"] == 1
        changed = asyncio.create_task(node.wait_change())
        await asyncio.sleep(0)
        node.on_frame(second, Channel.CONSENSUS, tip(0))
        await changed
        assert node.not_ready() == (), "with its own, these are a quorum"
        # Fewer blocks than a node may lack while they flow; one peer alone may lie.
        node.on_frame(third, Channel.CONSENSUS, tip(3))
        assert node.not_ready() == ()
        node.on_frame(second, Channel.CONSENSUS, tip(3))
        (reason,) = node.not_ready()
        assert (reason.code, reason.values) == ("catching-up", {"height": 0, "highest": 3})

    with_node(tmp_path, test)


def test_a_node_without_a_vote_that_hears_nobody_says_so(tmp_path: Path) -> None:
    async def test(node: Node, mine: Bench) -> None:
        links: Any = node._links
        epochs: Any = mine.driver.epochs
        links.is_connected = lambda peer: False
        assert [reason.code for reason in node.not_ready()] == ["quorum-unreachable"]
        epochs.me = None  # as after the seal of an epoch in which it has no vote
        (reason,) = node.not_ready()
        assert reason.code == "not-receiving"
        assert reason.values["height"] == node.status().height
        links.is_connected = lambda peer: True
        for peer in VALIDATORS[1:]:
            mine.driver.sync.catchup.note_peer(peer, 0)
        assert node.not_ready() == (), "an observer that is spoken with is up to date"

    with_node(tmp_path, test)
