"""OpenAPI 3.1 from the route table: what is registered is what is documented.

A `Route` is one row: it registers the handler and describes it. Schemas come from the typed
structs of `node.api.schemas`.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from aiohttp import web

from node.api.context import (
    CURSOR_CHARS_MAX,
    JSON,
    MEMBER_PATTERN,
    MSGPACK,
    NUMBER_MAX,
    PAGE_ITEMS_MAX,
    TARGET_PATTERN,
    WAIT_S_MAX,
    YEAR_MAX,
    YEAR_MIN,
)
from node.api.problems import CONTENT_TYPE as PROBLEM
from node.api.schemas.base import Body
from node.api.schemas.nodes import ProblemBody

_REF = "#/components/schemas/{name}"
_PATH_NAME = re.compile(r"\{([a-z]+)(?::[^}]*)?\}")
_DIGEST = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_NUMBER = {"type": "integer", "minimum": 0, "maximum": NUMBER_MAX}
_MEMBER = {"type": "string", "pattern": f"^{MEMBER_PATTERN}$"}
# What the parameters of all routes look like, by their names.
_SCHEMAS: dict[str, dict[str, Any]] = {
    "cursor": {"type": "string", "maxLength": CURSOR_CHARS_MAX, "pattern": "^[A-Za-z0-9_=-]*$"},
    "digest": _DIGEST,
    "epoch": _NUMBER,
    "exchange": _DIGEST,
    "incident": _DIGEST,
    "index": _NUMBER,
    "limit": {"type": "integer", "minimum": 1, "maximum": PAGE_ITEMS_MAX},
    "member": _MEMBER,
    "nonce": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    "overdue": {"type": "string", "enum": ["true", "false"]},
    "path": {"type": "string", "pattern": "^[0-9a-z./]+$"},
    "target": {"type": "string", "pattern": f"^{TARGET_PATTERN}$"},
    "wait": {"type": "integer", "minimum": 0, "maximum": WAIT_S_MAX},
    "year": {"type": "integer", "minimum": YEAR_MIN, "maximum": YEAR_MAX},
    "Last-Event-ID": _NUMBER,
}
_TEXT = {"type": "string"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A query parameter or header."""

    name: str
    place: Literal["query", "header"]
    zh: str
    en: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One representation of a body: a struct, or bytes and text without a schema."""

    content_type: str
    struct: type[msgspec.Struct] | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row of the table: how a route is reached, what it does, takes and answers.

    `answers` maps an HTTP status to its representation; None is an answer without a body.
    `problems` are statuses that come as problem+json, besides those that every route has.
    """

    method: Literal["GET", "POST"]
    path: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    name: str
    zh: str
    en: str
    answers: dict[int, Media | None]
    parameters: tuple[Parameter, ...] = ()
    takes: tuple[Media, ...] = ()
    problems: tuple[int, ...] = ()
    listener: Literal["api", "metrics"] = "api"
    is_streaming: bool = False

    @property
    def template(self) -> str:
        """The path as OpenAPI writes it."""
        return _PATH_NAME.sub(r"{\1}", self.path)


CURSOR = Parameter(name="cursor", place="query", zh="下一页游标。", en="Cursor of the next page.")
LIMIT = Parameter(
    name="limit",
    place="query",
    zh="每页条数（1 至 1000）。",
    en="Items on a page (1 to 1,000).",
)
MEMBER = Parameter(
    name="member", place="query", zh="只看该成员参与的。", en="Only what this member takes part in."
)


def build_document(routes: Sequence[Route], *, version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of a route table."""
    structs = _structs(routes)
    _, components = msgspec.json.schema_components(structs, ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tallystick 符契",
            "version": version,
            "description": "地区税务信息共享账本的接口。Interface of a tax-information ledger.",
        },
        "paths": paths,
        "components": {"schemas": components},
    }


def _structs(routes: Iterable[Route]) -> list[type[msgspec.Struct]]:
    found: dict[str, type[msgspec.Struct]] = {ProblemBody.__name__: ProblemBody}
    for route in routes:
        for media in (*route.takes, *route.answers.values()):
            if media is not None and media.struct is not None:
                found[media.struct.__name__] = media.struct
    return list(found.values())


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": f"{route.zh} {route.en}",
        "parameters": [*_path_parameters(route), *map(_parameter, route.parameters)],
        "responses": _responses(route),
    }
    if route.listener == "metrics":
        operation["servers"] = [{"url": "/", "description": "metrics listener"}]
    if route.takes:
        operation["requestBody"] = {
            "required": True,
            "content": {media.content_type: _content(media) for media in route.takes},
        }
    return operation


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _SCHEMAS.get(name, _TEXT)}
        for name in _PATH_NAME.findall(route.path)
    ]


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": False,
        "description": f"{parameter.zh} {parameter.en}",
        "schema": _SCHEMAS.get(parameter.name, _TEXT),
    }


def _responses(route: Route) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, media in route.answers.items():
        text = media.text if media is not None else ""
        response: dict[str, Any] = {"description": text or "成功 ok"}
        if media is not None:
            # Every JSON answer is there as MessagePack too, see `context.in_wanted_form`.
            kinds = (JSON, MSGPACK) if media.content_type == JSON else (media.content_type,)
            response["content"] = {kind: _content(media) for kind in kinds}
        responses[str(status)] = response
    problem = {PROBLEM: _content(Media(content_type=PROBLEM, struct=ProblemBody))}
    for status in route.problems:
        responses[str(status)] = {"description": "问题 problem", "content": problem}
    responses["default"] = {"description": "问题 problem", "content": problem}
    return responses


def _content(media: Media) -> dict[str, Any]:
    if media.struct is None:
        return {"schema": {}}
    return {"schema": {"$ref": _REF.format(name=media.struct.__name__)}}


def json_of(struct: type[Body], text: str = "") -> Media:
    """JSON representation of a struct."""
    return Media(content_type=JSON, struct=struct, text=text)
