"""What members vote on: rules, a dry run, proposals with their ballots, histories."""

import re
from typing import get_args

import msgspec
from aiohttp import web

from contracts.errors import RefusedEvent
from contracts.governance.catalogue import class_of
from contracts.governance.counts import OWN_FACTORS, count_approvals_needed, count_factors, is_own
from contracts.governance.effects import find_faults, is_about_validators, rehearse
from contracts.governance.faults import Fault, Moment
from contracts.governance.rules import DEFAULT_RULES, count_needed, rule_of, voters_of
from contracts.governance.schedule import check_room
from contracts.governance.validators import preview_change
from contracts.lookup import find_ballot_box, find_proposal
from contracts.words import Language
from ledger.events import EVENT_SIZE_BYTES_MAX
from ledger.governance.actions import Action, ContractAction
from ledger.governance.proposals import (
    PROPOSALS,
    REVISIONS,
    GovernanceProposed,
    Proposal,
)
from ledger.state import StateReader, revision_key
from node.api.context import (
    DIGEST_HEX_CHARS,
    MSGPACK,
    TARGET_PATTERN,
    address_of,
    context_of,
    hex_parameter,
    json_response,
    page_cursor,
    page_parameters,
    query_parameters,
    read_body,
)
from node.api.events import media_type
from node.api.governance.ballots import Ballots, opening_of, read_ballots
from node.api.governance.validators import preview_list
from node.api.problems import Problem, headers_in, language_of
from node.api.schemas.base import fields_of
from node.api.schemas.governance import proposals as bodies
from node.api.schemas.governance.changes import StateChangeBody, change_bodies, seat_changes
from node.service import Service

PREVIEW_BYTES_MAX = 131_072
PROPOSALS_PREFIX = b"g/"
SCAN_PROPOSALS_MAX = 500
# As many requests as judging a policy set is worth.
CONTRACTS_COST = 1_000
_REHEARSED = ("open", "waiting")
_TARGET = re.compile(TARGET_PATTERN + r"\Z")
_JSON_PREVIEWS = msgspec.json.Decoder(bodies.PreviewProposal)
_MSGPACK_PREVIEWS = msgspec.msgpack.Decoder(bodies.PreviewProposal)
_STATUSES = frozenset(get_args(bodies.Status))


async def list_rules(request: web.Request) -> web.Response:
    """GET /v1/rules: who votes, and how votes of each class of actions count."""
    query_parameters(request)
    state = context_of(request).service.state()
    voters = voters_of(state)
    rules = [rule_of(state, action_class) for action_class in DEFAULT_RULES]
    return json_response(
        bodies.RulesBody(
            voters=voters,
            rules=[bodies.rule_body(rule, count_needed(rule, len(voters))) for rule in rules],
        )
    )


async def preview_proposal(request: web.Request) -> web.Response:
    """POST /v1/proposals/preview: what a proposal would do now; nothing is submitted."""
    query_parameters(request)
    service = context_of(request).service
    asked = await _read_preview(request)
    charge_rehearsal(request, asked.actions)
    language = language_of(request)
    body = _preview(service, asked, language)
    headers = headers_in(language)
    return json_response(body, headers=headers)


async def list_proposals(request: web.Request) -> web.Response:
    """GET /v1/proposals: in the order of their digests, all or those with one status.

    One page looks at `SCAN_PROPOSALS_MAX` proposals at most: a page may be short and still have a
    cursor.
    """
    service = context_of(request).service
    query = query_parameters(request, "status", "cursor", "limit")
    status = query.get("status", "")
    if status and status not in _STATUSES:
        raise Problem("parameter-invalid", f"status: one of {', '.join(sorted(_STATUSES))}")
    limit, start = page_parameters(query, PROPOSALS_PREFIX)
    pairs = service.scan_state(PROPOSALS_PREFIX, start, SCAN_PROPOSALS_MAX)
    items: list[bodies.ProposalSummaryBody] = []
    height = _next_height(service)
    for place, (key, value) in enumerate(pairs):
        proposal = PROPOSALS.decode(value)
        is_wanted = not status or status == status_of(proposal, height)
        if is_wanted and len(items) == limit:
            return _page(items, pairs[place - 1][0])
        if is_wanted:
            items.append(_summary(service, key[2:], proposal, height))
    return _page(items, pairs[-1][0] if len(pairs) == SCAN_PROPOSALS_MAX else b"")


