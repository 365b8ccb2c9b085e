"""The one check of an event against the state: pool admission, proposals and execution use it.

What a proposer would reject, the pool rejects with the same code; what becomes wrong while an event
waits is either executed as a refused record (`recordable`) or never included.
"""

from datetime import date
from functools import lru_cache

from contracts.errors import refused, unfit
from contracts.exchange.access import check_access
from contracts.exchange.force import (
    check_codes,
    check_dataset,
    check_purpose,
    check_role,
    check_schema_version,
)
from contracts.exchange.incidents import check_drill, check_incident
from contracts.exchange.matters import Scene, advance, read_matters
from contracts.exchange.references import check_references
from contracts.facts import block_date
from contracts.governance.evidence import check_evidence
from contracts.governance.proposals import check_acknowledgement, check_governance
from contracts.governance.validators import check_ready
from contracts.lifecycle import STEPS, Actor, Step
from contracts.lookup import (
    field_ids,
    find_exchange,
    find_last_day,
    find_legal_basis,
    find_member,
    find_officer,
    read_parameters,
)
from ledger.access.anchors import AccessLogged
from ledger.events import (
    Event,
    ShareDelivered,
    ShareOpening,
    ShareReceived,
    ShareRejected,
)
from ledger.exchange.bodies import ShareOffered
from ledger.exchange.incidents import DrillRun, IncidentBody
from ledger.exchange.references import ShareReferenced
from ledger.governance.keys import is_over
from ledger.governance.proposals import GovernanceAcknowledged
from ledger.quorum.governance import EvidenceEquivocation, ValidatorReady
from ledger.registry import Dataset, Exchange, Member, Officer
from ledger.state import Overlay, StateReader, nonce_key


def check_event(
    state: StateReader, event: Event, *, network: bytes, height: int, time_ms: int
) -> Exchange | None:
    """Check everything but the contracts' decision. Raises `RefusedEvent`.

    `time_ms` is that of the block at `height`, or of the last one before it. Returns the exchange
    that a step is about, as it was before it.

    1. Network, expiry, nonce. 2. Member and officer, or validator. 3. Role, references, lifecycle.
    """
    overlay = state if isinstance(state, Overlay) else Overlay(state)
    _check_envelope(overlay, event, network=network, height=height)
    step = STEPS.get(event.kind)
    if step is not None:
        return _check_step(overlay, event, step, _check_actor(overlay, event, time_ms))
    _check_other_kind(overlay, event, height=height, time_ms=time_ms)
    return None


def _check_other_kind(overlay: Overlay, event: Event, *, height: int, time_ms: int) -> None:
    """Check what is no step of an exchange."""
    body = event.body
    if isinstance(body, ShareOpening):
        _check_opening(overlay, event, body, _check_actor(overlay, event, time_ms))
    elif isinstance(body, ValidatorReady):
        check_ready(overlay, event, body)
    elif isinstance(body, EvidenceEquivocation):
        check_evidence(overlay, event, body)
    elif isinstance(body, AccessLogged):
        check_access(overlay, event, body)
    else:
        officer = _check_actor(overlay, event, time_ms)
        if isinstance(body, IncidentBody):
            check_incident(overlay, event, body, officer)
        elif isinstance(body, DrillRun):
            check_drill(officer)
        else:
            _check_governance(overlay, event, officer, height)


def _check_governance(overlay: Overlay, event: Event, officer: Officer, height: int) -> None:
    check_role(officer, "admin")
    if isinstance(event.body, GovernanceAcknowledged):
        check_acknowledgement(overlay, event, event.body)
    else:
        check_governance(overlay, event, height=height)


def _check_envelope(overlay: Overlay, event: Event, *, network: bytes, height: int) -> None:
    if event.network != network:
        raise unfit("wrong-network", f"signed for network {event.network.hex()[:16]}")
    if event.expires_height < height:
        raise unfit("event-expired", f"expired at height {event.expires_height}, now {height}")
    furthest = height + overlay.recall(read_parameters).expiry_blocks_max
    if event.expires_height > furthest:
        raise unfit(
            "expiry-too-far", f"expires at height {event.expires_height}, at most {furthest}"
        )
    known = overlay.get(nonce_key(event.member, event.nonce))
    if known == event.digest:
        raise unfit("duplicate", f"event {event.digest.hex()} is recorded already")
    if known is not None:
        raise unfit("nonce-reused", f"the nonce names event {known.hex()}")


def _check_actor(overlay: Overlay, event: Event, time_ms: int) -> Officer:
    # Who acknowledges its admission is not active yet: that check is its own.
    is_newcomer = isinstance(event.body, GovernanceAcknowledged)
    return overlay.recall(_admit_actor, event.member, event.officer, is_newcomer, time_ms)


