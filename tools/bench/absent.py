"""How fast a node that was away is level again, as its own log tells.

Four nodes start, the last one is stopped, the others order the events. It comes back twice: right
after the load, while the stores of its peers still compact, and once more without its store, after
all have been started anew. The rate is of the catching-up alone: from its first question until
every entry is here and verified. A few thousand entries come block by block, without a rate.
"""

import asyncio
import json
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from tools.bench import load as bench
from tools.client import Client
from tools.founding import read_source
from tools.localnet import Localnet, create_network, shipped_policy_set
from tools.mirror import read_genesis

NODES = 4
BEGIN, END = "catching up by snapshot", "caught up by snapshot"
IN_FLIGHT = 1_000


async def order(
    network: Localnet, events: int, on_progress: Callable[[int, int], None] = lambda *_: None
) -> None:
    """Let the first node order so many events."""
    genesis = read_genesis(network.genesis_path)
    plan = bench.Plan(
        nodes=NODES,
        size_bytes=1_024,
        in_flight=IN_FLIGHT,
        events=events,
        submit="stream",
        kill=None,
        wan_ms=0,
    )
    work = deque(bench.sign_chains(network, genesis, plan))
    tally = bench.Tally(total=bench.STEPS * len(work), on_progress=on_progress)
    async with Client(network.index.nodes[0].api, genesis) as client:
        await bench.load_stream(client, work, plan.in_flight, tally)


def measure_absence(
    directory: Path, events: int, on_progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Make a network in `directory` and return the figures of both returns."""
    network = create_network(
        directory, source=read_source(), nodes=NODES, policy_set=shipped_policy_set()
    )
    away = network.members[-1]
    try:
        network.start()
        network.wait_ready()
        network.stop([away])
        asyncio.run(order(network, events, on_progress))
        after_load = _come_back(network, away, 1)
        network.stop()
        shutil.rmtree(network.node_directory(away) / "data" / "store")
        peers = [member for member in network.members if member != away]
        network.start(peers)
        network.wait_ready(peers)
        anew = _come_back(network, away, 2)
    finally:
        network.stop()
    return {"nodes": NODES, "events": events, "after_load": after_load, "anew": anew}


def _come_back(network: Localnet, away: str, turn: int) -> dict[str, Any]:
    begin = time.monotonic()
    network.start([away])
    network.wait_ready([away])
    wait_line(network.node_directory(away) / "node.log", f'"{END}"', turn)
    from_start_s = time.monotonic() - begin
    done = _log_lines(network, away, END)[-1]
    start = _log_lines(network, away, BEGIN)[-1]
    took = datetime.fromisoformat(done["timestamp"]) - datetime.fromisoformat(start["timestamp"])
    entries = int(done["entries"])
    return {
        "entries": entries,
        "from_start_s": round(from_start_s, 2),
        "seconds": round(took.total_seconds(), 2),
        "entries_per_s": round(entries / took.total_seconds()),
    }


def _log_lines(network: Localnet, member: str, event: str) -> list[dict[str, Any]]:
    text = (network.node_directory(member) / "node.log").read_text("utf-8")
    lines = [json.loads(line) for line in text.split("\n") if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def wait_line(path: Path, text: str, count: int) -> None:
    """Return when the file, which grows, has so many lines with the text."""
    path.touch()
    command = ["tail", "-n", "+1", "-F", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as tail:  # noqa: S603 - our own file
        assert tail.stdout is not None
        while count:
            count -= text.encode() in tail.stdout.readline()
        tail.kill()
