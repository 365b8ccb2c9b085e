"""Filling the folder of a mirror from several sources, each file verified before it is written.

From the top: hash tiles are proven by the tile above them, entries by their hashes. The tiles of
level 0 are computed from the entries, not fetched. What is there already is judged the same way, so
a damaged file is fetched anew, and the checkpoint, written last, stands on verified tiles only.
"""

import asyncio
import time
from pathlib import Path

from ledger.errors import InvalidEncoding, InvalidProof, LedgerError
from ledger.genesis import hash_genesis
from ledger.quorum.epochs import EpochChain
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import Hash, hash_leaves, root_of
from ledger.tlog.note import SignedNote
from ledger.tlog.tiles import (
    ENTRIES_LEVEL,
    LEVEL_MAX,
    TILE_HEIGHT,
    TILE_WIDTH,
    TilePath,
    decode_entries,
)
from tools.audit.alarms import Sighting, find_fork, write_alarm
from tools.exits import InvalidAnswer
from tools.mirror.folder import (
    Mirror,
    OnProgress,
    drop_drafts,
    drop_partial,
    edge_paths,
    write_epochs,
    write_file,
)
from tools.mirror.pruned import read_pruned
from tools.mirror.sources import Sources
from tools.mirror.tree import RemoteTree

DOWNLOADS_MAX = 16
BUNDLES_AHEAD_MAX = 64


