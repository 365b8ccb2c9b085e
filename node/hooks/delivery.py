"""Delivery of final records to one hook: in order, at least once, until it is taken.

Each hook has its own task, connection and cursor. The cursor is durable before the next record is
sent: after a crash the last one may come twice, with the same `webhook-id`. A hook that does not
answer is tried again for ever, ever more slowly; it holds nothing in memory meanwhile, since the
records are read from the log.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import aiohttp
import msgspec
import structlog

from ledger.events import Event
from ledger.export.cloudevents import CONTENT_TYPE, CloudEvent, cloud_event, encode_cloud_event
from ledger.registry import EXCHANGES
from ledger.state import StateReader, exchange_key
from ledger.storage import write_file
from node.errors import StartRefused
from node.hooks.settings import Hook
from node.hooks.signing import sign_delivery
from node.service import FinalBlock, Service

LOG = structlog.get_logger("hooks")

TIMEOUT_S = 15
PAUSE_S_MIN = 1.0
PAUSE_S_MAX = 300.0
RETRY_AFTER_S_MAX = 3_600
ERROR_CHARS_MAX = 200
# So many blocks that hold nothing for the hook may be read again after a crash.
UNSAVED_BLOCKS_MAX = 1_000


class _Cursor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to go on: the block, and the last record that needs nothing more; -1: none."""

    height: int
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HookState:
    """A hook as seen from outside. `failures` counts attempts since the last success."""

    id: str
    height: int
    delivered: int
    failures: int
    last_error: str
    last_delivered_ms: int


class HookStates(Protocol):
    """All hooks of a node."""

    def states(self) -> tuple[HookState, ...]:
        """One for each, in the order of the file."""


class Delivery:
    """One hook, its cursor in `folder` and its attempts. `random_share` is from 0 to 1."""

    def __init__(
        self,
        hook: Hook,
        folder: Path,
        *,
        pause_s_min: float = PAUSE_S_MIN,
        random_share: Callable[[], float] = random.random,
    ) -> None:
        self._hook = hook
        self._path = folder / f"{hook.id}.json"
        self._pause_s_min = pause_s_min
        self._random_share = random_share
        self._cursor = _read_cursor(self._path)
        self._unsaved_blocks = 0
        self._delivered = 0
        self._failures = 0
        self._last_error = ""
        self._last_delivered_ms = 0

    def state(self) -> HookState:
        """How it stands."""
        return HookState(
            id=self._hook.id,
            height=0 if self._cursor is None else self._cursor.height,
            delivered=self._delivered,
            failures=self._failures,
            last_error=self._last_error,
            last_delivered_ms=self._last_delivered_ms,
        )

    async def run(self, service: Service) -> None:
        """Deliver until cancelled."""
        if self._cursor is None:
            start = self._hook.from_height or service.status().height + 1
            await self._save(_Cursor(height=start, index=-1))
        assert self._cursor is not None, "saved above, or read"
        connector = aiohttp.TCPConnector(limit=1, ssl=self._hook.tls)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            try:
                async for block in service.subscribe(self._cursor.height):
                    await self._handle(service, session, block)
            finally:
                write_file(self._path, msgspec.json.encode(self._cursor))

    async def _handle(
        self, service: Service, session: aiohttp.ClientSession, block: FinalBlock
    ) -> None:
        height = block.header.height
        for record in block.records:
            assert self._cursor is not None, "set before the first block"
            if record.index <= self._cursor.index:
                continue
            if is_wanted(self._hook, record.event, service.state()):
                found = cloud_event(
                    network=service.network,
                    index=record.index,
                    height=height,
                    time_ms=block.header.time_ms,
                    event=record.event,
                    outcome=record.outcome,
                )
                await self._deliver(session, found)
                await self._save(_Cursor(height=height, index=record.index))
        last = block.records[-1].index if block.records else block.first_index - 1
        self._cursor = _Cursor(height=height + 1, index=last)
        self._unsaved_blocks += 1
        if self._unsaved_blocks >= UNSAVED_BLOCKS_MAX:
            await self._save(self._cursor)

    async def _deliver(self, session: aiohttp.ClientSession, event: CloudEvent) -> None:
        """Send until it is taken."""
        body = encode_cloud_event(event)
        while True:
            error, retry_after_s = await self._attempt(session, event.id, body)
            if not error:
                break
            self._failures += 1
            self._last_error = error
            if self._failures == 1:
                LOG.warning("hook does not take records", hook=self._hook.id, error=error)
            await asyncio.sleep(max(self._pause_s(), retry_after_s))
        if self._failures:
            LOG.info("hook takes records again", hook=self._hook.id, failures=self._failures)
        self._failures, self._last_error = 0, ""
        self._delivered += 1
        self._last_delivered_ms = time.time_ns() // 1_000_000

    async def _attempt(
        self, session: aiohttp.ClientSession, id_: str, body: bytes
    ) -> tuple[str, int]:
        """What went wrong, empty: nothing; and the seconds that the receiver asks to wait."""
        signed = sign_delivery(self._hook.secret, id_=id_, timestamp_s=int(time.time()), body=body)
        headers = {"Content-Type": CONTENT_TYPE, "User-Agent": "tallystick", **signed}
        try:
            async with session.post(
                self._hook.url, data=body, headers=headers, allow_redirects=False
            ) as response:
                if 200 <= response.status < 300:
                    return "", 0
                return f"HTTP {response.status}", _retry_after_s(response)
        except TimeoutError:
            return f"no answer within {TIMEOUT_S} s", 0
        except (aiohttp.ClientError, OSError) as error:
            return f"{type(error).__name__}: {error}"[:ERROR_CHARS_MAX], 0

    def _pause_s(self) -> float:
        """Twice as long after each failure, at most; up to half less by chance."""
        doubled: float = self._pause_s_min * 2.0 ** min(self._failures - 1, 32)
        return min(doubled, PAUSE_S_MAX) * (0.5 + self._random_share() / 2)

    async def _save(self, cursor: _Cursor) -> None:
        await asyncio.to_thread(write_file, self._path, msgspec.json.encode(cursor))
        self._cursor = cursor
        self._unsaved_blocks = 0


