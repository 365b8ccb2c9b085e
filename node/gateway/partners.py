"""Other agencies' gateways: whose certificate is whose, and fetching with resume.

Certificates are pinned on the ledger, one or two for each member; no authority vouches for anybody.
Both ends of a connection show one, over TLS 1.3.
"""

import asyncio
import hashlib
import os
import shutil
import ssl
from pathlib import Path
from typing import BinaryIO

import aiohttp
import structlog

from node.gateway.chain import PIECE_BYTES, Chain, Gateway, describe, read_bounded
from node.gateway.jobs import Failed
from node.peers.tls import pinned_tls

LOG = structlog.get_logger("gateway")

STALE_S = 60.0
CONNECT_S = 10.0
IDLE_S = 60.0
CONNECTIONS_MAX = 8
# A partner may be slow, but not hold a place here for ever.
SLOWEST_BYTES_S = 8_192
# Never filled with what partners send.
SPARE_BYTES = 256 * 1024 * 1024
SMALL_S = 60.0
SMALL_BYTES_MAX = 2 * 1024 * 1024


# What a partner may say of why it refuses.
PROBLEMS = frozenset(
    (
        "answer-unknown", "certificate-unknown", "gateway-not-ready", "payload-expired",
        "payload-not-ready", "payload-unknown", "question-not-ready", "question-unknown",
    )
)  # fmt: skip


