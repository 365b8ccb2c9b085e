"""Bodies about duties, incidents, and what became of an exchange."""

from typing import Any, Literal

import msgspec

from contracts.exchange.duties import GAPS, Duty
from ledger.exchange.incidents import Incident
from ledger.exchange.matters import Matters
from ledger.exchange.risk import Risk
from node.api.schemas.base import Body, fields_of
from node.api.schemas.log import ExchangeBody, RecordBody


class TaskBody(Body, frozen=True, kw_only=True):
    """A member owes one of `kinds` by `due_ms` (block time); `gap` is what is missing otherwise."""

    subject: str
    about: Literal["exchange", "incident"]
    member: str
    gap: str
    kinds: tuple[str, ...]
    due_ms: int
    is_overdue: bool


class TaskPage(Body, frozen=True, kw_only=True):
    """A page of tasks by due time, judged at `as_of_ms`; `time_ms` is the last block's time.

    The two differ where it was asked to look ahead.
    """

    items: list[TaskBody]
    next: str | None
    time_ms: int
    as_of_ms: int


class IncidentBody(Body, frozen=True, kw_only=True):
    """State of an incident; times are block times in milliseconds, 0: not yet."""

    incident: str
    status: str
    member: str
    category: str
    severity: str
    partners: tuple[str, ...]
    notified: tuple[str, ...]
    reported_ms: int
    remedied_ms: int
    closed_ms: int
    closed_by: str


class IncidentPage(Body, frozen=True, kw_only=True):
    """A page of incidents."""

    items: list[IncidentBody]
    next: str | None


class IncidentDetailBody(Body, frozen=True, kw_only=True):
    """An incident with its records, oldest first."""

    state: IncidentBody
    history: list[RecordBody]


class HoldingBody(Body, frozen=True, kw_only=True):
    """What one member holds of a delivery."""

    holder: str
    commitment: str
    since_ms: int
    until_ms: int
    correction_due_ms: int
    uses: int
    destroyed_ms: int


class ConsentBody(Body, frozen=True, kw_only=True):
    """A consent that was asked for."""

    id: str
    status: str
    recipient: str
    purpose: str
    legal_basis: str
    due_ms: int


class DisputeBody(Body, frozen=True, kw_only=True):
    """The dispute that is open."""

    id: str
    member: str
    reason: str
    due_ms: int


class RatingBody(Body, frozen=True, kw_only=True):
    """What the requester thinks of the delivery, from 1 to 5."""

    quality: int
    usefulness: int


class MattersBody(Body, frozen=True, kw_only=True):
    """What became of an exchange after its delivery."""

    holders: list[HoldingBody]
    consents: list[ConsentBody]
    corrections: int
    disputes: int
    dispute: DisputeBody | None
    rating: RatingBody | None


class DutyBody(Body, frozen=True, kw_only=True):
    """What a member owes in this exchange."""

    member: str
    gap: str
    kinds: tuple[str, ...]
    due_ms: int
    is_overdue: bool


class RiskReasonBody(Body, frozen=True, kw_only=True):
    """Why a request is risky, and what that adds to the score."""

    code: str
    points: int


class RiskBody(Body, frozen=True, kw_only=True):
    """Risk of a request when it was decided, from 0 to 100; an offer has none."""

    score: int
    reasons: list[RiskReasonBody]
    rules_version: int


class RequestBody(Body, frozen=True, kw_only=True):
    """An exchange with its records, oldest first, what became of it, and who owes what."""

    state: ExchangeBody
    risk: RiskBody
    matters: MattersBody
    duties: list[DutyBody]
    history: list[RecordBody]


def duty_fields(duty: Duty, time_ms: int) -> dict[str, Any]:
    """Fields of a duty, judged at a block time, for the bodies that have them."""
    return {
        "member": duty.member,
        "gap": duty.gap,
        "kinds": GAPS[duty.gap].kinds,
        "due_ms": duty.due_ms,
        "is_overdue": duty.is_overdue(time_ms),
    }


def matters_body(matters: Matters) -> MattersBody:
    """JSON shape of the matters of an exchange."""
    return msgspec.convert(fields_of(matters), MattersBody)


def risk_body(risk: Risk) -> RiskBody:
    """JSON shape of the risk of a request."""
    reasons = [RiskReasonBody(code=code, points=points) for code, points in risk.reasons]
    return RiskBody(score=risk.score, reasons=reasons, rules_version=risk.rules_version)


def incident_body(id_: bytes, incident: Incident) -> IncidentBody:
    """JSON shape of an incident."""
    return msgspec.convert({"incident": id_.hex(), **fields_of(incident)}, IncidentBody)
