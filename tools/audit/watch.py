"""Watching several nodes: every new checkpoint against the last one, and against the other nodes'.

What a node signs for one reader it must show to all, for ever. The watcher keeps the largest
checkpoint that it has seen, durably, and wants proof, out of the hash tiles, that each other one is
of the same history. Where that fails there are two signed checkpoints and a proof that both cannot
be true: an alarm (`tools.audit.alarms`), written to a file beside the state and posted to a webhook
until it is taken. Nothing is believed of a node but what it proves.

    STATE               JSON, see `WatchState`; replaced before a checkpoint counts as seen
    alarm-*.json        beside it
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Literal, TypeVar

import aiohttp
import msgspec

from ledger.codec import Value
from ledger.errors import LedgerError
from ledger.genesis import hash_genesis
from ledger.quorum.epochs import EpochChain
from ledger.storage import write_file
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import SignedNote
from tools.audit.alarms import Alarm, Sighting, find_fork, write_alarm
from tools.exits import InvalidAnswer, InvalidInput, ToolError
from tools.mirror.live import Live, tell_loss
from tools.mirror.sources import Source, Sources, extend_epochs, verify_checkpoint_of
from tools.mirror.tree import RemoteTree
from tools.words import tell_detail

T = TypeVar("T")

WEBHOOK_TIMEOUT_S = 15
PAUSE_S_MIN = 1.0
PAUSE_S_MAX = 300.0

# Told a key of the catalogue (`watch.KEY`) and the values of its words.
Tell = Callable[..., None]


class WatchState(Value, frozen=True, kw_only=True):
    """The file. `last` is the largest checkpoint of the history that was seen first.

    `nodes` is what each node showed last; `forked` are those that an alarm was raised about, and
    are not compared any more; `pending` are names of alarm files that the webhook did not take yet.
    """

    version: Literal[1]
    network: str
    last: Sighting | None = None
    nodes: dict[str, Sighting] = msgspec.field(default_factory=dict)
    forked: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()


class Watcher:
    """What was seen, and what new checkpoints say about it."""

    def __init__(self, sources: Sources, epochs: EpochChain, path: Path, tell: Tell) -> None:
        self._sources = sources
        self._epochs = epochs
        self._path = path
        self._tell = tell
        self._state = read_state(path, hash_genesis(epochs.genesis))
        self._told: set[str] = set()
        self._lost: set[str] = set()
        self._doubted: dict[str, None] = {}
        self._writing = asyncio.Lock()
        self._has_pending = asyncio.Event()
        self._has_none_pending = asyncio.Event()
        self._mark_pending()

    @property
    def forked(self) -> tuple[str, ...]:
        """Nodes that an alarm was raised about."""
        return self._state.forked

    @property
    def doubted(self) -> tuple[str, ...]:
        """Nodes that showed what does not verify, or what nobody proves."""
        return tuple(self._doubted)

    def lose(self, source: Source, fault: ToolError) -> None:
        """A node does not answer; told once until it does."""
        if source.url not in self._lost:
            self._lost.add(source.url)
            self._tell("silent", url=source.url, fault=tell_loss(source, fault))

    def regain(self, source: Source) -> None:
        """It answers again."""
        if source.url in self._lost:
            self._lost.remove(source.url)
            self._tell("back", url=source.url)

    async def look(self, source: Source, data: bytes) -> Path | None:
        """One signed checkpoint that a node shows; the file of the alarm that it raises, if any.

        1. It verifies. 2. It is of the history that this node showed before. 3. It is of the
        history of the largest one seen. 4. Then it is kept.
        """
        try:
            checkpoint = await verify_checkpoint_of(source, data, self._epochs)  # 1
        except ToolError as error:
            self._doubted[source.url] = None
            self._tell("invalid", url=source.url, fault=tell_detail(error.code, error.detail))
            return None
        if source.url in self._state.forked:
            return None
        seen = Sighting(source=source.url, note=data.decode())
        before, last = self._state.nodes.get(source.url), self._state.last
        try:
            for old in dict.fromkeys(each for each in (before, last) if each is not None):  # 2, 3
                alarm = await self._compare(source, old, seen)
                if alarm is not None:
                    return await self._raise_alarm(alarm)
        except ToolError as error:
            self._doubted[source.url] = None
            self._tell(
                "unproven",
                url=source.url,
                entries=checkpoint.size,
                fault=tell_detail(error.code, error.detail),
            )
            return None
        if before is not None and checkpoint_of(before).size > checkpoint.size:
            self._tell("behind", url=source.url, entries=checkpoint.size)
        await self._keep(source, seen, checkpoint)  # 4
        return None

    async def _keep(self, source: Source, seen: Sighting, checkpoint: Checkpoint) -> None:
        last = self._state.last
        is_larger = last is None or checkpoint_of(last).size < checkpoint.size
        nodes = {**self._state.nodes, source.url: seen}
        await self._save(last=seen if is_larger else last, nodes=nodes)
        if source.url not in self._told:
            self._told.add(source.url)
            self._tell("consistent", url=source.url, entries=checkpoint.size)

    async def _compare(self, source: Source, old: Sighting, seen: Sighting) -> Alarm | None:
        """Raises `ToolError` where nobody proves anything about the larger one."""
        first, second = sorted((old, seen), key=lambda each: checkpoint_of(each).size)
        checkpoint = checkpoint_of(second)
        asked = [each for each in self._sources.all if each.url == second.source]
        others = [each for each in self._sources.all if each not in asked]
        tree = RemoteTree(_OneByOne([*asked, *others]).fetch, checkpoint, lambda _: None)
        return await find_fork(
            tree,
            self._epochs,
            kind="rewrite" if old.source == source.url else "split-view",
            first=first,
            second=second,
            time_ms=time.time_ns() // 1_000_000,
        )

    async def _raise_alarm(self, alarm: Alarm) -> Path:
        path, _ = await asyncio.to_thread(write_alarm, self._path.parent, alarm)
        urls = dict.fromkeys((*self._state.forked, alarm.first.source, alarm.second.source))
        pending = dict.fromkeys((*self._state.pending, path.name))
        await self._save(forked=tuple(urls), pending=tuple(pending))
        self._tell(
            alarm.kind.replace("-", "_"),
            first=alarm.first.source,
            second=alarm.second.source,
            path=path,
        )
        return path

    async def deliver(self, webhook: str) -> None:
        """Post alarms, also those of before, until each is taken; for ever."""
        timeout = aiohttp.ClientTimeout(total=WEBHOOK_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            pause_s = PAUSE_S_MIN
            while True:
                await self._has_pending.wait()
                name = self._state.pending[0]
                fault = await _post(session, webhook, self._path.parent / name)
                if fault:
                    self._tell("webhook_fails", url=webhook, fault=fault, seconds=int(pause_s))
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, PAUSE_S_MAX)
                    continue
                pause_s = PAUSE_S_MIN
                self._tell("webhook_takes", url=webhook, path=name)
                await self._save(
                    pending=tuple(each for each in self._state.pending if each != name)
                )

    async def wait_delivered(self, timeout_s: float) -> None:
        """Wait until the webhook has taken all alarms, but not for ever."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._has_none_pending.wait()

    async def _save(self, **changed: object) -> None:
        """Durable before it counts."""
        self._state = msgspec.structs.replace(self._state, **changed)
        async with self._writing:
            data = msgspec.json.format(msgspec.json.encode(self._state), indent=2)
            await asyncio.to_thread(write_file, self._path, data)
        self._mark_pending()

    def _mark_pending(self) -> None:
        is_pending, is_none = self._has_pending, self._has_none_pending
        (is_pending if self._state.pending else is_none).set()
        (is_none if self._state.pending else is_pending).clear()


