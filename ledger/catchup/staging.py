"""What stands in a store beside the log while it catches up by snapshot, and the rows of a log.

`Staging` follows the proven entries behind the tip; `StateSnapshot` is a state as a peer gets it.
Nothing here writes: `ledger.log` does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ledger.blocks import Header
from ledger.codec import Codec, Value
from ledger.scalars import Uint
from ledger.storage import Snapshot
from ledger.tlog.merkle import CompactRange, Hash
from ledger.tlog.tiles import TILE_HEIGHT, TILE_WIDTH

STAGED = b"Mstaged"
FIRST_STATE = b"S"
STATES = b"G"


class Staged(Value, frozen=True, kw_only=True):
    """How far entries behind the tip go.

    Before the index `end` there may be such entries. While the log has `base` entries, as when they
    were written, they are complete, have the tree head `head`, and end with the block whose header
    is entry `header_index`.
    """

    version: Literal[1]
    base: Uint
    end: Uint
    head: bytes
    header_index: Uint


STAGES = Codec(Staged, size_bytes_max=4_096)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenBlock:
    """A final block whose entries are proven under a quorum checkpoint; not executed here.

    `digests` are those of the records' events, `exchanges` has what each record belongs to
    (`Event.subject`), `leaf_hashes` those of header and records.
    """

    header_bytes: bytes
    header: Header
    block_hash: bytes
    records: tuple[bytes, ...]
    leaf_hashes: tuple[bytes, ...]
    digests: tuple[bytes, ...]
    exchanges: tuple[bytes, ...]


class Staging:
    """Where the entries end that stand behind the tip. Changes nothing by itself: see `Log.stage`.

    `header` is that of the last block, None at the genesis; `range` the tree head after it; `base`
    the size of the log, and `tip` the bytes of its tip.
    """

    def __init__(
        self,
        *,
        base: int,
        tip: bytes,
        tree: CompactRange,
        edges: dict[int, list[Hash]],
        header: Header | None,
        block_hash: bytes,
    ) -> None:
        self.base = base
        self.tip = tip
        self.range = tree
        self.header = header
        self.block_hash = block_hash
        self.edges = edges

    @property
    def height(self) -> int:
        """Height of the last block."""
        return self.header.height if self.header is not None else 0

    def add(self, blocks: Sequence[ProvenBlock]) -> dict[bytes, bytes | None]:
        """The rows of the next blocks, to be written by `Log.write_staged` in this order."""
        changes: dict[bytes, bytes | None] = {}
        size = self.range.size
        for block in blocks:
            assert block.header.tree_size == size, "blocks must follow each other"
            add_rows(changes, block)
            size += 1 + len(block.records)
        leaves = [leaf for block in blocks for leaf in block.leaf_hashes]
        before = self.range.size
        self.range, grown = self.range.grow(leaves)
        grow_tiles(changes, self.edges, before, grown)
        if blocks:
            self.header, self.block_hash = blocks[-1].header, blocks[-1].block_hash
            mark = Staged(
                version=1,
                base=self.base,
                end=size,
                head=self.range.encode(),
                header_index=self.header.tree_size,
            )
            changes[STAGED] = STAGES.encode(mark)
        return changes


class StateSnapshot:
    """The state after one block, to be read in parts while the log goes on. `close` it."""

    def __init__(self, snapshot: Snapshot, prefix: bytes, height: int, tree_size: int) -> None:
        self.height = height
        self.tree_size = tree_size
        self._snapshot = snapshot
        self._prefix = prefix

    def read(self, after: bytes, size_bytes: int) -> tuple[list[tuple[bytes, bytes]], bool]:
        """Pairs with keys above `after` of about so many bytes, and whether they are the last.

        Raises `SnapshotGone`.
        """
        pairs: list[tuple[bytes, bytes]] = []
        prefix, left = self._prefix, size_bytes
        start = prefix + after + b"\0" if after else prefix
        for key, value in self._snapshot.scan(start, after_prefix(prefix)):
            if left <= 0:
                return pairs, False
            pairs.append((key[len(prefix) :], value))
            left -= len(key) + len(value)
        return pairs, True

    def close(self) -> None:
        """Let go of the old data."""
        self._snapshot.close()


def state_prefix(generation: int) -> bytes:
    """Before the state keys of a generation."""
    return STATES + generation.to_bytes(4, "big") if generation else FIRST_STATE


def add_rows(changes: dict[bytes, bytes | None], block: ProvenBlock) -> None:
    """Entries of a block and their indexes."""
    start = block.header.tree_size
    place = start.to_bytes(8, "big")
    height = block.header.height.to_bytes(8, "big")
    changes[b"E" + place] = block.header_bytes
    changes[b"B" + height] = place + block.block_hash
    changes[b"I" + place] = height
    rows = zip(block.records, block.digests, block.exchanges, strict=True)
    for index, (record, digest, exchange) in enumerate(rows, start=start + 1):
        place = index.to_bytes(8, "big")
        changes[b"E" + place] = record
        changes[b"D" + digest] = place
        if exchange:
            changes[b"X" + exchange + place] = b""


def grow_tiles(
    changes: dict[bytes, bytes | None],
    edges: dict[int, list[Hash]],
    size_before: int,
    grown: Sequence[Sequence[Hash]],
) -> None:
    """Add new hashes to the tiles of each level; `edges` becomes the partial tiles after it."""
    for level, hashes in _tile_rows(grown):
        edge = edges.setdefault(level, [])
        tile = (size_before >> (TILE_HEIGHT * level)) // TILE_WIDTH
        edge.extend(hashes)
        while True:
            width = min(len(edge), TILE_WIDTH)
            if width:
                changes[tile_key(level, tile)] = b"".join(edge[:width])
            if width < TILE_WIDTH:
                break
            del edge[:TILE_WIDTH]
            tile += 1


def _tile_rows(grown: Sequence[Sequence[Hash]]) -> Iterator[tuple[int, Sequence[Hash]]]:
    for level in range(0, len(grown), TILE_HEIGHT):
        yield level // TILE_HEIGHT, grown[level]


def after_prefix(prefix: bytes) -> bytes:
    """The first key behind all keys with this prefix, which does not end with 0xff only."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1])


def entry_key(index: int) -> bytes:
    """Key of an entry."""
    return b"E" + index.to_bytes(8, "big")


def tile_key(level: int, tile: int) -> bytes:
    """Key of a hash tile."""
    return b"T" + bytes([level]) + tile.to_bytes(8, "big")
