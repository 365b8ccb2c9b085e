"""Reading who validates: epochs and their proofs, the pending change, evidence; and a dry run."""

from collections.abc import Sequence

import msgspec
from aiohttp import web

from contracts.governance.validators import preview_change
from contracts.lookup import find_epoch, find_reachable, read_epoch, read_pending
from contracts.words import Language
from ledger.blocks import RECORDS
from ledger.codec import Codec
from ledger.errors import InvalidEncoding
from ledger.events import parse_event
from ledger.governance.actions import Action
from ledger.quorum.governance import EvidenceEquivocation
from ledger.quorum.votes import decode_vote
from node.api.context import (
    MSGPACK,
    NUMBER_MAX,
    context_of,
    immutable_response,
    json_response,
    number_parameter,
    page_cursor,
    page_parameters,
    query_parameters,
    read_body,
)
from node.api.events import media_type
from node.api.problems import Problem, headers_in, language_of
from node.api.schemas.governance import validators as bodies
from node.service import PeerStatus, Service

EVIDENCE_PREFIX = b"y/"
HEARD_MS = 15_000
PREVIEW_BYTES_MAX = 65_536
_ACTIONS = Codec(tuple[Action, ...], size_bytes_max=PREVIEW_BYTES_MAX)
_PREVIEWS = msgspec.json.Decoder(bodies.PreviewActions)


async def read_validators(request: web.Request) -> web.Response:
    """GET /v1/validators: the epoch in force, its validators, the pending change."""
    query_parameters(request)
    service = context_of(request).service
    state = service.state()
    epoch, change = read_epoch(state), read_pending(state)
    listed = (*epoch.validators, *(() if change is None else change.validators))
    addresses = {}
    for validator in listed:
        reachable = find_reachable(state, validator.member)
        addresses[validator.member] = "" if reachable is None else reachable.address
    return json_response(
        bodies.validators_body(epoch, change, addresses=addresses, hearing=_hearing(service))
    )


async def preview_validators(request: web.Request) -> web.Response:
    """POST /v1/validators/preview: what actions would make of the list; nothing is submitted."""
    query_parameters(request)
    service = context_of(request).service
    actions = await _read_actions(request)
    language = language_of(request)
    headers = headers_in(language)
    return json_response(preview_list(service, actions, language), headers=headers)


def preview_list(
    service: Service, actions: Sequence[Action], language: Language
) -> bodies.PreviewBody:
    """What actions would make of the list now, and who of it this node hears."""
    preview = preview_change(service.state(), actions, network=service.network)
    current = [validator.member for validator in read_epoch(service.state()).validators]
    return bodies.preview_body(preview, current, hearing=_hearing(service), language=language)


async def list_evidence(request: web.Request) -> web.Response:
    """GET /v1/evidence: double votes on the ledger, by epoch, view and member."""
    service = context_of(request).service
    query = query_parameters(request, "cursor", "limit")
    limit, start = page_parameters(query, EVIDENCE_PREFIX)
    pairs = service.scan_state(EVIDENCE_PREFIX, start, limit + 1)
    items = [_evidence(service, digest) for _, digest in pairs[:limit]]
    last = pairs[limit - 1][0] if len(pairs) > limit else b""
    return json_response(bodies.EvidencePage(items=items, next=page_cursor(last)))


async def read_epoch_proof(request: web.Request) -> web.Response:
    """GET /v1/log/epochs/{epoch}: canonical bytes of the proof that ends an epoch."""
    service = context_of(request).service
    epoch = number_parameter(request.match_info["epoch"], "epoch", low=0, high=NUMBER_MAX)
    proof = service.epoch_proof(epoch)
    if proof is None:
        current = service.validators().epoch
        code = "epoch-open" if epoch >= current else "epoch-proof-not-yet"
        raise Problem(code, f"the epoch in force is {current}")
    return immutable_response(
        request, proof, content_type="application/octet-stream", etag=f"epoch-{epoch}"
    )


async def _read_actions(request: web.Request) -> Sequence[Action]:
    kind = media_type(request)
    body = await read_body(request, size_bytes_max=PREVIEW_BYTES_MAX)
    try:
        if kind == MSGPACK:
            actions = _ACTIONS.decode(body)
        else:
            actions = _PREVIEWS.decode(body).actions
    except (msgspec.DecodeError, InvalidEncoding, RecursionError) as error:
        raise Problem("body-malformed", str(error)) from None
    if not 1 <= len(actions) <= bodies.ACTIONS_MAX:
        raise Problem("body-malformed", f"{len(actions)} actions, 1 to {bodies.ACTIONS_MAX}")
    return actions


def _hearing(service: Service) -> dict[str, bool]:
    """Whether this node hears a member now; members that it has no link with are not named."""
    status = service.status()
    return {status.member: True, **{peer.member: _is_heard(peer) for peer in status.peers}}


def _is_heard(peer: PeerStatus) -> bool:
    return 0 <= peer.last_seen_ms_ago < HEARD_MS


def _evidence(service: Service, digest: bytes) -> bodies.EvidenceBody:
    """The record that holds a pair of votes, found by the digest of its event."""
    index = service.event_status(digest).index
    record = RECORDS.decode(service.read_entries(index, 1)[0])
    event = parse_event(record.event)
    assert isinstance(event.body, EvidenceEquivocation), "evidence_key names such an event"
    epoch = find_epoch(service.state(), decode_vote(event.body.first).subject.epoch)
    assert epoch is not None, "evidence of an unknown epoch is not recorded"
    return bodies.evidence_body(
        epoch, event, event.body, index=index, height=service.block_height_of(index)
    )
