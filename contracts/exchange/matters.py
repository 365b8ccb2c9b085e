"""What a step after delivery does to the matters of an exchange, one function each.

`advance` raises `RefusedEvent` or returns the matters after the step. It depends on the block time
only in what it writes, so admission runs it too, and what it refuses the pool refuses as well.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from contracts.errors import refused
from contracts.exchange.force import check_purpose, check_schema_version
from contracts.lifecycle import RECEIVED
from contracts.lookup import find_legal_basis, find_member
from ledger.events import Event
from ledger.exchange.bodies import (
    ShareConsentGiven,
    ShareConsentRefused,
    ShareConsentRequested,
    ShareCorrected,
    ShareCorrectionAcknowledged,
    ShareDestroyed,
    ShareDisputed,
    ShareDisputeResolved,
    ShareRated,
    ShareUsed,
)
from ledger.exchange.matters import (
    CONSENTS_MAX,
    DEADLINE_RULES,
    DEFAULT_DEADLINES,
    EMPTY_MATTERS,
    HOLDERS_MAX,
    MATTERS,
    Consent,
    ConsentStatus,
    DeadlineRules,
    Dispute,
    Holding,
    Matters,
    Rating,
)
from ledger.registry import Exchange
from ledger.state import DEADLINE_RULES_KEY, StateReader, matters_key

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A step and what it meets; `exchange` as it was before it."""

    state: StateReader
    event: Event
    exchange: Exchange
    time_ms: int

    def due(self, days: int) -> int:
        """Block time `days` from now."""
        return self.time_ms + days * DAY_MS


def read_deadlines(state: StateReader) -> DeadlineRules:
    """Times that no contract sets: those of the software until a vote has set others."""
    data = state.get(DEADLINE_RULES_KEY)
    return DEFAULT_DEADLINES if data is None else DEADLINE_RULES.decode(data)


def read_matters(state: StateReader, id_: bytes, exchange: Exchange) -> Matters:
    """Matters of an exchange. While it is received and no more, the requester holds it since."""
    data = state.get(matters_key(id_))
    matters = EMPTY_MATTERS if data is None else MATTERS.decode(data)
    if exchange.status != RECEIVED or matters.holders:
        return matters
    holding = Holding(
        holder=exchange.requester,
        commitment=exchange.commitment,
        since_ms=exchange.changed_ms,
        until_ms=exchange.changed_ms + exchange.retention_days * DAY_MS,
        correction_due_ms=0,
        uses=0,
        destroyed_ms=0,
    )
    return msgspec.structs.replace(matters, holders=(holding,))


def find_holding(matters: Matters, member: str) -> Holding | None:
    """What a member holds, or None."""
    return next((each for each in matters.holders if each.holder == member), None)


def find_consent(matters: Matters, id_: bytes) -> Consent | None:
    """Consent by the digest of the event that asked for it, or None."""
    return next((each for each in matters.consents if each.id == id_), None)


def consent_of(event: Event, matters: Matters) -> Consent | None:
    """The consent that a use stands on, or that an answer gives; None: there is none."""
    body = event.body
    if isinstance(body, ShareUsed | ShareConsentGiven) and body.consent:
        return find_consent(matters, body.consent)
    return None


def advance(matters: Matters, scene: Scene) -> Matters:
    """Matters after a step. Raises `RefusedEvent`."""
    return _MOVES[type(scene.event.body)](matters, scene, scene.event.body)


def _use(matters: Matters, scene: Scene, body: ShareUsed) -> Matters:
    holding = _held(matters, scene.event.member)
    _require_commitment(holding, body.commitment)
    matters = _with_holding(matters, msgspec.structs.replace(holding, uses=holding.uses + 1))
    if not body.consent:
        return matters
    consent = _consent(matters, body.consent)
    if consent.status != "given":
        raise refused("consent-missing", f"consent {consent.id.hex()} is {consent.status}")
    known = find_holding(matters, consent.recipient)
    if known is not None:
        return matters
    if len(matters.holders) >= HOLDERS_MAX:
        raise refused("holders-full", str(HOLDERS_MAX))
    # The end of retention is that of whoever handed it on.
    copy = msgspec.structs.replace(
        holding, holder=consent.recipient, since_ms=scene.time_ms, uses=0, destroyed_ms=0
    )
    return msgspec.structs.replace(matters, holders=(*matters.holders, copy))


def _ask_consent(matters: Matters, scene: Scene, body: ShareConsentRequested) -> Matters:
    _held(matters, scene.event.member)
    recipient = find_member(scene.state, body.recipient)
    if recipient is None or recipient.status != "active":
        raise refused("recipient-unknown", body.recipient)
    if body.recipient == scene.exchange.provider:
        raise refused("recipient-is-provider", body.recipient)
    check_purpose(scene.state, body.purpose)
    if find_legal_basis(scene.state, body.legal_basis) is None:
        raise refused("legal-basis-unknown", body.legal_basis)
    if body.recipient == scene.event.member and body.purpose == scene.exchange.purpose:
        raise refused("consent-needless", body.purpose)
    if len(matters.consents) >= CONSENTS_MAX:
        raise refused("consents-full", str(CONSENTS_MAX))
    consent = Consent(
        id=scene.event.digest,
        status="asked",
        recipient=body.recipient,
        purpose=body.purpose,
        legal_basis=body.legal_basis,
        due_ms=scene.due(read_deadlines(scene.state).consent_days),
    )
    return msgspec.structs.replace(matters, consents=(*matters.consents, consent))


