"""What members owe by when, and incidents."""

from aiohttp import web

from contracts.errors import InvalidMoment
from contracts.exchange.duties import look_ahead
from contracts.exchange.incidents import find_incident
from ledger.exchange.incidents import INCIDENTS
from node.api.context import (
    DIGEST_HEX_CHARS,
    context_of,
    hex_parameter,
    json_response,
    member_parameter,
    page_cursor,
    page_parameters,
    query_parameters,
)
from node.api.problems import Problem
from node.api.reads import read_history
from node.api.schemas import duties as bodies

INCIDENTS_PREFIX = b"I/"


async def list_tasks(request: web.Request) -> web.Response:
    """GET /v1/tasks: open duties by due time, of one member or all, overdue ones or all.

    With `at` they are judged at that block time, as if nothing were recorded until then.
    """
    service = context_of(request).service
    query = query_parameters(request, "member", "overdue", "at", "cursor", "limit")
    member, overdue = member_parameter(query), query.get("overdue", "")
    if query.get("overdue", "true") not in ("true", "false"):
        raise Problem("parameter-invalid", "overdue: true or false")
    limit, start = page_parameters(query, b"")
    now_ms = service.final_time_ms()
    try:
        at_ms = look_ahead(query["at"], now_ms) if "at" in query else now_ms
    except InvalidMoment:
        problem = "at: 2026-12-01, 2026-12-01T08:00Z or +30 days, not before the last block"
        raise Problem("parameter-invalid", problem) from None
    found = [
        task
        for task in service.duties().tasks()
        if (not member or task.member == member)
        and (not overdue or task.is_overdue(at_ms) is (overdue == "true"))
        and task.place >= start
    ]
    items = [
        bodies.TaskBody(
            subject=task.subject.hex(),
            about="incident" if task.gap.startswith("incident-") else "exchange",
            **bodies.duty_fields(task, at_ms),
        )
        for task in found[:limit]
    ]
    last = found[limit - 1].place if len(found) > limit else b""
    page = bodies.TaskPage(items=items, next=page_cursor(last), time_ms=now_ms, as_of_ms=at_ms)
    return json_response(page)


async def list_incidents(request: web.Request) -> web.Response:
    """GET /v1/incidents: all incidents in id order."""
    query = query_parameters(request, "cursor", "limit")
    limit, start = page_parameters(query, INCIDENTS_PREFIX)
    pairs = context_of(request).service.scan_state(INCIDENTS_PREFIX, start, limit + 1)
    items = [
        bodies.incident_body(key[len(INCIDENTS_PREFIX) :], INCIDENTS.decode(value))
        for key, value in pairs[:limit]
    ]
    last = pairs[limit - 1][0] if len(pairs) > limit else b""
    return json_response(bodies.IncidentPage(items=items, next=page_cursor(last)))


async def read_incident(request: web.Request) -> web.Response:
    """GET /v1/incidents/{incident}: an incident and its records, oldest first."""
    service = context_of(request).service
    id_ = hex_parameter(request, "incident", chars=DIGEST_HEX_CHARS)
    incident = find_incident(service.state(), id_)
    if incident is None:
        raise Problem("incident-unknown")
    state = bodies.incident_body(id_, incident)
    return json_response(bodies.IncidentDetailBody(state=state, history=read_history(service, id_)))