def _admit_actor(
    state: StateReader, member_id: str, key: bytes, is_newcomer: bool, time_ms: int
) -> Officer:
    member = find_member(state, member_id)
    if member is None:
        raise unfit("member-unknown", member_id)
    if member.status != "active" and not is_newcomer:
        raise unfit("member-not-active", f"{member_id} is {member.status}")
    officer = find_officer(state, key)
    if officer is None:
        raise unfit("officer-unknown", key[1:].hex())
    if officer.member != member_id:
        raise unfit("officer-of-other-member", f"the key belongs to {officer.member}")
    if officer.status != "active":
        raise unfit("officer-revoked", key[1:].hex())
    last_day = find_last_day(state, key)
    if last_day and is_over(last_day, block_date(time_ms).isoformat()):
        raise unfit("officer-expired", f"{key[1:].hex()} signed up to {last_day}")
    return officer


def _check_opening(overlay: Overlay, event: Event, body: ShareOpening, officer: Officer) -> None:
    if isinstance(body, ShareOffered):
        check_role(officer, "provider")
        overlay.recall(_admit_other, event.member, body.recipient, "recipient")
    else:
        check_role(officer, "requester")
        overlay.recall(_admit_other, event.member, body.provider, "provider")
    overlay.recall(_admit_asked, body.dataset, body.purpose, body.legal_basis, body.fields)
    if len(frozenset(body.subjects)) != len(body.subjects):
        raise refused("subject-repeated", f"{len(body.subjects)} commitments")
    period_days(body)


def _admit_other(state: StateReader, member: str, name: str, side: str) -> Member:
    other = find_member(state, name)
    if other is None or name == member:
        raise refused(f"{side}-unknown", name)
    if other.status != "active":
        raise refused(f"{side}-not-active", f"{name} is {other.status}")
    return other


def _admit_asked(
    state: StateReader, name: str, purpose: str, legal_basis: str, fields: tuple[str, ...]
) -> Dataset:
    dataset = check_dataset(state, name)
    check_purpose(state, purpose)
    if find_legal_basis(state, legal_basis) is None:
        raise refused("legal-basis-unknown", legal_basis)
    known = field_ids(dataset)
    for field in fields:
        if field not in known:
            raise refused("field-unknown", f"{name} has no field {field}")
    if len(frozenset(fields)) != len(fields):
        raise refused("field-repeated", name)
    return dataset


def period_days(body: ShareOpening) -> int:
    """Days of the requested period, both ends included. Raises `RefusedEvent`."""
    days = _count_days(body.period_from, body.period_to)
    if days is None:
        raise refused("period-invalid", f"{body.period_from} to {body.period_to}")
    if days < 1:
        raise refused("period-invalid", f"{body.period_from} is after {body.period_to}")
    return days


# Asked twice about each request, and many requests are about the same year.
@lru_cache(4_096)
def _count_days(first: str, last: str) -> int | None:
    """Days from one date to another, both included; None: there is no such date."""
    try:
        return (date.fromisoformat(last) - date.fromisoformat(first)).days + 1
    except ValueError:
        return None


def _check_step(overlay: Overlay, event: Event, step: Step, officer: Officer) -> Exchange:
    if len(step.actors) == 1:
        check_role(officer, step.actors[0].role)
    exchange = find_exchange(overlay, event.exchange)
    if exchange is None:
        raise refused("exchange-unknown", event.exchange.hex())
    actor = _find_actor(step.actors, event, exchange)
    check_role(officer, actor.role)
    if exchange.status not in step.before:
        raise refused("exchange-state", f"{event.kind} while {exchange.status}")
    if actor.role == "approver" and event.officer == exchange.requested_by:
        raise refused("same-officer", "the requesting officer cannot decide the review")
    if step.is_holding:
        matters = read_matters(overlay, event.exchange, exchange)
        advance(matters, Scene(state=overlay, event=event, exchange=exchange, time_ms=0))
    else:
        _check_body(overlay, event, exchange)
    return exchange


def _find_actor(actors: tuple[Actor, ...], event: Event, exchange: Exchange) -> Actor:
    """On which side the member acts. Raises `RefusedEvent`. Of holders `advance` knows."""
    for actor in actors:
        if actor.side == "holder" or event.member == _party(actor, exchange):
            return actor
    allowed = " / ".join(_party(actor, exchange) for actor in actors)
    raise refused("not-a-party", f"only {allowed} may do {event.kind} here")


def _party(actor: Actor, exchange: Exchange) -> str:
    return exchange.requester if actor.side == "requester" else exchange.provider


def _check_body(overlay: Overlay, event: Event, exchange: Exchange) -> None:
    body = event.body
    if isinstance(body, ShareDelivered):
        overlay.recall(check_schema_version, exchange.dataset, body.schema_version)
    elif isinstance(body, ShareReceived):
        _check_commitment(body.commitment, exchange)
    elif isinstance(body, ShareRejected):
        _check_commitment(body.commitment, exchange)
        overlay.recall(check_codes, body.code_set, body.codes)
    elif isinstance(body, ShareReferenced):
        check_references(overlay, event, body, exchange)


def _check_commitment(commitment: bytes, exchange: Exchange) -> None:
    if commitment != exchange.commitment:
        raise refused("commitment-mismatch", f"delivered was {exchange.commitment.hex()}")
