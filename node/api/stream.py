"""Connections that stay open: submission by WebSocket, final blocks by server-sent events."""

import asyncio
from collections import OrderedDict

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from ledger.events import Event, hash_event
from ledger.registry import EXCHANGES
from ledger.state import exchange_key
from node.api.context import (
    NUMBER_MAX,
    Context,
    address_of,
    context_of,
    member_parameter,
    number_parameter,
    query_parameters,
)
from node.api.finality import Watch
from node.api.problems import Problem, unexpected
from node.api.schemas.log import StreamAnswer, block_body
from node.service import EventState, EventStatus, FinalBlock, Service

ANSWERS_PER_FRAME_MAX = 1_000
_ENCODED_BLOCKS_MAX = 64
_FRAME = msgspec.msgpack.Decoder(list[bytes])
_ANSWERS = msgspec.msgpack.Encoder()
_JSON = msgspec.json.Encoder()


async def submit_stream(request: web.Request) -> web.StreamResponse:
    """GET /v1/submit (WebSocket): frames of events in, frames of answers out.

    Each submitted event gets exactly one answer: at once if it is refused or already final, else
    with the block that makes it final. Reading stops while `stream_in_flight_max` events are
    unanswered, so a client that sends too much is slowed, never dropped.
    """
    context = context_of(request)
    socket = web.WebSocketResponse(
        max_msg_size=context.limits.stream_frame_bytes_max,
        timeout=context.limits.shutdown_s,
        heartbeat=2 * context.limits.heartbeat_s,
        compress=False,
    )
    if not socket.can_prepare(request):
        raise Problem("upgrade-required", headers={"Upgrade": "websocket"})
    await socket.prepare(request)
    session = _Submission(context, socket, address_of(request))
    code, reason = WSCloseCode.GOING_AWAY, b"node is stopping"
    try:
        async with context.waiting(None):
            await session.run()
            return socket
    except ConnectionError:
        return socket
    except TimeoutError:
        # The client does not read its answers: there is no room for a close frame either.
        request.protocol.force_close()
        return socket
    except Exception as error:
        context.metrics.on_error()
        code = WSCloseCode.INTERNAL_ERROR
        reason = f"internal-error {unexpected(error, request.path).error_id}".encode()
    await socket.close(code=code, message=reason)
    return socket


class _Submission:
    """One submission WebSocket: a reader that submits and a writer that answers."""

    def __init__(self, context: Context, socket: web.WebSocketResponse, client: str) -> None:
        self._context = context
        self._socket = socket
        self._client = client
        self._watch: Watch = context.hub.open()
        self._room = asyncio.Event()

    async def run(self) -> None:
        """Serve until the client leaves, breaks the protocol or does not read its answers."""
        writer = asyncio.create_task(self._write())
        reader = asyncio.create_task(self._read())
        try:
            await asyncio.wait((writer, reader), return_when=asyncio.FIRST_COMPLETED)
            for task in (writer, reader):
                if task.done():
                    task.result()
        finally:
            self._context.hub.close(self._watch)
            for task in (writer, reader):
                task.cancel()
            await asyncio.gather(writer, reader, return_exceptions=True)

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.BINARY:
                await self._refuse(WSCloseCode.UNSUPPORTED_DATA, "binary frames only")
                return
            try:
                events = _FRAME.decode(message.data)
            except (msgspec.DecodeError, RecursionError) as error:
                await self._refuse(WSCloseCode.INVALID_TEXT, f"body-malformed: {error}")
                return
            limit = self._context.limits.stream_in_flight_max
            if len(events) > min(limit, self._context.limits.batch_events_max):
                await self._refuse(WSCloseCode.MESSAGE_TOO_BIG, "batch-too-large")
                return
            while self._watch.size + len(events) > limit:
                self._room.clear()
                await self._room.wait()
            if events:
                await self._submit(events)

    async def _submit(self, events: list[bytes]) -> None:
        context = self._context
        context.hub.add(self._watch, map(hash_event, events))
        statuses = await context.service.submit(events, client=self._client)
        for status in statuses:
            context.hub.answer(self._watch, status)

    async def _write(self) -> None:
        while True:
            answers = await self._watch.take()
            for start in range(0, len(answers), ANSWERS_PER_FRAME_MAX):
                part = answers[start : start + ANSWERS_PER_FRAME_MAX]
                async with asyncio.timeout(self._context.limits.stream_send_timeout_s):
                    await self._socket.send_bytes(_ANSWERS.encode(list(map(_answer, part))))
                self._watch.release(len(part))
                self._room.set()

    async def _refuse(self, code: WSCloseCode, reason: str) -> None:
        # A close frame carries at most 123 bytes of reason (RFC 6455 section 5.5).
        await self._socket.close(code=code, message=reason.encode()[:123])


