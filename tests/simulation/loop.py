"""An event loop in virtual time: it never waits, its time is that of the timer that runs next.

No sockets, no threads, no clock of the machine. Time is an integer of microseconds, so that a run
is the same on every machine.
"""

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any

US_PER_MS = 1_000
STEPS_AT_ONCE_MAX = 20_000  # timers in one millisecond; more is a loop that never waits
_US_PER_S = 1_000_000


class TimeStandsStill(Exception):
    """Something asks to be woken at once, again and again: a busy loop."""


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs tasks and timers in order of their time, then of their making."""

    def __init__(self) -> None:
        self.now_us = 0
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[int, int, asyncio.TimerHandle | Callable[[], None]]] = []
        self._made = 0
        self._steps = 0
        self._error: BaseException | None = None

    # --- what asyncio asks of a loop ----------------------------------------------------------

    def time(self) -> float:
        return self.now_us / _US_PER_S

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        # Up, never down: who waits for a time finds that it has come.
        self._push(math.ceil(when * _US_PER_S - 0.01), handle)
        return handle

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None
    ) -> "asyncio.Task[Any]":
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A callback failed: the run ends with it. Failed tasks are looked at by their owners."""
        if "handle" in context and self._error is None:
            self._error = context["exception"]

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer is skipped when its time comes."""

    # --- what a simulation asks of it ---------------------------------------------------------

    def at(self, time_us: int, action: Callable[[], None]) -> None:
        """Call at a virtual time, which is not before now."""
        self._push(time_us, action)

    def after(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Call after so many virtual milliseconds."""
        self._push(self.now_us + delay_ms * US_PER_MS, action)

    def run_until(self, end_us: int, *, is_done: Callable[[], bool] | None = None) -> None:
        """Let time pass. Raises what a callback raised; returns earlier once `is_done`."""
        asyncio.events._set_running_loop(self)
        try:
            while self._error is None and not (is_done is not None and is_done()):
                if not self._step(end_us):
                    break
        finally:
            asyncio.events._set_running_loop(None)
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Let tasks that were cancelled end; no timer runs any more."""
        self._timers.clear()
        asyncio.events._set_running_loop(self)
        try:
            while self._ready:
                self._ready.popleft()._run()
        finally:
            asyncio.events._set_running_loop(None)

    def _step(self, end_us: int) -> bool:
        ready = self._ready
        if not ready:
            timers = self._timers
            if not timers or timers[0][0] > end_us:
                self.now_us = max(self.now_us, end_us)
                return False
            due_us, _, item = heapq.heappop(timers)
            if due_us // US_PER_MS > self.now_us // US_PER_MS:
                self._steps = 0
            self._steps += 1
            if self._steps > STEPS_AT_ONCE_MAX:
                raise TimeStandsStill(f"at {self.now_us} us")
            self.now_us = max(self.now_us, due_us)
            if not isinstance(item, asyncio.TimerHandle):
                item()
            elif not item.cancelled():
                item._run()
        while ready and self._error is None:
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()
        return True

    def _push(self, time_us: int, item: asyncio.TimerHandle | Callable[[], None]) -> None:
        self._made += 1
        heapq.heappush(self._timers, (time_us, self._made, item))
