"""Where a walk over a pruned mirror begins, and since when it tells all that is asked.

The first entries of a pruned mirror are in archive files only. A walk over it begins behind them,
with the first state file that needs none of them (`tools.audit.segments`), whose sum stands in the
header of its block. So it sees every block that is left, and what went before as far as the state
tells. A question about blocks before that is refused: an answer would lack what is not seen.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias, TypeVar

from contracts.replay import Beginning
from ledger.blocks import Header
from ledger.state import MapState
from ledger.verify import LogCopy
from tools.audit.period import DAY_MS, Period, format_day, format_moment
from tools.audit.segments import begin_at, find_behind
from tools.exits import InvalidInput
from tools.mirror.pruned import Pruned, read_pruned, segment_name
from tools.output import note
from tools.words import say

T = TypeVar("T")
# Where a walk over a copy begins; None: at its genesis.
Begin: TypeAlias = Callable[[LogCopy], Beginning | None]
# The state before a walk that begins at the genesis: it tells of nothing that went before.
NOTHING_BEFORE = MapState()


def scan(state: MapState, prefix: bytes, decode: Callable[[bytes], T]) -> Iterator[tuple[bytes, T]]:
    """Values under a prefix with the rest of their keys, in the order of the keys."""
    for key in sorted(key for key in state.pairs if key.startswith(prefix)):
        yield key[len(prefix) :], decode(state.pairs[key])


def from_genesis(copy: LogCopy) -> None:
    """Begin at the genesis."""
    del copy


def begin_left(directory: Path, period: Period, from_height: int = 1) -> Begin:
    """Where a walk over the copy in a folder begins that is asked about a period and heights.

    It is the genesis, but in a pruned mirror with a state file behind the cut. There it raises
    `InvalidInput` where blocks before that one are asked for.
    """

    def begin(copy: LogCopy) -> Beginning | None:
        pruned = read_pruned(directory)
        head = next(find_behind(directory, pruned.entries), None) if pruned.files else None
        # Without a state what was pruned is missed where it is needed.
        beginning = None if head is None else begin_at(directory, copy, head.height)
        if beginning is None:
            return None
        header = beginning.start.header
        is_after = period.start_ms is not None and header.time_ms < period.start_ms
        if not is_after and header.height >= from_height:
            raise _refusal(directory, pruned, header)
        at = format_moment(header.time_ms)
        note(say("left.begins", entries=pruned.entries, height=header.height, at=at))
        return beginning

    return begin


def _refusal(directory: Path, pruned: Pruned, header: Header) -> InvalidInput:
    """Since when it can be told, and which files have what went before."""
    # A period begins with a day.
    day, height = format_day(header.time_ms + DAY_MS), header.height + 1
    names = [segment_name(number) for number in range(len(pruned.files))]
    files = names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"
    detail = say("left.refused", where=directory, day=day, height=height, files=files)
    return InvalidInput(
        "period-archived",
        detail,
        facts={
            "from_day": day,
            "from_height": height,
            "pruned_entries": pruned.entries,
            "files": names,
        },
    )
