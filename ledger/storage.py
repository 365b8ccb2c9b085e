"""Storage: one port of three methods, two engines. The only input and output in `ledger`.

`write` is one atomic and durable batch: after a crash the store holds all of it or none of it, and
when `write` has returned it is on the disk. Keys and values are byte strings, ordered by key.

| engine  | library | batch                           | where                         |
|---------|---------|---------------------------------|-------------------------------|
| leveldb | plyvel  | `write_batch(sync=True)`        | default, Python 3.11 and 3.12 |
| lmdb    | lmdb    | one transaction, synced commit  | default on Python 3.13+       |

A store is opened again by the engine that made it: the file `ENGINE` beside the data names it.
`get`, `scan` and `write` may be called from several threads.
"""

import fcntl
import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ledger.errors import CorruptStore, SnapshotGone, StoreFailed

ENGINES = ("leveldb", "lmdb")
_MARKER = "ENGINE"
_MODULES = {"leveldb": "plyvel", "lmdb": "lmdb"}
_LMDB_MAP_START_BYTES = 256 * 1024 * 1024
_RUN_PAIRS = 256
_FAILED_BEFORE = "an earlier write failed; what is on the disk is known again after a restart"


class Snapshot(Protocol):
    """The store as it was when the snapshot was taken. `close` it: it keeps old data alive."""

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with `start <= key < end`, in key order. Raises `SnapshotGone`, `StoreFailed`."""

    def close(self) -> None:
        """Let go of the old data; may be called twice."""


class Store(Protocol):
    """The whole port. Every method raises `StoreFailed` when the disk does not serve."""

    def get(self, key: bytes) -> bytes | None:
        """Value of `key`, or None."""

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with `start <= key < end`, in (reverse) key order.

        A pair written while the caller walks may or may not be seen.
        """

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Set (or, for None, delete) all keys in one atomic, durable batch."""

    def write_if(self, key: bytes, value: bytes, changes: Mapping[bytes, bytes | None]) -> bool:
        """Write as `write` does, unless `key` has another value than this: False then."""

    def snapshot(self) -> Snapshot:
        """The present content, to be read while others write."""

    def close(self) -> None:
        """Release the files."""


class _OneWriter(ABC):
    """Writes of one thread at a time, so that a conditional one is judged and done as one."""

    def __init__(self) -> None:
        self._writing = threading.Lock()

    @abstractmethod
    def get(self, key: bytes) -> bytes | None:
        """See `Store`."""

    @abstractmethod
    def _write(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Write one batch; the caller holds the lock."""

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        """See `Store`."""
        with self._writing:
            self._write(changes)

    def write_if(self, key: bytes, value: bytes, changes: Mapping[bytes, bytes | None]) -> bool:
        """See `Store`."""
        with self._writing:
            is_so = self.get(key) == value
            if is_so:
                self._write(changes)
        return is_so


