"""A verified copy of a log, walked block by block with the state at each."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from contracts.drafts.history import Happened, History
from ledger.errors import Divergence
from ledger.genesis import Genesis
from ledger.registry import PolicySet
from ledger.verify import BlockEntries, open_copy, read_blocks
from tools.audit.divergence import diverged
from tools.audit.left import Begin, begin_left, from_genesis
from tools.audit.period import Period
from tools.mirror import copy_at, folder_reader, read_genesis
from tools.output import note
from tools.words import say

MapAll: TypeAlias = Callable[..., Iterable[Any]]


class Past:
    """The blocks of a copy, each applied to `history` before it is given.

    The first is the one after `begin`, or that after the genesis. After a walk `next_ms` is the
    time of the block behind where it ended, if there is one.
    """

    def __init__(
        self, directory: Path, genesis: Genesis | None, begin: Begin = from_genesis
    ) -> None:
        self.directory = directory
        self.copy = open_copy(folder_reader(directory), genesis=genesis)
        self.begin = begin(self.copy)
        pairs = None if self.begin is None else self.begin.state.pairs
        self.history = History(self.copy.genesis, pairs)
        self.network = self.copy.network
        self.name = self.copy.genesis.name
        self.checkpoint = self.copy.checkpoint
        self.cosigners = self.copy.cosigners
        self.size = self.copy.checkpoint.size
        self.policy_set: PolicySet = self.history.policy_set
        self.next_ms: int | None = None

    def walk(
        self,
        map_all: MapAll,
        on_progress: Callable[[int, int], None],
        *,
        trust: bool = False,
        with_signatures: bool = True,
        until_ms: int | None = None,
    ) -> Iterator[tuple[BlockEntries, tuple[Happened, ...]]]:
        """Every block with what happened in it; `policy_set` is the one it was decided by.

        The walk ends before the first block of `until_ms` or later. The state is checked against
        the header of the block that it has reached. A copy that is trusted is not checked for
        signatures and state; without `with_signatures` it is not checked for those of events.
        `map_all` is `map` or that of a pool.
        """
        last: BlockEntries | None = None
        map_events = map_all if with_signatures and not trust else believe
        start = None if self.begin is None else self.begin.start
        for block in read_blocks(self.copy, map_events, start=start):
            if until_ms is not None and block.header.time_ms >= until_ms:
                self.next_ms = block.header.time_ms
                break
            self.policy_set = self.history.policy_set
            happened = self.history.add(block)
            last = block
            yield block, happened
            on_progress(block.index + 1 + len(block.records), self.size)
        if last is not None and not trust:
            self.history.verify_state(last, map_all)


@contextmanager
def open_past(where: str, genesis: Path | None, period: Period | None = None) -> Iterator[Past]:
    """The past of a folder or URL. What does not verify, then or later, is `InvalidAnswer`.

    Of a pruned mirror it is what is left, if only a period is asked for that this has whole.
    """
    founding = read_genesis(genesis) if genesis else None
    if founding is None:
        note(say("audit.unpinned"))
    with copy_at(where, founding) as directory:
        try:
            begin = from_genesis if period is None else begin_left(directory, period)
            yield Past(directory, founding, begin)
        except Divergence as error:
            raise diverged(error) from None


def believe(function: Callable[..., Any], tasks: Iterable[Any], /) -> Iterator[None]:
    """The results of tasks that nobody does."""
    del function
    return (None for _ in tasks)
