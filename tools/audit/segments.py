"""Replaying a copy in parts: planned between state files, run by processes, each with a result.

A state file lies in `DIR/snapshots/HEIGHT.state`, written by a replay that came there. Nobody is
believed for it: its sum must be the state digest in the header of its block, and the part before
it proves that digest. So files may come from anybody, and parts need nothing of each other.
"""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from contracts.replay import Beginning, Point, begin_after, genesis_point, replay_part
from ledger.catchup.statefile import StateHead, read_head, write_state
from ledger.errors import Divergence, InvalidEncoding, InvalidProof
from ledger.genesis import Genesis
from ledger.state import MapState
from ledger.verify import LogCopy, MapEvents, Progress, open_copy
from tools.audit.results import Result, faulty_result, valid_result
from tools.exits import InvalidInput
from tools.mirror import folder_reader, make_workers, new_file, worker_context
from tools.mirror.pruned import read_pruned

FOLDER = "snapshots"
ENDING = ".state"
_HEIGHTS_SHOWN = 8
# Objects made between two looks for cycles.
_COLLECT_AFTER = 50_000
# Below the 32 MiB from which glibc learns nothing; the pages are never touched.
_KEPT_BYTES = 31 * 1024 * 1024
# How often progress of other processes is looked at.
LOOK_S = 0.5

