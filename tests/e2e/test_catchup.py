"""A node that was away for thousands of entries comes back by snapshot, also when it is killed."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.replay import replay
from ledger.blocks import RECORDS, is_header
from ledger.events import parse_event
from tests.e2e.network import ASKER, Net, running
from tools.bench.absent import order, wait_line
from tools.mirror import folder_reader, mirror_log

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

EVENTS = 6_000
BEGIN, END = '"catching up by snapshot"', '"caught up by snapshot"'


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with running(tmp_path / "net") as made:
        yield made


def wait_log(net: Net, member: str, text: str, count: int) -> None:
    """Return when the node's log has the text so often."""
    wait_line(net.local.node_directory(member) / "node.log", text, count)


def kill_meanwhile(net: Net, away: str, turn: int) -> bool:
    """Kill the node while it catches up; whether it was faster, and is far behind once more."""
    home = net.local.node_directory(away)
    log = home / "node.log"
    ended = log.read_text().count(END)
    net.local.start([away])
    wait_log(net, away, BEGIN, turn)
    net.local.kill(away)
    is_faster = log.read_text().count(END) > ended
    if is_faster:
        shutil.rmtree(home / "data" / "store")
    return is_faster


def test_a_node_that_was_away_comes_back_by_snapshot(net: Net, tmp_path: Path) -> None:
    away = net.members[-1]
    other = next(member for member in net.members if member not in (away, ASKER))
    net.local.stop([away])
    asyncio.run(order(net.local, EVENTS))
    faster = [kill_meanwhile(net, away, turn) for turn in (1, 2)]
    net.local.start([away])
    wait_log(net, away, END, sum(faster) + 1)
    net.local.wait_ready([away])

    finals = [net.submit_final(net.request(), away), net.submit_final(net.request(), other)]
    net.wait_height(away, max(final["height"] for final in finals))
    entries = net.entries(other)
    assert net.entries(away) == entries
    assert len(entries) > EVENTS

    # What it jumped over is served like everything else: events, exchanges, receipts.
    index = next(at for at, data in enumerate(entries) if at > 3_000 and not is_header(data))
    event = parse_event(RECORDS.decode(entries[index]).event)
    status = net.get(away, f"/v1/events/{event.digest.hex()}").body
    assert (status["state"], status["index"]) == ("final", index)
    exchange = f"/v1/exchanges/{event.exchange.hex()}"
    assert net.get(away, exchange).body == net.get(other, exchange).body
    assert net.wait_checkpoint(away, index + 1)

    # An auditor executes what this node did not.
    url = net.local.node(away).api
    copy = tmp_path / "mirror"
    asyncio.run(mirror_log(url, copy, genesis=net.genesis, on_progress=lambda done, total: None))
    report = replay(folder_reader(copy), genesis=net.genesis)
    assert report.events == sum(not is_header(data) for data in entries)
    assert "Traceback" not in (net.local.node_directory(away) / "node.log").read_text()
