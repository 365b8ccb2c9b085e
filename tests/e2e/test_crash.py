"""Nodes are killed and come back: what was final stays, what was acknowledged is there once.

Every test has a network of its own, because processes come and go in it. Kills of all nodes, of the
leader, and while starting are among the faults of `tests.e2e.chaos`.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ledger.blocks import RECORDS, is_header
from ledger.events import Event, hash_event
from tests.e2e.network import ASKER, OWNER, Net, running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with running(tmp_path / "net") as made:
        yield made


def submit_many(net: Net, member: str, count: int) -> list[Event]:
    """Events that the node has told to be final, in batches."""
    finals: list[Event] = []
    for _ in range(count):
        events = [net.request() for _ in range(25)]
        results = net.submit_batch(events, member)
        assert {each["state"] for each in results} == {"final"}, results
        finals += events
    return finals


def check_agreement(net: Net, acknowledged: list[Event]) -> None:
    """All nodes come to one height; their logs are equal; each event stands there exactly once."""
    net.wait_level()
    logs = [net.entries(member) for member in net.members]
    assert all(log == logs[0] for log in logs)
    digests = [hash_event(RECORDS.decode(data).event) for data in logs[0] if not is_header(data)]
    assert len(set(digests)) == len(digests)
    assert {event.digest for event in acknowledged} <= set(digests)
    roots = {net.wait_checkpoint(member, len(logs[0])).split(b"\n\n")[1] for member in net.members}
    assert len(roots) == 1


@pytest.mark.parametrize("place", [0, 3])
def test_a_killed_node_comes_back_and_agrees(net: Net, place: int) -> None:
    victim = net.members[place]
    through = next(member for member in net.members if member != victim)
    height = net.status(through)["height"]
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(submit_many, net, through, 6)
        net.wait_height(through, height + 2)
        net.local.kill(victim)
        finals = load.result()
    # However far that came before the kill: the node misses enough to catch up by ranges.
    finals += submit_many(net, through, 10)
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(submit_many, net, through, 4)
        net.local.start([victim])
        net.local.wait_ready([victim])
        finals += load.result()
    finals.append(net.request())
    net.submit_final(finals[-1], victim)
    check_agreement(net, finals)


def test_events_accepted_by_a_node_that_dies_are_not_lost(net: Net) -> None:
    """The others got the event when it was submitted."""
    events = [net.request() for _ in range(50)]
    results = net.submit_batch(events, OWNER)
    net.local.kill(OWNER)
    assert {each["state"] for each in results} == {"final"}
    assert all(net.submit_final(event)["state"] == "final" for event in events[:5])
    net.local.start([OWNER])
    net.local.wait_ready([OWNER])
    check_agreement(net, events)


def test_sigterm_stops_every_node_cleanly_in_time(net: Net) -> None:
    finals = submit_many(net, ASKER, 2)
    assert net.local.stop() == [], "killed: it did not end in time"
    for member in net.members:
        assert '"node stopped"' in net.local.log_tail(member)
        assert "Traceback" not in net.local.log_tail(member)
    net.local.start()
    net.local.wait_ready()
    check_agreement(net, finals)
