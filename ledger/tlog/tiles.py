r"""Tiles of a log (c2sp.org/tlog-tiles): paths, contents, reading hashes out of them.

Format. A full tile has 256 items, a partial tile, at the right edge, 1 to 255 of them (its width).

    tile/L/N[.p/W]          hash tile `N` of level L: the hashes of the complete subtrees
                            `(8 * L, 256 * N)` to `(8 * L, 256 * N + W - 1)`, 32 bytes each
    tile/entries/N[.p/W]    entries `256 * N` to `256 * N + W - 1`, each as a 2-byte big-endian
                            length and that many bytes

L is 0 to 7. N is written in groups of three digits, all but the last with an `x` in front:
1234067 is `x001/x234/067`. W is left away when it is 256. No other spelling is read.

Worked example, checked by a test:

>>> TilePath(level=0, index=1234067, width=17).format()
'tile/0/x001/x234/067.p/17'
>>> TilePath.parse("tile/entries/000")
TilePath(level=-1, index=0, width=256)
>>> encode_entries((b"one", b"", b"\xff")).hex()
'00036f6e6500000001ff'
>>> [tile.format() for tile in tile_paths(257)]
['tile/entries/000', 'tile/entries/001.p/1', 'tile/0/000', 'tile/0/001.p/1', 'tile/1/000.p/1']
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ledger.errors import InvalidEncoding, InvalidProof
from ledger.tlog.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    SIZE_MAX,
    CompactRange,
    Hash,
    HashReader,
    hash_children,
    hash_leaves,
    root_of,
)

TILE_WIDTH = 256
TILE_HEIGHT = 8
LEVEL_MAX = 7
# The level under which the tile paths of entries are known to this module.
ENTRIES_LEVEL = -1
ENTRY_BYTES_MAX = 65_535
PATH_BYTES_MAX = 64
ENTRIES_TILE_BYTES_MAX = TILE_WIDTH * (2 + ENTRY_BYTES_MAX)

_LENGTH_BYTES = 2
_PATH = re.compile(r"tile/(entries|[0-7])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")

# Bytes of the tile (level, index, width).
GetTile: TypeAlias = Callable[[int, int, int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class TilePath:
    """One tile; level -1 (`ENTRIES_LEVEL`) is a tile of entries."""

    level: int
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        if not ENTRIES_LEVEL <= self.level <= LEVEL_MAX:
            raise InvalidEncoding(f"a tile level is 0 to {LEVEL_MAX}, or entries")
        if self.index < 0 or not 1 <= self.width <= TILE_WIDTH:
            raise InvalidEncoding(f"a tile has a width of 1 to {TILE_WIDTH}")
        last = self.index * TILE_WIDTH + self.width
        if last << (TILE_HEIGHT * max(self.level, 0)) > SIZE_MAX:
            raise InvalidEncoding("the tile is beyond every tree")

    def format(self) -> str:
        """The path, without a leading slash."""
        kind = "entries" if self.level == ENTRIES_LEVEL else str(self.level)
        index, group = divmod(self.index, 1000)
        groups = [f"{group:03d}"]
        while index:
            index, group = divmod(index, 1000)
            groups.append(f"x{group:03d}")
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{kind}/{'/'.join(reversed(groups))}{partial}"

    @staticmethod
    def parse(path: str) -> "TilePath":
        """The tile at `path`, or `InvalidEncoding`."""
        match = _PATH.fullmatch(path) if len(path) <= PATH_BYTES_MAX else None
        if match is None:
            raise InvalidEncoding("not the path of a tile")
        kind, groups, width = match.groups()
        tile = TilePath(
            level=ENTRIES_LEVEL if kind == "entries" else int(kind),
            index=int(groups.replace("/", "").replace("x", "")),
            width=TILE_WIDTH if width is None else int(width),
        )
        if tile.format() != path:
            raise InvalidEncoding("not the canonical path of a tile")
        return tile


def tile_paths(size: int) -> Iterator[TilePath]:
    """All tiles of the tree of `size` leaves: entries first, then level by level."""
    for level in range(ENTRIES_LEVEL, LEVEL_MAX + 1):
        count = size >> (TILE_HEIGHT * max(level, 0))
        for start in range(0, count, TILE_WIDTH):
            yield TilePath(
                level=level, index=start // TILE_WIDTH, width=min(TILE_WIDTH, count - start)
            )


def encode_entries(entries: Sequence[bytes]) -> bytes:
    """Bytes of a tile with these entries, 1 to 256 of at most 65,535 bytes."""
    if not 1 <= len(entries) <= TILE_WIDTH:
        raise InvalidEncoding(f"a tile has 1 to {TILE_WIDTH} entries")
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > ENTRY_BYTES_MAX:
            raise InvalidEncoding(f"an entry has at most {ENTRY_BYTES_MAX} bytes")
        parts += (len(entry).to_bytes(_LENGTH_BYTES, "big"), entry)
    return b"".join(parts)


def decode_entries(data: bytes, width: int) -> list[bytes]:
    """The entries of a tile that has exactly `width` of them, or `InvalidEncoding`."""
    entries: list[bytes] = []
    start, size_bytes = 0, len(data)
    while start < size_bytes and len(entries) < width:
        # A lone last byte gives a start beyond the end, found below.
        begin = start + _LENGTH_BYTES
        start = begin + int.from_bytes(data[start:begin], "big")
        entries.append(data[begin:start])
    if start != size_bytes or len(entries) != width:
        raise InvalidEncoding(f"not the bytes of {width} entries")
    return entries


def split_hashes(data: bytes, width: int) -> list[Hash]:
    """The hashes of a hash tile that has exactly `width` of them, or `InvalidEncoding`."""
    if len(data) != width * HASH_BYTES:
        raise InvalidEncoding(f"a tile of {width} hashes has {width * HASH_BYTES} bytes")
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def tile_hashes(reader: HashReader, tile: TilePath) -> bytes:
    """Bytes of the hash tile `tile`."""
    if tile.level == ENTRIES_LEVEL:
        raise InvalidEncoding("a tile of entries has no hashes")
    level, first = tile.level * TILE_HEIGHT, tile.index * TILE_WIDTH
    return b"".join(reader.read_hash(level, first + at) for at in range(tile.width))


class TileReader:
    """Hashes of the tree of `size` leaves, taken from its tiles. A `HashReader`.

    It believes its tiles: what is proven with them must be verified against a checkpoint. Each
    tile is asked for once and kept.
    """

    def __init__(self, get_tile: GetTile, size: int) -> None:
        self._get_tile = get_tile
        self._size = size
        self._tiles: dict[tuple[int, int], list[Hash]] = {}

    def read_hash(self, level: int, index: int) -> Hash:
        """Hash of the complete subtree `index` of `level`.

        Raises `InvalidProof` if the tree has none, `InvalidEncoding` if its tile is no tile.
        """
        if level < 0 or index < 0 or (index + 1) << level > self._size:
            raise InvalidProof(f"no subtree {index} of level {level} in {self._size} leaves")
        tile_level, height = divmod(level, TILE_HEIGHT)
        tile_index, start = divmod(index << height, TILE_WIDTH)
        hashes = self._read_tile(tile_level, tile_index)
        return root_of(hashes[start : start + (1 << height)])

    def _read_tile(self, level: int, index: int) -> list[Hash]:
        hashes = self._tiles.get((level, index))
        if hashes is None:
            width = _width(self._size, level, index)
            hashes = split_hashes(self._get_tile(level, index, width), width)
            self._tiles[level, index] = hashes
        return hashes


def verify_tiles(get_tile: GetTile, size: int, root: Hash) -> None:
    """Check that every tile of `tile_paths(size)`, entries included, is that of the tree `root`.

    Raises `InvalidEncoding` or `InvalidProof`, which names the tile.
    """
    # Item `level` holds the hashes of the tile of that level which is not full yet.
    edge: list[list[Hash]] = [[] for _ in range(LEVEL_MAX + 1)]
    for start in range(0, size, TILE_WIDTH):
        index = start // TILE_WIDTH
        width = min(TILE_WIDTH, size - start)
        edge[0] = hash_leaves(decode_entries(get_tile(ENTRIES_LEVEL, index, width), width))
        level = 0
        while len(edge[level]) == TILE_WIDTH:
            _verify_tile(get_tile, level, index, edge[level])
            edge[level + 1].append(root_of(edge[level]))
            edge[level] = []
            level, index = level + 1, index // TILE_WIDTH
    above: Hash | None = None
    for level, hashes in enumerate(edge):
        if hashes:
            count = size >> (TILE_HEIGHT * level)
            _verify_tile(get_tile, level, count // TILE_WIDTH, hashes)
        for node in reversed(CompactRange().extend(hashes).hashes):
            above = node if above is None else hash_children(node, above)
    if (EMPTY_ROOT if above is None else above) != root:
        raise InvalidProof(f"the {size} entries are not those under the root")


def _verify_tile(get_tile: GetTile, level: int, index: int, hashes: list[Hash]) -> None:
    if get_tile(level, index, len(hashes)) != b"".join(hashes):
        path = TilePath(level=level, index=index, width=len(hashes)).format()
        raise InvalidProof(f"{path} contradicts the entries")


def _width(size: int, level: int, index: int) -> int:
    count = size >> (TILE_HEIGHT * level)
    return min(TILE_WIDTH, count - index * TILE_WIDTH)
