"""An executed log that is longer than a segment: pruned, it still has its last blocks.

One exchange lives in the segment and goes on behind it; others are asked for behind it. Between
stand empty blocks, which are executed fast. So what needs only the end can be told from what does
not.
"""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from contracts.engine import ENGINE_VERSION
from ledger.events import Event
from ledger.exchange.bodies import ShareDisputed
from ledger.genesis import Genesis
from tests.unit.contracts.drafts.pasts import add_executed, answers, ask, write_copy
from tests.unit.ledger.builders import ChainBuilder
from tests.unit.tools.audit.logs import ASKER, Story
from tools.audit.archive import archive_mirror
from tools.audit.index.build import open_index
from tools.audit.index.tables import INDEX_NAME, SEAL_NAME, STATE_NAME
from tools.audit.period import format_day
from tools.audit.prune import Cut, prune_mirror
from tools.audit.segments import Part, replay_one
from tools.mirror.folder import no_progress
from tools.mirror.pruned import SEGMENT_ENTRIES

INDEX_FILES = (INDEX_NAME, STATE_NAME, SEAL_NAME)


class Grown(NamedTuple):
    """Folders and what is in them.

    `whole` has an index and the state after block `height`, the first from which nothing of the
    segment is needed; `behind` and `near` are shorter, with an index: one ends in the segment, one
    behind it. `archive` has the segment. `early` is the exchange in the segment, `late` a request.
    On the day `since`, long after block `height`, both exchanges and requests go on.
    """

    folder: Path
    genesis: Genesis
    height: int
    early: str
    late: str
    since: str

    @property
    def trust(self) -> tuple[str, Path]:
        return "--genesis", self.folder / "whole" / "genesis.json"

    def pruned(self, folder: Path, *, index: str = "", with_state: bool = False) -> Path:
        """A pruned mirror, with the index of a folder or none."""
        shutil.copytree(self.folder / "pruned", folder, copy_function=os.link)
        for name in INDEX_FILES if index else ():
            shutil.copy(self.folder / index / name, folder)
        if not with_state:
            shutil.rmtree(folder / "snapshots")
        return folder


def make_grown(folder: Path) -> Grown:
    """The log in its folders."""
    story = Story().live()
    chain, genesis = story.chain, story.chain.genesis
    fill(chain, SEGMENT_ENTRIES - 50)
    write_copy(chain, folder / "behind")
    fill(chain, SEGMENT_ENTRIES + 10)
    height = len(chain.blocks)
    late = add_late(chain, 500_000)
    again = ShareDisputed(exchange=story.exchange, reason="incomplete", text="")
    story.act(ASKER, again)
    write_copy(chain, folder / "near")
    story.wait(3)
    since = format_day(chain.time_ms)
    add_late(chain, 600_000)
    story.act(ASKER, again)
    _, delivered = answers(chain, [late])
    add_executed(chain, [delivered])
    whole = write_copy(chain, folder / "whole")
    for name, before in (("behind", ""), ("near", "behind"), ("whole", "near")):
        for file in INDEX_FILES if before else ():
            shutil.copy(folder / before / file, folder / name)
        with open_index(folder / name, genesis=genesis, jobs=1) as index:
            assert index.how == ("extended" if before else "built")
    replay_one(Part(directory=whole, genesis=genesis, from_height=0, to_height=0, every=height))
    archive_mirror(whole, folder / "archive", genesis=genesis, on_progress=no_progress)
    ignored = shutil.ignore_patterns("index*", ".index*")
    pruned = shutil.copytree(whole, folder / "pruned", ignore=ignored, copy_function=os.link)
    done = prune_mirror(pruned, folder / "archive", Cut(keep=0), genesis=genesis)
    assert (done.pruned_entries, done.from_height) == (SEGMENT_ENTRIES, height)
    return Grown(folder, genesis, height, story.exchange.hex(), late.digest.hex(), since)


def fill(chain: ChainBuilder, size: int) -> None:
    """Empty blocks, which change no state."""
    while chain.range.size < size:
        chain.add(engine=ENGINE_VERSION)


def add_late(chain: ChainBuilder, number: int) -> Event:
    """A block of requests; one of them that is allowed."""
    events = [ask(chain, number + at) for at in range(3)]
    outcomes = add_executed(chain, events)
    return next(
        event for event, outcome in zip(events, outcomes, strict=True) if outcome.decision != "deny"
    )
