"""A copy of a log in a folder: the C2SP tlog-tiles files, downloaded and verified.

    DIR/genesis.json   DIR/genesis.signatures.json
    DIR/checkpoint   DIR/policy   DIR/tile/...   DIR/epochs/0 ...

`epochs/<n>` is the proof that ended epoch n; `policy` judges the checkpoint beside it, for tools
that know nothing of epochs.

Files are written to a temporary name and renamed, so a broken download leaves whole files only and
is resumed: a full tile that is there is not fetched again. The checkpoint is written last, when all
tiles under it are there and verified against its root.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from pathlib import Path

from ledger.errors import InvalidGenesis, LedgerError
from ledger.genesis import (
    Genesis,
    decode_genesis_json,
    encode_genesis_json,
    hash_genesis,
)
from ledger.quorum.epochs import EPOCH_PROOFS, EpochChain, epoch_path
from ledger.quorum.founding import encode_signatures
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import SignedNote
from ledger.tlog.tiles import TILE_WIDTH, TilePath, tile_paths, verify_tiles
from ledger.verify import EventFault, EventTask, MapEvents
from tools.exits import InvalidAnswer, InvalidInput, NotFound
from tools.founding import signatures_path
from tools.output import Bar, note, run
from tools.words import say

DOWNLOADS_MAX = 16
FILE_BYTES_MAX = 33_554_432

OnProgress = Callable[[int, int], None]
GetBytes = Callable[[str], Awaitable[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """What a mirrored folder holds."""

    directory: Path
    network: bytes
    checkpoint: Checkpoint
    downloaded: int
    kept: int


def read_genesis(path: Path) -> Genesis:
    """Genesis of a file. Raises `InvalidInput`."""
    try:
        return decode_genesis_json(path.read_bytes())
    except OSError as error:
        raise InvalidInput("genesis-unreadable", f"{path}: {error.strerror}") from None
    except InvalidGenesis as error:
        raise InvalidInput("genesis-invalid", f"{path}: {error}") from None


async def mirror_log(
    url: str, directory: Path, *, genesis: Genesis | None, on_progress: OnProgress
) -> Mirror:
    """Download the log behind the newest checkpoint of a node.

    1. Genesis: the caller's, else that of the folder, else the node's (then pinned by the folder).
    2. Proofs of ended epochs, each by the epoch before, and the checkpoint by its own epoch; then
       the signatures of the founders.
    3. Tiles. 4. All tiles against the root.
    """
    # A folder is read without them, and they take 0.1 s to load.
    from tools.client import Client
    from tools.found.fetch import fetch_founders

    genesis = await _choose_genesis(url, directory, genesis)  # 1
    epochs = read_epochs(directory, genesis)  # 2
    async with Client(url, genesis, epochs=epochs) as client:
        signed = await client.get_bytes("/log/checkpoint")
        try:
            checkpoint = await client.verify_note(SignedNote.parse(signed))
        except LedgerError as error:
            raise InvalidAnswer("checkpoint-invalid", str(error)) from None
        # The node is one of this network: now the rest of what founded it.
        signatures = signatures_path(directory / "genesis.json")
        if not signatures.exists():
            try:
                _write(signatures, encode_signatures(await fetch_founders(url, genesis)))
            except NotFound:
                # A copy on a plain web server may lack them; the genesis names the network.
                note(say("audit.no_founders", url=url))
        downloaded, kept = await _download(
            client.get_bytes, directory, checkpoint, on_progress
        )  # 3
    try:
        await asyncio.to_thread(
            verify_tiles, _tile_getter(directory), checkpoint.size, checkpoint.root
        )  # 4
    except (LedgerError, OSError) as error:
        raise InvalidAnswer("tiles-invalid", f"{directory / 'tile'}: {error}") from None
    write_epochs(directory, epochs, checkpoint.size)
    _write(directory / "policy", epochs.policy_for(checkpoint.size).format())
    _write(directory / "checkpoint", signed)
    _drop_partial(directory, checkpoint.size)
    return Mirror(
        directory=directory,
        network=hash_genesis(genesis),
        checkpoint=checkpoint,
        downloaded=downloaded,
        kept=kept,
    )


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
        _write(directory / epoch_path(epoch), EPOCH_PROOFS.encode(proof))


def folder_reader(directory: Path) -> Callable[[str], bytes | None]:
    """Reads named files inside a folder, for `ledger.verify` and `contracts.replay`."""
    if not directory.is_dir():
        raise InvalidInput("folder-not-found", str(directory))

    def read(name: str) -> bytes | None:
        try:
            with (directory / name).open("rb") as file:
                return file.read(FILE_BYTES_MAX)
        except (FileNotFoundError, NotADirectoryError):
            return None

    return read


def worker_context() -> BaseContext:
    """How workers are started: as forks where that is safe, which saves them all imports.

    A fork copies locks that other threads hold, so a process with threads starts them afresh.
    """
    try:
        threads = len(list(Path("/proc/self/task").iterdir()))
    except OSError:
        threads = 0  # not Linux: not known
    return get_context("fork" if threads == 1 else "spawn")


@contextmanager
def event_map(jobs: int) -> Iterator[MapEvents]:
    """`map` over `jobs` processes, or the plain one for a single job."""
    if jobs <= 1:
        yield map
        return
    with ProcessPoolExecutor(jobs, mp_context=worker_context()) as pool:

        def apply(
            function: Callable[[EventTask], EventFault | None], tasks: Iterator[EventTask], /
        ) -> Iterator[EventFault | None]:
            return pool.map(function, tasks)

        yield apply  # type: ignore[misc]  # tasks is any iterable; a pool takes it


def mirror_shown(url: str, directory: Path, genesis: Genesis | None) -> Mirror:
    """Mirror with a progress bar."""
    bar = Bar(say("audit.downloading"))
    try:
        return run(mirror_log(url, directory, genesis=genesis, on_progress=bar))
    finally:
        bar.close()


@contextmanager
def copy_at(where: str, genesis: Genesis | None) -> Iterator[Path]:
    """A folder with a copy, or one that is mirrored from a URL and removed afterwards."""
    if not where.startswith(("http://", "https://")):
        yield Path(where)
        return
    with tempfile.TemporaryDirectory(prefix="tally-") as folder:
        mirror_shown(where, Path(folder), genesis)
        yield Path(folder)


async def _choose_genesis(url: str, directory: Path, genesis: Genesis | None) -> Genesis:
    path = directory / "genesis.json"
    held = read_genesis(path) if path.exists() else None
    if genesis is None and held is None:
        from tools.client import fetch_genesis

        try:
            genesis = decode_genesis_json(await fetch_genesis(url))
        except InvalidGenesis as error:
            raise InvalidAnswer("genesis-invalid", str(error)) from None
    chosen = genesis or held
    assert chosen is not None, "fetched above when neither was given"
    if held is not None and hash_genesis(held) != hash_genesis(chosen):
        raise InvalidInput("genesis-mismatch", str(directory))
    if held is None:
        _write(path, encode_genesis_json(chosen))
    return chosen


async def _download(
    get_bytes: GetBytes, directory: Path, checkpoint: Checkpoint, on_progress: OnProgress
) -> tuple[int, int]:
    tiles = list(tile_paths(checkpoint.size))
    wanted = [tile for tile in tiles if not (directory / tile.format()).exists()]
    kept, done = len(tiles) - len(wanted), 0
    room = asyncio.Semaphore(DOWNLOADS_MAX)

    async def fetch(tile: TilePath) -> None:
        nonlocal done
        async with room:
            data = await get_bytes(f"/log/{tile.format()}")
            _write(directory / tile.format(), data)
        done += 1
        on_progress(kept + done, len(tiles))

    try:
        async with asyncio.TaskGroup() as group:
            for tile in wanted:
                group.create_task(fetch(tile))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return len(wanted), kept


def _tile_getter(directory: Path) -> Callable[[int, int, int], bytes]:
    def get_tile(level: int, index: int, width: int) -> bytes:
        path = directory / TilePath(level=level, index=index, width=width).format()
        return path.read_bytes()

    return get_tile


def _drop_partial(directory: Path, size: int) -> None:
    """Remove partial tiles of smaller trees: only those under the present checkpoint stay."""
    current = {tile.format() for tile in tile_paths(size) if tile.width < TILE_WIDTH}
    for folder in (directory / "tile").rglob("*.p"):
        for path in list(folder.iterdir()):
            if path.relative_to(directory).as_posix() not in current:
                path.unlink()
        if not any(folder.iterdir()):
            shutil.rmtree(folder)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(path)