class Directory:
    """Gateways by member, as the ledger has them: read again when they may have changed."""

    def __init__(self, chain: Chain, certificate: str, key: str) -> None:
        self._chain = chain
        self._files = certificate, key
        self._gateways: dict[str, Gateway] = {}
        self._members_of: dict[bytes, frozenset[str]] = {}
        self._sessions: dict[str, tuple[Gateway, aiohttp.ClientSession]] = {}
        self._read_s = 0.0
        self._reading = asyncio.Lock()
        self._is_stale = True
        self._news = asyncio.Event()
        # New certificates take effect for new connections; who is no longer pinned is turned away
        # by `members_of`.
        self.server_tls = pinned_tls(ssl.PROTOCOL_TLS_SERVER, certificate, key, ())

    def expire(self) -> None:
        """Something on the ledger may have changed the gateways."""
        self._is_stale = True
        self._news.set()

    async def refresh(self) -> None:
        """Read the gateways again if they are older than `STALE_S`. Raises `Failed`."""
        async with self._reading:
            loop = asyncio.get_running_loop()
            if not self._is_stale and loop.time() - self._read_s < STALE_S:
                return
            # What expires while they are read is read again.
            self._is_stale = False
            try:
                gateways = await self._read_gateways()
            except BaseException:
                self._is_stale = True
                raise
            known, members_of = self._members_of, dict[bytes, frozenset[str]]()
            for gateway in gateways.values():
                for certificate in gateway.certificates:
                    digest = hashlib.sha256(certificate).digest()
                    members_of[digest] = members_of.get(digest, frozenset()) | {gateway.member}
                    if digest not in known:
                        self.server_tls.load_verify_locations(cadata=certificate)
            self._gateways, self._members_of = gateways, members_of
            self._read_s = loop.time()

    async def _read_gateways(self) -> dict[str, Gateway]:
        """Those of active members: the ledger keeps the gateway of one that has left."""
        members = await self._chain.pages("/v1/members")
        active = {item["id"] for item in members if item["status"] == "active"}
        return {
            item["member"]: Gateway(
                member=item["member"],
                address=item["address"],
                certificates=tuple(bytes.fromhex(each["der"]) for each in item["certificates"]),
            )
            for item in await self._chain.pages("/v1/gateways")
            if item["member"] in active
        }

    async def keep_fresh(self) -> None:
        """Refresh at once when told, so that a partner's new certificate is known when it calls.

        And every `STALE_S`: that a node answers again, nothing tells.
        """
        while True:
            self._news.clear()
            try:
                await self.refresh()
            except Failed as error:
                LOG.warning("gateways cannot be read", error=str(error))
            try:
                async with asyncio.timeout(STALE_S):
                    await self._news.wait()
            except TimeoutError:
                pass  # the time that was waited for

    def members_of(self, certificate: bytes | None) -> frozenset[str]:
        """Members that show a certificate (DER); none: nobody that is on the ledger.

        Certificates are public: a member that names another's as its own must not lock it out.
        """
        return self._members_of.get(hashlib.sha256(certificate or b"").digest(), frozenset())

    async def find(self, member: str) -> Gateway:
        """Where a member's gateway is. Raises `Failed`."""
        await self.refresh()
        gateway = self._gateways.get(member)
        if gateway is None:
            self.expire()
            raise Failed("partner-without-gateway", member)
        return gateway

    async def _session(self, member: str) -> tuple[aiohttp.ClientSession, str]:
        """Connections to a partner, kept open; new ones when the ledger has other certificates."""
        gateway = await self.find(member)
        known, session = self._sessions.get(member, (None, None))
        if session is None or known != gateway:
            tls = pinned_tls(ssl.PROTOCOL_TLS_CLIENT, *self._files, gateway.certificates)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=IDLE_S)
            before, session = (
                session,
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=tls, limit=CONNECTIONS_MAX),
                    timeout=timeout,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                ),
            )
            self._sessions[member] = gateway, session
            if before is not None:
                await before.close()
        return session, f"https://{gateway.address}"

    async def close(self) -> None:
        """Close all connections to partners."""
        for _, session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def fetch_small(self, member: str, path: str) -> bytes:
        """A small answer of a partner. Raises `Failed`."""
        try:
            session, base = await self._session(member)
            async with (
                asyncio.timeout(SMALL_S),
                session.get(base + path, allow_redirects=False) as response,
            ):
                self._verify(response, member, 200)
                data = await read_bounded(response, SMALL_BYTES_MAX)
                if len(data) > SMALL_BYTES_MAX:
                    raise Failed("partner-answer-large", f"{member}{path}")
                return data
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unreachable(member, error) from None

    async def fetch_file(self, member: str, path: str, target: Path, size_bytes: int) -> None:
        """Fetch a file of a known size into `target`; what is there already is not fetched again.

        It is not waited for until it is on disk: after a power cut, what came is checked again,
        and fetched again if it is damaged. Raises `Failed`; what came until then stays for the
        next attempt.
        """
        try:
            with _open_for_append(target) as file:
                have = file.tell()
                if have > size_bytes:
                    file.truncate(0)
                    have = file.seek(0)
                if have < size_bytes:
                    _verify_room(target.parent, size_bytes - have)
                    async with asyncio.timeout(IDLE_S + (size_bytes - have) / SLOWEST_BYTES_S):
                        await self._fetch_rest(member, path, file, have, size_bytes)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(member, error) from None
        except OSError as error:
            raise Failed("inbox-disk", error.strerror or type(error).__name__) from None

    async def _fetch_rest(
        self, member: str, path: str, file: BinaryIO, have: int, size_bytes: int
    ) -> None:
        session, base = await self._session(member)
        ranged = {"Range": f"bytes={have}-"}
        async with session.get(base + path, headers=ranged, allow_redirects=False) as response:
            self._verify(response, member, 206)
            await self._receive(response, member, file, have, size_bytes)

    async def _receive(
        self,
        response: aiohttp.ClientResponse,
        member: str,
        file: BinaryIO,
        have: int,
        size_bytes: int,
    ) -> None:
        expected = f"bytes {have}-{size_bytes - 1}/{size_bytes}"
        if response.headers.get("Content-Range") != expected:
            found = response.headers.get("Content-Range", "")[:100]
            raise Failed("payload-size-wrong", f"{member}: {found} != {expected}")
        async for piece in response.content.iter_chunked(PIECE_BYTES):
            have += len(piece)
            if have > size_bytes:
                raise Failed("payload-size-wrong", f"{member}: > {size_bytes}")
            await asyncio.to_thread(file.write, piece)
        if have < size_bytes:
            raise Failed("payload-size-wrong", f"{member}: {have} < {size_bytes}")

    def _verify(self, response: aiohttp.ClientResponse, member: str, expected: int) -> None:
        """Check that the partner itself answered, and with what was asked for. Raises `Failed`."""
        connection = response.connection
        transport = None if connection is None else connection.transport
        tls = None if transport is None else transport.get_extra_info("ssl_object")
        shown = None if tls is None else tls.getpeercert(binary_form=True)
        if transport is not None and member not in self.members_of(shown):
            raise Failed("partner-certificate-wrong", member)
        if response.status != expected:
            code = response.headers.get("X-Problem", "")
            # Gone is gone; everything else may be otherwise later.
            raise Failed(
                code if code in PROBLEMS else "partner-refused",
                f"{member}: {response.status}",
                retry=response.status != 410,
            )

    def _unreachable(self, member: str, error: BaseException) -> Failed:
        self.expire()
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return Failed("partner-certificate-wrong", member)
        return Failed("partner-unreachable", f"{member}: {describe(error)}")


def _verify_room(folder: Path, size_bytes: int) -> None:
    """What a partner announces must not fill the disk that the jobs are on. Raises `Failed`."""
    free = shutil.disk_usage(folder).free
    if size_bytes > free - SPARE_BYTES:
        raise Failed("inbox-disk", f"{size_bytes:,} B > {free:,} B - {SPARE_BYTES:,} B")


def _open_for_append(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return os.fdopen(descriptor, "ab")
