"""The folder into which the agency's systems put requests and offers as files.

    DROP/NAME.json          {"request": {…}, "subjects": ["id", …]} or {"offer": {…}}
    DROP/taken/             on its way to the ledger
    DROP/done/NAME.json     the file as it was, and NAME.result.json: exchange, status, code
    DROP/failed/NAME.json   the same where it was refused

A file counts when its name ends with `.json`; write it under another name and rename it. The folder
is watched, not polled. A file leaves the drop under the number of its exchange before anything is
done with it, so that a crash neither loses a request nor makes two of it: what is found in `taken`
without a job goes back.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import msgspec
import structlog
from asyncinotify import Inotify, Mask
from msgspec import Meta

from ledger.scalars import SUBJECTS_MAX
from ledger.storage import sync_folder
from node.gateway.agency.asking import Asking, SubjectId
from node.gateway.desk import Desk
from node.gateway.jobs import SIDES, Failed, Side, Stage

LOG = structlog.get_logger("gateway")

FILE_BYTES_MAX = 2 * 1024 * 1024
AT_ONCE_MAX = 32
ANSWER_S_MAX = 3_600.0
RETRY_S = 5.0
NAMES_MAX = 1_000_000
# Stages of one whose event the ledger has answered.
_SETTLED = tuple(stage for stage in get_args(Stage) if stage != "request")


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    request: dict[str, Any] | None = None
    offer: dict[str, Any] | None = None
    subjects: Annotated[tuple[SubjectId, ...], Meta(max_length=SUBJECTS_MAX)] = ()


class Drop:
    """One folder. `run` takes what is there, then what comes."""

    def __init__(self, folder: Path, asking: Asking, desk: Desk) -> None:
        self._folder = folder
        self._taken, self._done, self._failed = (
            folder / name for name in ("taken", "done", "failed")
        )
        self._asking = asking
        self._desk = desk
        self._changed = asyncio.Event()
        self._waiting: set[str] = set()
        self._again: asyncio.TimerHandle | None = None

    def _make_folders(self) -> None:
        for path in (self._folder, self._taken, self._done, self._failed):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def run(self) -> None:
        """Serve the folder for ever. Raises `OSError` where it cannot be used."""
        self._make_folders()
        with Inotify() as watch:
            watch.add_watch(self._folder, Mask.MOVED_TO | Mask.CLOSE_WRITE)
            watching = asyncio.create_task(self._watch(watch))
            try:
                while not watching.done():
                    self._changed.clear()
                    await self._resume_all()
                    await self._take_all()
                    await self._changed.wait()
                watching.result()
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self, watch: Inotify) -> None:
        try:
            async for _ in watch:
                self._changed.set()
        finally:
            self._changed.set()

    async def _resume_all(self) -> None:
        """What a crash or the disk left on its way; nothing else is there between two rounds."""
        for path in _paths_in(self._taken):
            if path.name in self._waiting:
                continue
            try:
                await self._resume(path)
            except FileNotFoundError:
                continue  # a person has taken it away
            except OSError as error:
                self._wait(path.name, error.strerror or type(error).__name__)

    async def _resume(self, path: Path) -> None:
        """It goes on with its job, or goes back."""
        digits, _, name = path.name.partition(".")
        exchange = _exchange_of(digits)
        sides = [side for side in SIDES if self._desk.find(exchange, side) is not None]
        if sides:
            self._finish(path, name, await self._outcome(exchange, sides[0]))
        else:
            self._put_back(path, name)

    async def _take_all(self) -> None:
        names = [name for name in _names_in(self._folder) if name not in self._waiting]
        for at in range(0, len(names), AT_ONCE_MAX):
            await asyncio.gather(*map(self._take, names[at : at + AT_ONCE_MAX]))

    async def _take(self, name: str) -> None:
        path = self._folder / name
        try:
            try:
                await self._hand_in(name, _read(path), path)
            except Failed as error:
                if error.retry:
                    self._wait(name, error.code)
                else:
                    self._finish(path, name, {"code": error.code, "detail": error.detail})
        except FileNotFoundError:
            return  # whoever put it there took it back
        except OSError as error:
            # One file that cannot be read or moved does not stop the others.
            self._wait(name, error.strerror or type(error).__name__)

    def _wait(self, name: str, why: str) -> None:
        """Look again after a pause: one for all files that wait."""
        LOG.warning("file in the drop waits", file=name, code=why)
        self._waiting.add(name)
        if self._again is None:
            self._again = asyncio.get_running_loop().call_later(RETRY_S, self._look_again)

    def _look_again(self) -> None:
        self._again = None
        self._waiting.clear()
        self._changed.set()

    async def _hand_in(self, name: str, file: _File, path: Path) -> None:
        if file.request is not None:
            event, pairs = self._asking.sign_request(file.request, file.subjects)
        else:
            event, pairs = self._asking.sign_offer(file.offer or {}, file.subjects)
        taken = self._taken / f"{event.digest.hex()}.{name}"
        _move(path, taken)
        try:
            await self._asking.keep(event, pairs)
        except Failed:
            # What comes back into the folder is news there, but no reason to try again at once.
            self._waiting.add(self._put_back(taken, name))
            raise
        side: Side = "acquire" if file.request is not None else "provide"
        self._finish(taken, name, await self._outcome(event.digest, side))

    async def _outcome(self, exchange: bytes, side: Side) -> dict[str, Any]:
        await self._desk.wait(exchange, side, _SETTLED, ANSWER_S_MAX)
        job = self._desk.find(exchange, side)
        assert job is not None, "what is kept has a job"
        return {"exchange": exchange.hex(), "status": job.status, "code": job.fault}

    def _put_back(self, taken: Path, name: str) -> str:
        """Into the drop again, under which name: there may be another file of that name by now."""
        name = _free_name(self._folder, name)
        _move(taken, self._folder / name)
        return name

    def _finish(self, path: Path, name: str, result: Mapping[str, Any]) -> None:
        """The file and what became of it, in their folder; the result first."""
        is_done = not result["code"] and result.get("status") not in ("denied", "deny")
        folder = self._done if is_done else self._failed
        name = _free_name(folder, name)
        answer = folder / f"{name.removesuffix('.json')}.result.json"
        part = answer.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(result) + b"\n")
        _move(part, answer)
        _move(path, folder / name)
        LOG.info("file of the drop taken", file=name, **result)


def _move(path: Path, target: Path) -> None:
    """Rename, durably."""
    path.rename(target)
    sync_folder(target.parent)


def _free_name(folder: Path, name: str) -> str:
    """The name, with a number where an earlier file had it."""
    stem = name.removesuffix(".json")
    names = (name, *(f"{stem}.{number}.json" for number in range(2, NAMES_MAX)))
    return next(each for each in names if not (folder / each).exists())


def _read(path: Path) -> _File:
    with path.open("rb") as source:
        data = source.read(FILE_BYTES_MAX + 1)
    if len(data) > FILE_BYTES_MAX:
        raise Failed("file-too-large", path.name, retry=False)
    try:
        file = msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Failed("body-malformed", str(error), retry=False) from None
    if (file.request is None) == (file.offer is None):
        raise Failed("body-malformed", "neither a request nor an offer", retry=False)
    return file


def _paths_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def _names_in(folder: Path) -> list[str]:
    paths = (path for path in _paths_in(folder) if path.suffix == ".json" and path.is_file())
    return [path.name for path in paths if not path.name.startswith(".")]


def _exchange_of(digits: str) -> bytes:
    try:
        return bytes.fromhex(digits)
    except ValueError:
        return b""
