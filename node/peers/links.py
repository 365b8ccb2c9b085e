"""Links between nodes: WebSockets over TLS 1.3, both ends with certificates pinned in genesis.

Each node dials every other node twice: one connection for consensus (votes, certificates,
cosignatures), one for bulk (events, blocks, catch-up), so a vote never waits behind a large
message. A node sends on the connections that it dialled and receives on those that it accepted.
A lost connection is dialled again with growing pauses, at most `RECONNECT_MAX_S`.

Every queue is bounded. When a peer is slower than its queue, the oldest message is dropped and
counted: consensus repeats itself (CONSENSUS R10) and events are fetched on demand, so nothing is
lost, only late.
"""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import aiohttp
import structlog
from aiohttp import web

from node.config import Address
from node.errors import StartRefused

LOG = structlog.get_logger("links")

FRAME_BYTES_MAX = 16 * 1024 * 1024
CONSENSUS_FRAMES_MAX = 4_096
BULK_BYTES_MAX = 64 * 1024 * 1024
RECONNECT_MIN_S = 0.05
RECONNECT_MAX_S = 2.0
HEARTBEAT_S = 15.0


class Channel(IntEnum):
    """The two connections to a peer."""

    CONSENSUS = 0
    BULK = 1


PATHS = {Channel.CONSENSUS: "/v1/link/consensus", Channel.BULK: "/v1/link/bulk"}


@dataclass(slots=True)
class _Outgoing:
    """Frames that wait for one connection; `ready` wakes its writer."""

    frames: deque[bytes] = field(default_factory=deque)
    size_bytes: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    dropped: int = 0
    is_connected: bool = False

    def push(self, frame: bytes, channel: Channel) -> None:
        self.frames.append(frame)
        self.size_bytes += len(frame)
        while (
            self.size_bytes > BULK_BYTES_MAX
            if channel is Channel.BULK
            else len(self.frames) > CONSENSUS_FRAMES_MAX
        ):
            self.size_bytes -= len(self.frames.popleft())
            self.dropped += 1
        self.ready.set()

    def pop(self) -> bytes:
        frame = self.frames.popleft()
        self.size_bytes -= len(frame)
        return frame


