"""Evidence of one exchange by the index of a copy, without executing the whole log again.

The index (`tools.audit.index`) was made by a walk over every entry, so it knows all events of the
exchange and all votes, and the state at the end. What it names is read from the proven entries and
told as a walk would. The facts of a decision need the state before its block: that is reached from
the last state file before it, or from the genesis, and has the digest in the block's header.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from contracts.drafts.history import Changed, Happened, History
from contracts.replay import Beginning, verify_state
from ledger.blocks import HEADERS, RECORDS
from ledger.errors import InvalidEncoding, InvalidEvent
from ledger.events import BODY_TYPES, GovernanceBody, parse_event, verify_event
from ledger.lthash.digest import StateDigest, sum_pairs
from ledger.registry import PolicySet
from ledger.verify import BlockEntries, LogCopy, Step, diverge, read_blocks
from tools.audit.evidence.story import Told
from tools.audit.index.entries import Entries
from tools.audit.index.tables import Index
from tools.audit.segments import begin_at, find_states
from tools.contract.past import believe
from tools.mirror.folder import OnProgress, no_progress

_VOTES = tuple(kind for (kind, _), body in BODY_TYPES.items() if issubclass(body, GovernanceBody))
_EVENTS = """
SELECT e.idx, b.idx, b.height, p.text <> '' FROM event e JOIN record r ON r.idx = e.idx
    JOIN block b ON b.height = r.height JOIN word p ON p.id = r.policy_set
"""
_OF_EXCHANGE = "JOIN exchange x ON x.id = e.exchange WHERE x.digest = ? ORDER BY e.idx"
_OF_VOTES = f"""
JOIN word k ON k.id = e.kind WHERE r.applied AND k.text IN ({", ".join("?" * len(_VOTES))})
ORDER BY e.idx
"""


def find_told(index: Index, exchange: bytes) -> tuple[list[Told], list[Told], list[int]]:
    """Events of an exchange, applied votes, and heights of blocks that contracts were asked in.

    Raises `Divergence` for entries that are not what the index says.
    """
    entries = Entries(index.copy)
    events = list(index.db.execute(_EVENTS + _OF_EXCHANGE, (exchange,)))
    votes = list(index.db.execute(_EVENTS + _OF_VOTES, _VOTES))
    told = [[_tell(entries, place, block) for place, block, *_ in rows] for rows in (events, votes)]
    heights = sorted({height for _, _, height, is_asked in events if is_asked})
    return told[0], told[1], heights


def _tell(entries: Entries, place: int, block: int) -> Told:
    try:
        header, record = HEADERS.decode(entries.read(block)), RECORDS.decode(entries.read(place))
        event = parse_event(record.event)
        verify_event(event)
    except (InvalidEncoding, InvalidEvent) as error:
        diverge(Step.EVENTS, place, "a record that the index knows", str(error))
    return Told(index=place, header=header, event=event, outcome=record.outcome)


def walk_to(
    directory: Path, copy: LogCopy, heights: Sequence[int], on_progress: OnProgress = no_progress
) -> Iterator[tuple[BlockEntries, tuple[Happened, ...], PolicySet]]:
    """The blocks of these heights, which rise, each with the policy set that it was decided by.

    The state after each has the digest in its header. Progress is in blocks. Raises `Divergence`.
    """
    steps = list(_plan(find_states(directory), heights))
    total, walked = sum(height - start for start, height in steps), 0
    way: _Way | None = None
    for start, height in steps:
        if way is None or way.height < start:
            way = _Way(copy, begin_at(directory, copy, start))
        for _ in way.go(height):
            walked += 1
            on_progress(walked, total)
        yield way.last()


def _plan(states: Sequence[int], heights: Sequence[int]) -> Iterator[tuple[int, int]]:
    """For each height the one to go on from: the one before, or the last state file if higher."""
    reached = 0
    for height in heights:
        nearest = max((state for state in states if state < height), default=0)
        yield max(reached, nearest), height
        reached = height


class _Way:
    """A walk from a state on. Signatures were verified when the index was made."""

    def __init__(self, copy: LogCopy, begin: Beginning | None) -> None:
        self._history = History(copy.genesis, None if begin is None else begin.state.pairs)
        if begin is None:
            self._digest = StateDigest(sum_pairs(list(self._history.state.pairs.items())))
        else:
            self._digest = StateDigest(begin.accumulator)
        self._blocks = read_blocks(copy, believe, start=None if begin is None else begin.start)
        self.height = 0 if begin is None else begin.point.height
        self._changed = Changed()  # since the digest was right
        self._last: tuple[BlockEntries, tuple[Happened, ...], PolicySet] | None = None

    def go(self, height: int) -> Iterator[None]:
        """On to the block of a height, which lies ahead; yields after each block."""
        while self.height < height:
            block = next(self._blocks)
            policy_set = self._history.policy_set
            self._last = block, self._history.add(block), policy_set
            self._changed.add(self._history)
            self.height = block.header.height
            yield

    def last(self) -> tuple[BlockEntries, tuple[Happened, ...], PolicySet]:
        """The block at which it is, and what happened there; the state has the header's digest."""
        assert self._last is not None, "a block that an index knows is in the copy"
        self._changed.count(self._digest, self._history.state)
        self._changed = Changed()
        verify_state(self._last[0], self._digest)
        return self._last