async def read_proposal(request: web.Request) -> web.Response:
    """GET /v1/proposals/{digest}: a proposal, its ballots, and what it would change."""
    query_parameters(request)
    context = context_of(request)
    service = context.service
    digest = hex_parameter(request, "digest", chars=DIGEST_HEX_CHARS)
    proposal = find_proposal(service.state(), digest)
    if proposal is None:
        raise Problem("proposal-not-found")
    if status_of(proposal, _next_height(service)) in _REHEARSED:
        charge_rehearsal(request, proposal.actions)
    language = language_of(request)
    headers = headers_in(language)
    ballots = await read_ballots(service, digest, lambda: context.charge(address_of(request)))
    # Asked again: other ballots may have come while those were read.
    return json_response(_proposal(service, digest, ballots, language), headers=headers)


async def read_history(request: web.Request) -> web.Response:
    """GET /v1/history/{target}: what changed a thing, as `kind/id`, since genesis."""
    query_parameters(request)
    target = request.match_info["target"]
    if _TARGET.match(target) is None:
        raise Problem("parameter-invalid", "target: a kind, or kind/id, as in changes")
    revisions = _revisions(context_of(request).service, target)
    return json_response(bodies.HistoryBody(target=target, revisions=revisions))


def charge_rehearsal(request: web.Request, actions: tuple[Action, ...]) -> None:
    """Count the work of a dry run against an address: judging all contracts takes long."""
    if any(isinstance(action, ContractAction) for action in actions):
        context_of(request).charge(address_of(request), CONTRACTS_COST)


def status_of(proposal: Proposal, height: int) -> bodies.Status:
    """Status for people: one on which the block at `height` may not hold ballots is expired."""
    if proposal.status == "open" and height > proposal.ballots_until_height:
        return "expired"
    return proposal.status


async def _read_preview(request: web.Request) -> bodies.PreviewProposal:
    kind = media_type(request)
    body = await read_body(request, size_bytes_max=PREVIEW_BYTES_MAX)
    decoder = _MSGPACK_PREVIEWS if kind == MSGPACK else _JSON_PREVIEWS
    try:
        asked = decoder.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Problem("body-malformed", str(error)) from None
    # Rules are made for what an event can hold.
    if len(msgspec.msgpack.encode(asked.actions)) > EVENT_SIZE_BYTES_MAX:
        raise Problem("event-too-large", f"{EVENT_SIZE_BYTES_MAX} bytes are allowed")
    return asked


def _preview(
    service: Service, asked: bodies.PreviewProposal, language: Language
) -> bodies.ProposalPreviewBody:
    state, actions = service.state(), asked.actions
    faults = find_faults(state, actions, network=service.network)
    voters = voters_of(state)
    if not _belong_together(actions):
        return bodies.ProposalPreviewBody(
            action_class="",
            needed=0,
            voters=len(voters),
            factors=0,
            own=False,
            faults=bodies.fault_bodies(faults, language),
            changes=[],
            validators=None,
        )
    proposal = _imagine(asked)
    own = is_own(state, proposal)
    if asked.member and asked.member not in voters and not own:
        faults.append(Fault(code="not-a-voter", detail=asked.member))
    faults += _room_faults(service, proposal)
    validators = None
    if is_about_validators(actions):
        validators = preview_list(service, actions, language)
    return bodies.ProposalPreviewBody(
        action_class=class_of(actions[0]),
        needed=count_approvals_needed(state, actions),
        voters=len(voters),
        factors=count_factors(state, actions),
        own=own,
        faults=bodies.fault_bodies(faults, language),
        changes=_changes(service, actions),
        validators=validators,
    )


def _belong_together(actions: tuple[Action, ...]) -> bool:
    kinds = frozenset((class_of(action), is_about_validators((action,))) for action in actions)
    return len(kinds) == 1


def _imagine(asked: bodies.PreviewProposal) -> Proposal:
    return Proposal(
        status="open",
        member=asked.member,
        actions=asked.actions,
        activate_height=0,
        ballots_until_height=0,
        approved=(),
        rejected=(),
    )


def _room_faults(service: Service, proposal: Proposal) -> list[Fault]:
    """Why a proposal that is carried now could not wait for its height."""
    if is_about_validators(proposal.actions):
        return []
    try:
        check_room(service.state(), proposal, _next_height(service))
    except RefusedEvent as refused:
        return [Fault(code=refused.code, detail=refused.detail)]
    return []


