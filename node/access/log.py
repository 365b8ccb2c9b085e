"""The access log towards the event loop: a bounded queue, and a thread that writes.

`note` costs the loop an append to the queue; the thread writes what came within `FLUSH_S` at once,
which is what a killed process may lose. When the queue is full, readers wait until there is
room: a line is never dropped. What the thread cannot write stops the node, as a log that cannot be
written does: a node that keeps no account of its readers must not serve them.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ledger.errors import StoreFailed
from node.access.files import Files, Reading, Tail

QUEUE_LINES_MAX = 8_192
BATCH_LINES_MAX = 1_024
FLUSH_S = 0.01

T = TypeVar("T")


class _Ask:
    """A job for the writing thread, after all lines that were noted before it."""

    __slots__ = ("future", "job")

    def __init__(self, job: Callable[[], object], future: "asyncio.Future[object]") -> None:
        self.job = job
        self.future = future


class AccessLog:
    """Lines in the order of their notes. Use from one event loop, between `start` and `close`."""

    def __init__(self, files: Files, *, queue_lines_max: int = QUEUE_LINES_MAX) -> None:
        self._files = files
        self._queue_lines_max = queue_lines_max
        self._queue: deque[Reading | _Ask] = deque()
        self._woken = threading.Event()
        self._room = asyncio.Event()
        self._is_awaited = False  # whether somebody waits for room
        self._is_closing = False
        self._flush: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._noted = files.tail.n
        self.failure: Exception | None = None
        self.on_failed: Callable[[Exception], None] = _ignore
        self.on_noted: Callable[[int], None] = _ignore

    @property
    def noted(self) -> int:
        """Number of the last line that was noted."""
        return self._noted

    @property
    def first(self) -> Tail | None:
        """The first kept line, as far as there is one."""
        return self._files.first

    def start(self) -> None:
        """Begin to write. Call in the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="access")
        self._thread.start()

    def close(self) -> None:
        """Write what was noted, make it durable, end the thread."""
        self._is_closing = True
        self._wake()
        if self._thread is not None:
            self._thread.join()
        try:
            self._files.close()
        except OSError as error:
            self.failure = self.failure or error

    async def note(self, reading: Reading) -> None:
        """Queue a line; wait for room where there is none. Raises `StoreFailed`."""
        while len(self._queue) >= self._queue_lines_max and self.failure is None:
            self._room.clear()
            self._is_awaited = True
            self._wake()
            await self._room.wait()
        self._check()
        self._queue.append(reading)
        self._noted += 1
        if self._flush is None:
            loop = asyncio.get_running_loop()
            self._flush = loop.call_later(FLUSH_S, self._wake)
        self.on_noted(self._noted)

    async def mark(self) -> Tail:
        """Make every line noted so far durable; the last of them. Raises `StoreFailed`."""
        return await self._ask(self._files.sync)

    async def find(self, digest: bytes) -> int | None:
        """Number of the kept line with this hash, or None. Raises `StoreFailed`."""
        return await self._ask(lambda: self._files.find(digest))

    async def trim(self, *, before_ms: int, size_bytes_max: int, anchored: int) -> int:
        """Remove old files whose lines are all anchored; how many. Raises `StoreFailed`."""
        return await self._ask(
            lambda: self._files.trim(
                before_ms=before_ms, size_bytes_max=size_bytes_max, anchored=anchored
            )
        )

    async def _ask(self, job: Callable[[], T]) -> T:
        self._check()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.append(_Ask(job, future))  # type: ignore[arg-type]  # its job is the future's
        self._wake()
        self._check()  # the thread may have ended before it saw this
        return await future

    def _wake(self) -> None:
        """Let the thread write what was noted."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        self._woken.set()

    def _check(self) -> None:
        if self.failure is not None:
            raise StoreFailed(f"the access log cannot be used: {self.failure}")

    # --- on the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._woken.wait()
            self._woken.clear()
            # Read first: what was noted before closing is in the queue by now.
            is_last = self._is_closing
            try:
                while self._queue:
                    self._take()
            except Exception as error:
                self._fail(error)
                return
            if self._is_awaited:
                self._is_awaited = False
                self._tell(self._room.set)
            if is_last:
                return

    def _take(self) -> None:
        """Do the next job, or write the lines before it."""
        if isinstance(ask := self._queue[0], _Ask):
            self._queue.popleft()
            self._answer(ask)
            return
        lines: list[Reading] = []
        while self._queue and len(lines) < BATCH_LINES_MAX:
            item = self._queue[0]
            if isinstance(item, _Ask):
                break
            lines.append(item)
            self._queue.popleft()
        self._files.append(lines)
        if self._is_awaited:
            self._is_awaited = False
            self._tell(self._room.set)

    def _answer(self, ask: _Ask) -> None:
        try:
            result = ask.job()
        except Exception:
            self._queue.appendleft(ask)  # it is told with all that wait
            raise
        self._tell(lambda: _settle(ask.future, result))

    def _fail(self, error: Exception) -> None:
        failed = StoreFailed(f"the access log cannot be used: {error}")
        self.failure = error
        # First who listens, then who waits: whoever was refused finds the failure told.
        self._tell(lambda: self.on_failed(failed))
        while self._queue:
            item = self._queue.popleft()
            if isinstance(item, _Ask):
                self._tell(partial(_settle, item.future, failed))
        self._tell(self._room.set)

    def _tell(self, call: Callable[[], object]) -> None:
        assert self._loop is not None, "the thread runs after `start`"
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            pass  # the loop has ended: nobody waits any more


def _settle(future: "asyncio.Future[object]", result: object) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def _ignore(_: object) -> None:
    """Nobody listens."""
