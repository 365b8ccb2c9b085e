"""`tally bench exchange`: whole exchanges, from request to receipt, with the data, per second.

Four nodes and the gateways of two agencies run as processes on this machine; each asks the other
for `records` rows about one taxpayer, as often as the other asks it. An exchange counts when the
receipt is final and the records lie in the receiver's folder. Each takes processor time of the
nodes, the gateways, their children that work on records (`workers`), and of who asks (`client`).
"""

import asyncio
import csv
import io
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

from tools.bench.processor import children_of, processor_ms
from tools.exits import InvalidAnswer
from tools.founding import read_source
from tools.gateway.local import LocalGateways, vote_in
from tools.gateway.story import ASKED
from tools.localnet import Localnet, create_network, shipped_policy_set
from tools.output import Bar
from tools.sample.records import MAKERS, Dice

WARM_UP = 20
WAIT_S = 60
DATASET = "registration"


async def measure_exchanges(
    folder: Path, *, exchanges: int, records: int, in_flight: int, bar: Bar
) -> dict[str, Any]:
    """Figures of `exchanges` exchanges, `in_flight` at once. Raises `ToolError`."""
    create_network(folder, source=read_source(), nodes=4, policy_set=shipped_policy_set())
    network = Localnet(folder)
    gateways = LocalGateways(network)
    members = network.members[:2]
    try:
        network.start()
        network.wait_ready()
        await vote_in(network, gateways.make(members))
        subject = _write_records(gateways, members, records)
        gateways.start(members)
        gateways.wait_ready(members)
        ask = _Asking(gateways, members, subject)
        await ask.run(WARM_UP, in_flight, _ignore)
        began, began_ms = _height_and_size(network), _processor_ms(network, gateways)
        started_s = time.monotonic()
        latencies = sorted(await ask.run(exchanges, in_flight, lambda done: bar(done, exchanges)))
        took_s = time.monotonic() - started_s
        ended, ended_ms = _height_and_size(network), _processor_ms(network, gateways)
    finally:
        gateways.stop()
        network.stop()
    blocks = ended[0] - began[0]
    return {
        "exchanges": exchanges,
        "records": records,
        "in_flight": in_flight,
        "exchanges_per_s": round(exchanges / took_s, 1),
        "records_per_s": round(exchanges * records / took_s),
        "p50_ms": round(1_000 * latencies[len(latencies) // 2]),
        "p99_ms": round(1_000 * latencies[len(latencies) * 99 // 100]),
        "events_per_block": round((ended[1] - began[1] - blocks) / blocks, 1),
        "processor_ms": {
            who: round((ended_ms[who] - began_ms[who]) / exchanges, 2) for who in ended_ms
        },
    }


def _height_and_size(network: Localnet) -> tuple[int, int]:
    """Blocks and entries so far; an entry is a block's header or an event."""
    status = network.status()[0].status
    return int(status["height"]), int(status["tree_size"])


def _processor_ms(network: Localnet, gateways: LocalGateways) -> dict[str, float]:
    """Processor time so far, by what the processes do."""
    running = [gateways.pid(member) for member in gateways.members]
    used = {
        "nodes": processor_ms(map(network.pid, network.members)),
        "gateways": processor_ms(running),
        "workers": processor_ms(children_of(running)),
        "client": processor_ms([os.getpid()]),
    }
    return {**used, "together": sum(used.values())}


def _write_records(gateways: LocalGateways, members: tuple[str, ...], records: int) -> str:
    """The same taxpayer's rows at every agency; returns its identifier."""
    dice = Dice("exchange")
    rows = [dict(MAKERS[DATASET](dice, number)) for number in range(1, records + 1)]
    subject = str(rows[0]["uscc"])
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows({**row, "uscc": subject} for row in rows)
    for member in members:
        path = gateways.directory(member) / "records" / f"{DATASET}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.getvalue(), "utf-8")
    return subject


def _ignore(_done: int) -> None:
    """Warming up is not shown."""


class _Asking:
    """Asks over the sockets of the gateways, in turn."""

    def __init__(self, gateways: LocalGateways, members: tuple[str, ...], subject: str) -> None:
        self._gateways = gateways
        self._members = members
        self._subject = subject

    async def run(
        self, exchanges: int, in_flight: int, on_done: Callable[[int], None]
    ) -> list[float]:
        """Seconds that each exchange took."""
        took: list[float] = []
        left = iter(range(exchanges))

        async def worker(side: int) -> None:
            # Each takes turns, and half begin on either side: so the pair stays in balance, which
            # the contract on reciprocity asks for.
            for _ in left:
                took.append(await self._time(sessions[side], side))
                on_done(len(took))
                side = 1 - side

        sessions = [self._session(member) for member in self._members]
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(in_flight):
                    group.create_task(worker(number % 2))
        finally:
            closing: list[Awaitable[None]] = [session.close() for session in sessions]
            await asyncio.gather(*closing)
        return took

    def _session(self, member: str) -> aiohttp.ClientSession:
        path = str(self._gateways.socket(member).path)
        connector = aiohttp.UnixConnector(path, limit=0)
        return aiohttp.ClientSession(connector=connector)

    async def _time(self, session: aiohttp.ClientSession, side: int) -> float:
        started_s = time.monotonic()
        wanted = {**ASKED, "provider": self._members[1 - side]}
        body = {"request": wanted, "subjects": [self._subject]}
        async with session.post("http://gateway/v1/requests", json=body) as response:
            answer = await response.json()
        if answer.get("decision") != "permit":
            raise InvalidAnswer("exchange-not-permitted", str(answer)[:200])
        path = f"/v1/jobs/acquire/{answer['exchange']}?stage=kept&stage=held&wait={WAIT_S}"
        async with session.get(f"http://gateway{path}") as response:
            job = await response.json()
        if job.get("stage") != "kept":
            raise InvalidAnswer("exchange-not-received", str(job)[:200])
        return time.monotonic() - started_s