def _answer(status: EventStatus) -> StreamAnswer:
    return StreamAnswer(
        digest=status.digest,
        state="final" if status.state is EventState.FINAL else "refused",
        code=status.code,
        index=status.index,
        height=status.height,
        decision="" if status.outcome is None else status.outcome.decision,
        retry_after_s=status.retry_after_s,
    )


class BlockMessages:
    """Server-sent messages of blocks; unfiltered ones are encoded once for all readers."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._encoded: OrderedDict[int, bytes] = OrderedDict()

    def encode(self, block: FinalBlock, member: str) -> bytes:
        """The message of a block; with `member`, its exchanges and what all decide together."""
        height = block.header.height
        if member:
            return _message(
                height, _JSON.encode(block_body(block, lambda event: self._concerns(event, member)))
            )
        message = self._encoded.get(height)
        if message is None:
            message = _message(height, _JSON.encode(block_body(block)))
            self._encoded[height] = message
            if len(self._encoded) > _ENCODED_BLOCKS_MAX:
                self._encoded.popitem(last=False)
        return message

    def _concerns(self, event: Event, member: str) -> bool:
        if event.member == member or event.kind.startswith("governance."):
            return True
        value = self._service.state().get(exchange_key(event.exchange))
        if value is None:
            return getattr(event.body, "provider", "") == member
        exchange = EXCHANGES.decode(value)
        return member in (exchange.requester, exchange.provider)


def _message(height: int, data: bytes) -> bytes:
    return b"id: %d\nevent: block\ndata: %b\n\n" % (height, data)


BLOCK_MESSAGES = web.AppKey("block_messages", BlockMessages)


async def stream_blocks(request: web.Request) -> web.StreamResponse:
    """GET /v1/stream: final blocks, resumed after `Last-Event-ID`, with heartbeats."""
    context = context_of(request)
    member = member_parameter(query_parameters(request, "member"))
    last = request.headers.get("Last-Event-ID")
    first = (
        context.service.status().height
        if last is None
        else number_parameter(last, "Last-Event-ID", low=0, high=NUMBER_MAX)
    ) + 1
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream; charset=utf-8",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
    )
    await response.prepare(request)
    try:
        async with context.waiting(None):
            await _send_blocks(request, response, first, member)
        await response.write_eof()
    except ConnectionError:
        pass  # the reader left; there is nobody to tell
    return response


async def _send_blocks(
    request: web.Request, response: web.StreamResponse, first: int, member: str
) -> None:
    context = context_of(request)
    messages = request.app[BLOCK_MESSAGES]
    blocks = context.service.subscribe(first)
    await response.write(b"retry: 1000\n\n")
    upcoming = asyncio.ensure_future(anext(blocks))
    try:
        while True:
            done, _ = await asyncio.wait((upcoming,), timeout=context.limits.heartbeat_s)
            if not done:
                await response.write(b": heartbeat\n\n")
                continue
            block = upcoming.result()
            upcoming = asyncio.ensure_future(anext(blocks))
            async with asyncio.timeout(context.limits.stream_send_timeout_s):
                await response.write(messages.encode(block, member))
    except StopAsyncIteration:
        return
    except TimeoutError:
        # Only our own send timeout: that of `waiting` arrives here as a cancellation.
        request.protocol.force_close()
    finally:
        upcoming.cancel()
        await asyncio.gather(upcoming, return_exceptions=True)
