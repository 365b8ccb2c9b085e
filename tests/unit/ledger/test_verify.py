"""Verification of a copy: every kind of tampering is named by its step and its entry."""

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ledger.blocks import HEADERS
from ledger.errors import Divergence, InvalidGenesis, InvalidProof
from ledger.genesis import decode_genesis_json, encode_genesis_json, hash_genesis
from ledger.log import Log
from ledger.storage import open_store
from ledger.tlog.merkle import EMPTY_ROOT
from ledger.tlog.note import ED25519, SigningKey
from ledger.tlog.tiles import tile_paths
from ledger.verify import (
    WINDOWS_MAX,
    EventTask,
    Progress,
    Step,
    find_event_fault,
    open_copy,
    read_blocks,
    read_start,
    verify_log,
)
from tests.unit.ledger.builders import (
    LOG_KEY,
    MEMBERS,
    ORIGIN,
    TIME_MS,
    ChainBuilder,
    break_signature,
    make_chain,
    make_checkpoint,
    make_copy,
    make_event,
    make_genesis,
    make_record,
    officer_secret,
)

COUNTS = (2, 0, 253, 1, 300, 0, 1)
FILES = (
    "tile/entries/000",
    "tile/entries/001",
    "tile/entries/002.p/52",
    "tile/0/000",
    "tile/0/001",
    "tile/0/002.p/52",
    "tile/1/000.p/2",
    "checkpoint",
    "genesis.json",
)


@pytest.fixture(scope="module")
def chain() -> ChainBuilder:
    return make_chain(COUNTS)


@pytest.fixture(scope="module")
def true_files(chain: ChainBuilder) -> dict[str, bytes]:
    """With just a quorum of cosignatures, so that none of them can be spared."""
    return make_copy(chain.entries, cosigners=MEMBERS[:3])


@pytest.fixture
def files(chain: ChainBuilder) -> dict[str, bytes]:
    return make_copy(chain.entries)


def refused(read: Callable[[str], bytes | None], **options: Any) -> Divergence:
    with pytest.raises(Divergence) as caught:
        verify_log(read, **options)
    assert Step(caught.value.step).name.lower() == caught.value.step_name
    return caught.value


def place(divergence: Divergence) -> tuple[str, int]:
    return divergence.step_name, divergence.index


def refused_chain(chain: ChainBuilder) -> Divergence:
    return refused(make_copy(chain.entries, chain.genesis).get)


def flip(data: bytes, at: int, mask: int = 1) -> bytes:
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def test_true_copy_is_valid(chain: ChainBuilder, files: dict[str, bytes]) -> None:
    assert set(files) == set(FILES)
    seen: list[Progress] = []
    verified = verify_log(files.get, on_progress=seen.append)
    assert verified.network == chain.network
    assert (verified.checkpoint.size, verified.checkpoint.root) == (564, chain.range.root())
    assert (verified.blocks, verified.events) == (len(COUNTS), sum(COUNTS))
    assert verified.cosigners == tuple(f"{ORIGIN}/{member}" for member in MEMBERS)
    assert verified.last_time_ms == TIME_MS + len(COUNTS)
    assert [progress.done for progress in seen] == [3, 4, 258, 260, 561, 562, 564]
    assert {progress.total for progress in seen} == {564}


