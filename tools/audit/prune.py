"""Pruning a mirror: entries that are old enough go, the archive is the proof of what they were.

What is old is said by the log, not by a clock: its age is the time from its block to the newest
block. So all who prune one log by one rule remove the same, and a log that stands still keeps all.

1. The mirror: its checkpoint by its epoch, hash tiles by the checkpoint. 2. The full segments whose
blocks are all older than the cut. 3. Of each that the mirror still has, the archive file, read and
proven now: entries, canonical bytes, the hash of the file before. 4. The record of it, durable.
5. Only then the entries are removed. Whatever breaks off leaves a mirror that is whole, or one that
says what it may lack; pruning again goes on where it broke off.

Hash tiles stay: the mirror still proves every entry, follows the log and is compared with others.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from ledger.blocks import HEADERS, Header, is_header
from ledger.copies.tree import ProvenTree, read_bundles
from ledger.errors import Divergence, InvalidEncoding
from ledger.genesis import Genesis
from ledger.storage import sync_folder
from ledger.tlog.tiles import ENTRIES_LEVEL, TILE_WIDTH, TilePath
from tools.audit.archive import (
    Archived,
    archive_mirror,
    describe_segment,
    open_proven,
    segment_path,
    verify_segment,
)
from tools.audit.divergence import diverged
from tools.audit.period import DAY_MS
from tools.audit.segments import find_behind
from tools.exits import InvalidAnswer
from tools.mirror.folder import OnProgress, folder_reader, no_progress
from tools.mirror.pruned import (
    SEGMENT_ENTRIES,
    SEGMENT_TILES,
    Pruned,
    bundle_names,
    read_pruned,
    segment_name,
    write_pruned,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What may go, by one of four rules.

    Entries of blocks more than `days` older than the newest, of blocks before `time_ms`, of blocks
    below `height`, or all but the newest `keep` entries.
    """

    days: int | None = None
    time_ms: int | None = None
    height: int | None = None
    keep: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """A segment that was, or would be, removed from the mirror, and where its entries are."""

    first: int
    last: int
    size_bytes: int
    file: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What a run did, or would do, and what a mirror lacks after it.

    `root` is that of the first `pruned_entries`; `unarchived` segments are old, but have no file
    in the archive. `from_height` is the first state file from which what is left can be replayed;
    0: there is none.
    """

    gone: tuple[Gone, ...]
    freed_bytes: int
    pruned_entries: int
    root: str
    entries: int
    unarchived: int
    from_height: int


def prune_mirror(
    directory: Path,
    archive: Path,
    cut: Cut,
    *,
    genesis: Genesis | None,
    dry_run: bool = False,
    on_progress: OnProgress = no_progress,
) -> Pruning:
    """Remove from a mirror what is older than the cut and proven to be in the archive.

    Raises `InvalidAnswer`, `InvalidInput`.
    """
    copy, tree = open_proven(folder_reader(directory), genesis)  # 1
    held = read_pruned(directory)
    old = _count_old(directory, tree, cut, held)  # 2
    files = list(held.files)
    gone: list[Gone] = []
    unarchived = 0
    for number in range(old):  # 3
        names = [name for name in bundle_names(number) if (directory / name).exists()]
        if not names and number < len(files):
            continue
        if not segment_path(archive, number).exists():
            unarchived = old - number
            break
        previous = files[number - 1] if number else ""
        expected = describe_segment(copy, tree, number, previous)
        sha256 = verify_segment(archive, expected, tree)
        files[number : number + 1] = [sha256]
        gone.append(_describe(directory, number, names, sha256))
        on_progress(number + 1, old)
    entries = len(files) * SEGMENT_ENTRIES
    root = tree.head(entries).root().hex() if files else ""
    behind = next(find_behind(directory, entries), None)
    if gone and not dry_run:
        sync_folder(archive)
        write_pruned(directory, Pruned(entries=entries, root=root, files=tuple(files)))  # 4
        for each in gone:  # 5
            for name in bundle_names(each.first // SEGMENT_ENTRIES):
                (directory / name).unlink(missing_ok=True)
    return Pruning(
        gone=tuple(gone),
        freed_bytes=sum(each.size_bytes for each in gone),
        pruned_entries=entries,
        root=root,
        entries=copy.checkpoint.size,
        unarchived=unarchived,
        from_height=behind.height if behind else 0,
    )


def _describe(directory: Path, number: int, names: list[str], sha256: str) -> Gone:
    return Gone(
        first=number * SEGMENT_ENTRIES,
        last=(number + 1) * SEGMENT_ENTRIES - 1,
        size_bytes=sum((directory / name).stat().st_size for name in names),
        file=segment_name(number),
        sha256=sha256,
    )


def _count_old(directory: Path, tree: ProvenTree, cut: Cut, held: Pruned) -> int:
    """How many segments from the first on are older than the cut."""
    full = tree.size // SEGMENT_ENTRIES
    if cut.keep is not None:
        return max(tree.size - cut.keep, 0) // SEGMENT_ENTRIES
    time_ms = cut.time_ms
    if cut.days is not None and full:
        time_ms = _last_header(tree, tree.size).time_ms - cut.days * DAY_MS
    number = 0
    while number < full:
        last = (number + 1) * SEGMENT_TILES - 1
        bundle = directory / TilePath(level=ENTRIES_LEVEL, index=last).format()
        # Time rises: what is gone already is older than what is not.
        if number >= len(held.files) or bundle.exists():
            header = _last_header(tree, (number + 1) * SEGMENT_ENTRIES)
            is_old = cut.height is not None and header.height < cut.height
            if not is_old and not (time_ms is not None and header.time_ms < time_ms):
                break
        number += 1
    return number


def _last_header(tree: ProvenTree, size: int) -> Header:
    """Header of the block that has the last of the first `size` entries."""
    try:
        for first in range((size - 1) // TILE_WIDTH * TILE_WIDTH, -1, -TILE_WIDTH):
            _, entries, _ = next(read_bundles(tree, first))
            for entry in reversed(entries[: size - first]):
                if is_header(entry):
                    return HEADERS.decode(entry)
    except Divergence as error:
        raise diverged(error) from None
    except InvalidEncoding as error:
        raise InvalidAnswer("replay-diverged", str(error)) from None
    raise InvalidAnswer("replay-diverged", "the log begins with no block")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What an `Upkeep` did; `pruning` is None without a rule for it."""

    archive: Path
    archived: Archived
    pruning: Pruning | None


class Upkeep:
    """The archive of a mirror that grows, and its pruning, when a segment is full or a day over."""

    def __init__(
        self, directory: Path, archive: Path, days: int | None, genesis: Genesis | None
    ) -> None:
        self._directory = directory
        self._archive = archive
        self._days = days
        self._genesis = genesis
        self._done = (-1, -1)

    def look(self, size: int) -> Done | None:
        """Archive and prune a mirror of `size` entries; None: it is not time for it."""
        now = (size // SEGMENT_ENTRIES, int(time.time()) * 1_000 // DAY_MS)
        if now == self._done:
            return None
        archived = archive_mirror(
            self._directory, self._archive, genesis=self._genesis, on_progress=no_progress
        )
        pruning = None
        if self._days is not None:
            cut = Cut(days=self._days)
            pruning = prune_mirror(self._directory, self._archive, cut, genesis=self._genesis)
        self._done = now
        return Done(archive=self._archive, archived=archived, pruning=pruning)