class Filling:
    """The folder of one mirror, brought from checkpoint to checkpoint."""

    def __init__(self, directory: Path, epochs: EpochChain, sources: Sources) -> None:
        self._directory = directory
        self._epochs = epochs
        self._sources = sources
        self._downloaded = 0
        self._kept = 0
        # Entries verified by this process.
        self._proven = 0

    async def fill(
        self, found: Sighting, others: tuple[Sighting, ...], on_progress: OnProgress
    ) -> Mirror:
        """Bring the folder to the checkpoint `found`, which is verified; so are `others`.

        1. The right edge of the tree. 2. No checkpoint seen before, or elsewhere, is of another
        history; nothing is written before. 3. Tiles. 4. What judges them, and the checkpoint.

        Raises `InvalidAnswer`, `NotFound`, `Unreachable`.
        """
        checkpoint = Checkpoint.parse(SignedNote.parse(found.note.encode()).text)
        self._downloaded = self._kept = 0
        tree = RemoteTree(self._sources.fetch, checkpoint, self._read)
        await tree.open()  # 1
        await self._compare(tree, found, others)  # 2
        await self._fill(tree, on_progress)  # 3
        write_epochs(self._directory, self._epochs, checkpoint.size)  # 4
        policy = self._epochs.policy_for(checkpoint.size)
        write_file(self._directory / "policy", policy.format())
        write_file(self._directory / "checkpoint", found.note.encode())
        self._drop_partial(checkpoint.size)
        self._proven = checkpoint.size
        return Mirror(
            directory=self._directory,
            network=hash_genesis(self._epochs.genesis),
            checkpoint=checkpoint,
            downloaded=self._downloaded + tree.downloaded,
            kept=self._kept,
        )

    def held(self) -> Sighting | None:
        """The checkpoint in the folder, if it verifies."""
        data = self._read("checkpoint")
        try:
            signed = SignedNote.parse(data or b"")
            size = Checkpoint.parse(signed.text).size
            self._epochs.policy_for(size).verify(signed)
        except LedgerError:
            return None
        return Sighting(source=str(self._directory), note=signed.format().decode())

    async def _compare(
        self, tree: RemoteTree, found: Sighting, others: tuple[Sighting, ...]
    ) -> None:
        for other in others:
            is_own = str(self._directory) in (other.source, found.source)
            alarm = await find_fork(
                tree,
                self._epochs,
                kind="rewrite" if is_own else "split-view",
                first=other,
                second=found,
                time_ms=time.time_ns() // 1_000_000,
            )
            if alarm is not None:
                path, _ = write_alarm(self._directory, alarm)
                text = f"{other.source}, {found.source}: {path}"
                raise InvalidAnswer("log-forked", text)

    async def _fill(self, tree: RemoteTree, on_progress: OnProgress) -> None:
        size = tree.checkpoint.size
        bundles = -(-size // TILE_WIDTH)
        queue: asyncio.Queue[tuple[int, Hash] | None] = asyncio.Queue(BUNDLES_AHEAD_MAX)
        first = self._proven // TILE_WIDTH
        done = first
        pruned = read_pruned(self._directory).entries // TILE_WIDTH

        async def lead() -> None:
            for index in range(first, bundles):
                await self._save_above(tree, index, is_first=index == first)
                if not tree.is_full(0, index):
                    expected = root_of(tree.edge(0))
                else:
                    above = await tree.hashes(1, index // TILE_WIDTH)
                    expected = above[index % TILE_WIDTH]
                await queue.put((index, expected))
            for _ in range(DOWNLOADS_MAX):
                await queue.put(None)

        async def follow() -> None:
            nonlocal done
            while (task := await queue.get()) is not None:
                index, expected = task
                if index < pruned:
                    self._save(TilePath(level=0, index=index), await tree.hashes(0, index))
                else:
                    width = min(TILE_WIDTH, size - index * TILE_WIDTH)
                    await self._bundle(index, width, expected)
                done += 1
                on_progress(done, bundles)

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(lead())
                for _ in range(DOWNLOADS_MAX):
                    group.create_task(follow())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        for level in range(1, LEVEL_MAX + 1):
            if edge := tree.edge(level):
                tile = (size >> (TILE_HEIGHT * level)) // TILE_WIDTH
                self._save(TilePath(level=level, index=tile, width=len(edge)), edge)

    async def _save_above(self, tree: RemoteTree, index: int, *, is_first: bool) -> None:
        """Keep the full tiles above level 0 that begin with a bundle, or all above the first."""
        for level in range(1, LEVEL_MAX + 1):
            tile, rest = divmod(index, TILE_WIDTH**level)
            if tree.is_full(level, tile) and (is_first or rest == 0):
                self._save(TilePath(level=level, index=tile), await tree.hashes(level, tile))

    async def _bundle(self, index: int, width: int, expected: Hash) -> None:
        """One tile of entries and the hash tile of its leaves."""
        path = TilePath(level=ENTRIES_LEVEL, index=index, width=width)
        name = path.format()

        def take(files: list[bytes]) -> tuple[bytes, list[Hash]]:
            leaves = hash_leaves(decode_entries(files[0], width))
            if root_of(leaves) != expected:
                raise InvalidProof(f"{name} is not under hash {expected.hex()}")
            return files[0], leaves

        try:
            data, leaves = take([self._read(name) or b""])
            self._kept += 1
        except (InvalidEncoding, InvalidProof):
            data, leaves = await self._sources.fetch([name], take)
            write_file(self._directory / name, data)
            self._downloaded += 1
        self._save(TilePath(level=0, index=index, width=width), leaves)

    def _save(self, tile: TilePath, hashes: list[Hash]) -> None:
        """Keep a verified hash tile."""
        name, data = tile.format(), b"".join(hashes)
        if self._read(name) == data:
            self._kept += 1
        else:
            write_file(self._directory / name, data)

    def _drop_partial(self, size: int) -> None:
        if not self._proven:
            drop_drafts(self._directory.rglob(".*"))
            drop_partial(self._directory, size)
            return
        keep = set(map(TilePath.format, edge_paths(size)))
        for tile in edge_paths(self._proven):
            if (name := tile.format()) not in keep:
                path = self._directory / name
                path.unlink(missing_ok=True)
                if not any(path.parent.iterdir()):
                    path.parent.rmdir()

    def _read(self, name: str) -> bytes | None:
        try:
            return (self._directory / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
