"""Entries behind the tip and another state: read by nobody before the switch, whole after it.

The chain is cut at every write: each store that a crash could leave is opened, and goes on.
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ledger.catchup.proofs import Assembly, StateSum
from ledger.catchup.staging import Staging
from ledger.errors import CorruptStore, StagingEnded
from ledger.log import Log
from ledger.lthash.digest import sum_pairs
from ledger.state import nonce_key
from ledger.storage import Store, installed_engines, open_store
from ledger.tlog.merkle import hash_leaves
from ledger.tlog.tiles import tile_paths
from tests.unit.ledger.builders import ChainBuilder, make_chain, make_event

# Tiles end inside blocks and the other way round.
COUNTS = (1, 0, 253, 3, 300, 0, 206, 1, 400)
HERE = 3


@pytest.fixture(scope="module")
def chain() -> ChainBuilder:
    return make_chain(COUNTS)


@pytest.fixture(params=installed_engines())
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path / "store", request.param)
    yield store
    store.close()


def filled(store: Store, chain: ChainBuilder, count: int) -> Log:
    log = Log(store, chain.genesis)
    log.append(chain.blocks[:count])
    return log


def stage(log: Log, chain: ChainBuilder, until: int, *, per_batch: int = 1) -> Staging:
    """Stage the blocks up to number `until`, from where the staging stands."""
    staging = log.stage()
    assembly = Assembly(
        network=chain.network,
        tree=staging.range,
        header=staging.header,
        block_hash=staging.block_hash,
    )
    entries = chain.entries[staging.range.size : chain.blocks[until - 1].range.size]
    blocks = assembly.add(entries, hash_leaves(entries))
    for start in range(0, len(blocks), per_batch):
        log.write_staged(staging, staging.add(blocks[start : start + per_batch]))
    return staging


def fill_state(log: Log, chain: ChainBuilder, *, per_batch: int = 100) -> tuple[int, bytes]:
    """Write the whole state of the chain as a new generation."""
    pairs = sorted(chain.state.pairs.items())
    total, generation = StateSum(1 << 30), log.open_generation()
    for start in range(0, len(pairs), per_batch):
        part = pairs[start : start + per_batch]
        total.check(part)
        total.count(sum_pairs(part))
        log.write_state(generation, part)
    return generation, total.finish(chain.blocks[-1].header.state_digest)


def check_is_at(log: Log, chain: ChainBuilder, count: int) -> None:
    """The log says in every way that it ends with block `count`."""
    blocks = chain.blocks[:count]
    size = blocks[-1].range.size if blocks else 0
    assert (log.tip.height, log.tree_size) == (count, size)
    assert log.read_entries(0, 10_000) == chain.entries[:size]
    for height, block in enumerate(blocks, start=1):
        assert log.read_block(height) == (block.header_bytes, list(block.records))
        assert log.block_hash_at(height) == block.block_hash
        assert log.height_of_index(block.header.tree_size) == height
    twin = make_twin(chain, count)
    assert {path.format(): log.tile(path.format()) for path in tile_paths(size)} == twin
    for number, block in enumerate(chain.blocks, start=1):
        first = block.header.tree_size + 1
        for index, digest in enumerate(block.digests, start=first):
            is_here = number <= count
            assert log.index_of_event(digest) == (index if is_here else None)
            assert log.exchange_indexes(digest) == ([index] if is_here else [])
    for number in range(1, 1_164, 97):
        key = nonce_key("north", number.to_bytes(16, "big"))
        is_known = any(key in block.changes for block in blocks)
        assert log.get(key) == (chain.state.pairs[key] if is_known else None)


_TWINS: dict[tuple[int, int], dict[str, bytes | None]] = {}


def make_twin(chain: ChainBuilder, count: int) -> dict[str, bytes | None]:
    """All tiles of a log that got its blocks one by one."""
    if (id(chain), count) not in _TWINS:
        log = Log(MemoryStore(), chain.genesis)
        for block in chain.blocks[:count]:
            log.append([block])
        paths = [path.format() for path in tile_paths(log.tree_size)]
        _TWINS[id(chain), count] = {path: log.tile(path) for path in paths}
    return _TWINS[id(chain), count]


class MemoryStore:
    """A store in memory that keeps what it was before each write."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.history: list[dict[bytes, bytes]] = []

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        keys = sorted(key for key in self.rows if start <= key < end)
        return iter([(key, self.rows[key]) for key in (reversed(keys) if reverse else keys)])

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        self.history.append(dict(self.rows))
        for key, value in changes.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value

    def write_if(self, key: bytes, value: bytes, changes: Mapping[bytes, bytes | None]) -> bool:
        is_so = self.rows.get(key) == value
        if is_so:
            self.write(changes)
        return is_so

    def at(self, moment: int) -> "MemoryStore":
        store = MemoryStore()
        store.rows = dict(self.history[moment])
        return store

    def snapshot(self) -> "MemoryStore":
        return self.at(-1)

    def close(self) -> None:
        return


