"""Where copies come from: nodes, and web servers with the files of a mirror. None is believed.

Every answer is judged by whoever asked. A source whose bytes do not verify is named, dropped, and
never asked again; one that does not answer is asked last; one that is slow gets less to do, and
what it owes is asked of another as well.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TypeVar

from ledger.errors import LedgerError
from ledger.genesis import Genesis
from ledger.quorum.epochs import EPOCH_PROOFS, EpochChain
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import SignedNote
from tools.client import Client
from tools.exits import InvalidAnswer, NotFound, ToolError, Unreachable
from tools.output import note, printable
from tools.words import say, tell_detail

T = TypeVar("T")

# After so long another source is asked as well.
HEDGE_S = 2.0
ROUNDS_MAX = 4
PAUSE_S = 0.25
# How much the newest answer counts in the mean time of a source.
SHARE = 0.2
LATE_S = 1_000.0

_NODE_ROUTES = {
    "genesis.json": "/v1/genesis",
    "genesis.signatures.json": "/v1/genesis/signatures",
}


class Source:
    """One node, or a web server that has the files of a mirror under `url`."""

    def __init__(self, url: str, genesis: Genesis) -> None:
        self.url = url.rstrip("/")
        self.client = Client(url, genesis)
        self.is_node = True
        self._running = 0
        self._mean_s = 0.0
        self._failures = 0

    @property
    def cost(self) -> tuple[float, int]:
        """What asking it next would take, for choosing among sources."""
        late_s = LATE_S * self._failures
        return late_s + (self._running + 1) * self._mean_s, self._running

    async def get(self, name: str) -> bytes:
        """Unverified bytes of a file of the mirror. Raises `NotFound`, `Unreachable`."""
        started_s = time.monotonic()
        self._running += 1
        try:
            data = await self.client.get_bytes(self._path(name))
        except Unreachable:
            self._failures += 1
            raise
        except NotFound as error:
            # A node says why in its own words; a web server has none for what a log is.
            if self.is_node:
                raise
            raise NotFound("file-not-served", f"{self.url}/{name}: {error.detail}") from None
        finally:
            self._running -= 1
            self._mean_s += SHARE * (time.monotonic() - started_s - self._mean_s)
        self._failures = 0
        return data

    async def get_checkpoint(self) -> bytes:
        """Its newest checkpoint, unverified; finds out whether this is a node."""
        if self.is_node:
            try:
                return await self.get("checkpoint")
            except NotFound:
                self.is_node = False
        return await self.get("checkpoint")

    def _path(self, name: str) -> str:
        if not self.is_node:
            return f"/{name}"
        if name.startswith("epochs/"):
            return f"/v1/log/{name}"
        return _NODE_ROUTES.get(name, f"/log/{name}")


class Sources:
    """Several sources of one log. Use as `async with`."""

    def __init__(self, urls: Sequence[str], genesis: Genesis) -> None:
        self.all = [Source(url, genesis) for url in dict.fromkeys(urls)]
        self._dropped: dict[Source, ToolError] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Sources":
        for source in self.all:
            await self._stack.enter_async_context(source.client)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    @property
    def usable(self) -> list[Source]:
        """Those not caught lying, the best one first."""
        return sorted(
            (source for source in self.all if source not in self._dropped),
            key=lambda source: source.cost,
        )

    @property
    def dropped(self) -> tuple[str, ...]:
        """Addresses of those that were caught."""
        return tuple(source.url for source in self._dropped)

    def drop(self, source: Source, fault: ToolError) -> None:
        """Ask it no more, and say why."""
        if source not in self._dropped:
            self._dropped[source] = fault
            if len(self.all) > 1:
                told = tell_detail(fault.code, fault.detail)
                note(printable(say("audit.source_dropped", url=source.url, fault=told)))

    async def fetch(self, names: Sequence[str], take: Callable[[list[bytes]], T]) -> T:
        """What `take` makes of these files, all of them from one source.

        `take` raises `LedgerError` for bytes that are not of the log: then their source is dropped.
        Raises `InvalidAnswer` when all are, `NotFound`, `Unreachable`.
        """
        for pause in range(1, ROUNDS_MAX):
            try:
                return await self._ask_all(names, take)
            except Unreachable:
                await asyncio.sleep(PAUSE_S * 2**pause)
        return await self._ask_all(names, take)

    async def _ask_all(self, names: Sequence[str], take: Callable[[list[bytes]], T]) -> T:
        """One round: the best source first, the next when one fails or lets us wait."""
        waiting = self.usable
        running: dict[asyncio.Task[list[bytes]], Source] = {}
        faults: list[ToolError] = list(self._dropped.values())
        try:
            while waiting or running:
                if waiting:
                    source = waiting.pop(0)
                    running[asyncio.create_task(_get_all(source, names))] = source
                done, _ = await asyncio.wait(
                    running,
                    timeout=HEDGE_S if waiting else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    source = running.pop(task)
                    try:
                        return take(task.result())
                    except LedgerError as error:
                        fault = InvalidAnswer("tiles-invalid", f"{source.url}: {error}")
                        self.drop(source, fault)
                        faults.insert(0, fault)
                    except ToolError as error:
                        faults.insert(0, error)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        # Whoever did not answer may have had it; a missing file is no lie.
        raise min(faults, key=_gravity)


def _gravity(fault: ToolError) -> int:
    return 0 if isinstance(fault, Unreachable) else 1 if isinstance(fault, NotFound) else 2


async def _get_all(source: Source, names: Sequence[str]) -> list[bytes]:
    return [await source.get(name) for name in names]


async def extend_epochs(source: Source, epochs: EpochChain) -> None:
    """Extend `epochs` by every proof that the source has. Raises `InvalidAnswer` for a bad one."""
    while True:
        epoch = epochs.epoch
        try:
            data = await source.get(f"epochs/{epoch}")
        except NotFound:
            return
        except Unreachable as error:
            if error.code == "epoch-proof-not-yet":
                return
            raise
        if epochs.epoch != epoch:
            continue  # by another source, while this one was asked
        try:
            epochs.add(EPOCH_PROOFS.decode(data))
        except LedgerError as error:
            raise InvalidAnswer("epoch-invalid", f"{source.url}: {epoch}: {error}") from None


async def verify_checkpoint_of(source: Source, data: bytes, epochs: EpochChain) -> Checkpoint:
    """The checkpoint in a note that a quorum of its epoch cosigned.

    Where a newer epoch may explain the note, the source is asked for its proof. Raises
    `InvalidAnswer`, `Unreachable`.
    """
    try:
        signed = SignedNote.parse(data)
        size = Checkpoint.parse(signed.text).size
        try:
            return epochs.policy_for(size).verify(signed)
        except LedgerError:
            known = epochs.epoch
            await extend_epochs(source, epochs)
            if epochs.epoch == known:
                raise
        return epochs.policy_for(size).verify(signed)
    except LedgerError as error:
        raise InvalidAnswer("checkpoint-invalid", f"{source.url}: {error}") from None
