"""One suite for every storage engine installed: order, atomicity, durability, reopening."""

import itertools
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import CorruptStore, SnapshotGone, StoreFailed
from ledger.storage import (
    LevelStore,
    LmdbStore,
    Snapshot,
    Store,
    installed_engines,
    open_store,
)

ROOT = Path(__file__).parents[3]
KILLS = 12

# Writes batches of 50 keys with equal values for ever; says so after each durable batch.
WRITER = """
import sys
from pathlib import Path
from ledger.storage import open_store
store = open_store(Path(sys.argv[1]), sys.argv[2])
number = int(sys.argv[3])
while True:
    number += 1
    value = number.to_bytes(8, "big") * 100
    store.write({b"k%02d" % key: value for key in range(50)} | {b"n%08d" % number: b""})
    print(number, flush=True)
"""


@pytest.fixture(params=installed_engines())
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(engine: str, tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path, engine)
    yield store
    store.close()


def test_both_engines_are_tested_where_leveldb_has_a_wheel() -> None:
    assert "lmdb" in installed_engines()
    if sys.version_info < (3, 13):
        assert installed_engines() == ("leveldb", "lmdb")


def test_get_returns_what_was_written(store: Store) -> None:
    store.write({b"a": b"1", b"b": b"", b"c": b"\0" * 100_000})
    assert store.get(b"a") == b"1"
    assert store.get(b"b") == b""
    assert store.get(b"c") == b"\0" * 100_000
    assert store.get(b"d") is None


def test_none_deletes(store: Store) -> None:
    store.write({b"a": b"1", b"b": b"2"})
    store.write({b"a": None, b"z": None})
    assert store.get(b"a") is None
    assert list(store.scan(b"", b"\xff")) == [(b"b", b"2")]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 700])
def test_scan_is_ordered_and_half_open(store: Store, count: int, reverse: bool) -> None:
    store.write({b"%04d" % number: b"v%d" % number for number in range(1_000)})
    start, end = b"%04d" % 100, b"%04d" % (100 + count)
    expected = [(b"%04d" % number, b"v%d" % number) for number in range(100, 100 + count)]
    if reverse:
        expected.reverse()
    assert list(store.scan(start, end, reverse=reverse)) == expected


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_at_the_edges(store: Store, reverse: bool) -> None:
    assert list(store.scan(b"a", b"b", reverse=reverse)) == []
    store.write({b"b": b"1", b"b\0": b"2"})
    assert list(store.scan(b"a", b"b", reverse=reverse)) == []
    assert list(store.scan(b"b", b"b\0", reverse=reverse)) == [(b"b", b"1")]
    assert list(store.scan(b"b\0", b"\xff", reverse=reverse)) == [(b"b\0", b"2")]
    assert list(store.scan(b"c", b"a", reverse=reverse)) == []


def test_write_while_scanning(store: Store) -> None:
    """A walk under way must not stop a write, nor the growth of the store."""
    store.write({b"%04d" % number: b"" for number in range(600)})
    walk = store.scan(b"", b"\xff")
    first = list(itertools.islice(walk, 10))
    store.write({b"a%04d" % number: b"x" * 1_000 for number in range(600)})
    rest = [key for key, _ in walk if key < b"a"]
    assert [key for key, _ in first] + rest == [b"%04d" % number for number in range(600)]


@settings(max_examples=30)
@given(
    batches=st.lists(
        st.dictionaries(
            st.binary(min_size=1, max_size=3), st.none() | st.binary(max_size=4), max_size=8
        ),
        max_size=6,
    ),
    start=st.binary(max_size=3),
    end=st.binary(max_size=3),
)
@pytest.mark.parametrize("engine", installed_engines())
def test_agrees_with_a_dict(
    tmp_path_factory: pytest.TempPathFactory,
    engine: str,
    batches: list[dict[bytes, bytes | None]],
    start: bytes,
    end: bytes,
) -> None:
    twin: dict[bytes, bytes | None] = {}
    store = open_store(tmp_path_factory.mktemp("store"), engine)
    for batch in batches:
        store.write(batch)
        twin.update(batch)
    pairs = sorted((key, value) for key, value in twin.items() if value is not None)
    inside = [pair for pair in pairs if start <= pair[0] < end]
    assert list(store.scan(start, end)) == inside
    assert list(store.scan(start, end, reverse=True)) == inside[::-1]
    for key in twin:
        assert store.get(key) == twin[key]
    store.close()


def test_reopen_keeps_all(engine: str, tmp_path: Path) -> None:
    for number in range(3):
        store = open_store(tmp_path, "auto" if number else engine)
        store.write({b"%d" % number: b"x"})
        store.close()
    store = open_store(tmp_path)
    assert [key for key, _ in store.scan(b"", b"\xff")] == [b"0", b"1", b"2"]
    store.close()
    assert (tmp_path / "ENGINE").read_text() == engine + "\n"


