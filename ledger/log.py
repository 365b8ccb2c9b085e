"""The log of one node on a `Store`: entries, tiles, state and indexes of all final blocks.

One `append` is one atomic, durable batch, so the store always holds whole blocks. Keys:

    E index(8)                entry              B height(8)      header index(8) | block hash(32)
    T level(1) tile(8)        up to 256 hashes   I header index   height(8)
    S state key               state value        X exchange(32) index(8)   empty
    D event digest(32)        record index(8)    M name           meta value

An X row lists a record under what it belongs to, an exchange or a proposal, if there is any.

Integers are big-endian. The `Tip` under `M tip` says how far the log goes; whatever contradicts it
is `CorruptStore`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ledger.blocks import HEADERS, Header, hash_header
from ledger.codec import Codec, Value
from ledger.errors import CorruptStore, InvalidEncoding
from ledger.genesis import Genesis, genesis_state, hash_genesis
from ledger.scalars import Hash32, Uint
from ledger.state import LANES_BYTES, StateDigest
from ledger.storage import Store
from ledger.tlog.merkle import HASH_BYTES, CompactRange, Hash, root_of
from ledger.tlog.tiles import (
    ENTRIES_LEVEL,
    TILE_HEIGHT,
    TILE_WIDTH,
    TilePath,
    encode_entries,
)

_TIP = b"Mtip"
_RECENT_VALUES_MAX = 20_000
_HASHES_MAX = 32_768


class Tip(Value, frozen=True, kw_only=True):
    """Where the log ends; height 0 is the genesis, whose block hash is the network id."""

    version: Literal[1]
    network: Hash32
    epoch: Uint
    height: Uint
    view: Uint
    block_hash: Hash32
    time_ms: Uint
    range: bytes
    accumulator: bytes


_TIPS = Codec(Tip, size_bytes_max=8_192)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalizedBlock:
    """A final, executed block.

    `exchanges` has what each record belongs to (`Event.subject`), `leaf_hashes` those of header and
    records; `range` and `accumulator` are those after the block.
    """

    header_bytes: bytes
    header: Header
    block_hash: bytes
    records: tuple[bytes, ...]
    leaf_hashes: tuple[bytes, ...]
    digests: tuple[bytes, ...]
    exchanges: tuple[bytes, ...]
    changes: Mapping[bytes, bytes]
    range: CompactRange
    accumulator: bytes


class Log:
    """Final log of one network. A `StateReader` and a `HashReader`; used from one thread."""

    def __init__(self, store: Store, genesis: Genesis) -> None:
        """Open, or create at the genesis. Raises `CorruptStore` for a foreign or damaged store."""
        self._store = store
        self.network = hash_genesis(genesis)
        data = store.get(_TIP)
        if data is None:
            data = self._create(genesis)
        try:
            self.tip = _TIPS.decode(data)
            self.range = CompactRange.decode(self.tip.range)
        except InvalidEncoding as error:
            raise CorruptStore(f"the tip of the log is damaged: {error}") from None
        if self.tip.network != self.network:
            raise CorruptStore(
                f"the store belongs to network {self.tip.network.hex()}, not to"
                f" {self.network.hex()}"
            )
        self._edges = self._read_edges()
        # A complete subtree never changes; proofs of neighbours share most of theirs.
        self._hashes: dict[tuple[int, int], Hash] = {}
        self._recent: dict[bytes, bytes] = {}
        self._verify_tip()

    # --- what the tip says --------------------------------------------------------------------

    @property
    def tree_size(self) -> int:
        """Number of final entries."""
        return self.range.size

    @property
    def accumulator(self) -> bytes:
        """State accumulator after the tip."""
        return self.tip.accumulator

    # --- writing ------------------------------------------------------------------------------

    def append(
        self, blocks: Sequence[FinalizedBlock], extra: Mapping[bytes, bytes] | None = None
    ) -> None:
        """Write final blocks in height order, and meta values `extra`, in one durable batch."""
        changes: dict[bytes, bytes | None] = {}
        edges = {level: list(hashes) for level, hashes in self._edges.items()}
        size = self.range.size
        for block in blocks:
            assert block.header.tree_size == size, "blocks must follow the tip"
            self._add_entries(changes, block, size)
            size += 1 + len(block.records)
        leaves = [leaf for block in blocks for leaf in block.leaf_hashes]
        after, grown = self.range.grow(leaves)
        assert not blocks or after == blocks[-1].range, "tree head differs from the block's"
        _grow_tiles(changes, edges, self.range.size, grown)
        for name, value in (extra or {}).items():
            changes[b"M" + name] = value
        tip = self._tip_after(blocks[-1]) if blocks else self.tip
        changes[_TIP] = _TIPS.encode(tip)
        self._store.write(changes)
        for block in blocks:
            self._remember(block.changes)
        self.tip, self.range, self._edges = tip, after, edges

    # --- reading ------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """State value of `key`, or None."""
        value = self._recent.get(key)
        if value is None:
            value = self._store.get(b"S" + key)
            if value is not None:
                self._remember({key: value})
        return value

    def get_meta(self, name: bytes) -> bytes | None:
        """Meta value, or None."""
        return self._store.get(b"M" + name)

    def scan_state(self, prefix: bytes, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Up to `limit` state pairs under `prefix` with keys >= `start`, in key order."""
        first = b"S" + max(prefix, start)
        pairs: list[tuple[bytes, bytes]] = []
        for key, value in self._store.scan(first, _after_prefix(b"S" + prefix)):
            if len(pairs) >= limit:
                break
            pairs.append((key[1:], value))
        return pairs

    def read_entry(self, index: int) -> bytes:
        """Entry `index`. Raises `CorruptStore` when it should be there and is not."""
        entry = self._store.get(_entry_key(index))
        if entry is None:
            raise CorruptStore(f"entry {index} of {self.tree_size} is missing")
        return entry

    def read_entries(self, start: int, count: int) -> list[bytes]:
        """Entries `start` to `start + count`, as many as exist."""
        end = min(start + count, self.tree_size)
        if start >= end:
            return []
        entries = [value for _, value in self._store.scan(_entry_key(start), _entry_key(end))]
        if len(entries) != end - start:
            raise CorruptStore(f"of the entries {start} to {end} only {len(entries)} are there")
        return entries

    def read_hash(self, level: int, index: int) -> Hash:
        """Hash of the complete subtree `index` of `level`."""
        known = self._hashes.get((level, index))
        if known is not None:
            return known
        tile_level, height = divmod(level, TILE_HEIGHT)
        tile, start = divmod(index << height, TILE_WIDTH)
        data = self._store.get(_tile_key(tile_level, tile)) or b""
        end = (start + (1 << height)) * HASH_BYTES
        if end > len(data):
            raise CorruptStore(f"subtree {index} of level {level} is missing")
        found = root_of(
            [data[at : at + HASH_BYTES] for at in range(start * HASH_BYTES, end, HASH_BYTES)]
        )
        if len(self._hashes) >= _HASHES_MAX:
            self._hashes.clear()
        self._hashes[level, index] = found
        return found

    def tile(self, path: str) -> bytes | None:
        """Bytes of a C2SP tile of the present tree, or None where the tree has none."""
        try:
            tile = TilePath.parse(path)
        except InvalidEncoding:
            return None
        first = tile.index * TILE_WIDTH
        count = self.tree_size >> (TILE_HEIGHT * max(tile.level, 0))
        if first + tile.width > count:
            return None
        if tile.level == ENTRIES_LEVEL:
            return encode_entries(self.read_entries(first, tile.width))
        data = self._store.get(_tile_key(tile.level, tile.index)) or b""
        return data[: tile.width * HASH_BYTES]

    def index_of_event(self, digest: bytes) -> int | None:
        """Index of the record of an event, or None."""
        value = self._store.get(b"D" + digest)
        return None if value is None else int.from_bytes(value, "big")

    def header_index(self, height: int) -> int:
        """Index of the header entry of the block at `height` (from 1)."""
        return int.from_bytes(self._block_row(height)[:8], "big")

    def block_hash_at(self, height: int) -> bytes:
        """Hash of the block at `height` (from 1)."""
        return self._block_row(height)[8:]

    def height_of_index(self, index: int) -> int:
        """Height of the block that holds entry `index`."""
        end = b"I" + (index + 1).to_bytes(8, "big")
        for _, value in self._store.scan(b"I", end, reverse=True):
            return int.from_bytes(value, "big")
        raise CorruptStore(f"no block holds entry {index}")

    def exchange_indexes(self, exchange: bytes) -> list[int]:
        """Indexes of the records of an exchange, in order."""
        start = b"X" + exchange
        return [
            int.from_bytes(key[-8:], "big")
            for key, _ in self._store.scan(start, _after_prefix(start))
        ]

    def read_block(self, height: int) -> tuple[bytes, list[bytes]]:
        """Header bytes and record bytes of the block at `height`."""
        index = self.header_index(height)
        end = self.header_index(height + 1) if height < self.tip.height else self.tree_size
        header, *records = self.read_entries(index, end - index)
        return header, records

    def _remember(self, values: Mapping[bytes, bytes]) -> None:
        """Keep state values in memory; emptied when full, which is rarer than it is costly."""
        if len(self._recent) + len(values) > _RECENT_VALUES_MAX:
            self._recent.clear()
        self._recent.update(values)

    # --- inside -------------------------------------------------------------------------------

    def _create(self, genesis: Genesis) -> bytes:
        digest = StateDigest()
        changes: dict[bytes, bytes | None] = {}
        for key, value in genesis_state(genesis).items():
            digest.add(key, value)
            changes[b"S" + key] = value
        tip = Tip(
            version=1,
            network=self.network,
            epoch=0,
            height=0,
            view=0,
            block_hash=self.network,
            time_ms=genesis.time_ms,
            range=CompactRange().encode(),
            accumulator=digest.encode(),
        )
        data = _TIPS.encode(tip)
        changes[_TIP] = data
        self._store.write(changes)
        return data

    def _tip_after(self, block: FinalizedBlock) -> Tip:
        assert len(block.accumulator) == LANES_BYTES
        return Tip(
            version=1,
            network=self.network,
            epoch=block.header.epoch,
            height=block.header.height,
            view=block.header.view,
            block_hash=block.block_hash,
            time_ms=block.header.time_ms,
            range=block.range.encode(),
            accumulator=block.accumulator,
        )

    def _add_entries(
        self, changes: dict[bytes, bytes | None], block: FinalizedBlock, start: int
    ) -> None:
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
        for key, value in block.changes.items():
            changes[b"S" + key] = value

    def _block_row(self, height: int) -> bytes:
        row = self._store.get(b"B" + height.to_bytes(8, "big"))
        if row is None or len(row) != 8 + HASH_BYTES:
            raise CorruptStore(f"block {height} of {self.tip.height} is missing")
        return row

    def _read_edges(self) -> dict[int, list[Hash]]:
        """The hashes of the last, partial tile of each level."""
        edges: dict[int, list[Hash]] = {}
        level, count = 0, self.tree_size
        while count:
            width = count % TILE_WIDTH
            data = self._store.get(_tile_key(level, count // TILE_WIDTH)) if width else b""
            if data is None or len(data) != width * HASH_BYTES:
                raise CorruptStore(f"the last tile of level {level} contradicts the tree size")
            edges[level] = [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]
            level, count = level + 1, count >> TILE_HEIGHT
        return edges

    def _verify_tip(self) -> None:
        """Check that entries, tiles and accumulator end where the tip says."""
        subtrees = [
            self.read_hash(level, (self.tree_size >> level) - 1)
            for level in reversed(range(self.tree_size.bit_length()))
            if self.tree_size >> level & 1
        ]
        if tuple(subtrees) != self.range.hashes:
            raise CorruptStore("the tiles contradict the tree head")
        if self._store.get(_entry_key(self.tree_size)) is not None:
            raise CorruptStore(f"there is an entry behind the {self.tree_size} of the tip")
        if self.tip.height == 0:
            return
        header_bytes = self.read_entry(self.header_index(self.tip.height))
        if hash_header(header_bytes) != self.tip.block_hash:
            raise CorruptStore("the last header contradicts the tip")
        digest = StateDigest(self.accumulator).digest()
        if HEADERS.decode(header_bytes).state_digest != digest:
            raise CorruptStore("the state accumulator contradicts the last header")


def _grow_tiles(
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
                changes[_tile_key(level, tile)] = b"".join(edge[:width])
            if width < TILE_WIDTH:
                break
            del edge[:TILE_WIDTH]
            tile += 1


def _tile_rows(grown: Sequence[Sequence[Hash]]) -> Iterator[tuple[int, Sequence[Hash]]]:
    for level in range(0, len(grown), TILE_HEIGHT):
        yield level // TILE_HEIGHT, grown[level]


def _after_prefix(prefix: bytes) -> bytes:
    """The first key behind all keys with this prefix, which does not end with 0xff only."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1])


def _entry_key(index: int) -> bytes:
    return b"E" + index.to_bytes(8, "big")


def _tile_key(level: int, tile: int) -> bytes:
    return b"T" + bytes([level]) + tile.to_bytes(8, "big")