def clean_all(log: Log) -> None:
    while log.clean(150):
        continue


def states_in(store: Store) -> set[bytes]:
    """First letters and generations of the states in a store."""
    first = {b"S" for _ in store.scan(b"S", b"T")}
    return first | {key[:5] for key, _ in store.scan(b"G", b"H")}


@pytest.mark.parametrize("per_batch", [1, 4])
@pytest.mark.parametrize("count", [0, HERE])
def test_a_switch_is_as_if_all_was_executed(
    store: Store, chain: ChainBuilder, count: int, per_batch: int
) -> None:
    log = filled(store, chain, count)
    staging = stage(log, chain, len(COUNTS), per_batch=per_batch)
    generation, accumulator = fill_state(log, chain)
    check_is_at(log, chain, count)
    log.switch(staging, generation, accumulator, {b"cosign/time_s": b"1"})
    for opened in (log, Log(store, chain.genesis)):
        check_is_at(opened, chain, len(COUNTS))
        assert opened.accumulator == chain.accumulator
        assert opened.get_meta(b"cosign/time_s") == b"1"
        assert dict(opened.scan_state(b"", b"", 10_000)) == chain.state.pairs
    clean_all(log)
    assert states_in(store) == {b"G\0\0\0\1"}
    assert dict(log.scan_state(b"i/", b"", 10_000)) == {
        key: value for key, value in chain.state.pairs.items() if key.startswith(b"i/")
    }


def test_blocks_follow_a_switch_and_it_can_be_done_again(store: Store) -> None:
    chain = make_chain((2, 3))
    log = filled(store, chain, 1)
    for turn in range(1, 4):
        staging = stage(log, chain, len(chain.blocks))
        log.switch(staging, *fill_state(log, chain))
        event = make_event(100 + turn, network=chain.network)
        log.append([chain.add([event])])
        log = Log(store, chain.genesis)
        check_is_at(log, chain, len(chain.blocks))
        assert log.get(nonce_key("north", event.nonce)) == event.digest
        chain.add([make_event(200 + turn, network=chain.network)])
        clean_all(log)
        assert states_in(store) == {b"G" + turn.to_bytes(4, "big")}


def test_a_crash_at_any_write_leaves_the_old_log_or_the_new_one(chain: ChainBuilder) -> None:
    """And from every one of them the next attempt ends well."""
    store = MemoryStore()
    log = filled(store, chain, HERE)
    begin = len(store.history)
    staging = stage(log, chain, len(COUNTS))
    log.switch(staging, *fill_state(log, chain, per_batch=500))
    switched = len(store.history)
    clean_all(log)
    store.write({})
    assert len(store.history) - begin > 10
    for moment in range(begin, len(store.history)):
        left = store.at(moment)
        again = Log(left, chain.genesis)
        count = HERE if moment < switched else len(COUNTS)
        check_is_at(again, chain, count)
        if count == HERE:
            staging = stage(again, chain, len(COUNTS))
            again.switch(staging, *fill_state(again, chain))
        clean_all(again)
        check_is_at(Log(left, chain.genesis), chain, len(COUNTS))
        assert len(states_in(left)) == 1


def test_staged_entries_are_not_fetched_twice(chain: ChainBuilder) -> None:
    store = MemoryStore()
    stage(filled(store, chain, HERE), chain, 6)
    again = Log(store, chain.genesis)
    staging = again.stage()
    assert (staging.height, staging.range) == (6, chain.blocks[5].range)
    assert staging.header == chain.blocks[5].header
    assert staging.block_hash == chain.blocks[5].block_hash


@pytest.mark.parametrize("count", range(HERE + 1, len(COUNTS) + 1))
def test_blocks_that_are_executed_meanwhile_end_the_staging(
    chain: ChainBuilder, count: int
) -> None:
    store = MemoryStore()
    log = filled(store, chain, HERE)
    staging = stage(log, chain, 7)
    generation, accumulator = fill_state(log, chain)
    log.append(chain.blocks[HERE:count])
    with pytest.raises(StagingEnded):
        log.write_staged(staging, {})
    with pytest.raises(StagingEnded):
        log.switch(staging, generation, accumulator)
    log.close_generation()
    clean_all(log)
    assert states_in(store) == {b"S"}
    again = Log(store, chain.genesis)
    check_is_at(again, chain, count)
    assert again.stage().height == count
    again.append(chain.blocks[count:])
    check_is_at(Log(store, chain.genesis), chain, len(COUNTS))


