"""The log of one node on a `Store`: entries, tiles, state and indexes of all final blocks.

One `append` is one atomic, durable batch, so the store always holds whole blocks. Keys:

    E index(8)                entry              B height(8)      header index(8) | block hash(32)
    T level(1) tile(8)        up to 256 hashes   I header index   height(8)
    S state key               state value        X exchange(32) index(8)   empty
    D event digest(32)        record index(8)    M name           meta value

An X row lists a record under what it belongs to, an exchange or a proposal, if there is any.

Integers are big-endian. The `Tip` under `M tip` says how far the log goes; whatever contradicts it
is `CorruptStore`.

Catching up by snapshot moves the tip over many blocks at once. What it brings is written beside
what is read: entries, proven under a checkpoint, with their indexes behind the tip (`Staging`; how
far they go stands under `M staged`), and the state at the new tip as another generation,

    G generation(4) state key         state value (generation 0 is `S state key`)

The switch is one small batch: tip, and the generation to read under `M generation`. A crash before
it leaves the old log, and staged entries from which the next attempt goes on; a crash after it the
new log, and an old state that `clean` removes in steps.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from ledger.blocks import HEADERS, hash_header
from ledger.catchup.staging import (
    FIRST_STATE,
    STAGED,
    STAGES,
    STATES,
    ProvenBlock,
    Staged,
    Staging,
    StateSnapshot,
    add_rows,
    after_prefix,
    entry_key,
    grow_tiles,
    state_prefix,
    tile_key,
)
from ledger.codec import Codec, Value
from ledger.errors import CorruptStore, InvalidEncoding, StagingEnded
from ledger.genesis import Genesis, genesis_state, hash_genesis
from ledger.lthash.digest import LANES_BYTES, StateDigest
from ledger.scalars import Hash32, Uint
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
_GENERATION = b"Mgeneration"
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
class FinalizedBlock(ProvenBlock):
    """A final block executed here; state changes, tree head and accumulator are those after it."""

    changes: Mapping[bytes, bytes]
    range: CompactRange
    accumulator: bytes


class Log:
    """Final log of one network. A `StateReader` and a `HashReader`.

    Used from one thread, but for `write_staged` and `write_state`.
    """

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
        self._generation = int.from_bytes(store.get(_GENERATION) or b"", "big")
        self._prefix = state_prefix(self._generation)
        self._filling: int | None = None
        self._opened = 0  # never twice: a late write must not come into another state
        self._clean_from = b""
        self._staging: Staging | None = None
        self._staged = self._read_staged()
        self._edges = self._read_edges(self.tree_size)
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
            add_rows(changes, block)
            for key, value in block.changes.items():
                changes[self._prefix + key] = value
            size += 1 + len(block.records)
        leaves = [leaf for block in blocks for leaf in block.leaf_hashes]
        after, grown = self.range.grow(leaves)
        assert not blocks or after == blocks[-1].range, "tree head differs from the block's"
        grow_tiles(changes, edges, self.range.size, grown)
        for name, value in (extra or {}).items():
            changes[b"M" + name] = value
        tip = self._tip_after(blocks[-1]) if blocks else self.tip
        changes[_TIP] = _TIPS.encode(tip)
        staged = self._staged
        if blocks:
            # Tiles of staged entries may now be narrower than these: none can be built on.
            self._staging = None
            if staged is not None and staged.end <= size:
                staged, changes[STAGED] = None, None
        self._store.write(changes)
        for block in blocks:
            self._remember(block.changes)
        self.tip, self.range, self._edges, self._staged = tip, after, edges, staged

    # --- catching up by snapshot --------------------------------------------------------------

    def stage(self) -> Staging:
        """Begin to put proven entries behind the tip, after those that stand there already.

        It ends with `switch`, or with the next `append`.
        """
        staged = self._staged
        if staged is not None and staged.base == self.tree_size:
            tree = CompactRange.decode(staged.head)
            header_bytes = self.read_entry(staged.header_index)
        else:
            tree = self.range
            at = self.header_index(self.tip.height) if self.tip.height else -1
            header_bytes = self.read_entry(at) if at >= 0 else b""
        self._staging = Staging(
            base=self.tree_size,
            tip=_TIPS.encode(self.tip),
            tree=tree,
            edges=self._read_edges(tree.size),
            header=HEADERS.decode(header_bytes) if header_bytes else None,
            block_hash=hash_header(header_bytes) if header_bytes else self.network,
        )
        return self._staging

    def write_staged(self, staging: Staging, rows: Mapping[bytes, bytes | None]) -> None:
        """Write what `staging.add` gave, in one durable batch. Raises `StagingEnded`.

        May be called from another thread: the store sees to it that the tip is still the same.
        """
        self._check_staging(staging)
        if not self._store.write_if(_TIP, staging.tip, rows):
            raise StagingEnded("the log went on by itself")
        self._staged = STAGES.decode(rows[STAGED] or b"")

    def open_generation(self) -> int:
        """Number of a new, empty state beside the one that is read."""
        newest = max(self._generation, self._opened)
        for key, _ in self._store.scan(STATES, after_prefix(STATES), reverse=True):
            newest = max(newest, int.from_bytes(key[1:5], "big"))
            break
        self._filling = self._opened = newest + 1
        return self._filling

    def write_state(self, generation: int, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Write pairs of a state that is not read yet, in one durable batch; from any thread.

        Raises `StagingEnded` when the generation was given up.
        """
        if generation != self._filling:
            raise StagingEnded("this state was given up")
        prefix = state_prefix(generation)
        self._store.write({prefix + key: value for key, value in pairs})

    def close_generation(self) -> None:
        """Give up the state that is being written; `clean` removes it."""
        self._filling = None
        self._clean_from = b""

    def switch(
        self,
        staging: Staging,
        generation: int,
        accumulator: bytes,
        extra: Mapping[bytes, bytes] | None = None,
    ) -> None:
        """Make the last staged block the tip, and the new generation its state: one small batch.

        The caller has proven the entries, and that `accumulator` is that of all pairs of the
        generation. Raises `StagingEnded`.
        """
        self._check_staging(staging)
        header = staging.header
        assert header is not None, "nothing is staged"
        assert generation == self._filling, "another generation is filled"
        assert StateDigest(accumulator).digest() == header.state_digest, "the state is another one"
        tip = Tip(
            version=1,
            network=self.network,
            epoch=header.epoch,
            height=header.height,
            view=header.view,
            block_hash=staging.block_hash,
            time_ms=header.time_ms,
            range=staging.range.encode(),
            accumulator=accumulator,
        )
        changes: dict[bytes, bytes | None] = {_TIP: _TIPS.encode(tip), STAGED: None}
        changes[_GENERATION] = generation.to_bytes(4, "big")
        for name, value in (extra or {}).items():
            changes[b"M" + name] = value
        self._store.write(changes)
        self.tip, self.range, self._edges = tip, staging.range, staging.edges
        self._generation, self._prefix = generation, state_prefix(generation)
        self._staging, self._staged = None, None
        self._recent.clear()
        self.close_generation()

    def clean(self, rows_max: int) -> bool:
        """Delete some rows of states that are not read any more; False when none is left."""
        changes: dict[bytes, bytes | None] = {}
        for start, end in self._unread_states():
            for key, _ in self._store.scan(max(start, self._clean_from), end):
                changes[key] = None
                if len(changes) == rows_max:
                    break
            if len(changes) == rows_max:
                break
        if not changes:
            return False
        # The scan would walk over all that was deleted before.
        self._clean_from = max(changes)
        self._store.write(changes)
        return True

    def snapshot(self) -> StateSnapshot:
        """The state after the tip, for a peer."""
        return StateSnapshot(self._store.snapshot(), self._prefix, self.tip.height, self.tree_size)

    # --- reading ------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """State value of `key`, or None."""
        value = self._recent.get(key)
        if value is None:
            value = self._store.get(self._prefix + key)
            if value is not None:
                self._remember({key: value})
        return value

    def get_meta(self, name: bytes) -> bytes | None:
        """Meta value, or None."""
        return self._store.get(b"M" + name)

    def scan_state(self, prefix: bytes, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Up to `limit` state pairs under `prefix` with keys >= `start`, in key order."""
        state = self._prefix
        pairs: list[tuple[bytes, bytes]] = []
        for key, value in self._store.scan(
            state + max(prefix, start), after_prefix(state + prefix)
        ):
            if len(pairs) >= limit:
                break
            pairs.append((key[len(state) :], value))
        return pairs

    def read_entry(self, index: int) -> bytes:
        """Entry `index`. Raises `CorruptStore` when it should be there and is not."""
        entry = self._store.get(entry_key(index))
        if entry is None:
            raise CorruptStore(f"entry {index} of {self.tree_size} is missing")
        return entry

    def read_entries(self, start: int, count: int) -> list[bytes]:
        """Entries `start` to `start + count`, as many as exist."""
        end = min(start + count, self.tree_size)
        if start >= end:
            return []
        entries = [value for _, value in self._store.scan(entry_key(start), entry_key(end))]
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
        data = self._store.get(tile_key(tile_level, tile)) or b""
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
        data = self._store.get(tile_key(tile.level, tile.index)) or b""
        return data[: tile.width * HASH_BYTES]

    def index_of_event(self, digest: bytes) -> int | None:
        """Index of the record of an event, or None."""
        value = self._store.get(b"D" + digest)
        index = None if value is None else int.from_bytes(value, "big")
        # Rows behind the tip belong to staged entries.
        return None if index is None or index >= self.tree_size else index

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

    def exchange_indexes(
        self, exchange: bytes, *, first: int = 0, limit: int | None = None
    ) -> list[int]:
        """Indexes of the records of an exchange or proposal, in order, from `first` on."""
        start = b"X" + exchange
        end = start + self.tree_size.to_bytes(8, "big")
        pairs = self._store.scan(start + first.to_bytes(8, "big"), end)
        return [int.from_bytes(key[-8:], "big") for key, _ in islice(pairs, limit)]

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

    def _check_staging(self, staging: Staging) -> None:
        if staging is not self._staging:
            raise StagingEnded("the log went on by itself")

    def _unread_states(self) -> Iterator[tuple[bytes, bytes]]:
        """Key ranges, in order, of the generations that are neither read nor being written."""
        start = STATES
        read = {self._generation, self._filling} - {None, 0}
        for prefix in sorted(state_prefix(generation) for generation in read if generation):
            yield start, prefix
            start = after_prefix(prefix)
        yield start, after_prefix(STATES)
        if self._generation:
            yield FIRST_STATE, after_prefix(FIRST_STATE)

    def _read_staged(self) -> Staged | None:
        data = self._store.get(STAGED)
        try:
            staged = None if data is None else STAGES.decode(data)
            if staged is not None:
                CompactRange.decode(staged.head)
        except InvalidEncoding as error:
            raise CorruptStore(f"the mark of staged entries is damaged: {error}") from None
        return staged if staged is not None and staged.end > self.tree_size else None

    def _block_row(self, height: int) -> bytes:
        row = self._store.get(b"B" + height.to_bytes(8, "big"))
        if row is None or len(row) != 8 + HASH_BYTES:
            raise CorruptStore(f"block {height} of {self.tip.height} is missing")
        return row

    def _read_edges(self, size: int) -> dict[int, list[Hash]]:
        """The hashes of the last, partial tile of each level in the tree of `size` entries."""
        edges: dict[int, list[Hash]] = {}
        level, count = 0, size
        while count:
            width = count % TILE_WIDTH
            data = self._store.get(tile_key(level, count // TILE_WIDTH)) if width else b""
            # Staged entries may have made it wider.
            is_exact = self._staged is None and width > 0
            end = width * HASH_BYTES
            if data is None or len(data) < end or (is_exact and len(data) > end):
                raise CorruptStore(f"the last tile of level {level} contradicts the tree size")
            edges[level] = [data[at : at + HASH_BYTES] for at in range(0, end, HASH_BYTES)]
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
        end = max(self.tree_size, self._staged.end if self._staged is not None else 0)
        if self._store.get(entry_key(end)) is not None:
            raise CorruptStore(f"there is an entry behind the {end} that are known")
        if self.tip.height == 0:
            return
        header_bytes = self.read_entry(self.header_index(self.tip.height))
        if hash_header(header_bytes) != self.tip.block_hash:
            raise CorruptStore("the last header contradicts the tip")
        digest = StateDigest(self.accumulator).digest()
        if HEADERS.decode(header_bytes).state_digest != digest:
            raise CorruptStore("the state accumulator contradicts the last header")
