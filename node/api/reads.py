"""Reading the final log and state: entries, receipts, exchanges, registry, tiles."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import web

from contracts.credit.accounts import read_causes, read_changes, read_credit, read_formula
from contracts.exchange.matters import read_deadlines, read_matters
from contracts.lookup import find_member, read_sunsets
from contracts.risk.habits import read_risk
from ledger import registry
from ledger.blocks import Record, decode_entry
from ledger.codec import Codec
from ledger.errors import InvalidEncoding
from ledger.events import parse_event
from ledger.genesis import encode_genesis_json
from ledger.state import PARAMETERS_KEY, POLICY_SET_KEY, VALIDATORS_KEY, exchange_key
from ledger.tlog.merkle import hash_leaf
from ledger.tlog.tiles import TilePath
from node.api.context import (
    DIGEST_HEX_CHARS,
    JSON,
    NUMBER_MAX,
    conditional_response,
    context_of,
    hex_parameter,
    immutable_response,
    json_response,
    member_parameter,
    number_parameter,
    page_cursor,
    page_parameters,
    query_parameters,
    wait_parameter,
)
from node.api.problems import Problem
from node.api.schemas import base, credit, duties, log, nodes, values
from node.api.schemas.governance import registers
from node.service import Service

SCAN_PAIRS_MAX = 2_000
HISTORY_RECORDS_MAX = 500
GRADE_CHANGES_MAX = 50
_TEXT = "text/plain"

T = TypeVar("T")
V = TypeVar("V")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def read_entry(request: web.Request) -> web.Response:
    """GET /v1/entries/{index}: an entry, decoded, with its exact bytes and leaf hash."""
    service = context_of(request).service
    index = _entry_index(request, service)
    data = service.read_entries(index, 1)[0]
    entry = decode_entry(data)
    body = log.entry_body(
        index=index,
        height=service.block_height_of(index),
        data=data,
        leaf_hash=hash_leaf(data),
        entry=entry,
        event=parse_event(entry.event) if isinstance(entry, Record) else None,
    )
    return immutable_response(
        request, base.encode_json(body), content_type=JSON, etag=body.leaf_hash
    )


async def read_receipt(request: web.Request) -> web.Response:
    """GET /v1/entries/{index}/receipt: tlog-proof under the newest quorum checkpoint.

    With `wait` the entry itself may still be on its way: another node had it first.
    """
    context = context_of(request)
    index = number_parameter(request.match_info["index"], "index", low=0, high=NUMBER_MAX)
    wait_s = wait_parameter(request)
    receipt = context.service.receipt(index)
    if receipt is None and wait_s:
        async with context.waiting(wait_s):
            receipt = await context.service.wait_receipt(index, wait_s)
    if receipt is None:
        _entry_index(request, context.service)
        raise Problem("receipt-not-yet")
    return web.Response(
        body=receipt, content_type=_TEXT, charset="utf-8", headers={"Cache-Control": "no-cache"}
    )


async def read_request(request: web.Request) -> web.Response:
    """GET /v1/requests/{exchange}: state of an exchange and its records, oldest first."""
    service = context_of(request).service
    exchange = hex_parameter(request, "exchange", chars=DIGEST_HEX_CHARS)
    value = service.state().get(exchange_key(exchange))
    if value is None:
        raise Problem("exchange-unknown")
    state = registry.EXCHANGES.decode(value)
    now_ms = service.final_time_ms()
    matters = read_matters(service.state(), exchange, state)
    return json_response(
        duties.RequestBody(
            state=log.exchange_body(exchange, state),
            risk=duties.risk_body(read_risk(service.state(), exchange)),
            matters=duties.matters_body(matters),
            duties=[
                duties.DutyBody(**duties.duty_fields(duty, now_ms))
                for duty in service.duties().of_exchange(exchange)
            ],
            history=read_history(service, exchange),
        )
    )


def read_history(service: Service, subject: bytes) -> list[log.RecordBody]:
    """The first records of an exchange or incident, oldest first."""
    history = []
    for index in service.exchange_indexes(subject, 0, HISTORY_RECORDS_MAX):
        record = decode_entry(service.read_entries(index, 1)[0])
        assert isinstance(record, Record), "an index of a subject names a record"
        height = service.block_height_of(index)
        event = parse_event(record.event)
        history.append(log.record_body(index, height, event, record.outcome))
    return history


async def list_requests(request: web.Request) -> web.Response:
    """GET /v1/requests: exchanges by member (requester or provider) and status, in id order.

    One page looks at `SCAN_PAIRS_MAX` exchanges at most: a page may be short and still have a
    cursor, so that a rare filter cannot hold the node up.
    """
    service = context_of(request).service
    query = query_parameters(request, "member", "status", "cursor", "limit")
    member, status = member_parameter(query), query.get("status", "")
    limit, start = page_parameters(query, b"x/")

    def shape(key: bytes, value: bytes) -> log.ExchangeBody | None:
        exchange = registry.EXCHANGES.decode(value)
        is_wanted = (not member or member in (exchange.requester, exchange.provider)) and (
            not status or status == exchange.status
        )
        return log.exchange_body(key[2:], exchange) if is_wanted else None

    items, last = select_page(service, b"x/", start, limit, shape)
    return json_response(log.RequestPage(items=items, next=page_cursor(last)))


def select_page(
    service: Service,
    prefix: bytes,
    start: bytes,
    limit: int,
    shape: Callable[[bytes, bytes], T | None],
) -> tuple[list[T], bytes]:
    """Items of a page, and the state key after which the next one begins; empty at the end.

    `shape` makes an item of a key and its value, or None of one that is not wanted.
    """
    items: list[T] = []
    pairs = service.scan_state(prefix, start, SCAN_PAIRS_MAX)
    for place, (key, value) in enumerate(pairs):
        item = shape(key, value)
        if item is not None and len(items) == limit:
            return items, pairs[place - 1][0]
        if item is not None:
            items.append(item)
    return items, pairs[-1][0] if len(pairs) == SCAN_PAIRS_MAX else b""


def list_registry(
    prefix: bytes, codec: Codec[V], shape: Callable[[V], Any], page_type: Callable[..., Any]
) -> Handler:
    """Handler that pages through one kind of registry values in id order."""

    async def handler(request: web.Request) -> web.Response:
        query = query_parameters(request, "cursor", "limit")
        limit, start = page_parameters(query, prefix)
        pairs = context_of(request).service.scan_state(prefix, start, limit + 1)
        items = [shape(codec.decode(value)) for _, value in pairs[:limit]]
        last = pairs[limit - 1][0] if len(pairs) > limit else b""
        return json_response(page_type(items=items, next=page_cursor(last)))

    return handler


async def read_member_credit(request: web.Request) -> web.Response:
    """GET /v1/members/{member}/credit: score and grade at the newest block, and why."""
    service = context_of(request).service
    query_parameters(request)
    state, time_ms = service.state(), service.final_time_ms()
    member = find_member(state, member_parameter(request.match_info))
    if member is None:
        raise Problem("member-not-found")
    formula, (recorded, standing) = read_formula(state), read_credit(state, member, time_ms)
    first_day = formula.first_day(formula.bucket_day(time_ms))
    body = credit.credit_body(
        member,
        formula,
        recorded,
        standing,
        time_ms=time_ms,
        causes=read_causes(state, member.id, recorded, since_day=first_day),
        changes=read_changes(state, member.id, recorded.changes, GRADE_CHANGES_MAX),
    )
    return json_response(body)


async def list_sunsets(request: web.Request) -> web.Response:
    """GET /v1/sunsets: what is or will be out of force."""
    query_parameters(request)
    found = read_sunsets(context_of(request).service.state())
    return json_response(registers.SunsetsBody(items=list(map(registers.sunset_body, found))))


async def read_contracts(request: web.Request) -> web.Response:
    """GET /v1/contracts: the policy set in force, with its hash."""
    service = context_of(request).service
    value = _required(service, POLICY_SET_KEY)
    policies = registry.POLICY_SETS.decode(value)
    body = values.contracts_body(policies)
    headers = {"ETag": f'"{body.hash}"', "Cache-Control": "no-cache"}
    return conditional_response(request, base.encode_json(body), content_type=JSON, headers=headers)


async def read_network(request: web.Request) -> web.Response:
    """GET /v1/network: identity, validators, parameters and deadlines in force."""
    service = context_of(request).service
    validators = registry.VALIDATOR_LISTS.decode(_required(service, VALIDATORS_KEY))
    parameters = registry.PARAMETERS.decode(_required(service, PARAMETERS_KEY))
    deadlines = read_deadlines(service.state())
    return json_response(
        nodes.network_body(service.genesis, service.network, validators, parameters, deadlines)
    )


async def read_genesis(request: web.Request) -> web.Response:
    """GET /v1/genesis: the genesis file."""
    service = context_of(request).service
    return immutable_response(
        request,
        encode_genesis_json(service.genesis),
        content_type=JSON,
        etag=service.network.hex(),
    )


async def read_founders(request: web.Request) -> web.Response:
    """GET /v1/genesis/signatures: signatures of all founders, verified when the node started."""
    query_parameters(request)
    data = context_of(request).founders
    digest = hashlib.sha256(data).hexdigest()
    return immutable_response(request, data, content_type=JSON, etag=digest)


async def read_checkpoint(request: web.Request) -> web.Response:
    """GET /log/checkpoint: newest checkpoint with a quorum of cosignatures."""
    checkpoint = context_of(request).service.checkpoint()
    if checkpoint is None:
        raise Problem("checkpoint-not-yet")
    return web.Response(
        body=checkpoint, content_type=_TEXT, charset="utf-8", headers={"Cache-Control": "no-cache"}
    )


async def read_tile(request: web.Request) -> web.Response:
    """GET /log/tile/...: hash tiles and entry bundles (C2SP tlog-tiles); all are immutable."""
    path = "tile/" + request.match_info["path"]
    try:
        TilePath.parse(path)
    except InvalidEncoding as error:
        raise Problem("tile-unknown", str(error)) from None
    data = context_of(request).service.tile(path)
    if data is None:
        raise Problem("tile-unknown")
    return immutable_response(
        request, data, content_type="application/octet-stream", etag=path.replace("/", "-")
    )


def _entry_index(request: web.Request, service: Service) -> int:
    index = number_parameter(request.match_info["index"], "index", low=0, high=NUMBER_MAX)
    size = service.tree_size()
    if index >= size:
        raise Problem("entry-unknown", f"the log has {size} entries")
    return index


def _required(service: Service, key: bytes) -> bytes:
    value = service.state().get(key)
    assert value is not None, "genesis sets this key and nothing is ever deleted"
    return value
