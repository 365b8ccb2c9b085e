"""What the engine asks of its surroundings, and the parts of a real machine that answer.

Nothing else in `node.engine` reads a clock or leaves the event loop, so the whole engine runs as it
is on a simulated network, with simulated time and a simulated disk.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Protocol, TypeVar, TypeVarTuple

from ledger.access.anchors import AccessAnchor, AccessLogged
from node.engine.summing import SummingProcess, sum_part
from node.peers.links import Channel
from node.simplex.types import Now

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Transport(Protocol):
    """Sends frames; `node.peers.links.Links` in a node."""

    def send(self, peer: str | None, channel: Channel, frame: bytes) -> None:
        """Queue a frame for one peer, named by its member, or for all."""

    def is_connected(self, peer: str) -> bool:
        """Whether the peer can be reached."""


class Clock(Protocol):
    """The two clocks."""

    def now(self) -> Now:
        """Monotonic and wall time in milliseconds."""


class Workers(Protocol):
    """Runs what takes long beside the event loop."""

    async def run(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """What the function returns or raises."""

    async def sum_part(self, part: bytes) -> bytes:
        """`node.engine.summing.sum_part`, where possible in another process until `rest`."""

    async def rest(self) -> None:
        """Nothing is left to sum up for now."""


class AccessAnchors(Protocol):
    """Tells what this node should say about its access log; `node.access.anchors.Anchors`."""

    def due(self, last: AccessAnchor | None) -> AccessLogged | None:
        """The anchor to be offered now, after `last` in the state."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> Now:
        """Monotonic and wall time in milliseconds."""
        return Now(mono_ms=time.monotonic_ns() // 1_000_000, wall_ms=time.time_ns() // 1_000_000)


class Threads:
    """Workers that are threads of this process; and one process, while there is much to sum up."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._summing = SummingProcess()

    async def run(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """What the function returns or raises."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, function, *arguments)

    async def sum_part(self, part: bytes) -> bytes:
        """Accumulator of a part of a state."""
        accumulator = await self._summing.sum(part)
        return await self.run(sum_part, part) if accumulator is None else accumulator

    async def rest(self) -> None:
        """End the process."""
        await self._summing.close()
