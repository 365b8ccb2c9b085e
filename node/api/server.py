"""Applications and listeners: routes, limits, one error shape, quick and complete shutdown.

The API and the metrics have a listener each. Every error leaves as a problem; an unexpected one is
logged with an id and counted, and the connection lives on. Damage in the store stops the node. On
shutdown, waits and streams end first, else they would hold the listener for as long as their
clients like.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from ledger.errors import CorruptStore, StoreFailed
from node.access.log import AccessLog
from node.access.readings import NOT_NOTED, ROUTE_NAMES, note_reading
from node.api.context import CONTEXT, Context, Limits, address_of, in_wanted_form
from node.api.health import OPENAPI
from node.api.openapi import build_document
from node.api.problems import Problem, language_of, problem_response, unexpected
from node.api.quota import CountQuota
from node.api.routes import ROUTES
from node.api.stream import BLOCK_MESSAGES, BlockMessages
from node.config import Address
from node.errors import StartRefused
from node.hooks.delivery import HookStates
from node.metrics import Metrics
from node.service import Service

API_VERSION = "1.0.0"
_LOG = logging.getLogger("tallystick.api")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Addresses in use: with port 0 asked for, these hold the ports that the system chose."""

    api: tuple[str, int]
    metrics: tuple[str, int]
    failed: asyncio.Task[None]


def build_app(
    service: Service,
    limits: Limits | None = None,
    metrics: Metrics | None = None,
    *,
    founders: bytes,
    access: AccessLog | None = None,
    hooks: HookStates | None = None,
) -> web.Application:
    """The API application over `service`; `founders` is the file of their signatures.

    With `access`, readings are noted there, before their answers begin.
    """
    context = Context(service, limits or Limits(), metrics or Metrics(), founders, access, hooks)
    app = _application(context, "api")
    if access is not None:
        access.on_failed = service.fail
        app[ROUTE_NAMES] = {
            route.template: route.name for route in ROUTES if route.name not in NOT_NOTED
        }
        app.on_response_prepare.append(note_reading)
    app[BLOCK_MESSAGES] = BlockMessages(service)
    app[OPENAPI] = msgspec.json.encode(build_document(ROUTES, version=API_VERSION))
    app.cleanup_ctx.append(_follow_blocks)
    app.on_shutdown.append(_end_waits)
    return app


def build_metrics_app(api: web.Application) -> web.Application:
    """The metrics application that belongs to an API application."""
    return _application(api[CONTEXT], "metrics")


def _application(context: Context, listener: str) -> web.Application:
    app = web.Application(
        middlewares=[_problems], client_max_size=context.limits.batch_body_bytes_max
    )
    app[CONTEXT] = context
    for route in ROUTES:
        if route.listener != listener:
            continue
        if route.method == "GET":
            app.router.add_get(route.path, route.handler, allow_head=not route.is_streaming)
        else:
            app.router.add_route(route.method, route.path, route.handler)
            # Else a route with a parameter there would answer other methods.
            app.router.add_route("*", route.path, _only(route.method))
    return app


def _only(method: str) -> _Handler:
    async def refuse(_: web.Request) -> web.StreamResponse:
        raise Problem("method-not-allowed", headers={"Allow": method})

    return refuse


async def _follow_blocks(app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(app[CONTEXT].hub.run())
    app[CONTEXT].hub_task = task
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _end_waits(app: web.Application) -> None:
    app[CONTEXT].end_waits()


@web.middleware
async def _problems(request: web.Request, handler: _Handler) -> web.StreamResponse:
    context = request.app[CONTEXT]
    try:
        context.charge(address_of(request))
        response = in_wanted_form(request, await handler(request))
    except Problem as problem:
        response = _respond(request, problem)
    except web.HTTPException as error:
        response = _respond(request, _routing_problem(error))
    except ConnectionError:
        raise
    except (CorruptStore, StoreFailed) as error:
        context.service.fail(error)
        response = _respond(request, Problem("node-not-ready"))
    except Exception as error:
        context.metrics.on_error()
        response = _respond(request, unexpected(error, f"{request.method} {request.path}"))
    resource = request.match_info.route.resource
    route = "unknown" if resource is None else resource.canonical
    context.metrics.on_response(request.method, route, response.status)
    return response


def _routing_problem(error: web.HTTPException) -> Problem:
    if isinstance(error, web.HTTPMethodNotAllowed):
        return Problem("method-not-allowed", headers={"Allow": error.headers["Allow"]})
    if isinstance(error, web.HTTPNotFound):
        return Problem("route-unknown")
    return Problem("request-malformed", error.reason)


def _respond(request: web.BaseRequest, problem: Problem) -> web.Response:
    language = language_of(request)
    response = problem_response(problem, language=language, instance=request.path)
    if problem.headers.get("Connection") == "close":
        response.force_close()
    return response


class _Connection(web.RequestHandler):
    """aiohttp's connection, counted per address, whose own errors are problems too."""

    __slots__ = ("_counted", "_counts", "_metrics")

    def __init__(self, manager: "_Connections", **arguments: Any) -> None:
        super().__init__(manager, **arguments)
        self._counts = manager.counts
        self._metrics = manager.metrics
        self._counted: tuple[str, ...] = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) else "local"
        counted = self._counts.admit(address)
        if not counted:
            assert isinstance(transport, asyncio.WriteTransport)
            transport.write(_refusal("too-many-connections"))
            transport.close()
            # Whatever arrives on it is ignored from here on.
            self.force_close()
            return
        self._counted = counted
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._counts.release(self._counted)
        self._counted = ()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun, no problem can follow")
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            code = "headers-too-large" if isinstance(exc, LineTooLong) else "request-malformed"
            problem = Problem(code)
        else:
            self._metrics.on_error()
            problem = unexpected(exc or RuntimeError(message or "no reason"), "the connection")
        response = _respond(request, problem)
        response.force_close()
        return response


