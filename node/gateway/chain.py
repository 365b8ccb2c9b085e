"""The own node's API: reads, the stream of final blocks, and the way of events to the ledger.

What the own node says is believed: it is the same agency's. What it answers is still bounded and
strictly parsed. A lost connection is a pause, never an end: reads raise `Failed` to be tried again,
the stream goes on after the last block, and events that got no answer are sent again.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import aiohttp
import msgspec
import structlog

from ledger.events import hash_event
from node.gateway.desk import now_ms
from node.gateway.jobs import UNREADABLE, Failed

LOG = structlog.get_logger("gateway")

CALL_S = 15.0
CLOCKS_APART_S_MAX = 60
ANSWER_BYTES_MAX = 33_554_432
RECONNECT_MIN_S, RECONNECT_MAX_S = 0.2, 10.0
HEARTBEAT_S_MAX = 60.0
# Of one frame to the node, well below what a node takes.
FRAME_EVENTS_MAX, FRAME_BYTES_MAX = 500, 2_097_152
PIECE_BYTES = 1 << 20
CACHE_S = 10.0


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """Where a member's gateway is, and the certificates (DER) that it may show."""

    member: str
    address: str
    certificates: tuple[bytes, ...]


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """What events are signed for."""

    network: bytes
    expiry_blocks_max: int


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an event; `decision` is empty where contracts were not asked."""

    digest: bytes
    state: str
    code: str
    index: int
    height: int
    decision: str = ""
    retry_after_s: int = 0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of a record on the stream."""

    applied: bool
    code: str
    decision: str
    obligations: dict[str, Any] | None = None


class StreamEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event on the stream; `body` has byte strings as hex digits."""

    digest: str
    kind: str
    member: str
    exchange: str
    body: dict[str, Any]


class StreamRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record on the stream."""

    index: int
    event: StreamEvent
    outcome: Outcome


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A final block; `records` are those of exchanges of the member that was asked for."""

    height: int
    time_ms: int
    records: tuple[StreamRecord, ...]


class _Changed(msgspec.Struct, frozen=True, kw_only=True):
    changed_ms: int


class _Holding(msgspec.Struct, frozen=True, kw_only=True):
    holder: str
    until_ms: int


class _Matters(msgspec.Struct, frozen=True, kw_only=True):
    holders: tuple[_Holding, ...]


class _Finding(msgspec.Struct, frozen=True, kw_only=True):
    code: str


class _Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    findings: tuple[_Finding, ...]


class History(msgspec.Struct, frozen=True, kw_only=True):
    """An exchange with its records, oldest first, and until when whoever may keep it."""

    state: _Changed
    matters: _Matters
    history: tuple[StreamRecord, ...]


_BLOCKS = msgspec.json.Decoder(Block)
_ANSWERS = msgspec.msgpack.Decoder(list[Answer])
_ENCODE = msgspec.msgpack.Encoder().encode
T = TypeVar("T")


def describe(error: BaseException) -> str:
    """What happened, also where the error says nothing but its type."""
    return str(error) or type(error).__name__


async def read_bounded(response: aiohttp.ClientResponse, size_bytes_max: int) -> bytes:
    """A whole answer; one byte more than the limit tells that it is larger."""
    pieces, size = [], 0
    async for piece in response.content.iter_chunked(PIECE_BYTES):
        pieces.append(piece)
        size += len(piece)
        if size > size_bytes_max:
            break
    return b"".join(pieces)[: size_bytes_max + 1]


def client_tls(ca: Path | None) -> ssl.SSLContext | bool:
    """TLS towards the own node: verified by its CA file, or by those of the system."""
    if ca is None:
        return True
    context = ssl.create_default_context(cafile=str(ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


class Chain:
    """The API of the own node. Use as `async with`; `run` must run for `submit` to answer."""

    def __init__(self, url: str, member: str, *, tls: ssl.SSLContext | bool = True) -> None:
        self.url = url.rstrip("/")
        self.member = member
        self._tls = tls
        self._open: aiohttp.ClientSession | None = None
        self._unsent: list[bytes] = []
        # As many as submit: the steps of `in_flight_max` jobs, and `asking.ENTERED_MAX` callers.
        self._waiting: dict[bytes, tuple[bytes, asyncio.Future[Answer]]] = {}
        self._wake = asyncio.Event()
        self._height = -1
        self._cache: dict[str, tuple[float, object]] = {}
        self._taller: asyncio.Future[None] | None = None

    async def __aenter__(self) -> "Chain":
        self._open = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=64, ssl=self._tls),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            read_bufsize=ANSWER_BYTES_MAX // 2,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._open is not None:
            await self._open.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open session."""
        assert self._open is not None, "use the chain with `async with`"
        return self._open

    async def get(self, path: str, shape: type[T]) -> T:
        """A JSON answer in its shape. Raises `Failed`."""
        return (await self._ask(path, shape))[0]

    async def _ask(self, path: str, shape: type[T]) -> tuple[T, str]:
        """The answer, and by what clock it was given (the header `Date`)."""
        try:
            async with self.session.get(
                self.url + path, timeout=aiohttp.ClientTimeout(total=CALL_S)
            ) as response:
                data = await read_bounded(response, ANSWER_BYTES_MAX)
                if response.status == 404:
                    raise Failed("node-not-found", path, retry=False)
                if response.status != 200:
                    raise Failed("node-refused", f"{path}: {response.status}")
                if len(data) > ANSWER_BYTES_MAX:
                    raise Failed("node-answer-malformed", f"{path}: > {ANSWER_BYTES_MAX}")
            return msgspec.json.decode(data, type=shape), response.headers.get("Date", "")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Failed("node-unreachable", f"{self.url}: {describe(error)}") from None
        except UNREADABLE as error:
            raise Failed("node-answer-malformed", f"{path}: {error}") from None

    async def pages(self, path: str) -> list[dict[str, Any]]:
        """All items of a paged list. Raises `Failed`."""
        items: list[dict[str, Any]] = []
        cursor = ""
        while True:
            joint = "&" if "?" in path else "?"
            more = f"{joint}limit=1000" + (f"&cursor={cursor}" if cursor else "")
            page = await self.get(path + more, dict[str, Any])
            items += page["items"]
            cursor = page["next"] or ""
            if not cursor:
                return items

    async def cached_pages(self, path: str) -> list[dict[str, Any]]:
        """The same; what was read in the last `CACHE_S` stands. Raises `Failed`."""
        return await self._cached(path, self.pages)

    async def read_member(self, member: str) -> dict[str, Any]:
        """A member with its keys, as it was at most `CACHE_S` ago. Raises `Failed`."""

        async def read(path: str) -> dict[str, Any]:
            return await self.get(path, dict[str, Any])

        return await self._cached(f"/v1/members/{member}", read)

    async def _cached(self, path: str, read: Callable[[str], Awaitable[T]]) -> T:
        now = asyncio.get_running_loop().time()
        read_s, found = self._cache.get(path, (-CACHE_S, None))
        if found is None or now - read_s >= CACHE_S:
            found = await read(path)
            self._cache[path] = now, found
        return cast(T, found)

    async def network(self) -> Network:
        """The network that the node is in. Raises `Failed`."""
        found = await self.get("/v1/network", dict[str, Any])
        return Network(
            network=bytes.fromhex(found["network"]),
            expiry_blocks_max=found["parameters"]["expiry_blocks_max"],
        )

    async def verify_clock(self) -> None:
        """Check this clock against the own node's, and that one against its peers'.

        Raises `Failed`.
        """
        found, told = await self._ask("/v1/diagnosis", _Diagnosis)
        try:
            told_s = parsedate_to_datetime(told).timestamp()
        except ValueError as error:
            raise Failed("node-answer-malformed", f"Date: {error}") from None
        codes = {each.code for each in found.findings}
        apart_s = round(abs(now_ms() / 1_000 - told_s))
        if apart_s > CLOCKS_APART_S_MAX or codes & {"clock-ahead", "clock-behind"}:
            raise Failed("clock-doubtful", f"{apart_s} s; {', '.join(sorted(codes))}")

    async def blocks(self, after_height: int) -> AsyncIterator[Block]:
        """Final blocks from the one after `after_height` on, for ever."""
        pause_s = RECONNECT_MIN_S
        while True:
            try:
                async for block in self._stream(after_height):
                    yield block
                    after_height, pause_s = block.height, RECONNECT_MIN_S
            # A line that is too long is a `ValueError` of the reader.
            except (
                aiohttp.ClientError, OSError, TimeoutError, ValueError, *UNREADABLE
            ) as error:  # fmt: skip
                LOG.warning("stream of the node broke", error=describe(error))
            # Nothing tells when a node is back.
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RECONNECT_MAX_S)

    def reached(self, height: int) -> None:
        """All records up to this height have been taken into account."""
        self._height = max(height, self._height)
        if self._taller is not None and not self._taller.done():
            self._taller.set_result(None)
        self._taller = None

    async def wait_height(self, height: int) -> None:
        """Wait until `reached` has told of a height."""
        while self._height < height:
            if self._taller is None:
                self._taller = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._taller)

    async def _stream(self, after_height: int) -> AsyncIterator[Block]:
        async with self.session.get(
            f"{self.url}/v1/stream?member={self.member}",
            headers={"Last-Event-ID": str(after_height)},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=HEARTBEAT_S_MAX),
        ) as response:
            response.raise_for_status()
            async for line in response.content:
                if line.startswith(b"data:"):
                    yield _BLOCKS.decode(line[5:])

    async def submit(self, event: bytes) -> Answer:
        """What became of an event: final, or refused. Waits as long as it takes."""
        digest = hash_event(event)
        if digest not in self._waiting:
            answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            answer.add_done_callback(lambda _: self._waiting.pop(digest, None))
            self._waiting[digest] = (event, answer)
            self._unsent.append(event)
            self._wake.set()
        # Who gives up does not take the answer from others who wait for it.
        return await asyncio.shield(self._waiting[digest][1])

    async def run(self) -> None:
        """Keep the submission stream open; events without an answer are sent again."""
        pause_s = RECONNECT_MIN_S
        while True:
            try:
                async with self.session.ws_connect(
                    f"{self.url}/v1/submit",
                    max_msg_size=ANSWER_BYTES_MAX,
                    compress=0,
                    heartbeat=HEARTBEAT_S_MAX / 2,
                ) as socket:
                    pause_s = RECONNECT_MIN_S
                    self._unsent = [event for event, _ in self._waiting.values()]
                    self._wake.set()
                    await self._exchange(socket)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                LOG.warning(
                    "submission to the node broke", error=str(error) or type(error).__name__
                )
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RECONNECT_MAX_S)

    async def _exchange(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        writer = asyncio.create_task(self._send(socket))
        try:
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.BINARY:
                    return
                for answer in _ANSWERS.decode(message.data):
                    self._resolve(answer)
        except UNREADABLE as error:
            LOG.warning("the node answered what cannot be read", error=str(error))
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    def _resolve(self, answer: Answer) -> None:
        event, future = self._waiting.get(answer.digest, (b"", None))
        if future is None or future.done():
            return
        if answer.retry_after_s:
            asyncio.get_running_loop().call_later(answer.retry_after_s, self._again, event)
        else:
            future.set_result(answer)

    def _again(self, event: bytes) -> None:
        if hash_event(event) in self._waiting:
            self._unsent.append(event)
            self._wake.set()

    async def _send(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._unsent:
                await socket.send_bytes(_ENCODE(self._take_frame()))

    def _take_frame(self) -> list[bytes]:
        """The next events to send: at least one, and no more than a node takes at once."""
        count, size_bytes = 0, 0
        for event in self._unsent[:FRAME_EVENTS_MAX]:
            size_bytes += len(event)
            if count and size_bytes > FRAME_BYTES_MAX:
                break
            count += 1
        frame, self._unsent = self._unsent[:count], self._unsent[count:]
        return frame