def test_second_opener_is_refused(engine: str, tmp_path: Path) -> None:
    store = open_store(tmp_path, engine)
    with pytest.raises(StoreFailed):
        open_store(tmp_path, engine)
    store.close()
    open_store(tmp_path, engine).close()


def test_killed_writer_leaves_whole_batches(engine: str, tmp_path: Path) -> None:
    """After kill -9 every batch is there whole or not at all, and no confirmed one is missing."""
    number = 0
    for turn in range(KILLS):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), engine, str(number)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        assert writer.stdout is not None
        confirmed = [int(writer.stdout.readline()) for _ in range(1 + turn * 3)]
        writer.send_signal(signal.SIGKILL)
        confirmed += [int(line) for line in writer.stdout.read().split(b"\n") if line]
        writer.wait()
        writer.stdout.close()
        store = open_store(tmp_path, engine)
        values = {value for _, value in store.scan(b"k", b"l")}
        numbers = [int(key[1:]) for key, _ in store.scan(b"n", b"o")]
        store.close()
        assert len(values) == 1
        assert values.pop() == numbers[-1].to_bytes(8, "big") * 100
        assert numbers == list(range(1, numbers[-1] + 1))
        assert numbers[-1] in (confirmed[-1], confirmed[-1] + 1)
        number = numbers[-1]


def test_full_disk_fails_and_stays_failed(engine: str, tmp_path: Path) -> None:
    """A limit on file size stands in for a full disk. No later write may pretend to succeed."""
    script = f"""
import resource, signal
from pathlib import Path
from ledger.errors import StoreFailed
from ledger.storage import open_store
store = open_store(Path({str(tmp_path)!r}), {engine!r})
store.write({{b"before": b"1"}})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
for number in range(2):
    try:
        store.write({{b"%d-%d" % (number, key): b"x" * 60_000 for key in range(100)}})
    except StoreFailed as error:
        print("failed:", error)
"""
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("failed:") == 2
    assert "earlier write" in result.stdout
    store = open_store(tmp_path)
    assert store.get(b"before") == b"1"
    assert store.get(b"1-0") is None
    store.close()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1_000_000


def test_lmdb_map_grows(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path, map_size_bytes=1 << 20)
    for number in range(8):
        store.write({b"%d-%03d" % (number, key): b"x" * 10_000 for key in range(100)})
    assert sum(1 for _ in store.scan(b"", b"\xff")) == 800
    store.close()
    store = LmdbStore(tmp_path, map_size_bytes=1 << 20)
    assert sum(1 for _ in store.scan(b"", b"\xff")) == 800
    store.close()


def test_other_engine_is_refused(tmp_path: Path) -> None:
    open_store(tmp_path, "lmdb").close()
    with pytest.raises(CorruptStore, match="made by lmdb; the setting says leveldb"):
        open_store(tmp_path, "leveldb")


def test_marker_is_checked(tmp_path: Path) -> None:
    open_store(tmp_path, "lmdb").close()
    for content in (b"rocks\n", b"", b"lmdb \n", b"\xff\xfe"):
        (tmp_path / "ENGINE").write_bytes(content)
        with pytest.raises(CorruptStore, match="unknown storage engine"):
            open_store(tmp_path)
    (tmp_path / "ENGINE").unlink()
    with pytest.raises(CorruptStore, match="ENGINE is missing"):
        open_store(tmp_path)


def test_unknown_engine_in_the_settings(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="unknown storage engine 'rocks'"):
        open_store(tmp_path, "rocks")
    assert not (tmp_path / "ENGINE").exists()


def test_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ENGINE").write_text("leveldb\n")
    monkeypatch.setattr("ledger.storage.installed_engines", lambda: ("lmdb",))
    with pytest.raises(StoreFailed, match="needs the Python package plyvel"):
        open_store(tmp_path)
    monkeypatch.setattr("ledger.storage.installed_engines", lambda: ())
    with pytest.raises(StoreFailed, match="install the Python package plyvel or lmdb"):
        open_store(tmp_path / "other")


def test_damaged_files_are_corrupt(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "lmdb")
    store.write({b"a": b"b"})
    store.close()
    (tmp_path / "lmdb" / "data.mdb").write_bytes(b"\x17" * 65_536)
    with pytest.raises(CorruptStore):
        LmdbStore(tmp_path / "lmdb")


