"""Drives jobs from stage to stage: runs their steps, retries, holds, wakes them in time.

What a job is, is decided in memory, in the event loop, one change after the other; the change is on
disk before anything is done because of it. A step gives a function that is applied to the job as it
is by then, and only while the job is still in the stage that the step was started for: a record on
the ledger that came meanwhile wins.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from node.gateway.jobs import SIDES, Failed, Job, Side, Stage, change, hold
from node.gateway.store import Store

LOG = structlog.get_logger("gateway")

ATTEMPTS_MAX = 20
# Somebody is away, or not ready: no person here can mend that, so it is tried as long as it takes.
_AWAY = frozenset(
    (
        "clock-doubtful",
        "node-unreachable",
        "partner-unreachable",
        "partner-without-gateway",
        "partner-without-key",
        "gateway-not-ready",
        "payload-not-ready",
        "question-not-ready",
    )
)
PAUSE_S_MIN, PAUSE_S_MAX = 0.5, 300.0
WAKE_S_MAX = 3_600.0

Change = Callable[[Job], Job]
Step = Callable[[Job], Awaitable[Change]]
Key = tuple[bytes, Side]


@dataclass(frozen=True, slots=True, eq=False)
class Waiter:
    """Somebody who waits for a job to be in one of the stages."""

    stages: Sequence[str]
    reached: asyncio.Event = field(default_factory=asyncio.Event)


class Desk:
    """The jobs that something is to be done about, and the tasks that do it.

    `steps` has a step for every active stage, `wakes` what becomes of a waiting job whose time has
    come, `enter` what is done, repeatably, once a job is durably in a stage.
    """

    def __init__(
        self,
        store: Store,
        *,
        steps: Mapping[tuple[Side, Stage], Step],
        wakes: Mapping[tuple[Side, Stage], Change],
        enter: Callable[[Job], None],
        in_flight_max: int,
        on_failure: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._steps = steps
        self._wakes = wakes
        self._enter = enter
        self._on_failure = on_failure
        self._room = asyncio.Semaphore(in_flight_max)
        self._jobs: dict[Key, Job] = {}
        self._saving: dict[Key, int] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._alarm = asyncio.Event()
        self._alarm_ms = math.inf  # for when the next one is set
        self._failed = asyncio.Event()
        self._failure: BaseException | None = None
        self._is_closed = False
        self._waiters: dict[Key, list[Waiter]] = {}

    def find(self, exchange: bytes, side: Side) -> Job | None:
        """A job as it is now."""
        key = (exchange, side)
        return self._jobs[key] if key in self._jobs else self._store.find(exchange, side)

    def find_own(self, exchange: bytes) -> Job | None:
        """The job of an exchange, on whichever side this agency is: it asks nobody but others."""
        places: tuple[Callable[[bytes, Side], Job | None], ...] = (self._store.recent, self.find)
        found = (find(exchange, side) for find in places for side in SIDES)
        job = next((each for each in found if each is not None), None)
        return None if job is None else self.find(exchange, job.side)

    async def put(self, jobs: Iterable[Job], **marks: int) -> None:
        """Change jobs, make that durable, then go on with them."""
        changed = list(jobs)
        for job in changed:
            key = (job.exchange, job.side)
            self._jobs[key] = job
            self._saving[key] = self._saving.get(key, 0) + 1
        try:
            await self._store.save(changed, **marks)
        except Exception as error:
            # What is in memory is not what is on disk any more.
            self._fail(error)
            raise
        finally:
            for job in changed:
                self._saving[job.exchange, job.side] -= 1
        for job in changed:
            key = (job.exchange, job.side)
            self._enter(self._jobs.get(key, job))
            self._go_on(key)
            for waiter in self._waiters.get(key, ()):
                if job.stage in waiter.stages:
                    waiter.reached.set()
        if any(0 < job.wake_ms < self._alarm_ms for job in changed):
            self._alarm.set()

    async def wait(self, exchange: bytes, side: Side, stages: Sequence[str], wait_s: float) -> None:
        """Return when the job is durably in one of `stages`, or after `wait_s`.

        What is done once it is in that stage is done by then, and no stage on the way is missed.
        """
        key, waiter = (exchange, side), Waiter(stages)
        job = None if self._saving.get(key) else self._store.find(*key)
        if job is not None and job.stage in stages:
            return
        self._waiters.setdefault(key, []).append(waiter)
        try:
            async with asyncio.timeout(wait_s):
                await waiter.reached.wait()
        except TimeoutError:
            pass  # whoever asked sees the stage that it is in
        finally:
            self._waiters[key].remove(waiter)
            if not self._waiters[key]:
                del self._waiters[key]

    def _go_on(self, key: Key) -> None:
        """Start the step of a job, or forget the job if there is none."""
        job = self._jobs.get(key)
        if job is None or self._saving.get(key) or self._is_closed:
            return
        del self._saving[key]
        if not job.is_active or job.wake_ms > now_ms():
            if key not in self._tasks:
                del self._jobs[key]
            return
        if key not in self._tasks:
            task = asyncio.create_task(self._work(key), name=f"{job.side} {job.stage}")
            self._tasks[key] = task
            task.add_done_callback(self._ended)

    async def _work(self, key: Key) -> None:
        """Run steps of one job until it waits for something."""
        try:
            while True:
                if self._ready(key) is None:
                    return
                async with self._room:
                    # It may have taken long until there was room.
                    if (job := self._ready(key)) is None:
                        return
                    await self._run(job)
        finally:
            del self._tasks[key]
            if key not in self._saving:
                self._jobs.pop(key, None)

    def _ready(self, key: Key) -> Job | None:
        """The job if a step is to run now.

        Whoever is saving a change goes on with the job when the change is durable.
        """
        job = None if self._saving.get(key) else self.find(*key)
        return job if job is not None and job.is_active and job.wake_ms <= now_ms() else None

    async def _run(self, job: Job) -> None:
        try:
            result = await self._steps[job.side, job.stage](job)
        except Failed as error:
            self._on_failure(error.code)
            result = _failure(error)
        current = self.find(job.exchange, job.side)
        assert current is not None, "jobs are not deleted"
        if (current.stage, current.correction) == (job.stage, job.correction):
            changed = result(current)
            if changed is not current:
                await self.put([changed])
        elif not self._saving.get((job.exchange, job.side)):
            # What the step did came too late, and must not stay.
            self._enter(current)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """A step that raises what it should not ends the gateway; all that was done is durable."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._failed.set()

    async def run(self) -> None:
        """Resume what was under way, then wake jobs in time, for ever."""
        waker = asyncio.create_task(self._wake())
        waker.add_done_callback(self._ended)
        try:
            await self._failed.wait()
            assert self._failure is not None, "set with its reason"
            raise self._failure
        finally:
            self._is_closed = True
            tasks = [waker, *self._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _wake(self) -> None:
        for job in self._store.find_active():
            self._resume(job)
        while True:
            self._alarm.clear()
            self._alarm_ms = math.inf
            now = now_ms()
            woken = [self._woken(job, now) for job in self._store.find_due(now)]
            if changed := [job for job in woken if job is not None]:
                await self.put(changed)
            wake_ms = self._store.next_wake_ms()
            pause_s = WAKE_S_MAX if wake_ms is None else max(0.0, (wake_ms - now_ms()) / 1_000)
            self._alarm_ms = math.inf if wake_ms is None else wake_ms
            try:
                async with asyncio.timeout(min(pause_s + 0.001, WAKE_S_MAX)):
                    await self._alarm.wait()
            except TimeoutError:
                pass  # the time that was waited for

    def _woken(self, job: Job, now: int) -> Job | None:
        """What becomes of a job that is due; None: a change on its way to the disk was first."""
        current = self.find(job.exchange, job.side)
        if current is None or not 0 < current.wake_ms <= now:
            return None
        wake = self._wakes.get((current.side, current.stage))
        return change(current, wake_ms=0) if current.is_active or wake is None else wake(current)

    def _resume(self, job: Job) -> None:
        key = (job.exchange, job.side)
        self._jobs.setdefault(key, job)
        self._saving.setdefault(key, 0)
        self._go_on(key)


def _failure(error: Failed) -> Change:
    """What becomes of a job whose step failed: another attempt after a pause, or a person."""

    def apply(job: Job) -> Job:
        attempts = job.attempts + 1
        if error.code in _AWAY:
            attempts = min(attempts, ATTEMPTS_MAX - 1)
        log = LOG.bind(exchange=job.exchange.hex(), stage=job.stage, attempts=attempts)
        if not error.retry or attempts >= ATTEMPTS_MAX:
            log.error("step failed; a person must look", code=error.code, detail=error.detail)
            return hold(job, error.code, error.detail)
        pause_s = min(PAUSE_S_MIN * 2 ** (attempts - 1), PAUSE_S_MAX)
        log.warning("step failed; next try", code=error.code, detail=error.detail, pause_s=pause_s)
        return change(
            job,
            attempts=attempts,
            wake_ms=now_ms() + int(1_000 * pause_s),
            fault=error.code,
            detail=error.detail,
        )

    return apply


def now_ms() -> int:
    """Wall clock; it decides about pauses and about when local copies go, never about records."""
    return time.time_ns() // 1_000_000
