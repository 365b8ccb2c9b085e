"""The disk of one node: what survives a crash of its process, and where the process can die.

The write-ahead log is the production one on real files in a temporary folder; `Files` stands before
the calls it makes and knows which bytes are synced. A crash cuts unsynced bytes off at a random
place and may undo a rename that is not synced. The store is a dictionary whose batches are atomic
and durable. Before and after every such operation the process may die, and a full disk fails them.
"""

import bisect
import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from ledger.errors import SnapshotGone, StoreFailed
from node.simplex import wal as wal_module

WAL = "wal"


class Crash(BaseException):
    """The simulated process is gone, here."""


class Disk:
    """What stays of a node. `on_crash` is called at the instant its process dies."""

    def __init__(self, folder: Path, random: Random, content: Mapping[bytes, bytes]) -> None:
        self.folder = folder
        self.random = random
        self.data: dict[bytes, bytes] = dict(content)
        self.keys = sorted(self.data)
        self.crash_rate = 0.0
        self.is_held = False
        self.is_full = False
        self.crashes = 0
        self.on_crash: Callable[[], None] = lambda: None
        self.written: dict[str, int] = {}  # bytes by file
        self.synced: dict[str, int] = {}
        self.names: set[str] = set()  # segments whose names are durable

    @property
    def wal_dir(self) -> Path:
        return self.folder / WAL

    def point(self) -> None:
        """An instruction at which the process may die."""
        if not self.is_held:
            raise Crash
        if self.crash_rate and self.random.random() < self.crash_rate:
            self.crash()
            raise Crash

    def crash(self) -> None:
        """The process dies now."""
        if not self.is_held:
            return
        self.crashes += 1
        self.is_held = False
        for path in sorted(self.written):
            self._lose_unsynced(path)
        for path in sorted(self.wal_dir.glob("*.wal"))[-1:]:
            if path.name not in self.names and self.random.random() < 0.5:
                path.rename(path.with_suffix(".tmp"))
        self.written.clear()
        self.synced.clear()
        self.on_crash()

    def _lose_unsynced(self, path: str) -> None:
        written, synced = self.written[path], self.synced[path]
        # It was opened under the name of a draft, and has its own since.
        found = [each for each in (Path(path), Path(path).with_suffix(".wal")) if each.exists()]
        if synced < written and found:
            os.truncate(found[0], self.random.randint(synced, written))


class MemoryStore:
    """`ledger.storage.Store` on a disk's dictionary, for one process."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._failed = False

    def get(self, key: bytes) -> bytes | None:
        return self._disk.data.get(key)

    def scan(
        self, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        return _scan(self._disk.keys, self._disk.data, start, end, reverse=reverse)

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        disk = self._disk
        disk.point()
        if disk.is_full or self._failed:
            self._failed = True  # for good, like the production stores
            raise StoreFailed("no space left on the simulated disk")
        for key, value in changes.items():
            if value is None:
                if disk.data.pop(key, None) is not None:
                    disk.keys.remove(key)
                continue
            if key not in disk.data:
                bisect.insort(disk.keys, key)
            disk.data[key] = value
        disk.point()

    def snapshot(self) -> "MemorySnapshot":
        return MemorySnapshot(self._disk)

    def close(self) -> None:
        """Nothing is held."""


class MemorySnapshot:
    """A copy."""

    def __init__(self, disk: Disk) -> None:
        self._keys, self._data = disk.keys.copy(), disk.data.copy()
        self._is_open = True

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        if not self._is_open:
            raise SnapshotGone("the snapshot is closed")
        return _scan(self._keys, self._data, start, end, reverse=False)

    def close(self) -> None:
        self._is_open = False


def _scan(
    keys: list[bytes], data: Mapping[bytes, bytes], start: bytes, end: bytes, *, reverse: bool
) -> Iterator[tuple[bytes, bytes]]:
    found = keys[bisect.bisect_left(keys, start) : bisect.bisect_left(keys, end)]
    for key in reversed(found) if reverse else found:
        if key in data:
            yield key, data[key]


class Files:
    """The functions of `os` that the write-ahead log calls, over the disks of all nodes."""

    def __init__(self) -> None:
        self._disks: dict[str, Disk] = {}
        self._open: dict[int, tuple[str, Disk]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def add(self, disk: Disk) -> None:
        """A disk whose write-ahead log will be opened."""
        self._disks[str(disk.wal_dir)] = disk

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        is_folder = str(path) in self._disks
        disk = self._disks[str(path if is_folder else path.parent)]
        disk.point()
        self._refuse_if_full(disk)
        descriptor = os.open(path, flags, mode)
        self._open[descriptor] = (str(path), disk)
        if not is_folder:
            size = os.fstat(descriptor).st_size
            disk.written[str(path)] = disk.synced[str(path)] = size
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> int:
        path, disk = self._open[descriptor]
        self._refuse_if_full(disk)
        count = len(data)
        if disk.crash_rate and disk.random.random() < disk.crash_rate:
            count = disk.random.randrange(count + 1)
            disk.written[path] += os.write(descriptor, data[:count])
            disk.crash()
            raise Crash
        written = os.write(descriptor, data)
        disk.written[path] += written
        disk.point()
        return written

    def fsync(self, descriptor: int) -> None:
        path, disk = self._open[descriptor]
        disk.point()
        if path in self._disks:
            disk.names = {entry.name for entry in Path(path).glob("*.wal")}
        else:
            disk.synced[path] = disk.written[path]
        disk.point()

    def fdatasync(self, descriptor: int) -> None:
        self._refuse_if_full(self._open[descriptor][1])
        self.fsync(descriptor)

    def ftruncate(self, descriptor: int, size: int) -> None:
        path, disk = self._open[descriptor]
        os.ftruncate(descriptor, size)
        disk.written[path] = disk.synced[path] = size

    def close(self, descriptor: int) -> None:
        self._open.pop(descriptor, None)
        os.close(descriptor)

    def close_all(self) -> None:
        """The run is over."""
        for descriptor in list(self._open):
            self.close(descriptor)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Write-ahead logs opened inside are on these disks."""
        real = wal_module.os
        wal_module.os = self
        try:
            yield
        finally:
            wal_module.os = real
            self.close_all()

    @staticmethod
    def _refuse_if_full(disk: Disk) -> None:
        if disk.is_full:
            raise OSError(errno.ENOSPC, "no space left on the simulated disk")
