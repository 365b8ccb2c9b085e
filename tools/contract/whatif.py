"""Asks a draft about a whole past, in several processes."""

import gc
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from contracts.drafts.history import Happened
from contracts.drafts.whatif import Batch, Change, Reconsideration, Tally
from contracts.engine import Answer, PolicyEngine, Question
from ledger.registry import POLICY_SETS, PolicySet
from tools.contract.past import MapAll, Past
from tools.mirror import make_workers

BATCH_REQUESTS = 512
# Batches that wait for their answers, for each process.
BATCHES_MAX = 4
# Objects made since the last look for garbage.
GARBAGE_OBJECTS = 50_000

Submit: TypeAlias = Callable[[Sequence[Question]], "Future[list[Answer]]"]
_engines: list[PolicyEngine] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a draft would change: the first `changes`, all counts, and how fast it went."""

    changes: tuple[Change, ...]
    tally: Tally
    last_height: int
    seconds: float

    @property
    def requests_per_s(self) -> int:
        """Requests asked again in a second, reading and verifying the log included."""
        return round(self.tally.requests / max(self.seconds, 1e-9))


def look(
    past: Past,
    draft: PolicySet,
    *,
    since: int,
    limit: int,
    jobs: int,
    trust: bool,
    on_progress: Callable[[int, int], None],
) -> Outlook:
    """Ask `draft` about every request from height `since` on. Raises `Divergence`."""
    started_s = time.monotonic()
    height = 0
    engine = PolicyEngine(draft)
    with _rare_collections(), _workers(engine, draft, jobs) as (map_all, submit):
        asking = _Asking(
            Reconsideration(engine), submit, limit=limit, waiting_max=BATCHES_MAX * jobs
        )
        batch: list[Happened] = []
        for block, happened in past.walk(map_all, on_progress, trust=trust):
            height = block.header.height
            if height >= since:
                batch += happened
            if len(batch) >= BATCH_REQUESTS:
                asking.add(batch)
                batch = []
        asking.add(batch)
        asking.finish()
    return Outlook(
        changes=tuple(asking.changes),
        tally=asking.tally,
        last_height=height,
        seconds=time.monotonic() - started_s,
    )


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Hardly any garbage collection: what is made here frees itself, and looking costs a tenth."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


class _Asking:
    """Batches on their way through the processes, finished in order."""

    def __init__(
        self, asked: Reconsideration, submit: Submit, *, limit: int, waiting_max: int
    ) -> None:
        self.changes: list[Change] = []
        self.tally = asked.tally
        self._asked = asked
        self._submit = submit
        self._limit = limit
        self._waiting_max = waiting_max
        self._waiting: deque[tuple[Batch, Future[list[Answer]]]] = deque()

    def add(self, happened: Sequence[Happened]) -> None:
        """Ask about these records."""
        batch = self._asked.prepare(happened)
        self._waiting.append((batch, self._submit(batch.questions)))
        if len(self._waiting) > self._waiting_max:
            self._finish_one()

    def finish(self) -> None:
        """Wait for all answers."""
        while self._waiting:
            self._finish_one()

    def _finish_one(self) -> None:
        batch, future = self._waiting.popleft()
        for change in self._asked.finish(batch, future.result()):
            if len(self.changes) < self._limit:
                self.changes.append(change)


@contextmanager
def _workers(engine: PolicyEngine, draft: PolicySet, jobs: int) -> Iterator[tuple[MapAll, Submit]]:
    """Ways to verify signatures and to ask the draft: in `jobs` processes, or in this one."""
    if jobs <= 1:
        yield map, lambda questions: _done(engine.ask_all(questions))
        return
    with make_workers(jobs, start=_start, arguments=(POLICY_SETS.encode(draft),)) as pool:
        yield (
            pool.map,
            lambda questions: pool.submit(_answer, questions) if questions else _done([]),
        )


def _done(answers: list[Answer]) -> "Future[list[Answer]]":
    future: Future[list[Answer]] = Future()
    future.set_result(answers)
    return future


def _start(data: bytes) -> None:
    _engines.append(PolicyEngine(POLICY_SETS.decode(data)))


def _answer(questions: Sequence[Question]) -> list[Answer]:
    return _engines[0].ask_all(questions)
