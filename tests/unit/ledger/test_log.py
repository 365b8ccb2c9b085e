"""The log on a store: one batch per append, reads agree with a naive twin, damage is refused."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ledger.errors import CorruptStore, StoreFailed
from ledger.genesis import genesis_state
from ledger.log import FinalizedBlock, Log
from ledger.lthash.digest import StateDigest, hash_state
from ledger.state import exchange_key, nonce_key
from ledger.storage import Store, installed_engines, open_store
from ledger.tlog.merkle import (
    EMPTY_ROOT,
    hash_leaf,
    prove_inclusion,
    root_of,
    verify_inclusion,
)
from ledger.tlog.tiles import tile_paths
from tests.unit.ledger.builders import (
    ChainBuilder,
    make_chain,
    make_copy,
    make_event,
    make_genesis,
)

# Ends inside, at and behind the edges of tiles (256) and covers an empty block.
COUNTS = (1, 0, 253, 3, 300, 0, 206, 1)


@pytest.fixture(params=installed_engines())
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path, request.param)
    yield store
    store.close()


@pytest.fixture(scope="module")
def chain() -> ChainBuilder:
    return make_chain(COUNTS)


class _BrokenDisk:
    """A store whose writes fail."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.get, self.scan, self.close = store.get, store.scan, store.close

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        raise StoreFailed("disk full")


def fill(store: Store, chain: ChainBuilder) -> Log:
    log = Log(store, chain.genesis)
    for block in chain.blocks:
        log.append([block])
    return log


def all_pairs(store: Store) -> list[tuple[bytes, bytes]]:
    return list(store.scan(b"", b"\xff" * 8))


def test_new_log_is_the_genesis(store: Store) -> None:
    genesis = make_genesis()
    log = Log(store, genesis)
    assert (log.tree_size, log.range.root()) == (0, EMPTY_ROOT)
    assert (log.tip.height, log.tip.block_hash) == (0, log.network)
    pairs = genesis_state(genesis)
    assert {key: log.get(key) for key in pairs} == pairs
    assert StateDigest(log.accumulator).digest() == hash_state(pairs.items())