class _Counts:
    """Open connections: in all and per address."""

    def __init__(self, limits: Limits) -> None:
        self._total = CountQuota(per_key_max=limits.connections_max)
        self._addresses = CountQuota(per_key_max=limits.connections_per_address_max)

    def admit(self, address: str) -> tuple[str, ...]:
        if not self._total.has_room("all", 1) or not self._addresses.take(address, 1):
            return ()
        self._total.take("all", 1)
        return (address,)

    def release(self, counted: tuple[str, ...]) -> None:
        for address in counted:
            self._total.give_back("all", 1)
            self._addresses.give_back(address, 1)


class _Connections(web.Server):
    """aiohttp's server whose connections are `_Connection`."""

    def __init__(
        self, server: web.Server, counts: _Counts, metrics: Metrics, arguments: dict[str, Any]
    ) -> None:
        super().__init__(
            server.request_handler, request_factory=server.request_factory, **arguments
        )
        self.counts = counts
        self.metrics = metrics
        self._arguments = arguments

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=asyncio.get_running_loop(), **self._arguments)


class Runner(web.AppRunner):
    """Runs one of our applications with its limits."""

    def __init__(self, app: web.Application) -> None:
        limits = app[CONTEXT].limits
        self._limits = limits
        self._metrics = app[CONTEXT].metrics
        self._arguments: dict[str, Any] = {
            "access_log": None,
            "auto_decompress": False,
            "keepalive_timeout": limits.idle_timeout_s,
            "lingering_time": limits.shutdown_s,
            "max_line_size": limits.header_bytes_max,
            "max_field_size": limits.header_bytes_max,
            "max_headers": limits.headers_max,
            "logger": _LOG,
        }
        super().__init__(app, shutdown_timeout=limits.shutdown_s)

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        return _Connections(server, _Counts(self._limits), self._metrics, self._arguments)


def _refusal(code: str) -> bytes:
    """A whole HTTP response for a connection that will not be served."""
    response = problem_response(Problem(code), language="zh", instance="/")
    body = response.body
    assert isinstance(body, bytes)
    status = HTTPStatus(response.status)
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {response.content_type}\r\nContent-Length: {len(body)}\r\n"
        f"Retry-After: {response.headers['Retry-After']}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Server side of TLS 1.3. Raises `OSError` (which `ssl.SSLError` is) on unusable files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    return context


@asynccontextmanager
async def listening(
    app: web.Application,
    *,
    api: tuple[str, int],
    metrics: tuple[str, int] = ("127.0.0.1", 0),
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Listening]:
    """Both listeners, until the block is left. Raises `StartRefused` if an address is taken.

    `failed` never ends while all is well: await it beside other tasks to learn of a failure.
    """
    async with (
        _site(app, api, tls) as api_address,
        _site(build_metrics_app(app), metrics, None) as metrics_address,
    ):
        task = app[CONTEXT].hub_task
        assert task is not None, "starting the application starts the hub"
        yield Listening(api=api_address, metrics=metrics_address, failed=task)


@asynccontextmanager
async def _site(
    app: web.Application, address: tuple[str, int], tls: ssl.SSLContext | None
) -> AsyncIterator[tuple[str, int]]:
    runner = Runner(app)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, *address, ssl_context=tls, backlog=1_024).start()
        except OSError as error:
            place = str(Address(*address))
            raise StartRefused("start-api-address", address=place, reason=error) from None
        host, port = runner.addresses[0][:2]
        yield host, port
    finally:
        await runner.cleanup()


async def run(
    app: web.Application,
    *,
    api: tuple[str, int],
    metrics: tuple[str, int] = ("127.0.0.1", 0),
    tls: ssl.SSLContext | None = None,
    on_listening: Callable[[Listening], None] | None = None,
) -> None:
    """Serve until cancelled. Raises what ended the subscription to final blocks, if it ends."""
    async with listening(app, api=api, metrics=metrics, tls=tls) as addresses:
        if on_listening is not None:
            on_listening(addresses)
        await addresses.failed
        raise RuntimeError("the node stopped telling about final blocks")
