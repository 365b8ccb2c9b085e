"""Submitting events and asking what became of them."""

import msgspec
from aiohttp import web

from ledger.events import hash_event
from node.api.context import (
    DIGEST_HEX_CHARS,
    JSON,
    MSGPACK,
    NONCE_HEX_CHARS,
    Context,
    address_of,
    context_of,
    hex_parameter,
    json_response,
    member_parameter,
    preferred_wait_s,
    read_body,
    wait_parameter,
)
from node.api.finality import Watch
from node.api.problems import Problem, headers_in, language_of
from node.api.schemas.log import BatchBody, SubmitBatch, SubmitEvent, status_body
from node.service import EventState, EventStatus

_EVENT_JSON = msgspec.json.Decoder(SubmitEvent)
_BATCH_JSON = msgspec.json.Decoder(SubmitBatch)
_BATCH_MSGPACK = msgspec.msgpack.Decoder(list[bytes])


async def submit_event(request: web.Request) -> web.Response:
    """POST /v1/events: one signed event."""
    context = context_of(request)
    data = await _read_event(request, context.limits.event_body_bytes_max)
    status = (await context.service.submit([data], client=address_of(request)))[0]
    headers = {"Cache-Control": "no-store"}
    wait_s = preferred_wait_s(request)
    if status.state is EventState.PENDING and wait_s:
        headers["Preference-Applied"] = f"wait={wait_s}"
        status = await wait_for_event(context, status, wait_s)
    _raise_refused(status)
    if status.state is EventState.FINAL:
        return json_response(status_body(status, language_of(request)), headers=headers)
    headers["Location"] = f"/v1/events/{status.digest.hex()}"
    return json_response(status_body(status, language_of(request)), status=202, headers=headers)


async def submit_batch(request: web.Request) -> web.Response:
    """POST /v1/events/batch: up to 1,000 signed events, each with its own answer."""
    context = context_of(request)
    events = await _read_batch(request, context)
    wait_s = preferred_wait_s(request)
    watch = context.hub.open()
    try:
        if wait_s:
            context.hub.add(watch, map(hash_event, events))
        statuses = await context.service.submit(events, client=address_of(request))
        if wait_s:
            statuses = await _wait_for_batch(context, watch, statuses, wait_s)
    finally:
        context.hub.close(watch)
    language = language_of(request)
    headers = headers_in(language)
    if wait_s:
        headers["Preference-Applied"] = f"wait={wait_s}"
    is_pending = any(status.state is EventState.PENDING for status in statuses)
    body = BatchBody(results=[status_body(status, language) for status in statuses])
    return json_response(body, status=202 if is_pending else 200, headers=headers)


async def read_event_status(request: web.Request) -> web.Response:
    """GET /v1/events/{digest}: status by digest."""
    context = context_of(request)
    digest = hex_parameter(request, "digest", chars=DIGEST_HEX_CHARS)
    return await _status_response(request, context.service.event_status(digest))


async def read_event_by_nonce(request: web.Request) -> web.Response:
    """GET /v1/members/{member}/events/{nonce}: status by the nonce that the client chose."""
    context = context_of(request)
    nonce = hex_parameter(request, "nonce", chars=NONCE_HEX_CHARS)
    status = context.service.event_by_nonce(member_parameter(request.match_info), nonce)
    return await _status_response(request, status)


async def wait_for_event(context: Context, status: EventStatus, wait_s: float) -> EventStatus:
    """The status once it is not pending any more, or the present one after `wait_s`."""
    async with context.waiting(wait_s):
        return await context.service.wait_final(status.digest, wait_s)
    # Cut short by shutdown or the time given: the present answer.
    return context.service.event_status(status.digest)


async def _status_response(request: web.Request, status: EventStatus) -> web.Response:
    wait_s = wait_parameter(request)
    if status.state is EventState.PENDING and wait_s:
        status = await wait_for_event(context_of(request), status, wait_s)
    if status.state is EventState.UNKNOWN:
        raise Problem("event-unknown", digest=status.digest)
    language = language_of(request)
    headers = headers_in(language)
    return json_response(status_body(status, language), headers=headers)


async def _wait_for_batch(
    context: Context, watch: Watch, statuses: list[EventStatus], wait_s: int
) -> list[EventStatus]:
    for status in statuses:
        context.hub.answer(watch, status)
    answers: dict[bytes, EventStatus] = {}
    async with context.waiting(wait_s):
        while watch.size:
            for answer in await watch.take():
                answers[answer.digest] = answer
                watch.release(1)
    return [
        answers.get(status.digest, status) if status.state is EventState.PENDING else status
        for status in statuses
    ]


def _raise_refused(status: EventStatus) -> None:
    if status.state is EventState.REFUSED:
        raise Problem(
            status.code,
            status.detail,
            digest=status.digest,
            retry_after_s=status.retry_after_s,
        )


async def _read_event(request: web.Request, size_bytes_max: int) -> bytes:
    kind = media_type(request)
    body = await read_body(request, size_bytes_max=size_bytes_max)
    if kind == MSGPACK:
        return body
    try:
        return _EVENT_JSON.decode(body).event
    except (msgspec.DecodeError, RecursionError) as error:
        raise Problem("body-malformed", str(error)) from None


async def _read_batch(request: web.Request, context: Context) -> list[bytes]:
    kind = media_type(request)
    body = await read_body(request, size_bytes_max=context.limits.batch_body_bytes_max)
    try:
        if kind == MSGPACK:
            events = _BATCH_MSGPACK.decode(body)
        else:
            events = _BATCH_JSON.decode(body).events
    except (msgspec.DecodeError, RecursionError) as error:
        raise Problem("body-malformed", str(error)) from None
    if not events:
        raise Problem("batch-empty")
    count_max = context.limits.batch_events_max
    if len(events) > count_max:
        raise Problem("batch-too-large", f"{len(events)} events, at most {count_max} are allowed")
    return events


def media_type(request: web.Request) -> str:
    """Content type of a body: MessagePack or JSON. Raises `Problem`."""
    name = request.content_type
    if name not in (MSGPACK, JSON) or "Content-Type" not in request.headers:
        raise Problem("media-type-unsupported", headers={"Accept-Post": f"{MSGPACK}, {JSON}"})
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Problem("media-type-unsupported", "Content-Encoding: only identity is accepted")
    return name