class LevelStore(_OneWriter):
    """LevelDB through plyvel. Every read checks the checksum of its block: plyvel asks for none."""

    def __init__(self, path: Path) -> None:
        import plyvel

        self._corrupt: type[Exception] = plyvel.CorruptionError
        self._errors: tuple[type[Exception], ...] = (plyvel.Error, OSError)
        self._failed = False
        super().__init__()
        try:
            self._db = plyvel.DB(
                str(path),
                create_if_missing=True,
                paranoid_checks=True,
                write_buffer_size=32 * 1024 * 1024,
                max_file_size=32 * 1024 * 1024,
                lru_cache_size=32 * 1024 * 1024,
                bloom_filter_bits=10,
                # Hashes and signatures do not shrink; trying costs a fifth of the throughput.
                compression=None,
            )
        except self._errors as error:
            raise self._failure(error) from None

    def get(self, key: bytes) -> bytes | None:
        """See `Store`."""
        try:
            value: bytes | None = self._db.get(key, verify_checksums=True)
        except self._errors as error:
            raise self._failure(error) from None
        return value

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See `Store`."""
        if start >= end:
            return
        try:
            if reverse:
                yield from self._walk_back(start, end)
            else:
                yield from self._db.iterator(start=start, stop=end, verify_checksums=True)
        except self._errors as error:
            raise self._failure(error) from None

    def _walk_back(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        # `iterator(reverse=True)` of plyvel 1.5.1 skips the only pair of a range.
        with self._db.raw_iterator(verify_checksums=True) as place:
            place.seek(end)
            if place.valid():
                place.prev()
            else:
                place.seek_to_last()
            while place.valid() and place.key() >= start:
                yield place.item()
                place.prev()

    def _write(self, changes: Mapping[bytes, bytes | None]) -> None:
        if self._failed:
            raise StoreFailed(_FAILED_BEFORE)
        batch = self._db.write_batch(sync=True)
        put = batch.put
        for key, value in changes.items():
            if value is None:
                batch.delete(key)
            else:
                put(key, value)
        try:
            batch.write()
        except self._errors as error:
            self._failed = True
            raise self._failure(error) from None

    def snapshot(self) -> Snapshot:
        """See `Store`."""
        try:
            return _LevelSnapshot(self, self._db.snapshot())
        except self._errors as error:
            raise self._failure(error) from None

    def close(self) -> None:
        """See `Store`."""
        self._db.close()

    def _failure(self, error: Exception) -> StoreFailed | CorruptStore:
        kind = CorruptStore if isinstance(error, self._corrupt) else StoreFailed
        return kind(f"LevelDB: {error}")


class _LevelSnapshot:
    def __init__(self, store: LevelStore, taken: Any) -> None:
        self._store = store
        self._taken = taken

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        if self._taken is None:
            raise SnapshotGone("the snapshot is closed")
        try:
            yield from self._taken.iterator(start=start, stop=end, verify_checksums=True)
        except self._store._errors as error:
            raise self._store._failure(error) from None

    def close(self) -> None:
        if self._taken is not None:
            self._taken.close()
            self._taken = None


class LmdbStore(_OneWriter):
    """LMDB; its map grows by itself. Keys have 1 to 511 bytes."""

    def __init__(self, path: Path, *, map_size_bytes: int = _LMDB_MAP_START_BYTES) -> None:
        import lmdb

        self._lmdb: Any = lmdb
        self._failed = False
        # The map may only grow while nobody reads or writes: these locks see to it.
        self._reading = threading.Lock()
        super().__init__()
        self._snapshots: weakref.WeakSet[_LmdbSnapshot] = weakref.WeakSet()
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._held = _hold(path / "HELD")
        except OSError as error:
            raise self._failure(error) from None
        data = path / "data.mdb"
        size_bytes = data.stat().st_size if data.exists() else 0
        try:
            self._env = lmdb.open(str(path), map_size=max(map_size_bytes, 2 * size_bytes))
        except (lmdb.Error, OSError) as error:
            self._held.close()
            raise self._failure(error) from None

    def get(self, key: bytes) -> bytes | None:
        """See `Store`."""
        try:
            with self._reading, self._env.begin() as reading:
                value: bytes | None = reading.get(key)
        except self._lmdb.Error as error:
            raise self._failure(error) from None
        return value

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See `Store`."""
        # Read in runs, each in its own transaction: the map must not grow under an open one, and
        # the caller may write while it walks.
        while start < end:
            try:
                with self._reading, self._env.begin() as reading, reading.cursor() as cursor:
                    run = _read_run(cursor, start, end, reverse)
            except self._lmdb.Error as error:
                raise self._failure(error) from None
            yield from run
            if len(run) < _RUN_PAIRS:
                return
            start, end = (start, run[-1][0]) if reverse else (run[-1][0] + b"\0", end)

    def _write(self, changes: Mapping[bytes, bytes | None]) -> None:
        if self._failed:
            raise StoreFailed(_FAILED_BEFORE)
        try:
            while not self._is_written(changes):
                self._grow()
        except (self._lmdb.Error, OSError) as error:
            self._failed = True
            raise self._failure(error) from None

    def _is_written(self, changes: Mapping[bytes, bytes | None]) -> bool:
        """False when the map is too small; nothing is written then."""
        try:
            with self._env.begin(write=True) as writing:
                for key, value in changes.items():
                    if value is None:
                        writing.delete(key)
                    else:
                        writing.put(key, value)
        except self._lmdb.MapFullError:
            return False
        return True

    def _grow(self) -> None:
        """Double the map. Snapshots read from the old one, so they end here."""
        with self._reading:
            for snapshot in tuple(self._snapshots):
                snapshot.drop()
            self._env.set_mapsize(2 * self._env.info()["map_size"])

    def snapshot(self) -> Snapshot:
        """See `Store`. It is gone (`SnapshotGone`) as soon as the map has to grow."""
        try:
            with self._reading:
                taken = _LmdbSnapshot(self, self._env.begin())
        except self._lmdb.Error as error:
            raise self._failure(error) from None
        self._snapshots.add(taken)
        return taken

    def close(self) -> None:
        """See `Store`."""
        for snapshot in tuple(self._snapshots):
            snapshot.close()
        self._env.close()
        self._held.close()

    def _failure(self, error: Exception) -> StoreFailed | CorruptStore:
        lmdb = self._lmdb
        damage = (lmdb.InvalidError, lmdb.CorruptedError, lmdb.PageNotFoundError)
        kind = CorruptStore if isinstance(error, damage) else StoreFailed
        return kind(f"LMDB: {error}")