def test_every_read_agrees_with_the_chain(store: Store, chain: ChainBuilder) -> None:
    fill(store, chain)
    log = Log(store, chain.genesis)  # as after a restart
    tip = chain.blocks[-1]
    assert log.tree_size == len(chain.entries)
    assert log.range == chain.range
    assert (log.tip.height, log.tip.block_hash) == (len(COUNTS), tip.block_hash)
    assert (log.tip.view, log.tip.epoch) == (tip.header.view, tip.header.epoch)
    assert log.tip.time_ms == tip.header.time_ms
    assert log.read_entries(0, 10_000) == chain.entries
    assert [log.read_entry(at) for at in (0, 255, 256)] == [
        chain.entries[at] for at in (0, 255, 256)
    ]
    for block in chain.blocks:
        height, index = block.header.height, block.header.tree_size
        assert log.header_index(height) == index
        assert log.block_hash_at(height) == block.block_hash
        assert log.read_block(height) == (block.header_bytes, list(block.records))
        for at in {index, index + len(block.records) // 2, index + len(block.records)}:
            assert log.height_of_index(at) == height
        for at, digest in enumerate(block.digests, start=index + 1):
            assert log.index_of_event(digest) == at
            assert log.exchange_indexes(digest) == [at]
    assert log.index_of_event(bytes(32)) is None
    assert log.exchange_indexes(bytes(32)) == []


def test_first_block_alone(store: Store) -> None:
    chain = make_chain([2])
    log = fill(store, chain)
    assert [log.height_of_index(at) for at in range(3)] == [1, 1, 1]


def test_state_is_that_of_the_chain(store: Store, chain: ChainBuilder) -> None:
    log = fill(store, chain)
    event = make_event(0, network=chain.network)
    assert log.get(nonce_key("north", event.nonce)) == event.digest
    pairs = log.scan_state(b"", b"", 1_000_000)
    assert pairs == sorted(chain.state.pairs.items())
    assert hash_state(pairs) == chain.blocks[-1].header.state_digest
    assert log.accumulator == chain.accumulator


def test_scan_state_pages(store: Store, chain: ChainBuilder) -> None:
    log = fill(store, chain)
    everything = [pair for pair in sorted(chain.state.pairs.items()) if pair[0][:2] == b"x/"]
    seen: list[tuple[bytes, bytes]] = []
    start = b""
    while page := log.scan_state(b"x/", start, 100):
        assert len(page) <= 100
        seen += page
        start = page[-1][0] + b"\0"
    assert seen == everything
    assert log.scan_state(b"x/", b"y/", 5) == []
    assert log.scan_state(b"m/", b"", 1)[0][0] == b"m/east"


def test_scan_state_reaches_the_last_key(store: Store) -> None:
    chain = ChainBuilder()
    log = Log(store, chain.genesis)
    block = chain.add()
    key = exchange_key(b"\xff" * 32)
    changes = {key: b"last"}
    log.append([_with(block, changes=changes)])
    assert log.scan_state(b"x/", b"", 9) == [(key, b"last")]


@pytest.mark.parametrize("split", [1, 3, len(COUNTS)])
def test_runs_of_blocks_give_the_same_store(
    store: Store, chain: ChainBuilder, tmp_path: Path, split: int
) -> None:
    fill(store, chain)
    other = open_store(tmp_path / "other")
    log = Log(other, chain.genesis)
    for start in range(0, len(chain.blocks), split):
        log.append(chain.blocks[start : start + split])
    assert all_pairs(other) == all_pairs(store)
    other.close()


def test_tiles_are_those_of_a_copy(store: Store, chain: ChainBuilder) -> None:
    log = fill(store, chain)
    files = make_copy(chain.entries)
    for path, data in files.items():
        if path.startswith("tile/"):
            assert log.tile(path) == data
    paths = {tile.format() for tile in tile_paths(log.tree_size)}
    assert paths == {path for path in files if path.startswith("tile/")}


def test_narrower_partial_tiles_are_served(store: Store, chain: ChainBuilder) -> None:
    log = fill(store, chain)
    whole = log.tile("tile/0/000") or b""
    for width in (1, 17, 255):
        assert log.tile(f"tile/0/000.p/{width}") == whole[: 32 * width]
    assert log.tile("tile/entries/000.p/1") == b"".join(
        (len(chain.entries[0]).to_bytes(2, "big"), chain.entries[0])
    )


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/003",
        "tile/0/003.p/9",
        "tile/0/009.p/1",
        "tile/1/000",
        "tile/1/000.p/4",
        "tile/2/000.p/1",
        "tile/entries/003",
        "tile/entries/x001/000",
        "checkpoint",
        "",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "/tile/0/000",
    ],
)
def test_tiles_beyond_the_tree_are_none(store: Store, chain: ChainBuilder, path: str) -> None:
    log = Log(store, chain.genesis)
    log.append(chain.blocks)
    assert log.tree_size == 772  # 3 full tiles and 4 hashes
    assert log.tile(path) is None


def test_hashes_prove_every_entry(store: Store, chain: ChainBuilder) -> None:
    log = fill(store, chain)
    size, root = log.tree_size, log.range.root()
    for index in range(0, size, 37):
        proof = prove_inclusion(log, index, size)
        verify_inclusion(hash_leaf(chain.entries[index]), index, size, proof, root)
    assert log.read_hash(0, size - 1) == hash_leaf(chain.entries[-1])
    assert log.read_hash(8, 1) == root_of(hash_leaf(data) for data in chain.entries[256:512])
    assert log.read_hash(3, 5) == root_of(hash_leaf(data) for data in chain.entries[40:48])
    with pytest.raises(CorruptStore):
        log.read_hash(0, size)


def test_extra_values_are_in_the_same_batch(store: Store, chain: ChainBuilder) -> None:
    log = Log(store, chain.genesis)
    log.append(chain.blocks[:1], {b"floor": b"7"})
    assert log.get_meta(b"floor") == b"7"
    log.append((), {b"floor": b"8"})
    log.append((), {b"vote": b"x"})
    log = Log(store, chain.genesis)
    assert (log.tip.height, log.get_meta(b"floor"), log.get_meta(b"vote")) == (1, b"8", b"x")
    assert log.get_meta(b"none") is None


def test_failed_write_changes_nothing(store: Store, chain: ChainBuilder) -> None:
    log = Log(store, chain.genesis)
    log.append(chain.blocks[:3])
    before = (log.tip, log.range, all_pairs(store))
    broken = Log(_BrokenDisk(store), chain.genesis)
    with pytest.raises(StoreFailed):
        broken.append(chain.blocks[3:])
    assert (broken.tip, broken.range, all_pairs(store)) == before
    log.append(chain.blocks[3:])
    assert log.range == chain.range


