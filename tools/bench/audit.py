"""How fast a ledger is replayed with all checks, beside how fast this machine checks signatures.

Every check of a replay that is not a signature is overhead: `share` is the rate of entries by that
of signatures, both on one core in the same process, by processor time, so that it means the same
on a busy machine. Signatures are measured in between, many times over, so that both are slowed by
the same neighbours. The same ledger is then replayed by several processes in two ways: one walk
whose signatures the others verify, and parts between state files that are replayed side by side.
"""

import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ledger.lthash.streams import sum_natively
from tools.audit.segments import Part, open_part, plan, replay_one, replay_parts
from tools.bench.ledger import make_ledger
from tools.bench.signatures import Signatures
from tools.mirror import event_map

# How often signatures are verified while a ledger is replayed.
PAUSES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """A replay in a process of its own. Times are of its processor; `wall_s` is not."""

    entries: int
    cpu_s: float
    wall_s: float
    verify_s: float
    memory_mb: float
    base_memory_mb: float


def measure_audit(
    directory: Path, entries: int, jobs: int, on_progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Make the ledger in `directory` if it is not there, and return the figures."""
    copy = make_ledger(directory, entries, on_progress)
    part = Part(directory=copy, genesis=None, from_height=0, to_height=0, every=0)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        alone = pool.submit(replay_alone, part).result()
    walk_s = _timed(lambda: _walk(part, jobs))
    parts = plan(copy, None, from_height=0, to_height=0, every=0)
    parts_s = _timed(lambda: replay_parts(parts, jobs, lambda _: None))
    rate, verifies = alone.entries / alone.cpu_s, 1 / alone.verify_s
    return {
        "entries": alone.entries,
        "replay_entries_per_s": round(rate),
        "verifies_per_s": round(verifies),
        "share": round(rate / verifies, 3),
        "wall_entries_per_s": round(alone.entries / alone.wall_s),
        "jobs": jobs,
        "walk_entries_per_s": round(alone.entries / walk_s),
        "walk_speedup": round(alone.wall_s / walk_s, 2),
        "parts": len(parts),
        "parts_entries_per_s": round(alone.entries / parts_s),
        "parts_speedup": round(alone.wall_s / parts_s, 2),
        "digests": "hashlib" if sum_natively is None else "C",
        "memory_mb": round(alone.memory_mb),
        "base_memory_mb": round(alone.base_memory_mb),
    }


def replay_alone(part: Part) -> Alone:
    """Replay in this process, the signatures of this machine measured in between."""
    base_mb = _memory_mb()
    signatures = Signatures()
    every = open_part(part).checkpoint.size // PAUSES + 1

    def on_entries(count: int) -> None:
        if count // every >= signatures.rounds:
            signatures.verify()

    wall_s, cpu_s = time.perf_counter(), time.process_time()
    result = replay_one(part, on_entries=on_entries)
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    assert result.last is not None, "a ledger that was made here is valid"
    return Alone(
        entries=result.last.entries - result.first.entries,
        cpu_s=cpu_s - signatures.cpu_s,
        wall_s=wall_s - signatures.wall_s,
        verify_s=signatures.cpu_s / signatures.verified,
        memory_mb=_memory_mb(),
        base_memory_mb=base_mb,
    )


def _walk(part: Part, jobs: int) -> None:
    with event_map(jobs) as map_events:
        replay_one(part, map_events=map_events)


def _timed(function: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    function()
    return time.perf_counter() - started_s


def _memory_mb() -> float:
    """The most that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000
