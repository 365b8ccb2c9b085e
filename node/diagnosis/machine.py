"""What the machine says: space on the disk, sizes of folders, ends of certificates."""

import os
import stat
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from cryptography import x509

from node.diagnosis.facts import DiskFacts


class FileSystem(Protocol):
    """What `os.statvfs` returns, as far as it is needed."""

    @property
    def f_bavail(self) -> int:
        """Free blocks for us."""

    @property
    def f_blocks(self) -> int:
        """All blocks."""

    @property
    def f_frsize(self) -> int:
        """Bytes of a block."""


def read_disk(
    data_dir: Path,
    *,
    sync_ms: int | None,
    statvfs: Callable[[Path], FileSystem] = os.statvfs,
    name: str = "",
) -> DiskFacts:
    """Facts about the disk of a data directory that exists. Raises `OSError`.

    `name` stands for the path where strangers may read it.
    """
    found = statvfs(data_dir)
    return DiskFacts(
        path=name or str(data_dir),
        free_bytes=found.f_bavail * found.f_frsize,
        total_bytes=found.f_blocks * found.f_frsize,
        sync_ms=sync_ms,
        engine=read_engine(data_dir),
        store_bytes=size_folder(data_dir / "store"),
        votes_bytes=size_folder(data_dir / "wal"),
    )


def read_engine(data_dir: Path) -> str:
    """The storage engine that made the store, or an empty text."""
    try:
        return (data_dir / "store" / "ENGINE").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def size_folder(path: Path) -> int:
    """Bytes of all files under a folder; 0 if it is not there."""
    size_bytes = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                found = (Path(folder) / name).lstat()
            except FileNotFoundError:
                continue  # the engine replaces its files while we look
            if stat.S_ISREG(found.st_mode):
                size_bytes += found.st_size
    return size_bytes


@lru_cache(256)
def find_expiry_ms(certificate: bytes) -> int | None:
    """When a certificate (DER) ends, or None: the ledger does not judge certificates.

    No link with one that cannot be read will come up.
    """
    try:
        return read_expiry_ms(certificate)
    except ValueError:
        return None


def read_expiry_ms(certificate: bytes) -> int:
    """When a certificate (DER) ends, in Unix milliseconds. Raises `ValueError`."""
    end = x509.load_der_x509_certificate(certificate).not_valid_after_utc
    return int(end.timestamp()) * 1000
