"""What other agencies' gateways may fetch here, over mutual TLS.

    GET /v1/payloads/{exchange}/{correction}           the sealed payload; ranges for resuming
    GET /v1/payloads/{exchange}/{correction}/report    its quality report, without any value
    GET /v1/questions/{exchange}                       who a request is about, sealed
    GET /v1/answers/{exchange}/{correction}            the status message about a message

A payload is for the requester of its exchange, question and answer for the provider, and only while
the ledger says so. Whoever else asks gets the same answer as for what does not exist. `X-Problem`
holds the code of a refusal.
"""

import asyncio
import ssl
import time
from collections import Counter
from pathlib import Path
from typing import Any

from aiohttp import web

from node.gateway.desk import Desk
from node.gateway.jobs import Failed, Job
from node.gateway.partners import Directory
from node.gateway.store import Store

NEWS_S = 5.0
# A partner's gateway keeps `partners.CONNECTIONS_MAX`; more are of two at once, or a fault.
CONNECTIONS_MAX = 32
# Whoever connects and does not show a certificate holds a connection no longer than this.
HANDSHAKE_S = 10.0


class Serving:
    """The handlers. `outbox` holds sealed payloads by `Job.file_name`."""

    def __init__(self, store: Store, desk: Desk, directory: Directory, outbox: Path) -> None:
        self._store = store
        self._desk = desk
        self._directory = directory
        self._outbox = outbox

    def app(self) -> web.Application:
        """The application for the listener that partners reach."""
        app = web.Application(client_max_size=1_024)
        app.router.add_get("/v1/payloads/{exchange}/{correction}", self.payload)
        app.router.add_get("/v1/payloads/{exchange}/{correction}/report", self.report)
        app.router.add_get("/v1/questions/{exchange}", self.question)
        app.router.add_get("/v1/answers/{exchange}/{correction}", self.answer)
        return app

    async def payload(self, request: web.Request) -> web.StreamResponse:
        """A sealed payload, whole or from an offset on."""
        job = await self._find_payload(request)
        return web.FileResponse(
            self._outbox / job.file_name,
            headers={"Content-Type": "application/octet-stream", "Cache-Control": "no-store"},
        )

    async def report(self, request: web.Request) -> web.StreamResponse:
        """The quality report of a payload."""
        job = await self._find_payload(request)
        assert job.payload is not None
        return web.Response(body=job.payload.report, content_type="application/octet-stream")

    async def question(self, request: web.Request) -> web.StreamResponse:
        """Who a request is about."""
        members, exchange = await self._members(request), _exchange(request)
        job = self._store.find(exchange, "acquire")
        if job is not None and job.provider in members and job.stage == "request":
            # The provider's node was faster than ours.
            await self._desk.wait(exchange, "acquire", ("open", "closed"), NEWS_S)
            job = self._store.find(exchange, "acquire")
        if job is None or job.provider not in members or not job.asked:
            raise _problem(web.HTTPNotFound, "question-unknown")
        if job.stage == "request" or job.status == "in_review":
            raise _problem(web.HTTPNotFound, "question-not-ready")
        return web.Response(body=job.asked, content_type="application/octet-stream")

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """What this agency says of a message; it was there before the ledger said so."""
        members, exchange = await self._members(request), _exchange(request)
        job = self._store.find(exchange, "acquire")
        answered = None if job is None or job.provider not in members else job.answered
        if answered is None or str(answered.correction) != request.match_info["correction"]:
            raise _problem(web.HTTPNotFound, "answer-unknown")
        return web.Response(body=answered.document, content_type="application/xml")

    async def _find_payload(self, request: web.Request) -> Job:
        members, exchange = await self._members(request), _exchange(request)
        job = self._store.find(exchange, "provide")
        if job is not None and job.requester in members and job.stage == "deliver":
            # The requester's node was faster than ours, or the ledger will not have the delivery.
            await self._desk.wait(exchange, "provide", ("offered", "held", "closed"), NEWS_S)
            job = self._store.find(exchange, "provide")
        if job is None or job.requester not in members or job.payload is None:
            raise _problem(web.HTTPNotFound, "payload-unknown")
        if str(job.correction) != request.match_info["correction"]:
            raise _problem(web.HTTPNotFound, "payload-unknown")
        if job.stage != "offered":
            raise _problem(web.HTTPNotFound, "payload-not-ready")
        is_there = (self._outbox / job.file_name).exists()
        if not is_there or job.payload.outbox_until_ms <= time.time_ns() // 1_000_000:
            raise _problem(web.HTTPGone, "payload-expired")
        return job

    async def _members(self, request: web.Request) -> frozenset[str]:
        shown = _certificate(request.transport)
        try:
            await self._directory.refresh()
        except Failed:
            # Who may fetch what is not known while the own node does not answer.
            raise _problem(web.HTTPServiceUnavailable, "gateway-not-ready") from None
        if members := self._directory.members_of(shown):
            return members
        raise _problem(web.HTTPForbidden, "certificate-unknown")


class Runner(web.AppRunner):
    """Serves a partner on at most `CONNECTIONS_MAX` connections, whatever it does on them."""

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        return _Connections(server)


class Site(web.TCPSite):
    """Where partners connect: TLS that is not agreed upon in time ends the connection."""

    async def start(self) -> None:
        """Listen."""
        await web.BaseSite.start(self)
        server = self._runner.server
        assert server is not None, "the runner is set up"
        self._server = await asyncio.get_running_loop().create_server(
            server,
            self._host,
            self._port,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_handshake_timeout=HANDSHAKE_S,
        )


class _Connections(web.Server):
    """aiohttp's server; `open` counts its connections by the certificate that they show."""

    def __init__(self, server: web.Server) -> None:
        super().__init__(
            server.request_handler, request_factory=server.request_factory, access_log=None
        )
        self.open: Counter[bytes] = Counter()

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=asyncio.get_running_loop(), access_log=None)


class _Connection(web.RequestHandler):
    """aiohttp's connection, closed at once where its partner has too many."""

    __slots__ = ("_open", "_shown")

    def __init__(self, manager: _Connections, **arguments: Any) -> None:
        super().__init__(manager, **arguments)
        self._open = manager.open
        self._shown: bytes | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        shown = _certificate(transport) or b""
        if self._open[shown] >= CONNECTIONS_MAX:
            transport.close()
            self.force_close()
            return
        self._shown = shown
        self._open[shown] += 1
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._shown is not None:
            self._open[self._shown] -= 1
            self._shown = None
        super().connection_lost(exc)


def _certificate(transport: asyncio.BaseTransport | None) -> bytes | None:
    """What the other side shows (DER)."""
    tls = None if transport is None else transport.get_extra_info("ssl_object")
    return tls.getpeercert(binary_form=True) if isinstance(tls, ssl.SSLObject) else None


def _exchange(request: web.Request) -> bytes:
    try:
        return bytes.fromhex(request.match_info["exchange"])
    except ValueError:
        raise _problem(web.HTTPNotFound, "payload-unknown") from None


def _problem(kind: type[web.HTTPError], code: str) -> web.HTTPError:
    return kind(text=code + "\n", headers={"X-Problem": code, "Cache-Control": "no-store"})