OnEntries = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What to replay: the blocks after `from_height` up to `to_height`; 0: to the end.

    `every`: keep the state after every so many blocks; 0: keep none. Travels to other processes.
    """

    directory: Path
    genesis: Genesis | None
    from_height: int
    to_height: int
    every: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Untold:
    """A part that said nothing of the log: an `InvalidInput` to be raised where it was asked."""

    code: str
    detail: str
    facts: Mapping[str, object]


def no_entries(count: int) -> None:
    """Tell nobody."""
    del count


def find_states(directory: Path) -> list[int]:
    """Heights of the state files in a copy, rising."""
    names = (path.name.removesuffix(ENDING) for path in (directory / FOLDER).glob(f"*{ENDING}"))
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def find_behind(directory: Path, entries: int) -> Iterator[StateHead]:
    """Heads of the state files that need none of the first `entries`, rising."""
    for height in find_states(directory):
        head = _find_head(directory, height)
        if head is not None and head.index >= entries:
            yield head


def expect_entries(directory: Path, size: int, *, from_height: int, to_height: int) -> int:
    """About how many entries a replay takes of a log of `size`, as far as state files tell."""
    first = _find_head(directory, from_height) if from_height else None
    last = _find_head(directory, to_height) if to_height else None
    return (last.index if last else size) - (first.index if first else 0)


def _find_head(directory: Path, height: int) -> StateHead | None:
    try:
        with state_path(directory, height).open("rb") as file:
            return read_head(file.read)
    except (FileNotFoundError, InvalidEncoding):
        return None


def plan(
    directory: Path, genesis: Genesis | None, *, from_height: int, to_height: int, every: int
) -> list[Part]:
    """The parts between the state files of a copy."""
    inner = [
        height
        for height in find_states(directory)
        if from_height < height and (not to_height or height < to_height)
    ]
    return [
        Part(directory=directory, genesis=genesis, from_height=first, to_height=last, every=every)
        for first, last in zip([from_height, *inner], [*inner, to_height], strict=True)
    ]


def replay_one(
    part: Part, *, map_events: MapEvents = map, on_entries: OnEntries = no_entries
) -> Result:
    """Replay a part in this process. Raises `InvalidInput` where it cannot be begun or ended.

    `on_entries` gets how many entries of the part are done.
    """
    copy = open_part(part)
    first = genesis_point(copy)
    try:
        begin = begin_at(part.directory, copy, part.from_height)
    except Divergence as error:
        return faulty_result(copy, first, part.to_height, error)
    if begin is not None:
        first = begin.point

    def on_progress(progress: Progress) -> None:
        on_entries(progress.done - first.entries)

    def on_state(point: Point, index: int, state: MapState) -> None:
        if part.every and point.height % part.every == 0:
            keep_state(part.directory, copy.network, point, index, state)

    try:
        with _much_memory():
            report = replay_part(
                copy,
                begin=begin,
                height_max=part.to_height or None,
                map_events=map_events,
                on_progress=on_progress,
                on_state=on_state,
            )
    except Divergence as error:
        return faulty_result(copy, first, part.to_height, error)
    if part.to_height and report.last.height != part.to_height:
        raise InvalidInput("height-unknown", f"{part.to_height} > {report.last.height}")
    return valid_result(report, part.to_height)


@contextmanager
def _much_memory() -> Iterator[None]:
    """Look for cycles seldom, since what a log is made of has none; keep memory that is free."""
    before = gc.get_threshold()
    gc.set_threshold(_COLLECT_AFTER, *before[1:])
    # glibc gives back at once what is larger than the largest block that was ever given back.
    bytearray(_KEPT_BYTES)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def open_part(part: Part) -> LogCopy:
    """Steps 1 to 3. Raises `Divergence`."""
    return open_copy(folder_reader(part.directory), genesis=part.genesis)


def begin_at(directory: Path, copy: LogCopy, height: int) -> Beginning | None:
    """The state in the file of a height, proven; None: height 0, the genesis.

    Raises `InvalidInput`, and `Divergence` for a bad copy.
    """
    if not height:
        return None
    path = state_path(directory, height)
    try:
        with path.open("rb") as file:
            begin = begin_after(copy, file.read)
    except FileNotFoundError:
        raise _no_state(directory, path) from None
    except (InvalidEncoding, InvalidProof) as error:
        raise InvalidInput("snapshot-invalid", f"{path}: {error}") from None
    if begin.point.height != height:
        raise InvalidInput("snapshot-invalid", f"{path}: height {begin.point.height}")
    return begin


def _no_state(directory: Path, path: Path) -> InvalidInput:
    """What to do without a state file: begin at another, or put back what it takes to make it."""
    pruned = read_pruned(directory)
    heights = [head.height for head in find_behind(directory, pruned.entries)]
    if pruned.files and not heights:
        return InvalidInput("snapshot-archived", str(path))
    shown = ", ".join(map(str, heights[:_HEIGHTS_SHOWN]))
    more = ", …" if len(heights) > _HEIGHTS_SHOWN else ""
    detail = f"{path} ({shown}{more})" if heights else str(path)
    return InvalidInput("snapshot-not-found", detail, facts={"heights": heights})


def keep_state(directory: Path, network: bytes, point: Point, index: int, state: MapState) -> None:
    """Write the state at a point, the end of the block whose header is entry `index`."""
    path = state_path(directory, point.height)
    path.parent.mkdir(exist_ok=True)
    head = StateHead(version=1, network=network, height=point.height, index=index)
    with new_file(path) as file:
        for piece in write_state(head, ((key, state.pairs[key]) for key in sorted(state.pairs))):
            file.write(piece)


def state_path(directory: Path, height: int) -> Path:
    """The state file of a height."""
    return directory / FOLDER / f"{height}{ENDING}"


# --- by many processes ----------------------------------------------------------------------------

_shared: "list[Synchronized[int]]" = []


def _share(counters: "list[Synchronized[int]]") -> None:
    """Make the counters known in this process, which is a worker."""
    _shared[:] = counters


def run_part(part: Part, place: int = -1) -> Result | Untold:
    """Replay a part in a process of its own, with progress in the shared counter of that place."""

    def on_entries(count: int) -> None:
        if place >= 0:
            _shared[place].value = count

    try:
        return replay_one(part, on_entries=on_entries)
    except InvalidInput as error:
        return Untold(code=error.code, detail=error.detail, facts=dict(error.facts))
    except Divergence as error:
        # It begins with the checkpoint: this copy is not the one that was to be replayed.
        return Untold(code="replay-diverged", detail=str(error), facts={})


def replay_parts(parts: Sequence[Part], jobs: int, on_entries: OnEntries) -> list[Result]:
    """Replay parts by so many processes. Raises `InvalidInput` of the first that said nothing."""
    context = worker_context()
    counters = [context.Value("Q", 0) for _ in parts]
    with make_workers(jobs, context, _share, (counters,)) as pool:
        futures = [pool.submit(run_part, part, place) for place, part in enumerate(parts)]
        for _ in _looks(futures):
            on_entries(sum(counter.value for counter in counters))
        return told([future.result() for future in futures])


def _looks(futures: Sequence[Future[Result | Untold]]) -> Iterator[None]:
    """Yields now and then until all are done."""
    left = set(futures)
    while left:
        _, left = wait(left, timeout=LOOK_S, return_when=FIRST_COMPLETED)
        yield


def told(answers: Sequence[Result | Untold]) -> list[Result]:
    """The results. Raises `InvalidInput` of the first part that said nothing."""
    results: list[Result] = []
    for each in answers:
        if isinstance(each, Untold):
            raise InvalidInput(each.code, each.detail, facts=each.facts)
        results.append(each)
    return results