def test_append_out_of_order_is_our_bug(store: Store, chain: ChainBuilder) -> None:
    log = Log(store, chain.genesis)
    with pytest.raises(AssertionError):
        log.append(chain.blocks[1:2])
    log.append(chain.blocks[:2])
    with pytest.raises(AssertionError):
        log.append(chain.blocks[:1])
    with pytest.raises(AssertionError):
        log.append([_with(chain.blocks[2], range=chain.blocks[3].range)])
    assert log.tip.height == 2


def test_foreign_network_is_refused(store: Store, chain: ChainBuilder) -> None:
    fill(store, chain)
    with pytest.raises(CorruptStore, match="belongs to network"):
        Log(store, make_genesis(name="Another"))


def _with(block: FinalizedBlock, **changes: object) -> FinalizedBlock:
    names = FinalizedBlock.__dataclass_fields__
    return FinalizedBlock(**({name: getattr(block, name) for name in names} | changes))


def _flip(store: Store, key: bytes, at: int = -1) -> None:
    value = bytearray(store.get(key) or b"")
    value[at] ^= 1
    store.write({key: bytes(value)})


def _last_header_key(chain: ChainBuilder) -> bytes:
    return b"E" + chain.blocks[-1].header.tree_size.to_bytes(8, "big")


DAMAGES = {
    "tip is garbage": lambda store, chain: store.write({b"Mtip": b"\x80"}),
    "tip lost its end": lambda store, chain: store.write({b"Mtip": store.get(b"Mtip")[:-1]}),
    "format version": lambda store, chain: _flip(store, b"Mtip", 9),
    "accumulator": lambda store, chain: _flip(store, b"Mtip"),
    "edge tile missing": lambda store, chain: store.write({b"T\0" + bytes(7) + b"\3": None}),
    "edge tile flipped": lambda store, chain: _flip(store, b"T\0" + bytes(7) + b"\3"),
    "upper tile flipped": lambda store, chain: _flip(store, b"T\1" + bytes(8)),
    "last header flipped": lambda store, chain: _flip(store, _last_header_key(chain)),
    "last header missing": lambda store, chain: store.write({_last_header_key(chain): None}),
    "block row missing": lambda store, chain: store.write({b"B" + bytes(7) + b"\x08": None}),
    "entry too many": lambda store, chain: store.write(
        {b"E" + len(chain.entries).to_bytes(8, "big"): b"x"}
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_store_is_refused(store: Store, chain: ChainBuilder, name: str) -> None:
    fill(store, chain)
    Log(store, chain.genesis)
    DAMAGES[name](store, chain)
    with pytest.raises(CorruptStore):
        Log(store, chain.genesis)


def test_missing_entries_are_corrupt(store: Store, chain: ChainBuilder) -> None:
    log = fill(store, chain)
    store.write({b"E" + (300).to_bytes(8, "big"): None})
    with pytest.raises(CorruptStore, match="entry 300"):
        log.read_entry(300)
    with pytest.raises(CorruptStore, match="only 9 are there"):
        log.read_entries(295, 10)
    with pytest.raises(CorruptStore):
        log.header_index(99)


def test_small_hash_memo_changes_no_answer(
    store: Store, chain: ChainBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.log._HASHES_MAX", 3)
    log = fill(store, chain)
    for index in range(0, log.tree_size, 29):
        proof = prove_inclusion(log, index, log.tree_size)
        leaf = hash_leaf(chain.entries[index])
        verify_inclusion(leaf, index, log.tree_size, proof, log.range.root())


@pytest.mark.parametrize("most", [0, 3, 20_000])
def test_values_in_memory_are_those_of_the_store(
    store: Store, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("ledger.log._RECENT_VALUES_MAX", most)
    chain = ChainBuilder()
    log = Log(store, chain.genesis)
    assert log.get(b"t/") is None
    for number in range(5):
        value = b"%d" % number
        changes = {b"t/": value, b"t/" + value: value}
        log.append([_with(chain.add(), changes=changes)])
        twin = {b"t/" + b"%d" % at: b"%d" % at for at in range(number + 1)} | {b"t/": value}
        assert {key: log.get(key) for key in twin} == twin
        assert dict(log.scan_state(b"t/", b"", 100)) == twin
