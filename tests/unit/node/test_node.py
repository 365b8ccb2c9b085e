"""Admission at a node: what a client is told at once, and what a peer's event is spared."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from ledger.events import Body, Event, ShareDelivered, ShareRequested, sign_event
from ledger.genesis import hash_genesis
from ledger.keys import parse_secret_key
from ledger.storage import open_store
from node.config import read_config
from node.daemon import compose
from node.node import Node
from node.peers.links import Channel
from node.peers.wire import EventList, FrameType, encode_frame
from node.service import EventState
from node.startup import read_genesis, read_identity
from tools.founding import read_source
from tools.localnet import Localnet, create_network, shipped_policy_set

PEER = 1


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Localnet:
    """A founded network of four; nothing runs."""
    return create_network(
        tmp_path_factory.mktemp("net"),
        source=read_source(),
        nodes=4,
        policy_set=shipped_policy_set(),
    )


@contextmanager
def composed(network: Localnet, data: Path) -> Iterator[Node]:
    """The parts of the first node, connected but not started, with fresh data."""
    file = network.node_directory(network.members[0]) / "node.toml"
    text = file.read_text().replace('data_dir = "data"', f'data_dir = "{data}"')
    changed = file.with_name("test.toml")
    changed.write_text(text)
    config = read_config(changed)
    genesis = read_genesis(config)
    store = open_store(data / "store")
    with ThreadPoolExecutor(1) as workers:
        identity = read_identity(config, genesis)
        node, driver, *_ = compose(config, genesis, identity, store, workers)
        try:
            yield node
        finally:
            driver.close()
    store.close()


def signed(network: Localnet, body: Body, *, member: int, role: str, nonce: int = 1) -> Event:
    """An event of the officer with `role` of a validator."""
    name = network.members[member]
    key = parse_secret_key(network.officer_key_path(name, role).read_text())
    genesis = read_genesis(read_config(network.node_directory(name) / "node.toml"))
    return sign_event(
        key,
        network=hash_genesis(genesis),
        member=name,
        nonce=nonce.to_bytes(16, "big"),
        expires_height=100,
        body=body,
    )


def delivery(network: Localnet, **changed: int) -> Event:
    """A delivery in an exchange that this node has not seen."""
    body = ShareDelivered(
        exchange=bytes(32),
        commitment=bytes(32),
        record_count=1,
        schema_version=1,
        quality_digest=bytes(32),
        size_bytes=1,
        outbox_until_ms=0,
    )
    return signed(network, body, member=PEER, role="provider", **changed)


def request(network: Localnet, *, case: str = "") -> Event:
    """A request that can be admitted."""
    body = ShareRequested(
        provider=network.members[PEER],
        dataset="registration",
        purpose="audit",
        legal_basis="tcal-54",
        fields=("uscc",),
        period_from="2026-01-01",
        period_to="2026-03-31",
        subjects=(bytes(32),),
        urgency="normal",
        retention_days=90,
        case=case,
    )
    return signed(network, body, member=0, role="requester")


def events_frame(*events: Event) -> bytes:
    return encode_frame(FrameType.EVENTS, EventList(events=tuple(each.data for each in events)))


async def pending_after(node: Node, frame: bytes) -> int:
    """Pending events after a peer's frame has been judged."""
    node.on_frame(PEER, Channel.BULK, frame)
    # One worker thread: a submission that is answered comes after the frame was judged.
    await node.submit([b"\x00"], client="test")
    await asyncio.sleep(0)
    return node.status().pending


def test_a_client_is_told_at_once_what_cannot_be_applied(network: Localnet, data_dir: Path) -> None:
    with composed(network, data_dir) as node:
        (status,) = asyncio.run(node.submit([delivery(network).data], client="test"))
        assert (status.state, status.code) == (EventState.REFUSED, "exchange-unknown")
        assert node.status().pending == 0


def test_a_peers_event_may_be_a_block_ahead_of_this_node(network: Localnet, data_dir: Path) -> None:
    with composed(network, data_dir) as node:
        assert asyncio.run(pending_after(node, events_frame(delivery(network)))) == 1


def test_a_peers_event_that_no_block_may_include_is_dropped(
    network: Localnet, data_dir: Path
) -> None:
    event = delivery(network)
    forged = event.data[:-1] + bytes([event.data[-1] ^ 1])
    frame = encode_frame(FrameType.EVENTS, EventList(events=(forged,)))
    with composed(network, data_dir) as node:
        assert asyncio.run(pending_after(node, frame)) == 0


def test_a_nonce_names_one_event(network: Localnet, data_dir: Path) -> None:
    first, second = request(network, case="a"), request(network, case="b")

    async def story(node: Node) -> None:
        statuses = await node.submit([first.data, second.data, first.data], client="test")
        assert [status.state for status in statuses] == [
            EventState.PENDING,
            EventState.REFUSED,
            EventState.PENDING,
        ]
        assert statuses[1].code == "nonce-reused"
        assert node.event_by_nonce(first.member, first.nonce).digest == first.digest

    with composed(network, data_dir) as node:
        asyncio.run(story(node))


def test_waiting_for_a_pending_event_ends_with_the_time(network: Localnet, data_dir: Path) -> None:
    async def story(node: Node) -> None:
        await node.submit([request(network).data], client="test")
        status = await node.wait_final(request(network).digest, 0.01)
        assert status.state is EventState.PENDING

    with composed(network, data_dir) as node:
        asyncio.run(story(node))


def test_a_node_without_peers_is_not_ready_and_says_why(network: Localnet, data_dir: Path) -> None:
    with composed(network, data_dir) as node:
        (reason,) = node.not_ready()
        assert reason.code == "quorum-unreachable"
        assert all(member in reason.detail for member in network.members[1:])
