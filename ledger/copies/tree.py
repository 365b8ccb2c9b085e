"""The tree of a copy: hash tiles and entries, proven under the checkpoint (steps 4 and 5)."""

from collections.abc import Callable, Iterator

from ledger.copies.steps import Step, diverge
from ledger.errors import InvalidEncoding
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import CompactRange, Hash, hash_leaves
from ledger.tlog.tiles import (
    ENTRIES_LEVEL,
    LEVEL_MAX,
    TILE_HEIGHT,
    TILE_WIDTH,
    TilePath,
    decode_entries,
    split_hashes,
)

# Bytes of the file at a path inside the copy, or None where there is none.
Read = Callable[[str], bytes | None]
# Hashes of a tile, and of the subtrees above them that are complete within it, level by level.
_Subtrees = list[list[Hash]]


class ProvenTree:
    """Step 4: hash tiles, each proven by the tile above it, down from the checkpoint's root.

    One tile of each level is kept, so walking the leaves in order reads every tile once.
    """

    def __init__(self, read: Read, checkpoint: Checkpoint) -> None:
        self.read = read
        self.size = checkpoint.size
        self._kept: dict[int, tuple[int, _Subtrees]] = {}
        self._edges: dict[int, _Subtrees] = {}
        subtrees: list[Hash] = []
        for level in range(LEVEL_MAX + 1):
            width = (self.size >> (TILE_HEIGHT * level)) % TILE_WIDTH
            if width:
                tile = (self.size >> (TILE_HEIGHT * level)) // TILE_WIDTH
                edge, self._edges[level] = self._load(level, tile, width)
                subtrees[:0] = edge.hashes
        root = CompactRange(size=self.size, hashes=tuple(subtrees)).root()
        if root != checkpoint.root:
            diverge(
                Step.TILES,
                -1,
                f"root {checkpoint.root.hex()} of {self.size} entries",
                f"root {root.hex()}",
            )

    def hashes(self, level: int, tile: int) -> list[Hash]:
        """Proven hashes of a tile."""
        return self._subtrees(level, tile)[0]

    def head(self, size: int) -> CompactRange:
        """The head that the tree had when it had `size` leaves, of proven hashes."""
        hashes: list[Hash] = []
        begin = 0
        for level in range(size.bit_length() - 1, -1, -1):
            if size >> level & 1:
                tile_level, height = divmod(level, TILE_HEIGHT)
                tile, at = divmod(begin >> (TILE_HEIGHT * tile_level), TILE_WIDTH)
                hashes.append(self._subtrees(tile_level, tile)[height][at >> height])
                begin += 1 << level
        return CompactRange(size=size, hashes=tuple(hashes))

    def _subtrees(self, level: int, tile: int) -> _Subtrees:
        if tile == (self.size >> (TILE_HEIGHT * level)) // TILE_WIDTH:
            return self._edges[level]
        kept = self._kept.get(level)
        if kept is not None and kept[0] == tile:
            return kept[1]
        expected = self.hashes(level + 1, tile // TILE_WIDTH)[tile % TILE_WIDTH]
        head, subtrees = self._load(level, tile, TILE_WIDTH)
        if head.root() != expected:
            path = TilePath(level=level, index=tile).format()
            diverge(
                Step.TILES,
                tile * TILE_WIDTH << (TILE_HEIGHT * level),
                f"{path} under hash {expected.hex()}",
                f"hash {head.root().hex()}",
            )
        self._kept[level] = (tile, subtrees)
        return subtrees

    def _load(self, level: int, tile: int, width: int) -> tuple[CompactRange, _Subtrees]:
        path = TilePath(level=level, index=tile, width=width).format()
        index = tile * TILE_WIDTH << (TILE_HEIGHT * level)
        data = self.read(path)
        if data is None:
            diverge(Step.TILES, index, path, "no such file")
        try:
            return CompactRange().grow(split_hashes(data, width))
        except InvalidEncoding:
            diverge(Step.TILES, index, f"{path} of {width} hashes", f"{len(data)} bytes")


def read_bundles(tree: ProvenTree, start: int) -> Iterator[tuple[int, list[bytes], list[Hash]]]:
    """Steps 4 and 5: first index, entries and leaf hashes of each tile of entries from `start`."""
    for first in range(start - start % TILE_WIDTH, tree.size, TILE_WIDTH):
        tile = TilePath(
            level=ENTRIES_LEVEL, index=first // TILE_WIDTH, width=min(TILE_WIDTH, tree.size - first)
        )
        data = tree.read(tile.format())
        if data is None:
            diverge(Step.ENTRIES, first, tile.format(), "no such file")
        try:
            entries = decode_entries(data, tile.width)
        except InvalidEncoding as error:
            diverge(Step.ENTRIES, first, f"{tile.width} entries in {tile.format()}", str(error))
        expected = tree.hashes(0, tile.index)  # 4
        leaves = hash_leaves(entries)
        if leaves != expected:  # 5
            at = next(at for at, leaf in enumerate(leaves) if leaf != expected[at])
            diverge(
                Step.ENTRIES, first + at, f"leaf {expected[at].hex()}", f"leaf {leaves[at].hex()}"
            )
        known = max(start - first, 0)
        yield first + known, entries[known:], leaves[known:]