class _OneByOne:
    """Asks sources in turn; unlike `Sources` it condemns none: each may be right."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    async def fetch(self, names: Sequence[str], take: Callable[[list[bytes]], T]) -> T:
        fault: ToolError | None = None
        for source in self._sources:
            try:
                return take([await source.get(name) for name in names])
            except LedgerError as error:
                fault = fault or InvalidAnswer("tiles-invalid", f"{source.url}: {error}")
            except ToolError as error:
                fault = fault or error
        assert fault is not None, "there is a source, and it failed"
        raise fault


async def look_once(watcher: Watcher, sources: Sources, epochs: EpochChain) -> int:
    """Look at the present checkpoint of each source, asked all at once; how many answered."""
    answers = await asyncio.gather(*(_ask(source, epochs, watcher) for source in sources.all))
    for source, data in zip(sources.all, answers, strict=True):
        if data is not None:
            await watcher.look(source, data)
    return sum(data is not None for data in answers)


async def _ask(source: Source, epochs: EpochChain, watcher: Watcher) -> bytes | None:
    try:
        data = await source.get_checkpoint()
        await extend_epochs(source, epochs)
    except ToolError as error:
        watcher.lose(source, error)
        return None
    return data


async def look_on(watcher: Watcher, live: Live, *, until_alarm: bool) -> None:
    """Look at every checkpoint as it comes; for ever, or until the first alarm."""
    async with aclosing(live.notes()) as notes:
        async for source, data in notes:
            if await watcher.look(source, data) is not None and until_alarm:
                return


def checkpoint_of(seen: Sighting) -> Checkpoint:
    """The checkpoint in a note that was verified when it was seen."""
    return Checkpoint.parse(SignedNote.parse(seen.note.encode()).text)


def read_state(path: Path, network: bytes) -> WatchState:
    """State in a file; none yet: an empty one. Raises `InvalidInput`."""
    try:
        state = msgspec.json.decode(path.read_bytes(), type=WatchState)
        for seen in (*state.nodes.values(), *((state.last,) if state.last else ())):
            checkpoint_of(seen)
    except FileNotFoundError:
        return WatchState(version=1, network=network.hex())
    except OSError as error:
        raise InvalidInput("file-unreadable", f"{path}: {error.strerror}") from None
    except (msgspec.DecodeError, LedgerError) as error:
        raise InvalidInput("watch-state", f"{path}: {error}") from None
    if state.network != network.hex():
        raise InvalidInput("watch-network", str(path))
    return state


async def _post(session: aiohttp.ClientSession, webhook: str, path: Path) -> str:
    """What went wrong; empty: nothing."""
    headers = {"Content-Type": "application/json", "User-Agent": "tallystick"}
    try:
        data = await asyncio.to_thread(path.read_bytes)
        async with session.post(
            webhook, data=data, headers=headers, allow_redirects=False
        ) as response:
            return "" if 200 <= response.status < 300 else f"HTTP {response.status}"
    except TimeoutError:
        return f"{WEBHOOK_TIMEOUT_S} s"
    except (aiohttp.ClientError, OSError) as error:
        return f"{type(error).__name__}: {error}"
