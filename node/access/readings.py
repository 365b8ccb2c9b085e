"""What the access log says of an answer: the route, ids, from where, and the status.

Texts that a reader chose are never written as they come: of parameters only those that name
something, and only if they look like a name; of the user agent its printable ASCII.

Not noted: what reads nothing of the ledger (health, status, figures, the document of the routes)
and submissions, which the ledger itself records.
"""

import re
import time

from aiohttp import web

from node.access.files import Reading
from node.api.context import CONTEXT, address_of

AGENT_CHARS_MAX = 128
UNREADABLE = "?"
NOT_NOTED = frozenset(
    {
        "submitEvent",
        "submitBatch",
        "submitStream",
        "readStatus",
        "readDiagnosis",
        "readHealth",
        "readReady",
        "readOpenapi",
    }
)
_QUERIED_IDS = ("member", "provider", "purpose", "requester")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}\Z")
_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e]")

ROUTE_NAMES = web.AppKey("route_names", dict[str, str])


async def note_reading(request: web.Request, response: web.StreamResponse) -> None:
    """Note an answer before its first byte leaves; waits while the log has no room."""
    access = request.app[CONTEXT].access
    resource = request.match_info.route.resource
    if access is None or resource is None:
        return
    name = request.app[ROUTE_NAMES].get(resource.canonical)
    if name is not None:
        await access.note(reading_of(request, name, response.status))


def reading_of(request: web.Request, route: str, status: int) -> Reading:
    """The line about an answer."""
    named = dict(request.match_info)
    named |= {name: request.query[name] for name in _QUERIED_IDS if name in request.query}
    ids = {name: value if _ID.match(value) else UNREADABLE for name, value in sorted(named.items())}
    agent = request.headers.get("User-Agent", "")[:AGENT_CHARS_MAX]
    return Reading(
        at_ms=time.time_ns() // 1_000_000,
        address=address_of(request),
        agent=_NOT_PRINTABLE.sub(UNREADABLE, agent),
        route=route,
        ids=ids,
        status=status,
    )