class _LmdbSnapshot:
    def __init__(self, store: LmdbStore, reading: Any) -> None:
        self._store = store
        self._taken = reading

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        while start < end:
            try:
                with self._store._reading:
                    if self._taken is None:
                        raise SnapshotGone("the snapshot is closed, or the store has grown")
                    with self._taken.cursor() as cursor:
                        run = _read_run(cursor, start, end, reverse=False)
            except self._store._lmdb.Error as error:
                raise self._store._failure(error) from None
            yield from run
            if len(run) < _RUN_PAIRS:
                return
            start = run[-1][0] + b"\0"

    def close(self) -> None:
        with self._store._reading:
            self.drop()

    def drop(self) -> None:
        """Close it; the caller holds the lock of the readers."""
        if self._taken is not None:
            self._taken.abort()
            self._taken = None


def _read_run(cursor: Any, start: bytes, end: bytes, reverse: bool) -> list[tuple[bytes, bytes]]:
    """Up to `_RUN_PAIRS` pairs with `start <= key < end`."""
    if reverse:
        is_placed = cursor.prev() if cursor.set_range(end) else cursor.last()
        pairs = cursor.iterprev() if is_placed else iter(())
    else:
        pairs = iter(cursor) if cursor.set_range(start) else iter(())
    run: list[tuple[bytes, bytes]] = []
    for key, value in pairs:
        if not start <= key < end or len(run) == _RUN_PAIRS:
            break
        run.append((key, value))
    return run


def _hold(path: Path) -> BinaryIO:
    """Keep other processes out until the file is closed; LevelDB does so by itself."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise OSError(f"{path.parent} is in use by another process") from None
    return file


def installed_engines() -> tuple[str, ...]:
    """Engines whose library is installed, best first."""
    return tuple(name for name in ENGINES if find_spec(_MODULES[name]) is not None)


def open_store(path: Path, engine: str = "auto") -> LevelStore | LmdbStore:
    """Open or create the store in the folder `path`.

    Raises `CorruptStore` when the folder was made by another engine or is damaged, `StoreFailed`
    when an engine's library is missing, another process has the store open, or the disk does not
    serve.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        made_by = _read_marker(path)
        chosen = _choose_engine(path, made_by, engine)
        if not made_by:
            write_file(path / _MARKER, chosen.encode() + b"\n")
    except OSError as error:
        raise StoreFailed(f"{path}: {error.strerror}") from None
    return LevelStore(path / "leveldb") if chosen == "leveldb" else LmdbStore(path / "lmdb")


def _choose_engine(path: Path, made_by: str, engine: str) -> str:
    available = installed_engines()
    if engine not in ("auto", *ENGINES):
        raise StoreFailed(f"unknown storage engine {engine!r}; known: {', '.join(ENGINES)}")
    if made_by and engine not in ("auto", made_by):
        raise CorruptStore(f"{path} was made by {made_by}; the setting says {engine}")
    if not (made_by or available) and engine == "auto":
        raise StoreFailed("no storage engine: install the Python package plyvel or lmdb")
    chosen = made_by or (available[0] if engine == "auto" else engine)
    if chosen not in available:
        library = _MODULES[chosen]
        raise StoreFailed(f"the storage engine {chosen} needs the Python package {library}")
    return chosen


def _read_marker(path: Path) -> str:
    """Engine that made the store, or an empty text where there is none yet."""
    marker = path / _MARKER
    if not marker.exists():
        if any((path / name).exists() for name in ENGINES):
            raise CorruptStore(f"{path} holds data, but the file {_MARKER} is missing")
        return ""
    made_by = marker.read_bytes().removesuffix(b"\n")
    for name in ENGINES:
        if made_by == name.encode():
            return name
    raise CorruptStore(f"{path} names an unknown storage engine: {made_by[:64]!r}")


def write_file(path: Path, data: bytes) -> None:
    """Write a small file: whole and durable under its name, or as before."""
    draft = path.with_suffix(".new")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