def _give_consent(matters: Matters, _: Scene, body: ShareConsentGiven) -> Matters:
    return _answer_consent(matters, body.consent, "given")


def _refuse_consent(matters: Matters, _: Scene, body: ShareConsentRefused) -> Matters:
    return _answer_consent(matters, body.consent, "refused")


def _answer_consent(matters: Matters, id_: bytes, status: ConsentStatus) -> Matters:
    consent = _consent(matters, id_)
    if consent.status != "asked":
        raise refused("consent-answered", f"consent {id_.hex()} is {consent.status}")
    answered = msgspec.structs.replace(consent, status=status)
    consents = tuple(answered if each.id == id_ else each for each in matters.consents)
    return msgspec.structs.replace(matters, consents=consents)


def _correct(matters: Matters, scene: Scene, body: ShareCorrected) -> Matters:
    exchange = scene.exchange
    if body.supersedes != exchange.commitment:
        raise refused("commitment-mismatch", f"delivered was {exchange.commitment.hex()}")
    if body.commitment == exchange.commitment:
        raise refused("unchanged", body.commitment.hex())
    check_schema_version(scene.state, exchange.dataset, body.schema_version)
    due_ms = scene.due(read_deadlines(scene.state).correction_days)
    holders = tuple(
        each if each.destroyed_ms else msgspec.structs.replace(each, correction_due_ms=due_ms)
        for each in matters.holders
    )
    return msgspec.structs.replace(matters, holders=holders, corrections=matters.corrections + 1)


def _acknowledge(matters: Matters, scene: Scene, body: ShareCorrectionAcknowledged) -> Matters:
    holding = _held(matters, scene.event.member)
    if not holding.correction_due_ms:
        raise refused("no-correction", scene.event.member)
    if body.commitment != scene.exchange.commitment:
        detail = f"the newest correction is {scene.exchange.commitment.hex()}"
        raise refused("commitment-mismatch", detail)
    replaced = msgspec.structs.replace(holding, commitment=body.commitment, correction_due_ms=0)
    return _with_holding(matters, replaced)


def _destroy(matters: Matters, scene: Scene, body: ShareDestroyed) -> Matters:
    holding = _held(matters, scene.event.member)
    _require_commitment(holding, body.commitment)
    destroyed = msgspec.structs.replace(
        holding, correction_due_ms=0, destroyed_ms=scene.time_ms or 1
    )
    return _with_holding(matters, destroyed)


def _dispute(matters: Matters, scene: Scene, body: ShareDisputed) -> Matters:
    if matters.dispute is not None:
        return matters  # a word in the dispute that is open: the log keeps it
    dispute = Dispute(
        id=scene.event.digest,
        member=scene.event.member,
        reason=body.reason,
        due_ms=scene.due(read_deadlines(scene.state).dispute_days),
    )
    return msgspec.structs.replace(matters, disputes=matters.disputes + 1, dispute=dispute)


def _resolve(matters: Matters, scene: Scene, body: ShareDisputeResolved) -> Matters:
    dispute = matters.dispute
    if dispute is None or dispute.id != body.dispute:
        raise refused("dispute-unknown", body.dispute.hex())
    is_opener = dispute.member == scene.event.member
    if is_opener == (body.outcome == "accepted"):
        detail = f"{body.outcome} is not for {scene.event.member} to say"
        raise refused("dispute-side", detail)
    return msgspec.structs.replace(matters, dispute=None)


def _rate(matters: Matters, _: Scene, body: ShareRated) -> Matters:
    if matters.rating is not None:
        raise refused("rated-already", f"{matters.rating.quality}/{matters.rating.usefulness}")
    rating = Rating(quality=body.quality, usefulness=body.usefulness)
    return msgspec.structs.replace(matters, rating=rating)


_MOVES: dict[type, Callable[[Matters, Scene, Any], Matters]] = {
    ShareUsed: _use,
    ShareConsentRequested: _ask_consent,
    ShareConsentGiven: _give_consent,
    ShareConsentRefused: _refuse_consent,
    ShareCorrected: _correct,
    ShareCorrectionAcknowledged: _acknowledge,
    ShareDestroyed: _destroy,
    ShareDisputed: _dispute,
    ShareDisputeResolved: _resolve,
    ShareRated: _rate,
}


def _held(matters: Matters, member: str) -> Holding:
    holding = find_holding(matters, member)
    if holding is None:
        raise refused("not-a-holder", member)
    if holding.destroyed_ms:
        raise refused("destroyed-already", member)
    return holding


def _require_commitment(holding: Holding, commitment: bytes) -> None:
    if holding.commitment != commitment:
        raise refused("commitment-mismatch", f"held is {holding.commitment.hex()}")


def _consent(matters: Matters, id_: bytes) -> Consent:
    consent = find_consent(matters, id_)
    if consent is None:
        raise refused("consent-unknown", id_.hex())
    return consent


def _with_holding(matters: Matters, holding: Holding) -> Matters:
    holders = tuple(holding if each.holder == holding.holder else each for each in matters.holders)
    return msgspec.structs.replace(matters, holders=holders)