@pytest.mark.skipif("leveldb" not in installed_engines(), reason="plyvel has no wheel here")
def test_damaged_leveldb_is_corrupt(tmp_path: Path) -> None:
    store = LevelStore(tmp_path)
    store.write({b"a": b"b" * 1_000})
    store.close()
    for manifest in tmp_path.glob("MANIFEST-*"):
        manifest.write_bytes(b"\x17" * 200)
    with pytest.raises(CorruptStore):
        LevelStore(tmp_path)


READS: list[Callable[[LevelStore], object]] = [
    lambda store: [store.get(b"%04d" % number) for number in range(500)],
    lambda store: list(store.scan(b"", b"\xff")),
    lambda store: list(store.scan(b"", b"\xff", reverse=True)),
    lambda store: list(store.snapshot().scan(b"", b"\xff")),
]


@pytest.mark.skipif("leveldb" not in installed_engines(), reason="plyvel has no wheel here")
@pytest.mark.parametrize("read", READS, ids=["get", "scan", "back", "snapshot"])
def test_a_flipped_bit_is_never_read(read: Callable[[LevelStore], object], tmp_path: Path) -> None:
    store = LevelStore(tmp_path)
    store.write({b"%04d" % number: os.urandom(1_000) for number in range(500)})
    store.close()
    LevelStore(tmp_path).close()  # opening moves what was written from the log to a table
    (path,) = tmp_path.glob("*.ldb")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    store = LevelStore(tmp_path)
    with pytest.raises(CorruptStore):
        read(store)
    store.close()


def test_a_conditional_write_is_whole_or_not_at_all(store: Store) -> None:
    store.write({b"tip": b"1"})
    assert not store.write_if(b"tip", b"2", {b"a": b"", b"b": b""})
    assert not store.write_if(b"other", b"1", {b"a": b"", b"b": b""})
    assert [key for key, _ in store.scan(b"", b"\xff")] == [b"tip"]
    assert store.write_if(b"tip", b"1", {b"tip": b"2", b"a": b""})
    assert list(store.scan(b"", b"\xff")) == [(b"a", b""), (b"tip", b"2")]


def keys_of(snapshot: Snapshot) -> list[bytes]:
    return [key for key, _ in snapshot.scan(b"", b"\xff")]


@pytest.mark.parametrize("count", [1, 256, 257, 700])
def test_a_snapshot_does_not_change(store: Store, count: int) -> None:
    store.write({b"%04d" % number: b"old" for number in range(count)})
    snapshot = store.snapshot()
    store.write({b"%04d" % number: b"new" for number in range(count)} | {b"z": b"", b"0000": None})
    expected = [(b"%04d" % number, b"old") for number in range(count)]
    assert list(snapshot.scan(b"", b"\xff")) == expected
    assert list(snapshot.scan(b"%04d" % (count // 2), b"%04d" % count)) == expected[count // 2 :]
    assert store.get(b"0000") is None
    snapshot.close()
    snapshot.close()
    with pytest.raises(SnapshotGone):
        keys_of(snapshot)


def test_a_store_closes_with_its_snapshots(engine: str, tmp_path: Path) -> None:
    store = open_store(tmp_path, engine)
    store.write({b"a": b"1"})
    left = store.snapshot()
    store.close()
    left.close()
    store = open_store(tmp_path)
    assert keys_of(store.snapshot()) == [b"a"]
    store.close()


def test_snapshots_of_lmdb_make_way_when_the_map_grows(tmp_path: Path) -> None:
    """The map may not grow under an open reader."""
    store = LmdbStore(tmp_path, map_size_bytes=1 << 20)
    store.write({b"a": b"1"})
    snapshot = store.snapshot()
    walk = snapshot.scan(b"", b"\xff")
    for number in range(8):
        store.write({b"%d-%03d" % (number, key): b"x" * 10_000 for key in range(100)})
    with pytest.raises(SnapshotGone):
        next(walk)
    assert len(keys_of(store.snapshot())) == 801
    store.close()


def test_threads_read_while_one_writes(engine: str, tmp_path: Path) -> None:
    store = (
        LmdbStore(tmp_path, map_size_bytes=1 << 18) if engine == "lmdb" else LevelStore(tmp_path)
    )
    store.write({b"%06d" % number: b"" for number in range(300)})
    with ThreadPoolExecutor(4) as threads:

        def write(turn: int) -> None:
            store.write({b"%06d" % (300 * turn + at): bytes(500) for at in range(300)})

        def read() -> int:
            return sum(1 for _ in store.scan(b"", b"\xff")) + len(store.get(b"000299") or b"")

        writes = [threads.submit(write, turn) for turn in range(1, 30)]
        reads = [threads.submit(read) for _ in range(100)]
        for done in (*writes, *reads):
            done.result()
    assert len(keys_of(store.snapshot())) == 30 * 300
    store.close()