class Hooks:
    """All hooks of a node."""

    def __init__(self, hooks: tuple[Hook, ...], folder: Path) -> None:
        if hooks:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._deliveries = [Delivery(hook, folder) for hook in hooks]

    def states(self) -> tuple[HookState, ...]:
        """One for each, in the order of the file."""
        return tuple(delivery.state() for delivery in self._deliveries)

    async def run(self, service: Service) -> None:
        """Deliver until cancelled; without hooks there is nothing to do until then."""
        if not self._deliveries:
            await asyncio.Event().wait()
        try:
            async with asyncio.TaskGroup() as group:
                for delivery in self._deliveries:
                    group.create_task(delivery.run(service))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None


def is_wanted(hook: Hook, event: Event, state: StateReader) -> bool:
    """Whether a record fits every filter of a hook; `state` holds its block already."""
    if hook.kinds and event.kind not in hook.kinds:
        return False
    if hook.exchange and event.exchange != hook.exchange:
        return False
    if hook.member is None and hook.pair is None:
        return True
    value = state.get(exchange_key(event.exchange)) if event.exchange else None
    if value is None:
        # It belongs to no exchange, or it was refused before there was one.
        return hook.pair is None and event.member == hook.member
    exchange = EXCHANGES.decode(value)
    parties = (exchange.requester, exchange.provider)
    if hook.pair is not None and hook.pair != parties:
        return False
    return hook.member is None or hook.member in (event.member, *parties)


def _retry_after_s(response: aiohttp.ClientResponse) -> int:
    text = response.headers.get("Retry-After", "")
    is_number = text.isascii() and text.isdigit() and len(text) <= 9
    return min(int(text), RETRY_AFTER_S_MAX) if is_number else 0


def _read_cursor(path: Path) -> _Cursor | None:
    """The stored cursor; None for a new hook. Raises `StartRefused`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Cursor)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise StartRefused("start-hook-cursor", path=path, reason=error) from None
