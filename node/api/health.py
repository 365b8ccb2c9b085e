"""Is the process alive, can it make progress, what does it measure."""

import hashlib

from aiohttp import web

from node.api.context import (
    CONTEXT,
    JSON,
    conditional_response,
    context_of,
    json_response,
    query_parameters,
    wait_parameter,
)
from node.api.problems import Problem, headers_in, language_of
from node.api.schemas.diagnosis import diagnosis_body
from node.api.schemas.nodes import HealthBody, node_body
from node.api.schemas.reasons import reason_bodies
from node.metrics import CONTENT_TYPE

OPENAPI = web.AppKey("openapi", bytes)


async def read_health(request: web.Request) -> web.Response:
    """GET /healthz: the event loop answers."""
    query_parameters(request)
    return json_response(HealthBody(status="alive"))


async def read_ready(request: web.Request) -> web.Response:
    """GET /readyz: 200 if the node takes events and makes progress, else 503 with reasons."""
    context = context_of(request)
    wait_s = wait_parameter(request)
    reasons = context.service.not_ready()
    if reasons and wait_s:
        async with context.waiting(wait_s):
            while reasons:
                await context.service.wait_change()
                reasons = context.service.not_ready()
    if reasons:
        language = language_of(request)
        bodies = reason_bodies(reasons, language)
        separator = "；" if language == "zh" else "; "
        raise Problem(
            "node-not-ready", separator.join(each.detail for each in bodies), reasons=bodies
        )
    return json_response(HealthBody(status="ready"))


async def read_status(request: web.Request) -> web.Response:
    """GET /v1/status: height, view, peers, pending events, open proposals, what ends soon."""
    query_parameters(request)
    context = context_of(request)
    service = context.service
    hooks = context.hook_states()
    return json_response(node_body(service.status(), service.oversight(), hooks))


async def read_diagnosis(request: web.Request) -> web.Response:
    """GET /v1/diagnosis: what is wrong with this node or its network, and what to do."""
    query_parameters(request)
    service = context_of(request).service
    language = language_of(request)
    body = diagnosis_body(await service.facts(), service.network, language)
    headers = headers_in(language)
    return json_response(body, headers=headers)


async def read_metrics(request: web.Request) -> web.Response:
    """GET /metrics: Prometheus text, on the metrics listener only."""
    context = request.app[CONTEXT]
    service = context.service
    context.metrics.set_status(service.status())
    context.metrics.set_oversight(service.oversight())
    context.metrics.set_duties(service.duties().count(service.final_time_ms()))
    context.metrics.set_facts(await service.facts())
    context.metrics.set_hooks(context.hook_states())
    if context.access is not None:
        context.metrics.set_access(context.access.noted)
    return web.Response(body=context.metrics.encode(), headers={"Content-Type": CONTENT_TYPE})


async def read_openapi(request: web.Request) -> web.Response:
    """GET /openapi.json: the document made from the route table at start."""
    document = request.app[OPENAPI]
    headers = {"ETag": f'"{hashlib.sha256(document).hexdigest()}"', "Cache-Control": "no-cache"}
    return conditional_response(request, document, content_type=JSON, headers=headers)