def _changes(service: Service, actions: tuple[Action, ...]) -> list[StateChangeBody]:
    """What actions of one class would change now, as far as they are possible."""
    state = service.state()
    if not is_about_validators(actions):
        time_ms = service.final_time_ms()
        moment = Moment(proposal=bytes(32), height=_next_height(service), time_ms=time_ms)
        rehearsal = rehearse(state, actions, network=service.network, moment=moment)
        return change_bodies(state, rehearsal.overlay, time_ms=time_ms)
    preview = preview_change(state, actions, network=service.network)
    # Keys of an impossible change may be none at all.
    return (
        [] if preview.faults else seat_changes(service.validators().validators, preview.validators)
    )


def _proposal(
    service: Service, digest: bytes, ballots: Ballots, language: Language
) -> bodies.ProposalBody:
    state = service.state()
    proposal = find_proposal(state, digest)
    assert proposal is not None, "the ledger forgets no proposal"
    actions = proposal.actions
    status = status_of(proposal, _next_height(service))
    index, event = opening_of(service, digest)
    assert isinstance(event.body, GovernanceProposed), "a proposal is named by such an event"
    partial = _lack_second_key(state, digest, proposal)
    voters = voters_of(state)
    said = frozenset((*proposal.approved, *proposal.rejected, *partial))
    faults = find_faults(state, actions, network=service.network) if status == "open" else []
    if status == "open":
        faults += _room_faults(service, proposal)
    return bodies.ProposalBody(
        digest=digest.hex(),
        status=status,
        member=proposal.member,
        action_class=class_of(actions[0]),
        text=event.body.text,
        actions=[fields_of(action) for action in actions],
        index=index,
        height=service.block_height_of(index),
        activate_height=proposal.activate_height,
        effective_height=(
            max(proposal.activate_height, ballots.decided_height + 1)
            if status in ("waiting", "in_force")
            else None
        ),
        ballots_until_height=proposal.ballots_until_height,
        needed=count_approvals_needed(state, actions),
        factors=count_factors(state, actions),
        own=is_own(state, proposal),
        voters=voters,
        approved=proposal.approved,
        rejected=proposal.rejected,
        pending_second_key=partial,
        missing=tuple(voter for voter in voters if voter not in said),
        ballots=ballots.counted,
        faults=bodies.fault_bodies(faults, language),
        changes=_changes(service, actions) if status in _REHEARSED else [],
    )


def _lack_second_key(state: StateReader, digest: bytes, proposal: Proposal) -> tuple[str, ...]:
    """Members with whose next key an approval would count, or suffice."""
    if proposal.status != "open":
        return ()
    found = []
    own = is_own(state, proposal)
    for member in sorted({*voters_of(state), proposal.member}):
        box = find_ballot_box(state, digest, member)
        if box is None or member in proposal.rejected:
            continue
        suffices = own and member == proposal.member and len(box.officers) < OWN_FACTORS
        if suffices or member not in proposal.approved:
            found.append(member)
    return tuple(found)


def _summary(
    service: Service, digest: bytes, proposal: Proposal, height: int
) -> bodies.ProposalSummaryBody:
    index, event = opening_of(service, digest)
    assert isinstance(event.body, GovernanceProposed), "a proposal is named by such an event"
    return bodies.summary_body(
        proposal,
        event,
        event.body,
        status=status_of(proposal, height),
        needed=count_approvals_needed(service.state(), proposal.actions),
        index=index,
        height=service.block_height_of(index),
    )


def _page(items: list[bodies.ProposalSummaryBody], last: bytes) -> web.Response:
    return json_response(bodies.ProposalPage(items=items, next=page_cursor(last)))


def _revisions(service: Service, target: str) -> list[bodies.RevisionBody]:
    prefix = revision_key(target, 0)[:-8]
    found: list[bodies.RevisionBody] = []
    start = prefix
    while pairs := service.scan_state(prefix, start, SCAN_PROPOSALS_MAX):
        each = [REVISIONS.decode(value) for _, value in pairs]
        found += [bodies.RevisionBody(proposal=r.proposal.hex(), height=r.height) for r in each]
        start = pairs[-1][0] + b"\0"
    return found


def _next_height(service: Service) -> int:
    return service.status().height + 1