class Links:
    """All links of one node. Peers are validator indexes.

    `on_frame(peer, channel, frame)` and `on_connected(peer)` are called in the event loop.
    """

    def __init__(
        self,
        *,
        me: int,
        certificates: Mapping[int, bytes],
        addresses: Mapping[int, Address],
        listen: Address,
        certificate_file: str,
        key_file: str,
        on_frame: Callable[[int, Channel, bytes], None],
        on_connected: Callable[[int], None],
    ) -> None:
        self._me = me
        self._certificates = dict(certificates)
        self._peer_of = {der: index for index, der in certificates.items() if index != me}
        self._addresses = dict(addresses)
        self._listen = listen
        self._certificate_file = certificate_file
        self._key_file = key_file
        self._on_frame = on_frame
        self._on_connected = on_connected
        self._outgoing = {
            (peer, channel): _Outgoing() for peer in self._addresses for channel in Channel
        }
        self._heard_ms: dict[int, int] = {}
        self._accepted: dict[tuple[int, Channel], web.WebSocketResponse] = {}
        self._transports: dict[tuple[int, Channel], asyncio.Transport] = {}
        self._runner: web.AppRunner | None = None

    def send(self, peer: int | None, channel: Channel, frame: bytes) -> None:
        """Queue a frame for one peer, or for all (`peer` None). Never blocks."""
        peers = self._addresses if peer is None else (peer,)
        for index in peers:
            outgoing = self._outgoing.get((index, channel))
            if outgoing is not None:
                outgoing.push(frame, channel)

    def is_connected(self, peer: int) -> bool:
        """Whether both connections to the peer are up."""
        return all(self._outgoing[peer, channel].is_connected for channel in Channel)

    def silent_ms(self, peer: int) -> int:
        """Milliseconds since the last frame of the peer; -1 when none came yet."""
        heard_ms = self._heard_ms.get(peer)
        return -1 if heard_ms is None else time.monotonic_ns() // 1_000_000 - heard_ms

    def dropped_frames(self) -> int:
        """Frames dropped since start because a peer was too slow."""
        return sum(outgoing.dropped for outgoing in self._outgoing.values())

    async def listen(self) -> None:
        """Start accepting peers. Raises `StartRefused` when the port is taken."""
        app = web.Application(client_max_size=FRAME_BYTES_MAX)
        for channel, path in PATHS.items():
            app.router.add_get(path, self._acceptor(channel))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(
            self._runner,
            self._listen.host,
            self._listen.port,
            ssl_context=self._server_context(),
        )
        try:
            await site.start()
        except OSError as error:
            raise StartRefused(
                f"the peer address {self._listen} cannot be used: {error.strerror}",
                "Stop the program that holds the port, or set another [peers] listen",
            ) from None

    async def run(self) -> None:
        """Dial every peer and keep the connections up until cancelled."""
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for peer, channel in self._outgoing:
                group.create_task(self._keep(session, peer, channel))

    async def close(self) -> None:
        """Close the listener and all accepted connections."""
        for socket in tuple(self._accepted.values()):
            await socket.close(code=aiohttp.WSCloseCode.GOING_AWAY)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _keep(self, session: aiohttp.ClientSession, peer: int, channel: Channel) -> None:
        """Dial one connection for ever, with growing pauses between failures."""
        outgoing = self._outgoing[peer, channel]
        address = self._addresses[peer]
        context = self._client_context(peer)
        pause_s = RECONNECT_MIN_S
        while True:
            try:
                async with session.ws_connect(
                    f"https://{address.host}:{address.port}{PATHS[channel]}",
                    ssl=context,
                    heartbeat=HEARTBEAT_S,
                    max_msg_size=FRAME_BYTES_MAX,
                    compress=0,
                    timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                ) as socket:
                    pause_s = RECONNECT_MIN_S
                    await self._talk(socket, outgoing, peer)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                LOG.debug("peer unreachable", peer=peer, channel=channel.name, error=str(error))
            finally:
                outgoing.is_connected = False
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RECONNECT_MAX_S)

    async def _talk(
        self, socket: aiohttp.ClientWebSocketResponse, outgoing: _Outgoing, peer: int
    ) -> None:
        """Write queued frames until the connection ends."""
        outgoing.is_connected = True
        if self.is_connected(peer):
            LOG.info("peer connected", peer=peer)
            self._on_connected(peer)
        reader = asyncio.create_task(socket.receive())
        try:
            while not reader.done():
                while outgoing.frames:
                    await socket.send_bytes(outgoing.pop())
                outgoing.ready.clear()
                waiter = asyncio.create_task(outgoing.ready.wait())
                await asyncio.wait((reader, waiter), return_when=asyncio.FIRST_COMPLETED)
                waiter.cancel()
        finally:
            reader.cancel()

    def _acceptor(self, channel: Channel) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def accept(request: web.Request) -> web.StreamResponse:
            peer = self._identify(request)
            if peer is None:
                return web.Response(status=403, text="certificate is not pinned in this network")
            socket = web.WebSocketResponse(
                max_msg_size=FRAME_BYTES_MAX, heartbeat=HEARTBEAT_S, compress=False
            )
            await socket.prepare(request)
            if request.transport is None:
                return socket  # gone while it was being answered
            self._replace((peer, channel), socket, request.transport)
            try:
                async for message in socket:
                    if message.type is not aiohttp.WSMsgType.BINARY:
                        break
                    self._heard_ms[peer] = time.monotonic_ns() // 1_000_000
                    self._on_frame(peer, channel, message.data)
            finally:
                if self._accepted.get((peer, channel)) is socket:
                    del self._accepted[peer, channel], self._transports[peer, channel]
            return socket

        return accept

    def _replace(
        self,
        place: tuple[int, Channel],
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
    ) -> None:
        """One connection per peer and channel: the newest; an older one is a dead one."""
        former = self._transports.get(place)
        self._accepted[place], self._transports[place] = socket, transport
        if former is not None:
            former.abort()

    def _identify(self, request: web.Request) -> int | None:
        """Validator index of the client's certificate, by exact equality with the pinned one."""
        transport = request.transport
        tls = transport.get_extra_info("ssl_object") if transport is not None else None
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        return self._peer_of.get(certificate) if certificate is not None else None

    def _server_context(self) -> ssl.SSLContext:
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        for index, der in sorted(self._certificates.items()):
            if index != self._me:
                context.load_verify_locations(cadata=der)
        return context

    def _client_context(self, peer: int) -> ssl.SSLContext:
        context = self._context(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self._certificates[peer])
        return context

    def _context(self, protocol: "ssl._SSLMethod") -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # peers are pinned by certificate, not by name
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        context.load_cert_chain(self._certificate_file, self._key_file)
        return context
