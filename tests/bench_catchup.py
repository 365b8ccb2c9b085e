"""How fast a node that was away is level again: real processes, measured at the node's own log.

    python -m tests.bench_catchup [--events 20000] [--profile FILE]

Four nodes start, one is stopped, the others order the events, the one comes back. Printed as one
JSON line: entries that it lacked, seconds from its first sign of life until it is level, the rate,
and of the catching-up alone as its log tells.
"""

import argparse
import asyncio
import json
import subprocess
import tempfile
import time
from collections import deque
from datetime import datetime
from pathlib import Path

from tools import bench
from tools.founding import read_source
from tools.localnet import Localnet, create_network, get_json, shipped_policy_set
from tools.mirror import read_genesis


async def load(network: Localnet, events: int) -> None:
    """Order events on all nodes but the last."""
    genesis = read_genesis(network.genesis_path)
    plan = bench.Plan(
        nodes=4, size_bytes=1_024, in_flight=1_000, events=events, submit="stream", kill=None,
        wan_ms=0,
    )  # fmt: skip
    work = deque(bench._sign_chains(network, genesis, plan))
    tally = bench.Tally(total=bench.STEPS * len(work), on_progress=lambda done, total: None)
    async with bench.Client(network.index.nodes[0].api, genesis) as client:
        await bench._load_stream(client, work, plan.in_flight, tally)


def tree_size(api: str) -> int:
    """Entries of a node's log."""
    return int(get_json(f"{api}/v1/status", timeout_s=5).document["tree_size"])


def wait_line(path: Path, text: str, count: int) -> None:
    """Return when the file, which grows, has so many lines with the text."""
    path.touch()
    with subprocess.Popen(["tail", "-n", "+1", "-F", path], stdout=subprocess.PIPE) as tail:
        assert tail.stdout is not None
        while count:
            count -= text.encode() in tail.stdout.readline()
        tail.kill()


def measure(directory: Path, events: int) -> dict[str, object]:
    network = create_network(
        directory, source=read_source(), nodes=4, policy_set=shipped_policy_set()
    )
    victim = network.members[-1]
    first = network.index.nodes[0].api
    try:
        network.start()
        network.wait_ready()
        network.stop([victim])
        asyncio.run(load(network, events))
        goal = tree_size(first)
        begin = time.monotonic()
        network.start([victim])
        network.wait_ready([victim])
        wait_line(network.node_directory(victim) / "node.log", '"caught up by snapshot"', 1)
        took_s = time.monotonic() - begin
    finally:
        network.stop()
    lines = [
        json.loads(line)
        for line in (network.node_directory(victim) / "node.log").read_text().split("\n")
        if line.startswith("{")
    ]
    return {"entries": goal, "seconds_from_start": round(took_s, 2), **phases(lines)}


def phases(lines: list[dict[str, str]]) -> dict[str, object]:
    """What the node's log says of the catching-up alone."""
    at = {line["event"]: datetime.fromisoformat(line["timestamp"]) for line in lines}
    done = next((line for line in lines if line["event"] == "caught up by snapshot"), None)
    if done is None:
        return {"by_snapshot": False}
    took = at["caught up by snapshot"] - at["catching up by snapshot"]
    took_s = took.total_seconds()
    return {
        "by_snapshot": True,
        "snapshot_seconds": round(took_s, 2),
        "entries_per_s": round(int(done["entries"]) / took_s),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tally-") as folder:
        print(json.dumps(measure(given.keep or Path(folder) / "net", given.events)))


if __name__ == "__main__":
    main()
