"""Who gives and who takes, and how far a member depends on others."""

from aiohttp import web

from contracts.exchange.reciprocity import read_receipts
from contracts.facts import block_date
from contracts.lookup import find_member
from ledger.exchange.receipts import RECEIPTS
from ledger.registry import PAIR_COUNTERS
from ledger.state import receipts_key
from node.api.context import (
    YEAR_MAX,
    YEAR_MIN,
    context_of,
    json_response,
    member_parameter,
    number_parameter,
    page_cursor,
    page_parameters,
    query_parameters,
)
from node.api.problems import Problem
from node.api.reads import select_page
from node.api.schemas import reciprocity
from node.service import Service

COUNTERS_PREFIX = b"c/"


async def list_pairs(request: web.Request) -> web.Response:
    """GET /v1/reciprocity: counters of ordered pairs, by purpose and year."""
    service = context_of(request).service
    names = ("requester", "provider", "purpose")
    query = query_parameters(request, *names, "year", "cursor", "limit")
    wanted = tuple(query.get(name, "") for name in names)
    year = _year(query, service) if "year" in query else 0
    limit, start = page_parameters(query, COUNTERS_PREFIX)
    state = service.state()

    def shape(key: bytes, value: bytes) -> reciprocity.PairBody | None:
        requester, provider, purpose, digits = key[len(COUNTERS_PREFIX) :].decode().split("\0")
        found = (requester, provider, purpose)
        is_wanted = all(not want or want == name for want, name in zip(wanted, found, strict=True))
        if not is_wanted or year not in (0, int(digits)):
            return None
        receipts = read_receipts(state, requester, int(digits), provider, purpose)
        return reciprocity.pair_body(found, int(digits), PAIR_COUNTERS.decode(value), receipts)

    items, last = select_page(service, COUNTERS_PREFIX, start, limit, shape)
    return json_response(reciprocity.PairPage(items=items, next=page_cursor(last)))


async def read_dependency(request: web.Request) -> web.Response:
    """GET /v1/members/{member}/dependency: where the data came from that a member received."""
    service = context_of(request).service
    query = query_parameters(request, "year", "cursor", "limit")
    name, state = member_parameter(request.match_info), service.state()
    if find_member(state, name) is None:
        raise Problem("member-not-found")
    year = _year(query, service)
    whole = read_receipts(state, name, year)
    prefix = receipts_key(name, year) + b"\0"
    limit, start = page_parameters(query, prefix)

    def shape(key: bytes, value: bytes) -> reciprocity.SourceBody | None:
        provider, _, purpose = key[len(prefix) :].decode().partition("\0")
        if purpose:
            return None
        return reciprocity.source_body(provider, RECEIPTS.decode(value), whole)

    items, last = select_page(service, prefix, start, limit, shape)
    body = reciprocity.DependencyBody(
        member=name,
        year=year,
        exchanges=whole.exchanges,
        records=whole.records,
        items=items,
        next=page_cursor(last),
    )
    return json_response(body)


def _year(query: dict[str, str], service: Service) -> int:
    """The year asked for, else that of the newest block."""
    if "year" not in query:
        return block_date(service.final_time_ms()).year
    return number_parameter(query["year"], "year", low=YEAR_MIN, high=YEAR_MAX)
