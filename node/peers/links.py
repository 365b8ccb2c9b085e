"""Links between nodes: WebSockets over TLS 1.3, both ends with certificates pinned on the ledger.

Each node dials every other node twice: one connection for consensus (votes, certificates,
cosignatures), one for bulk (events, blocks, catch-up), so a vote never waits behind a large
message. A node sends on the connections that it dialled and receives on those that it accepted.
A lost connection is dialled again with growing pauses, at most `RECONNECT_MAX_S`.

TCP alone notices a dead line after minutes, and when the line is back it waits as long again as it
was dead. So a consensus connection whose pings stay unanswered is given up, the bulk connection to
that peer with it, and both are dialled anew, each attempt for at most `DIAL_S_MAX`.

Every queue is bounded. When a peer is slower than its queue, the oldest message is dropped and
counted: consensus repeats itself (CONSENSUS R10) and events are fetched on demand, so nothing is
lost, only late.
"""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum

import aiohttp
import structlog
from aiohttp import web

from node.config import Address
from node.errors import StartRefused
from node.peers.software import Software, own_software, read_software
from node.peers.tls import pinned_tls

LOG = structlog.get_logger("links")

FRAME_BYTES_MAX = 16 * 1024 * 1024
CONSENSUS_FRAMES_MAX = 4_096
BULK_BYTES_MAX = 64 * 1024 * 1024
RECONNECT_MIN_S = 0.05
RECONNECT_MAX_S = 0.5
# A connection that ends sooner was no success: two nodes with one key cut each other off.
LASTING_S = 5.0
# TCP, TLS and HTTP take three round trips, and TCP repeats its first packet after 1 and 3 s.
DIAL_S_MAX = 4.0
HANG_UP_S_MAX = 0.5
# A lost connection is replaced once; those of two machines with one key, again and again.
REPLACED_MAX = 5
REPLACED_WINDOW_S = 30.0
HEARTBEAT_S = 15.0