def test_copy_of_a_real_store_in_a_folder(chain: ChainBuilder, tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    log = Log(store, chain.genesis)
    log.append(chain.blocks)
    folder = tmp_path / "mirror"
    for tile in tile_paths(log.tree_size):
        path = folder / tile.format()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(log.tile(tile.format()) or b"")
    (folder / "checkpoint").write_bytes(make_checkpoint(log.tree_size, log.range.root()))
    store.close()

    def read(path: str) -> bytes | None:
        file = folder / path
        return file.read_bytes() if file.is_file() else None

    assert verify_log(read, genesis=chain.genesis).events == sum(COUNTS)
    assert place(refused(read)) == ("genesis", -1)


def test_empty_log(chain: ChainBuilder) -> None:
    verified = verify_log(make_copy([]).get)
    assert (verified.checkpoint.size, verified.checkpoint.root) == (0, EMPTY_ROOT)
    assert (verified.blocks, verified.last_time_ms) == (0, TIME_MS)


def test_every_tile_is_read_once_and_in_order(files: dict[str, bytes]) -> None:
    asked: list[str] = []

    def read(path: str) -> bytes | None:
        asked.append(path)
        return files.get(path)

    verify_log(read)
    assert sorted(asked) == sorted([*files, "epochs/0"])
    bundles = [path for path in asked if path.startswith("tile/entries")]
    assert bundles == sorted(bundles)


EXPECTED_STEP = {
    "genesis.json": {"genesis", "checkpoint", "headers"},
    "checkpoint": {"checkpoint"},
    "tile/0/000": {"tiles"},
    "tile/0/001": {"tiles"},
    "tile/0/002.p/52": {"tiles"},
    "tile/1/000.p/2": {"tiles"},
    "tile/entries/000": {"entries"},
    "tile/entries/001": {"entries"},
    "tile/entries/002.p/52": {"entries"},
}


@pytest.mark.parametrize("path", FILES)
@given(position=st.integers(min_value=0, max_value=2**32), bit=st.integers(0, 7))
def test_flipped_bit_is_named(
    true_files: dict[str, bytes], path: str, position: int, bit: int
) -> None:
    data = true_files[path]
    changed = flip(data, position % len(data), 1 << bit)
    assume(path != "genesis.json" or not is_same_genesis(data, changed))
    found = refused((true_files | {path: changed}).get)
    assert found.step_name in EXPECTED_STEP[path]
    if path.startswith("tile/"):
        number = int(path.split("/")[2].split(".")[0])
        span = 1 if path.startswith("tile/1") else 256
        assert found.index == -1 or number * span <= found.index < (number + 1) * 256


def is_same_genesis(data: bytes, changed: bytes) -> bool:
    """Base64 in JSON has spare bits; the network id is of the canonical form."""
    try:
        return decode_genesis_json(changed) == decode_genesis_json(data)
    except InvalidGenesis:
        return False


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("change", ["missing", "empty", "longer", "shorter"])
def test_missing_or_cut_file_is_named(files: dict[str, bytes], path: str, change: str) -> None:
    data = files.pop(path)
    if change != "missing":
        files[path] = {"empty": b"", "longer": data + b"\0", "shorter": data[:-1]}[change]
    if path == "genesis.json" and change in ("shorter",):
        verify_log(files.get)  # the last newline of a JSON file means nothing
        return
    assert refused(files.get).step_name in EXPECTED_STEP[path]


def test_changed_entry_is_named_exactly(chain: ChainBuilder, files: dict[str, bytes]) -> None:
    path = "tile/entries/001"
    entry = chain.entries[300]
    files[path] = files[path].replace(entry, flip(entry, 40))
    assert place(refused(files.get)) == ("entries", 300)


def test_genesis_is_pinned(chain: ChainBuilder, files: dict[str, bytes]) -> None:
    verify_log(files.get, network=chain.network)
    assert place(refused(files.get, network=bytes(32))) == ("genesis", -1)
    other = make_genesis(name="Another")
    assert place(refused(files.get, genesis=other)) == ("genesis", -1)
    files["genesis.json"] = encode_genesis_json(make_genesis(validators=()))
    assert "validators" in refused(files.get).found


def test_copy_of_another_network(files: dict[str, bytes]) -> None:
    """Same keys and origin, another genesis: the first header names the fault."""
    other = make_genesis(name="Another")
    files["genesis.json"] = encode_genesis_json(other)
    found = refused(files.get)
    assert place(found) == ("headers", 0)
    assert hash_genesis(other).hex() in found.expected


@pytest.mark.parametrize("cosigners", [(), MEMBERS[:2], (MEMBERS[0],) * 3])
def test_checkpoint_without_quorum(chain: ChainBuilder, cosigners: tuple[str, ...]) -> None:
    files = make_copy(chain.entries, cosigners=cosigners)
    assert place(refused(files.get)) == ("checkpoint", -1)


def test_three_of_four_are_a_quorum(chain: ChainBuilder) -> None:
    verified = verify_log(make_copy(chain.entries, cosigners=MEMBERS[1:]).get)
    assert len(verified.cosigners) == 3


def test_checkpoint_of_another_log(chain: ChainBuilder) -> None:
    for name, seed in ((ORIGIN, b"M" * 32), ("other.example/log", LOG_KEY.seed)):
        key = SigningKey(name=name, kind=ED25519, seed=seed)
        found = refused(make_copy(chain.entries, log_key=key).get)
        assert place(found) == ("checkpoint", -1)


def test_checkpoint_of_another_root(chain: ChainBuilder, files: dict[str, bytes]) -> None:
    files["checkpoint"] = make_checkpoint(564, b"\x01" * 32)
    assert place(refused(files.get)) == ("tiles", -1)


HEADER_LIES: dict[str, dict[str, Any]] = {
    "network": {"network": bytes(32)},
    "height": {"height": 3},
    "parent_hash": {"parent_hash": bytes(32)},
    "epoch": {"epoch": 1},
    "parent_view": {"parent_view": 0},
    "view": {"view": 1},
    "validators_hash": {"validators_hash": bytes(32)},
    "tree_size": {"tree_size": 4},
    "tree_root": {"tree_root": bytes(32)},
    "time_ms": {"time_ms": TIME_MS + 1},
    "proposer": {"proposer": 4},
    "next_validators": {"next_validators": bytes(31)},
}


@pytest.mark.parametrize("name", HEADER_LIES)
def test_lying_header_is_named(name: str) -> None:
    chain = make_chain([2])
    chain.add(**HEADER_LIES[name])
    found = refused_chain(chain)
    assert place(found) == ("headers", 3)
    assert found.expected.startswith(name)


@pytest.mark.parametrize("time_ms", [0, TIME_MS])
def test_first_block_is_later_than_genesis(time_ms: int) -> None:
    chain = ChainBuilder()
    chain.add(time_ms=time_ms)
    assert place(refused_chain(chain)) == ("headers", 0)


def test_block_behind_a_skipped_view_is_valid() -> None:
    chain = make_chain([1])
    chain.add(view=7)
    chain.add(time_ms=TIME_MS + 60_000)
    assert verify_log(make_copy(chain.entries).get).blocks == 3


def test_record_count_and_root_are_checked() -> None:
    event = make_event()
    chain = ChainBuilder()
    chain.add([event], record_count=2)
    chain.add(parent_hash=chain.parent_hash)
    found = refused_chain(chain)
    assert place(found) == ("records", 2)
    assert found.expected == "record 2 of 2 of block 1"
    chain = ChainBuilder()
    chain.add([event], record_count=0)
    assert place(refused_chain(chain)) == ("records", 0)
    chain = ChainBuilder()
    chain.add([event], records_root=bytes(32))
    assert place(refused_chain(chain)) == ("records", 0)


def test_log_that_ends_inside_a_block() -> None:
    chain = make_chain([3])
    found = refused(make_copy(chain.entries[:3]).get)
    assert place(found) == ("records", 3)
    assert found.found == "the end of the log"


def test_log_that_begins_with_a_record() -> None:
    chain = make_chain([3])
    assert place(refused(make_copy(chain.entries[1:]).get)) == ("headers", 0)


def test_header_with_spare_bytes() -> None:
    chain = make_chain([1])
    assert place(refused(make_copy([chain.entries[0] + b"\0"]).get)) == ("headers", 0)
    assert HEADERS.decode(chain.entries[0]).record_count == 1


def _bad_records() -> dict[str, bytes]:
    event = make_event(5)
    stranger = make_event(5, secret=officer_secret("south"))
    payload = event.data[: event.data.index(event.payload)]
    return {
        "signature": make_record(break_signature(event)),
        "signed by another": make_record(
            payload + event.payload + event.data[-67:-65] + stranger.signature
        ),
        "network": make_record(make_event(5, network=bytes(32))),
        "not an event": make_record(b"\x80"),
        "event with spare bytes": make_record(event.data + b"\0"),
        "not a record": b"\x80",
        "record with spare bytes": make_record(event) + b"\0",
    }


@pytest.mark.parametrize("name", _bad_records())
def test_bad_record_is_named(name: str) -> None:
    """The block around it is right in every other way, and so are the cosignatures."""
    chain = make_chain([130])
    good = [make_record(make_event(200 + number)) for number in range(200)]
    good[150] = _bad_records()[name]
    chain.add(records=good)
    assert place(refused_chain(chain)) == ("events", 131 + 1 + 150)


def test_first_of_two_faults_is_named() -> None:
    bad = make_record(break_signature(make_event(1)))
    chain = ChainBuilder()
    chain.add(records=[make_record(make_event(0)), bad])
    chain.add(records=[bad])
    assert place(refused_chain(chain)) == ("events", 2)


def test_outcomes_are_not_judged_here() -> None:
    """Steps 1 to 8 say nothing of outcomes: that is what replay is for."""
    chain = ChainBuilder()
    chain.add(records=[make_record(make_event(0), code="made-up", applied=False)])
    assert verify_log(make_copy(chain.entries).get).events == 1


def test_process_pool_gives_the_same_answer(files: dict[str, bytes]) -> None:
    bad = make_record(break_signature(make_event(1)))
    chain = make_chain([300])
    chain.add(records=[bad])
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        verified = verify_log(files.get, map_events=pool.map)
        assert verified == verify_log(files.get)
        found = refused(make_copy(chain.entries).get, map_events=pool.map)
    assert place(found) == ("events", 302)


def test_work_is_handed_out_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the log, tasks for the pool and blocks waiting for them are bounded."""
    monkeypatch.setattr("ledger.verify.WINDOW_ENTRIES", 10)
    monkeypatch.setattr("ledger.verify.TASK_RECORDS", 4)
    windows: list[int] = []

    def map_events(function: Any, tasks: Iterable[EventTask], /) -> Any:
        given = list(tasks)
        assert all(1 <= len(task.signed) <= 4 for task in given)
        windows.append(sum(len(task.signed) for task in given))
        return map(function, given)

    files = make_copy(make_chain([1] * 40 + [0] * 40).entries)
    verify_log(files.get, map_events=map_events)
    assert sum(windows) == 40
    assert max(windows) <= 10
    assert len(windows) == 40 // 5 + 40 // 10 + 1


def test_events_ahead_are_handed_out_before_a_block_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ledger.verify.WINDOW_ENTRIES", 10)
    started: list[int] = []

    def map_events(function: Any, tasks: Iterable[EventTask], /) -> Any:
        started.append(len(started))
        return map(function, list(tasks))

    files = make_copy(make_chain([1] * 40).entries)
    blocks = read_blocks(open_copy(files.get), map_events)
    for at, _ in enumerate(blocks):
        # Each window has five blocks; the last is empty.
        assert len(started) == min(at // 5 + WINDOWS_MAX, 9)


def test_a_block_is_not_given_before_its_events_are_verified(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ledger.verify.WINDOW_ENTRIES", 10)
    chain = make_chain([1] * 12)
    chain.add(records=[make_record(break_signature(make_event(12)))])
    blocks = read_blocks(open_copy(make_copy(chain.entries).get))
    # Two windows of five blocks are before it.
    assert [next(blocks).index for _ in range(10)] == list(range(0, 20, 2))
    with pytest.raises(Divergence) as caught:
        next(blocks)
    assert place(caught.value) == ("events", 25)


def test_blocks_come_out_whole(chain: ChainBuilder, files: dict[str, bytes]) -> None:
    blocks = list(read_blocks(open_copy(files.get)))
    assert [block.index for block in blocks] == [block.header.tree_size for block in chain.blocks]
    assert [block.records for block in blocks] == [block.records for block in chain.blocks]
    assert [block.block_hash for block in blocks] == [block.block_hash for block in chain.blocks]


def test_fault_of_a_task_is_the_first() -> None:
    event, other = make_event(0), make_event(1)
    fine = (event.officer, event.payload, event.signature)
    bad = (event.officer, event.payload, other.signature)
    fault = find_event_fault(EventTask(signed=((8, *fine), (9, *bad), (12, *bad))))
    assert fault is not None
    assert fault.index == 9
    assert find_event_fault(EventTask(signed=((8, *fine),))) is None


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_first_fault_of_events_is_named_whatever_its_kind(jobs: int) -> None:
    """A signature before a record that cannot be read, and the other way round."""
    unsigned, unreadable = make_record(break_signature(make_event(1))), b"\x80"
    for records, at in (((unsigned, unreadable), 2), ((unreadable, unsigned), 2)):
        chain = ChainBuilder(make_genesis())
        chain.add(records=[make_record(make_event(0)), *records])
        files = make_copy(chain.entries)
        if jobs == 1:
            found = refused(files.get)
        else:
            with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
                found = refused(files.get, map_events=pool.map)
        assert place(found) == ("events", at)


def test_a_walk_from_any_block_to_any_other_gives_these_blocks(
    chain: ChainBuilder, files: dict[str, bytes]
) -> None:
    copy = open_copy(files.get)
    whole = list(read_blocks(copy))
    for first in range(len(whole)):
        start = read_start(copy, whole[first].index)
        assert (start.header, start.index) == (whole[first].header, whole[first].end)
        assert start.block_hash == whole[first].block_hash
        for last in range(first + 1, len(whole) + 1):
            found = list(read_blocks(copy, start=start, height_max=last))
            assert found == whole[first + 1 : last] or last == first + 1
    assert [block.index for block in read_blocks(copy, height_max=3)] == [0, 3, 4]


def test_a_walk_reads_no_entries_before_its_start(files: dict[str, bytes]) -> None:
    asked: list[str] = []

    def read(path: str) -> bytes | None:
        asked.append(path)
        return files.get(path)

    copy = open_copy(read)
    start = read_start(copy, 260)
    asked.clear()
    assert [block.index for block in read_blocks(copy, start=start)] == [561, 562]
    assert "tile/entries/000" not in asked
    assert "tile/entries/001" not in asked


@pytest.mark.parametrize("index", [-1, 564, 1, 5, 2**63])
def test_a_walk_does_not_start_where_no_block_begins(files: dict[str, bytes], index: int) -> None:
    with pytest.raises(InvalidProof):
        read_start(open_copy(files.get), index)


def test_a_walk_does_not_start_in_a_block_that_is_not_whole(chain: ChainBuilder) -> None:
    copy = open_copy(make_copy(chain.entries[:300]).get)
    with pytest.raises(InvalidProof, match="does not stand there"):
        read_start(copy, 260)


def test_a_header_that_stands_elsewhere_is_no_start(chain: ChainBuilder) -> None:
    copy = open_copy(make_copy([chain.entries[3], *chain.entries]).get)
    with pytest.raises(InvalidProof, match="does not stand there"):
        read_start(copy, 0)


def test_a_tampered_entry_before_the_start_is_named(
    chain: ChainBuilder, files: dict[str, bytes]
) -> None:
    files["tile/entries/001"] = flip(files["tile/entries/001"], 2_000)
    assert refused_start(files, 260) == "entries"
    files["tile/0/001"] = flip(files["tile/0/001"], 0)
    assert refused_start(files, 260) == "tiles"


def refused_start(files: dict[str, bytes], index: int) -> str:
    with pytest.raises(Divergence) as caught:
        read_start(open_copy(files.get), index)
    return caught.value.step_name
