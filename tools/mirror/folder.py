"""The folder of a mirror: its files, how they are read, written and walked.

Files are written to a temporary name and renamed, so whatever breaks off leaves whole files only.
"""

import errno
import glob
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ledger.errors import InvalidGenesis, LedgerError
from ledger.genesis import Genesis, decode_genesis_json
from ledger.quorum.epochs import EPOCH_PROOFS, EpochChain, epoch_path
from ledger.storage import sync_folder
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.tiles import (
    ENTRIES_LEVEL,
    LEVEL_MAX,
    TILE_HEIGHT,
    TILE_WIDTH,
    TilePath,
)
from ledger.verify import EventFault, EventTask, MapEvents
from tools.exits import InvalidInput
from tools.mirror.holding import make_workers
from tools.mirror.pruned import read_pruned, refuse_archived

FILE_BYTES_MAX = 33_554_432
# `.NAME.PROCESS`: what a process has not put in its place yet.
_DRAFT = re.compile(r"\..+\.([0-9]{1,10})")

# Called with what is done, and all that is to do.
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """What a mirrored folder holds, and how many files were fetched and were there already."""

    directory: Path
    network: bytes
    checkpoint: Checkpoint
    downloaded: int
    kept: int


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""
    del done, total


def read_genesis(path: Path) -> Genesis:
    """Genesis of a file. Raises `InvalidInput`."""
    try:
        return decode_genesis_json(path.read_bytes())
    except OSError as error:
        raise InvalidInput("genesis-unreadable", f"{path}: {error.strerror}") from None
    except InvalidGenesis as error:
        raise InvalidInput("genesis-invalid", f"{path}: {error}") from None


def read_epochs(directory: Path, genesis: Genesis) -> EpochChain:
    """Epochs that the proofs in a folder lead to. Raises `InvalidInput` for one that is bad."""
    epochs = EpochChain(genesis)
    while True:
        path = directory / epoch_path(epochs.epoch)
        try:
            epochs.add(EPOCH_PROOFS.decode(path.read_bytes()[:FILE_BYTES_MAX]))
        except FileNotFoundError:
            return epochs
        except OSError as error:
            raise InvalidInput("file-unreadable", f"{path}: {error.strerror}") from None
        except LedgerError as error:
            raise InvalidInput("epoch-invalid", f"{path}: {error}") from None


def write_epochs(directory: Path, epochs: EpochChain, size: int) -> None:
    """Keep the proofs of the epochs that end within the first `size` entries."""
    for epoch, proof in enumerate(epochs.proofs[: epochs.epoch_of(size)]):
        write_file(directory / epoch_path(epoch), EPOCH_PROOFS.encode(proof))


def folder_reader(directory: Path) -> Callable[[str], bytes | None]:
    """Reads named files inside a folder, for `ledger.verify` and `contracts.replay`.

    Raises `InvalidInput` where there is no checkpoint: it is written last, so nothing can be told
    of what else is there. The reader raises it for entries that were pruned, and says where, and
    for a file that is gone since it has read the checkpoint, because another came in its place.
    """
    if not directory.is_dir():
        raise InvalidInput("folder-not-found", str(directory))
    if not (directory / "checkpoint").exists():
        # A download that broke off, or a wrong path: not a copy that somebody damaged.
        is_begun = (directory / "tile").exists()
        raise InvalidInput("copy-incomplete" if is_begun else "folder-no-copy", str(directory))
    pruned = read_pruned(directory)
    begun: bytes | None = None

    def read(name: str) -> bytes | None:
        nonlocal begun
        try:
            data = _read_file(directory / name)
        except (FileNotFoundError, NotADirectoryError):
            refuse_archived(str(directory), name, pruned)
            if begun is not None and _read_file(directory / "checkpoint") != begun:
                raise InvalidInput("copy-changed", str(directory)) from None
            return None
        if name == "checkpoint":
            begun = data
        return data

    return read


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(FILE_BYTES_MAX)


@contextmanager
def event_map(jobs: int) -> Iterator[MapEvents]:
    """`map` over `jobs` processes, or the plain one for a single job."""
    if jobs <= 1:
        yield map
        return
    with make_workers(jobs) as pool:

        def apply(
            function: Callable[[EventTask], EventFault | None], tasks: Iterator[EventTask], /
        ) -> Iterator[EventFault | None]:
            return pool.map(function, tasks)

        yield apply  # type: ignore[misc]  # tasks is any iterable; a pool takes it


def edge_paths(size: int) -> Iterator[TilePath]:
    """The tiles of a tree that are not full."""
    for level in range(ENTRIES_LEVEL, LEVEL_MAX + 1):
        index, width = divmod(size >> (TILE_HEIGHT * max(level, 0)), TILE_WIDTH)
        if width:
            yield TilePath(level=level, index=index, width=width)


def drop_drafts(paths: Iterable[Path]) -> None:
    """Remove those of these files that processes had begun to write that are no more."""
    for path in paths:
        number = _DRAFT.fullmatch(path.name)
        if number is not None and not _is_running(int(number[1])):
            path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # somebody else's
    return True


def drop_partial(directory: Path, size: int) -> None:
    """Remove partial tiles of smaller trees: only those under the present checkpoint stay."""
    current = set(map(TilePath.format, edge_paths(size)))
    for folder in (directory / "tile").rglob("*.p"):
        for path in list(folder.iterdir()):
            if path.relative_to(directory).as_posix() not in current:
                path.unlink()
        if not any(folder.iterdir()):
            shutil.rmtree(folder)


def check_writable(path: Path) -> None:
    """Refuse, before long work, a file that could not be written after it.

    Raises `InvalidInput`.
    """
    folder = path.parent
    if not folder.is_dir():
        number = errno.ENOTDIR if folder.exists() else errno.ENOENT
    elif not os.access(folder, os.W_OK | os.X_OK):
        number = errno.EACCES
    else:
        drop_drafts(folder.glob(f".{glob.escape(path.name)}.*"))
        return
    raise InvalidInput("file-unwritable", f"{path}: {os.strerror(number)}")


def _draft_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")  # see `_DRAFT`


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which is there only when it is whole and on disk."""
    temporary = _draft_of(path)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_file(path: Path, data: bytes) -> None:
    """Put a whole file in place; what a process that dies leaves, `drop_drafts` removes."""
    temporary = _draft_of(path)
    try:
        temporary.write_bytes(data)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
    temporary.replace(path)
