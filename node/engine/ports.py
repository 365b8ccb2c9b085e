"""What the engine asks of its surroundings, and the parts of a real machine that answer.

Nothing else in `node.engine` reads a clock or leaves the event loop, so the whole engine runs as it
is on a simulated network, with simulated time and a simulated disk.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Protocol, TypeVar, TypeVarTuple

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


class SystemClock:
    """The machine's clocks."""

    def now(self) -> Now:
        """Monotonic and wall time in milliseconds."""
        return Now(mono_ms=time.monotonic_ns() // 1_000_000, wall_ms=time.time_ns() // 1_000_000)


class Threads:
    """Workers that are threads of this process."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def run(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """What the function returns or raises."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, function, *arguments)