class Channel(IntEnum):
    """The two connections to a peer."""

    CONSENSUS = 0
    BULK = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another node: its member, pinned certificates (DER), and where to dial it, if known."""

    member: str
    certificates: tuple[bytes, ...]
    address: Address | None


# A ping that is not answered in half of this time ends a connection. Consensus messages are small:
# an answer takes a round trip, longer only from a busy node. Bulk may fill a slow line for long.
PING_S = {Channel.CONSENSUS: 4.0, Channel.BULK: HEARTBEAT_S}
PATHS = {Channel.CONSENSUS: "/v1/link/consensus", Channel.BULK: "/v1/link/bulk"}


@dataclass(slots=True)
class _Outgoing:
    """Frames that wait for one connection; `ready` wakes its writer, `is_dead` ends it."""

    frames: deque[bytes] = field(default_factory=deque)
    size_bytes: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    is_dead: asyncio.Event = field(default_factory=asyncio.Event)
    dropped: int = 0
    dropped_ms: int = 0
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
            self.dropped_ms = time.monotonic_ns() // 1_000_000
        self.ready.set()

    def pop(self) -> bytes:
        frame = self.frames.popleft()
        self.size_bytes -= len(frame)
        return frame


async def _write(socket: aiohttp.ClientWebSocketResponse, outgoing: _Outgoing) -> None:
    """Send what is queued, for ever. Raises when the connection has ended."""
    while True:
        while outgoing.frames:
            await socket.send_bytes(outgoing.pop())
        outgoing.ready.clear()
        await outgoing.ready.wait()


class Links:
    """All links of one node. A peer is named by its member id.

    `on_frame(peer, channel, frame)` and `on_connected(peer)` are called in the event loop.
    """

    def __init__(
        self,
        *,
        peers: Iterable[Peer],
        listen: Address,
        certificate_file: str,
        key_file: str,
        on_frame: Callable[[str, Channel, bytes], None],
        on_connected: Callable[[str], None],
        software: Software | None = None,
    ) -> None:
        self._listen = listen
        self._certificate_file = certificate_file
        self._key_file = key_file
        self._on_frame = on_frame
        self._on_connected = on_connected
        self._software = software or own_software()
        self._software_of: dict[str, Software] = {}
        self._peers: dict[str, Peer] = {}
        self._member_of: dict[bytes, str] = {}
        self._outgoing: dict[tuple[str, Channel], _Outgoing] = {}
        self._dialling: dict[tuple[str, Channel], asyncio.Task[None]] = {}
        self._heard_ms: dict[str, int] = {}
        self._accepted: dict[tuple[str, Channel], web.WebSocketResponse] = {}
        self._transports: dict[tuple[str, Channel], asyncio.Transport] = {}
        self._replaced_s: dict[str, deque[float]] = {}
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._failed: asyncio.Future[None] | None = None
        self._dropped_before = 0
        self._server_tls = self._tls(ssl.PROTOCOL_TLS_SERVER, ())
        self.set_peers(peers)

    @property
    def members(self) -> tuple[str, ...]:
        """Members of all peers, in order."""
        return tuple(self._peers)

    def set_peers(self, peers: Iterable[Peer]) -> None:
        """Speak with exactly these peers from now on.

        Connections of others are cut; a peer whose certificates or address changed is dialled anew.
        """
        wanted = {peer.member: peer for peer in sorted(peers, key=lambda each: each.member)}
        for member, peer in self._peers.items():
            if wanted.get(member) != peer:
                self._remove(peer, is_gone=member not in wanted)
        added = [peer for member, peer in wanted.items() if self._peers.get(member) != peer]
        self._peers = wanted
        self._member_of = {
            certificate: peer.member
            for peer in wanted.values()
            for certificate in peer.certificates
        }
        for peer in added:
            for certificate in peer.certificates:
                # Who was trusted once stays in the TLS context; `_identify` decides who is a peer.
                self._server_tls.load_verify_locations(cadata=certificate)
            for channel in Channel:
                if peer.address is not None:
                    self._outgoing.setdefault((peer.member, channel), _Outgoing())
                    self._dial(peer, channel)

    def _remove(self, peer: Peer, *, is_gone: bool) -> None:
        for channel in Channel:
            place = (peer.member, channel)
            dialling = self._dialling.pop(place, None)
            if dialling is not None:
                dialling.cancel()
            transport = self._transports.get(place)
            if transport is not None:
                transport.abort()
            if is_gone and place in self._outgoing:
                self._dropped_before += self._outgoing.pop(place).dropped
        if is_gone:
            self._heard_ms.pop(peer.member, None)

    def send(self, peer: str | None, channel: Channel, frame: bytes) -> None:
        """Queue a frame for one peer, or for all (`peer` None). Never blocks."""
        members = self._peers if peer is None else (peer,)
        for member in members:
            outgoing = self._outgoing.get((member, channel))
            if outgoing is not None:
                outgoing.push(frame, channel)

    def is_connected(self, peer: str) -> bool:
        """Whether both connections to the peer are up."""
        both = (self._outgoing.get((peer, channel)) for channel in Channel)
        return all(outgoing is not None and outgoing.is_connected for outgoing in both)

    def silent_ms(self, peer: str) -> int:
        """Milliseconds since the last frame of the peer; -1 when none came yet."""
        heard_ms = self._heard_ms.get(peer)
        return -1 if heard_ms is None else time.monotonic_ns() // 1_000_000 - heard_ms

    def dropped_frames(self) -> int:
        """Frames dropped since start because a peer was too slow."""
        return self._dropped_before + sum(each.dropped for each in self._outgoing.values())

    def last_drop_ms(self) -> int:
        """Monotonic time of the last dropped frame; 0 when none was."""
        return max((each.dropped_ms for each in self._outgoing.values()), default=0)

    def software_of(self, peer: str) -> Software | None:
        """What the peer said that it runs when it connected; None when it said nothing."""
        return self._software_of.get(peer)

    def address_of(self, peer: str) -> str:
        """Where the peer is dialled; empty when it has no address here."""
        known = self._peers.get(peer)
        return "" if known is None or known.address is None else str(known.address)

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
            ssl_context=self._server_tls,
        )
        try:
            await site.start()
        except OSError as error:
            raise StartRefused(
                "start-peer-address", address=str(self._listen), reason=error
            ) from None

    async def run(self) -> None:
        """Dial every peer and keep the connections up until cancelled."""
        self._failed = asyncio.get_running_loop().create_future()
        async with aiohttp.ClientSession() as session:
            self._session = session
            try:
                for member, channel in self._outgoing:
                    self._dial(self._peers[member], channel)
                await self._failed
            finally:
                self._session = None
                dialling, self._dialling = tuple(self._dialling.values()), {}
                for task in dialling:
                    task.cancel()
                await asyncio.gather(*dialling, return_exceptions=True)

    def _dial(self, peer: Peer, channel: Channel) -> None:
        """Keep one connection up from now on; before `run` there is nothing to do."""
        if self._session is None:
            return
        task = asyncio.get_running_loop().create_task(self._keep(self._session, peer, channel))
        self._dialling[peer.member, channel] = task
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """No death is swallowed: what ends a connection for good ends `run`."""
        if task.cancelled() or self._failed is None or self._failed.done():
            return
        if (error := task.exception()) is not None:
            self._failed.set_exception(error)

    async def close(self) -> None:
        """Close the listener and all accepted connections."""
        for socket in tuple(self._accepted.values()):
            await socket.close(code=aiohttp.WSCloseCode.GOING_AWAY)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _keep(self, session: aiohttp.ClientSession, peer: Peer, channel: Channel) -> None:
        """Dial one connection for ever, with growing pauses between failures."""
        address = peer.address
        assert address is not None, "only peers with an address are dialled"
        context = self._tls(ssl.PROTOCOL_TLS_CLIENT, peer.certificates)
        url = f"https://{address}{PATHS[channel]}"
        loop = asyncio.get_running_loop()
        pause_s = RECONNECT_MIN_S
        while True:
            started_s = loop.time()
            try:
                async with asyncio.timeout(DIAL_S_MAX):
                    socket = await session.ws_connect(
                        url,
                        ssl=context,
                        heartbeat=PING_S[channel],
                        max_msg_size=FRAME_BYTES_MAX,
                        compress=0,
                        headers=self._software.headers(),
                    )
                await self._talk(socket, peer.member, channel)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                LOG.debug(
                    "peer unreachable", peer=peer.member, channel=channel.name, error=str(error)
                )
            has_lasted = loop.time() - started_s > LASTING_S
            pause_s = RECONNECT_MIN_S if has_lasted else min(pause_s * 2, RECONNECT_MAX_S)
            await asyncio.sleep(pause_s)

    async def _talk(
        self, socket: aiohttp.ClientWebSocketResponse, peer: str, channel: Channel
    ) -> None:
        """Write queued frames until the connection ends or is found dead."""
        outgoing = self._outgoing[peer, channel]
        outgoing.is_connected = True
        outgoing.is_dead.clear()
        if self.is_connected(peer):
            LOG.info("peer connected", peer=peer)
            self._on_connected(peer)
        parts = [
            asyncio.create_task(each)
            for each in (socket.receive(), _write(socket, outgoing), outgoing.is_dead.wait())
        ]
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            outgoing.is_connected = False
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            if isinstance(socket.exception(), aiohttp.ServerTimeoutError):
                self._give_up(peer)
            try:
                async with asyncio.timeout(HANG_UP_S_MAX):
                    await socket.close()
            except TimeoutError:
                pass  # saying goodbye does not wait for a dead line

    def _give_up(self, peer: str) -> None:
        """End all connections to a peer that answers no more; they are dialled anew."""
        LOG.info("peer silent", peer=peer)
        for channel in Channel:
            if (outgoing := self._outgoing.get((peer, channel))) is not None:
                outgoing.is_dead.set()

    def _acceptor(self, channel: Channel) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def accept(request: web.Request) -> web.StreamResponse:
            peer = self._identify(request)
            if peer is None:
                return web.Response(status=403, text="certificate is not pinned in this network")
            software = read_software(request.headers)
            if software is not None:
                self._software_of[peer] = software
            socket = web.WebSocketResponse(
                max_msg_size=FRAME_BYTES_MAX, heartbeat=HEARTBEAT_S, compress=False
            )
            try:
                await socket.prepare(request)
            except ConnectionResetError:
                return web.Response()  # gone: nobody gets this
            if request.transport is None:
                return socket  # gone while it was being answered
            self._replace((peer, channel), socket, request.transport)
            try:
                async for message in socket:
                    if message.type is not aiohttp.WSMsgType.BINARY:
                        break
                    self._heard_ms[peer] = time.monotonic_ns() // 1_000_000
                    self._on_frame(peer, channel, message.data)
            except ConnectionResetError:
                # It hung up before its last ping was answered.
                LOG.debug("peer gone", peer=peer, channel=channel.name)
            finally:
                if self._accepted.get((peer, channel)) is socket:
                    del self._accepted[peer, channel], self._transports[peer, channel]
            return socket

        return accept

    def _replace(
        self,
        place: tuple[str, Channel],
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
    ) -> None:
        """One connection per peer and channel: the newest; an older one is a dead one."""
        former = self._transports.get(place)
        self._accepted[place], self._transports[place] = socket, transport
        if former is not None:
            if not former.is_closing():
                self._note_replaced(place[0])
            former.abort()

    def _note_replaced(self, peer: str) -> None:
        """Warn of a peer whose live connections are replaced too often."""
        times_s = self._replaced_s.setdefault(peer, deque(maxlen=REPLACED_MAX))
        times_s.append(asyncio.get_running_loop().time())
        if len(times_s) == REPLACED_MAX and times_s[-1] - times_s[0] < REPLACED_WINDOW_S:
            LOG.warning(
                "two nodes seem to use one key",
                peer=peer,
                advice="stop the node of this member that was not meant to run",
            )
            times_s.clear()

    def _identify(self, request: web.Request) -> str | None:
        """Member of the client's certificate, by exact equality with the pinned one."""
        transport = request.transport
        tls = transport.get_extra_info("ssl_object") if transport is not None else None
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        return self._member_of.get(certificate) if certificate is not None else None

    def _tls(self, protocol: "ssl._SSLMethod", pinned: Iterable[bytes]) -> ssl.SSLContext:
        return pinned_tls(protocol, self._certificate_file, self._key_file, pinned)
