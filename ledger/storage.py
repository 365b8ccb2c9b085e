"""Storage: one port of three methods, two engines. The only input and output in `ledger`.

`write` is one atomic and durable batch: after a crash the store holds all of it or none of it, and
when `write` has returned it is on the disk. Keys and values are byte strings, ordered by key.

| engine  | library | batch                           | where                         |
|---------|---------|---------------------------------|-------------------------------|
| leveldb | plyvel  | `write_batch(sync=True)`        | default, Python 3.11 and 3.12 |
| lmdb    | lmdb    | one transaction, synced commit  | default on Python 3.13+       |

A store is opened again by the engine that made it: the file `ENGINE` beside the data names it.
"""

import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from ledger.errors import CorruptStore, StoreFailed

ENGINES = ("leveldb", "lmdb")
_MARKER = "ENGINE"
_MODULES = {"leveldb": "plyvel", "lmdb": "lmdb"}
_LMDB_MAP_START_BYTES = 256 * 1024 * 1024


class Store(Protocol):
    """The whole port. Every method raises `StoreFailed` when the disk does not serve."""

    def get(self, key: bytes) -> bytes | None:
        """Value of `key`, or None."""

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with `start <= key < end`, in (reverse) key order."""

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Set (or, for None, delete) all keys in one atomic, durable batch."""

    def close(self) -> None:
        """Release the files."""


class LevelStore:
    """LevelDB through plyvel."""

    def __init__(self, path: Path) -> None:
        import plyvel

        self._errors: tuple[type[Exception], ...] = (plyvel.Error, OSError)
        try:
            self._db = plyvel.DB(
                str(path),
                create_if_missing=True,
                paranoid_checks=True,
                write_buffer_size=32 * 1024 * 1024,
                lru_cache_size=32 * 1024 * 1024,
                bloom_filter_bits=10,
            )
        except plyvel.CorruptionError as error:
            raise CorruptStore(f"LevelDB: {error}") from None
        except self._errors as error:
            raise StoreFailed(f"LevelDB: {error}") from None

    def get(self, key: bytes) -> bytes | None:
        """See `Store`."""
        try:
            value: bytes | None = self._db.get(key)
        except self._errors as error:
            raise StoreFailed(f"LevelDB: {error}") from None
        return value

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See `Store`."""
        try:
            yield from self._db.iterator(start=start, stop=end, reverse=reverse)
        except self._errors as error:
            raise StoreFailed(f"LevelDB: {error}") from None

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        """See `Store`."""
        batch = self._db.write_batch(sync=True)
        for key, value in changes.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        try:
            batch.write()
        except self._errors as error:
            raise StoreFailed(f"LevelDB: {error}") from None

    def close(self) -> None:
        """See `Store`."""
        self._db.close()


class LmdbStore:
    """LMDB; its map grows by itself."""

    def __init__(self, path: Path) -> None:
        import lmdb

        self._lmdb: Any = lmdb
        path.mkdir(parents=True, exist_ok=True)
        try:
            self._env = lmdb.open(str(path), map_size=self._first_map_bytes(path), max_dbs=0)
        except lmdb.InvalidError as error:
            raise CorruptStore(f"LMDB: {error}") from None
        except (lmdb.Error, OSError) as error:
            raise StoreFailed(f"LMDB: {error}") from None

    @staticmethod
    def _first_map_bytes(path: Path) -> int:
        data = path / "data.mdb"
        size_bytes = data.stat().st_size if data.exists() else 0
        return max(_LMDB_MAP_START_BYTES, 2 * size_bytes)

    def get(self, key: bytes) -> bytes | None:
        """See `Store`."""
        try:
            with self._env.begin() as reading:
                value: bytes | None = reading.get(key)
        except self._lmdb.Error as error:
            raise StoreFailed(f"LMDB: {error}") from None
        return value

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See `Store`."""
        try:
            with self._env.begin() as reading, reading.cursor() as cursor:
                yield from self._walk(cursor, start, end, reverse)
        except self._lmdb.Error as error:
            raise StoreFailed(f"LMDB: {error}") from None

    @staticmethod
    def _walk(
        cursor: Any, start: bytes, end: bytes, reverse: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        if not reverse:
            if cursor.set_range(start):
                for key, value in cursor:
                    if key >= end:
                        return
                    yield key, value
            return
        is_placed = cursor.prev() if cursor.set_range(end) else cursor.last()
        if is_placed:
            for key, value in cursor.iterprev():
                if key < start:
                    return
                yield key, value

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        """See `Store`."""
        while True:
            try:
                with self._env.begin(write=True) as writing:
                    for key, value in changes.items():
                        if value is None:
                            writing.delete(key)
                        else:
                            writing.put(key, value)
            except self._lmdb.MapFullError:
                self._env.set_mapsize(2 * self._env.info()["map_size"])
                continue
            except (self._lmdb.Error, OSError) as error:
                raise StoreFailed(f"LMDB: {error}") from None
            return

    def close(self) -> None:
        """See `Store`."""
        self._env.close()


def installed_engines() -> tuple[str, ...]:
    """Engines whose library is installed, best first."""
    return tuple(name for name in ENGINES if find_spec(_MODULES[name]) is not None)


def open_store(path: Path, engine: str = "auto") -> LevelStore | LmdbStore:
    """Open or create the store in the folder `path`.

    Raises `CorruptStore` when the folder was made by another engine or is damaged, `StoreFailed`
    when an engine's library is missing or the disk does not serve.
    """
    available = installed_engines()
    marker = path / _MARKER
    try:
        path.mkdir(parents=True, exist_ok=True)
        made_by = marker.read_text().strip() if marker.exists() else ""
        chosen = made_by or (available[0] if engine == "auto" and available else engine)
        if engine not in ("auto", chosen):
            raise CorruptStore(f"{path} was made by {made_by}; the setting says {engine}")
        if chosen not in ENGINES:
            raise CorruptStore(f"{path} names an unknown storage engine: {chosen!r}")
        if chosen not in available:
            library = _MODULES[chosen]
            raise StoreFailed(f"the storage engine {chosen} needs the Python package {library}")
        if not made_by:
            _write_marker(marker, chosen)
    except OSError as error:
        raise StoreFailed(f"{path}: {error.strerror}") from None
    return LevelStore(path / "leveldb") if chosen == "leveldb" else LmdbStore(path / "lmdb")


def _write_marker(marker: Path, engine: str) -> None:
    draft = marker.with_suffix(".new")
    with draft.open("w") as file:
        file.write(engine + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(marker)
    folder = os.open(marker.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
