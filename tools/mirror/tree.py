"""The tree under a checkpoint, read from afar: every hash tile proven before it is used.

The tiles at the right edge make the checkpoint's root, and every full tile has the hash that the
tile above names, so each is judged the moment it arrives and its source is known.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from ledger.copies.tree import Read
from ledger.errors import InvalidEncoding, InvalidProof
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import CompactRange, Hash, HashReader, root_of
from ledger.tlog.tiles import LEVEL_MAX, TILE_HEIGHT, TILE_WIDTH, TilePath, split_hashes

TILES_KEPT_MAX = 256

T = TypeVar("T")


class Fetch(Protocol):
    """`Sources.fetch`."""

    async def __call__(self, names: Sequence[str], take: Callable[[list[bytes]], T]) -> T:
        """What `take` makes of the files, from a source that it does not refuse."""


class _Missing(Exception):
    """A tile that is needed and not here yet."""

    def __init__(self, level: int, tile: int) -> None:
        super().__init__()
        self.level = level
        self.tile = tile


class RemoteTree:
    """Proven hashes of the tree of a checkpoint. `read` gives what is here already, or None."""

    def __init__(self, fetch: Fetch, checkpoint: Checkpoint, read: Read) -> None:
        self.checkpoint = checkpoint
        self.downloaded = 0
        self._fetch = fetch
        self._read = read
        self._edges: dict[int, list[Hash]] = {}
        self._kept: OrderedDict[tuple[int, int], list[Hash]] = OrderedDict()

    async def open(self) -> None:
        """Read the right edge, once. Raises what `fetch` does."""
        if self._edges:
            return
        wanted = [
            TilePath(level=level, index=count // TILE_WIDTH, width=count % TILE_WIDTH)
            for level, count in enumerate(self._counts())
            if count % TILE_WIDTH
        ]

        def take(files: list[bytes]) -> dict[int, list[Hash]]:
            pairs = zip(wanted, files, strict=True)
            edges = {tile.level: split_hashes(data, tile.width) for tile, data in pairs}
            subtrees: list[Hash] = []
            for level in sorted(edges):
                subtrees[:0] = CompactRange().extend(edges[level]).hashes
            head = CompactRange(size=self.checkpoint.size, hashes=tuple(subtrees))
            if head.root() != self.checkpoint.root:
                raise InvalidProof("the hash tiles at the edge do not make the checkpoint's root")
            return edges

        names = [tile.format() for tile in wanted]
        try:
            self._edges = take([_present(self._read(name)) for name in names])
        except (InvalidEncoding, InvalidProof):
            self._edges = await self._fetch(names, take)
            self.downloaded += len(names)

    def edge(self, level: int) -> list[Hash]:
        """Proven hashes of the tile of a level that is not full; none: there is no such tile."""
        return self._edges.get(level, [])

    def is_full(self, level: int, tile: int) -> bool:
        """Whether the tree has this tile whole."""
        return tile < self._counts()[level] // TILE_WIDTH

    async def hashes(self, level: int, tile: int) -> list[Hash]:
        """Proven hashes of a tile."""
        if not self.is_full(level, tile):
            return self._edges[level]
        kept = self._kept.get((level, tile))
        if kept is not None:
            return kept
        above = await self.hashes(level + 1, tile // TILE_WIDTH)
        expected = above[tile % TILE_WIDTH]
        name = TilePath(level=level, index=tile).format()

        def take(files: list[bytes]) -> list[Hash]:
            hashes = split_hashes(files[0], TILE_WIDTH)
            if root_of(hashes) != expected:
                raise InvalidProof(f"{name} is not under hash {expected.hex()}")
            return hashes

        try:
            hashes = take([_present(self._read(name))])
        except (InvalidEncoding, InvalidProof):
            hashes = await self._fetch([name], take)
            self.downloaded += 1
        self._kept[level, tile] = hashes
        if len(self._kept) > TILES_KEPT_MAX:
            self._kept.popitem(last=False)
        return hashes

    async def compute(self, function: Callable[[HashReader], T]) -> T:
        """The value of a pure function of the tree's hashes, which are fetched as it asks."""
        while True:
            try:
                return function(self)
            except _Missing as missing:
                await self.hashes(missing.level, missing.tile)

    def read_hash(self, level: int, index: int) -> Hash:
        """Hash of a complete subtree, inside `compute` only."""
        if (index + 1) << level > self.checkpoint.size:
            raise InvalidProof(f"no subtree {index} of level {level}")
        tile_level, height = divmod(level, TILE_HEIGHT)
        tile, start = divmod(index << height, TILE_WIDTH)
        if self.is_full(tile_level, tile):
            hashes = self._kept.get((tile_level, tile))
            if hashes is None:
                raise _Missing(tile_level, tile)
        else:
            hashes = self._edges[tile_level]
        return root_of(hashes[start : start + (1 << height)])

    def _counts(self) -> list[int]:
        """Number of hashes in the tiles of each level."""
        return [self.checkpoint.size >> (TILE_HEIGHT * level) for level in range(LEVEL_MAX + 1)]


def head_root(reader: HashReader, size: int) -> Hash:
    """Root that the tree had when it had `size` leaves."""
    hashes: list[Hash] = []
    begin = 0
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            hashes.append(reader.read_hash(level, begin >> level))
            begin += 1 << level
    return CompactRange(size=size, hashes=tuple(hashes)).root()


def _present(data: bytes | None) -> bytes:
    if data is None:
        raise InvalidEncoding("no such file")
    return data
