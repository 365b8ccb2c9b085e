"""What every handler shares: the node, the limits, and strict reading of requests."""

import asyncio
import base64
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import msgspec
from aiohttp import web

from node.access.log import AccessLog
from node.api.finality import FinalityHub
from node.api.problems import Problem
from node.api.quota import RateQuota
from node.hooks.delivery import HookState, HookStates
from node.metrics import Metrics
from node.service import Service

WAIT_S_MAX = 30
JSON = "application/json"
MSGPACK = "application/msgpack"
ACCEPT_CHARS_MAX = 400
PAGE_ITEMS_DEFAULT = 100
YEAR_MIN, YEAR_MAX = 1_970, 9_999
PAGE_ITEMS_MAX = 1_000
CURSOR_CHARS_MAX = 200
NUMBER_MAX = 10**17
DIGEST_HEX_CHARS = 64
NONCE_HEX_CHARS = 32
_IMMUTABLE = "public, max-age=31536000, immutable"
TARGET_PATTERN = r"(sunset/)?[a-z-]{1,16}(/[a-z0-9][a-z0-9._@-]{0,71})?"
MEMBER_PATTERN = r"[a-z0-9][a-z0-9._-]{0,63}"
_MEMBER = re.compile(MEMBER_PATTERN + r"\Z")
_HEX = re.compile(r"[0-9a-f]*\Z")
_NUMBER = re.compile(r"(0|[1-9][0-9]{0,17})\Z")
_PREFER_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?([0-9]{1,9})\"?\s*(?=$|[,;])")
_QUALITY = re.compile(r"q=([01])\.?([0-9]{0,3})\Z")
_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of the HTTP interface."""

    connections_max: int = 512
    connections_per_address_max: int = 256
    header_bytes_max: int = 8_192
    headers_max: int = 64
    event_body_bytes_max: int = 131_072
    batch_body_bytes_max: int = 8_388_608
    batch_events_max: int = 1_000
    body_timeout_s: float = 20.0
    idle_timeout_s: float = 60.0
    shutdown_s: float = 1.0
    stream_in_flight_max: int = 2_000
    stream_frame_bytes_max: int = 8_388_608
    stream_send_timeout_s: float = 30.0
    heartbeat_s: float = 15.0
    requests_per_s: int = 10_000
    requests_burst: int = 20_000


class Context:
    """The node behind the handlers, and what is open towards clients."""

    def __init__(
        self,
        service: Service,
        limits: Limits,
        metrics: Metrics,
        founders: bytes,
        access: AccessLog | None = None,
        hooks: HookStates | None = None,
    ) -> None:
        self.service = service
        self.access = access
        self.hooks = hooks
        self.founders = founders
        self.limits = limits
        self.metrics = metrics
        self.hub = FinalityHub(service)
        self.rates = RateQuota(rate_per_s=limits.requests_per_s, burst=limits.requests_burst)
        self._waits: set[asyncio.Timeout] = set()
        self._is_closing = False
        self.hub_task: asyncio.Task[None] | None = None

    def hook_states(self) -> tuple[HookState, ...]:
        """How the node's webhooks stand."""
        return () if self.hooks is None else self.hooks.states()

    def waiting(self, seconds: float | None) -> "Wait":
        """A wait that ends after `seconds` or at once on shutdown, without an error."""
        return Wait(asyncio.timeout(0 if self._is_closing else seconds), self._waits)

    def end_waits(self) -> None:
        """End every wait and stream now; those that begin later end at once."""
        self._is_closing = True
        now = asyncio.get_running_loop().time()
        for timeout in tuple(self._waits):
            timeout.reschedule(now)

    def charge(self, address: str, amount: int = 1) -> None:
        """Count a request of an address. Raises `Problem` `rate-limited`."""
        wait_ms = self.rates.take(address, amount, time.monotonic_ns() // 1_000_000)
        if wait_ms:
            raise Problem("rate-limited", retry_after_s=-(-wait_ms // 1_000))


class Wait:
    """A timeout that ends its block quietly, known to the context while it runs."""

    __slots__ = ("_timeout", "_waits")

    def __init__(self, timeout: asyncio.Timeout, waits: set[asyncio.Timeout]) -> None:
        self._timeout = timeout
        self._waits = waits

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._waits.add(self._timeout)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self._waits.discard(self._timeout)
        try:
            # Raises only for its own expiry; a TimeoutError of the block passes through.
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            return True
        return False


CONTEXT = web.AppKey("context", Context)


def context_of(request: web.Request) -> Context:
    """The shared context of a request."""
    return request.app[CONTEXT]


def address_of(request: web.Request) -> str:
    """Network address of the client, without its port."""
    return request.remote or "local"


def hex_parameter(request: web.Request, name: str, *, chars: int) -> bytes:
    """Bytes of a path parameter in lower-case hex. Raises `Problem`."""
    text = request.match_info[name]
    if len(text) != chars or _HEX.match(text) is None:
        raise Problem("parameter-invalid", f"{name}: {chars} lower-case hex digits are required")
    return bytes.fromhex(text)


def number_parameter(text: str, name: str, *, low: int, high: int) -> int:
    """A decimal number without sign or leading zero. Raises `Problem`."""
    if _NUMBER.match(text) is None or not low <= int(text) <= high:
        raise Problem("parameter-invalid", f"{name}: a whole number from {low} to {high}")
    return int(text)


def query_parameters(request: web.Request, *names: str) -> dict[str, str]:
    """Query of a request. Raises `Problem` on names that the route does not know, or twice."""
    query: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in names or name in query:
            raise Problem("parameter-invalid", f"{name}: unknown here, or given twice")
        query[name] = value
    return query


def member_parameter(query: Mapping[str, str]) -> str:
    """The member that a query or a path names, empty without one. Raises `Problem`."""
    member = query.get("member")
    if member is not None and _MEMBER.match(member) is None:
        raise Problem("parameter-invalid", "member: the id of a member")
    return member or ""


def page_parameters(query: dict[str, str], prefix: bytes) -> tuple[int, bytes]:
    """Number of items asked for, and the state key to start at. Raises `Problem`."""
    text = query.get("limit")
    limit = (
        PAGE_ITEMS_DEFAULT
        if text is None
        else number_parameter(text, "limit", low=1, high=PAGE_ITEMS_MAX)
    )
    cursor = query.get("cursor")
    if cursor is None:
        return limit, prefix
    try:
        start = base64.b64decode(cursor, altchars=b"-_", validate=True)
    except ValueError:
        raise Problem("cursor-invalid") from None
    if len(cursor) > CURSOR_CHARS_MAX or not start.startswith(prefix):
        raise Problem("cursor-invalid")
    return limit, start


def page_cursor(key: bytes) -> str | None:
    """Cursor of the page after the item with this state key; None after an empty key."""
    # The least key above `key`.
    return base64.urlsafe_b64encode(key + b"\0").decode() if key else None


def wait_parameter(request: web.Request) -> int:
    """Seconds of `?wait=`, 0 without it."""
    text = query_parameters(request, "wait").get("wait")
    return 0 if text is None else number_parameter(text, "wait", low=0, high=WAIT_S_MAX)


def preferred_wait_s(request: web.Request) -> int:
    """Seconds of `Prefer: wait=` (RFC 7240), at most 30; 0 without it or if it is unreadable."""
    found = _PREFER_WAIT.search(request.headers.get("Prefer", ""))
    return 0 if found is None else min(int(found[1]), WAIT_S_MAX)


async def read_body(request: web.Request, *, size_bytes_max: int) -> bytes:
    """The body within its size and time. Raises `Problem`."""
    if (request.content_length or 0) > size_bytes_max:
        raise _too_large(size_bytes_max)
    try:
        async with asyncio.timeout(context_of(request).limits.body_timeout_s):
            if request.content_length is not None:
                return await request.read()
            chunks: list[bytes] = []
            size_bytes = 0
            async for chunk in request.content.iter_any():
                size_bytes += len(chunk)
                if size_bytes > size_bytes_max:
                    raise _too_large(size_bytes_max)
                chunks.append(chunk)
            return b"".join(chunks)
    except TimeoutError:
        raise Problem("body-timeout", headers={"Connection": "close"}) from None
    except (web.RequestPayloadError, ConnectionError) as error:
        raise Problem("body-truncated", str(error), headers={"Connection": "close"}) from None


def _too_large(size_bytes_max: int) -> Problem:
    return Problem(
        "body-too-large",
        f"at most {size_bytes_max} bytes are allowed",
        headers={"Connection": "close"},
    )


def json_response(
    body: Any, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """JSON response of a typed body."""
    return web.Response(
        status=status,
        body=_ENCODER.encode(body),
        content_type=JSON,
        headers=headers or {"Cache-Control": "no-store"},
    )


def in_wanted_form(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """A JSON answer as MessagePack for who prefers that; both decode to equal values.

    Problems stay JSON. The `ETag` becomes a weak one: the bytes differ, what they say does not.
    """
    if not isinstance(response, web.Response) or response.content_type != JSON:
        return response
    response.headers["Vary"] = "Accept"
    if not prefers_msgpack(request.headers.get("Accept", "")):
        return response
    assert isinstance(response.body, bytes), "JSON answers are made in one piece"
    response.body = msgspec.msgpack.encode(msgspec.json.decode(response.body))
    response.content_type = MSGPACK
    if "ETag" in response.headers:
        response.headers["ETag"] = "W/" + response.headers["ETag"]
    return response


def prefers_msgpack(accept: str) -> bool:
    """Whether `Accept` (RFC 9110) names MessagePack with at least the weight of JSON."""
    weights: dict[str, int] = {}
    for part in accept[:ACCEPT_CHARS_MAX].lower().split(","):
        kind, *parameters = part.replace(" ", "").split(";")
        quality = next((each for each in parameters if each.startswith("q=")), "q=1")
        match = _QUALITY.match(quality)
        weights[kind] = 0 if match is None else int(match[1]) * 1_000 + int(match[2].ljust(3, "0"))
    return weights.get(MSGPACK, 0) > 0 and weights[MSGPACK] >= weights.get(JSON, 0)


def immutable_response(
    request: web.Request, data: bytes, *, content_type: str, etag: str
) -> web.Response:
    """Response of a value that never changes: cached for ever, 304 for who has it."""
    headers = {"ETag": f'"{etag}"', "Cache-Control": _IMMUTABLE}
    return conditional_response(request, data, content_type=content_type, headers=headers)


def conditional_response(
    request: web.Request, data: bytes, *, content_type: str, headers: dict[str, str]
) -> web.Response:
    """Response with an `ETag`; 304 without a body if `If-None-Match` names it."""
    wanted = request.headers.get("If-None-Match", "")
    tags = [tag.strip().removeprefix("W/") for tag in wanted.split(",")]
    if headers["ETag"] in tags or tags == ["*"]:
        return web.Response(status=304, headers={**headers, "Vary": "Accept"})
    return web.Response(body=data, content_type=content_type, headers=headers)