def test_a_state_that_was_given_up_is_removed(chain: ChainBuilder) -> None:
    store = MemoryStore()
    log = filled(store, chain, HERE)
    old, _ = fill_state(log, chain)
    log.close_generation()
    new = log.open_generation()
    assert (old, new) == (1, 2)
    log.write_state(new, [(b"a/", b"1")])
    clean_all(log)
    assert states_in(store) == {b"S", b"G\0\0\0\2"}
    again = Log(store, chain.genesis)
    clean_all(again)
    assert states_in(store) == {b"S"}
    check_is_at(again, chain, HERE)


def test_a_wrong_state_or_nothing_staged_is_never_switched_to(chain: ChainBuilder) -> None:
    log = filled(MemoryStore(), chain, HERE)
    with pytest.raises(AssertionError):
        log.switch(log.stage(), log.open_generation(), chain.accumulator)
    staging = stage(log, chain, 5)
    with pytest.raises(AssertionError, match="the state is another one"):
        log.switch(staging, log.open_generation(), chain.accumulator)
    check_is_at(log, chain, HERE)


DAMAGES = {
    "garbage": {b"Mstaged": b"\x80"},
    "no mark": {b"Mstaged": None},
    "an entry behind the staged ones": {b"E" + (2_000).to_bytes(8, "big"): b""},
}


def test_a_late_write_comes_into_no_other_state(chain: ChainBuilder) -> None:
    log = filled(MemoryStore(), chain, HERE)
    given_up = log.open_generation()
    log.close_generation()
    assert log.open_generation() == given_up + 1
    with pytest.raises(StagingEnded):
        log.write_state(given_up, [(b"a/", b"1")])


def test_a_late_write_comes_behind_no_other_tip(chain: ChainBuilder) -> None:
    """As when another thread writes while the log goes on."""
    store = MemoryStore()
    log = filled(store, chain, HERE)
    staging = stage(log, chain, 5)
    log.append(chain.blocks[HERE : HERE + 1])
    log._staging = staging
    with pytest.raises(StagingEnded):
        log.write_staged(staging, {b"Mstaged": b"late"})
    assert store.get(b"Mstaged") != b"late"


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_mark_is_refused(chain: ChainBuilder, name: str) -> None:
    store = MemoryStore()
    log = filled(store, chain, HERE)
    end = stage(log, chain, 7).range.size
    changes = dict(DAMAGES[name])
    if name.startswith("an entry"):
        changes = {b"E" + end.to_bytes(8, "big"): b"x"}
    store.write(changes)
    with pytest.raises(CorruptStore):
        Log(store, chain.genesis)


@pytest.mark.parametrize("size_bytes", [1, 100, 10_000, 1 << 30])
def test_a_snapshot_is_the_state_of_its_block(
    store: Store, chain: ChainBuilder, size_bytes: int
) -> None:
    log = filled(store, chain, len(COUNTS) - 1)
    snapshot = log.snapshot()
    expected = dict(log.scan_state(b"", b"", 10_000))
    log.append(chain.blocks[-1:])
    assert (snapshot.height, snapshot.tree_size) == (8, chain.blocks[7].range.size)
    pairs: list[tuple[bytes, bytes]] = []
    is_last = False
    while not is_last:
        part, is_last = snapshot.read(pairs[-1][0] if pairs else b"", size_bytes)
        assert part or is_last
        pairs += part
    snapshot.close()
    assert pairs == sorted(expected.items())


def test_a_copied_store_goes_on(tmp_path: Path, chain: ChainBuilder) -> None:
    """The store of a killed process, as its files are."""
    store = open_store(tmp_path / "one")
    log = filled(store, chain, HERE)
    stage(log, chain, 6)
    fill_state(log, chain)
    shutil.copytree(tmp_path / "one", tmp_path / "two", ignore=shutil.ignore_patterns("LOCK"))
    store.close()
    other = open_store(tmp_path / "two")
    again = Log(other, chain.genesis)
    check_is_at(again, chain, HERE)
    again.switch(stage(again, chain, len(COUNTS)), *fill_state(again, chain))
    check_is_at(again, chain, len(COUNTS))
    other.close()
