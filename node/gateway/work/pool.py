"""Children of the gateway, each with one task at a time.

A child that gives no sign of life for `stall_s` is killed, one that dies is replaced; its task
fails and may be tried again. Children end by themselves when the gateway is gone: their input ends.
"""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from typing import TypeVar

from node.gateway.jobs import UNREADABLE, Failed
from node.gateway.work.tasks import ANSWERS, FRAME_BYTES_MAX, Fault, Progress, Setup, Task, frame

MODULE = "node.gateway.work.child"
# Threads that only wait reserve no memory of their own, which counts as if it were used.
_ENVIRONMENT = {"MALLOC_ARENA_MAX": "2"}
R = TypeVar("R")


class Pool:
    """Up to `size` children, started when they are needed."""

    def __init__(self, setup: Setup, *, size: int, stall_s: float) -> None:
        self._setup = frame(setup)
        self._stall_s = stall_s
        self._idle: list[Process] = []
        self._all: set[Process] = set()
        self._room = asyncio.Semaphore(size)

    async def run(self, task: Task, result: type[R]) -> R:
        """The result of a task. Raises `Failed`."""
        async with self._room:
            child = self._take_idle() or await self._start()
            try:
                answer = await self._ask(child, task)
                if not isinstance(answer, (Fault, result)):
                    # Somebody in the child answers in its place.
                    raise Failed("work-died", f"{type(task).__name__}: {type(answer).__name__}")
            except BaseException:
                await self._end(child)
                raise
            self._idle.append(child)
        if isinstance(answer, Fault):
            raise Failed(answer.code, answer.detail, retry=answer.retry)
        return answer

    def _take_idle(self) -> Process | None:
        """A child that waits for a task; one that died meanwhile is forgotten."""
        while self._idle:
            child = self._idle.pop()
            if child.returncode is None:
                return child
            self._all.discard(child)
        return None

    async def _start(self) -> Process:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", MODULE,
            stdin=PIPE, stdout=PIPE, stderr=None if sys.stderr.isatty() else DEVNULL,
            start_new_session=True, limit=FRAME_BYTES_MAX, env={**os.environ, **_ENVIRONMENT},
        )  # fmt: skip
        self._all.add(child)
        assert child.stdin is not None
        child.stdin.write(self._setup)
        return child

    async def _ask(self, child: Process, task: Task) -> object:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(frame(task))
            async with asyncio.timeout(self._stall_s):
                await child.stdin.drain()
            while True:
                async with asyncio.timeout(self._stall_s):
                    size = int.from_bytes(await child.stdout.readexactly(4), "big")
                    data = await child.stdout.readexactly(min(size, FRAME_BYTES_MAX))
                answer = ANSWERS.decode(data)
                if not isinstance(answer, Progress):
                    return answer
        except TimeoutError:
            seconds = f"{self._stall_s:g} s"
            raise Failed("work-stalled", f"{type(task).__name__}: {seconds}") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            code = await child.wait()
            raise Failed("work-died", f"{type(task).__name__}: exit {code}") from None
        except UNREADABLE:
            # Somebody in the child wrote where only frames belong.
            raise Failed("work-died", f"{type(task).__name__}: no frame") from None

    async def _end(self, child: Process) -> None:
        self._all.discard(child)
        with suppress(ProcessLookupError):
            child.kill()
        # Not cut short by a cancellation: a child that nobody waits for stays as a zombie.
        await asyncio.shield(_reap(child))

    async def close(self) -> None:
        """End all children."""
        for child in list(self._all):
            await self._end(child)
        self._idle.clear()


async def _reap(child: Process) -> None:
    await child.wait()
    if child.stdin is not None:
        child.stdin.close()
