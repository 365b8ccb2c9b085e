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
from ledger.registry import Exchange, Officer
from ledger.state import StateReader, nonce_key


def check_event(
    state: StateReader, event: Event, *, network: bytes, height: int, time_ms: int
) -> None:
    """Check everything but the contracts' decision. Raises `RefusedEvent`.

    `time_ms` is that of the block at `height`, or of the last one before it.

    1. Network, expiry, nonce. 2. Member and officer, or validator. 3. Role, references, lifecycle.
    """
    _check_envelope(state, event, network=network, height=height)
    step = STEPS.get(event.kind)
    if step is not None:
        _check_step(state, event, step, _check_actor(state, event, time_ms))
        return
    body = event.body
    if isinstance(body, ValidatorReady):
        check_ready(state, event, body)
        return
    if isinstance(body, EvidenceEquivocation):
        check_evidence(state, event, body)
        return
    if isinstance(body, AccessLogged):
        check_access(state, event, body)
        return
    officer = _check_actor(state, event, time_ms)
    if isinstance(body, ShareOpening):
        _check_opening(state, event, body, officer)
    elif isinstance(body, IncidentBody):
        check_incident(state, event, body, officer)
    elif isinstance(body, DrillRun):
        check_drill(officer)
    else:
        check_role(officer, "admin")
        if isinstance(body, GovernanceAcknowledged):
            check_acknowledgement(state, event, body)
        else:
            check_governance(state, event, height=height)


def _check_envelope(state: StateReader, event: Event, *, network: bytes, height: int) -> None:
    if event.network != network:
        raise unfit("wrong-network", f"signed for network {event.network.hex()[:16]}")
    if event.expires_height < height:
        raise unfit("event-expired", f"expired at height {event.expires_height}, now {height}")
    furthest = height + read_parameters(state).expiry_blocks_max
    if event.expires_height > furthest:
        raise unfit(
            "expiry-too-far", f"expires at height {event.expires_height}, at most {furthest}"
        )
    known = state.get(nonce_key(event.member, event.nonce))
    if known == event.digest:
        raise unfit("duplicate", f"event {event.digest.hex()} is recorded already")
    if known is not None:
        raise unfit("nonce-reused", f"the nonce names event {known.hex()}")


def _check_actor(state: StateReader, event: Event, time_ms: int) -> Officer:
    member = find_member(state, event.member)
    if member is None:
        raise unfit("member-unknown", event.member)
    # Who acknowledges its admission is not active yet: that check is its own.
    may_act = member.status == "active" or isinstance(event.body, GovernanceAcknowledged)
    if not may_act:
        raise unfit("member-not-active", f"{event.member} is {member.status}")
    officer = find_officer(state, event.officer)
    if officer is None:
        raise unfit("officer-unknown", event.officer[1:].hex())
    if officer.member != event.member:
        raise unfit("officer-of-other-member", f"the key belongs to {officer.member}")
    if officer.status != "active":
        raise unfit("officer-revoked", event.officer[1:].hex())
    last_day = find_last_day(state, event.officer)
    if last_day and is_over(last_day, block_date(time_ms).isoformat()):
        raise unfit("officer-expired", f"{event.officer[1:].hex()} signed up to {last_day}")
    return officer


def _check_opening(state: StateReader, event: Event, body: ShareOpening, officer: Officer) -> None:
    if isinstance(body, ShareOffered):
        check_role(officer, "provider")
        _check_other(state, event, body.recipient, "recipient")
    else:
        check_role(officer, "requester")
        _check_other(state, event, body.provider, "provider")
    dataset = check_dataset(state, body.dataset)
    check_purpose(state, body.purpose)
    if find_legal_basis(state, body.legal_basis) is None:
        raise refused("legal-basis-unknown", body.legal_basis)
    known = field_ids(dataset)
    for field in body.fields:
        if field not in known:
            raise refused("field-unknown", f"{body.dataset} has no field {field}")
    if len(frozenset(body.fields)) != len(body.fields):
        raise refused("field-repeated", body.dataset)
    if len(frozenset(body.subjects)) != len(body.subjects):
        raise refused("subject-repeated", f"{len(body.subjects)} commitments")
    period_days(body)


def _check_other(state: StateReader, event: Event, name: str, side: str) -> None:
    other = find_member(state, name)
    if other is None or name == event.member:
        raise refused(f"{side}-unknown", name)
    if other.status != "active":
        raise refused(f"{side}-not-active", f"{name} is {other.status}")


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


def _check_step(state: StateReader, event: Event, step: Step, officer: Officer) -> None:
    if len(step.actors) == 1:
        check_role(officer, step.actors[0].role)
    exchange = find_exchange(state, event.exchange)
    if exchange is None:
        raise refused("exchange-unknown", event.exchange.hex())
    actor = _find_actor(step.actors, event, exchange)
    check_role(officer, actor.role)
    if exchange.status not in step.before:
        raise refused("exchange-state", f"{event.kind} while {exchange.status}")
    if actor.role == "approver" and event.officer == exchange.requested_by:
        raise refused("same-officer", "the requesting officer cannot decide the review")
    if step.is_holding:
        _check_holding(state, event, exchange)
    else:
        _check_body(state, event, exchange)


def _find_actor(actors: tuple[Actor, ...], event: Event, exchange: Exchange) -> Actor:
    """On which side the member acts. Raises `RefusedEvent`. Of holders `advance` knows."""
    parties = {"requester": exchange.requester, "provider": exchange.provider}
    for actor in actors:
        if actor.side == "holder" or event.member == parties[actor.side]:
            return actor
    allowed = " / ".join(parties[actor.side] for actor in actors)
    raise refused("not-a-party", f"only {allowed} may do {event.kind} here")


def _check_holding(state: StateReader, event: Event, exchange: Exchange) -> None:
    matters = read_matters(state, event.exchange, exchange)
    advance(matters, Scene(state=state, event=event, exchange=exchange, time_ms=0))


def _check_body(state: StateReader, event: Event, exchange: Exchange) -> None:
    body = event.body
    if isinstance(body, ShareReceived | ShareRejected) and body.commitment != exchange.commitment:
        raise refused("commitment-mismatch", f"delivered was {exchange.commitment.hex()}")
    if isinstance(body, ShareRejected):
        check_codes(state, body)
    if isinstance(body, ShareReferenced):
        check_references(state, event, body, exchange)
    if isinstance(body, ShareDelivered):
        check_schema_version(state, exchange.dataset, body.schema_version)
