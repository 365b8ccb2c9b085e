r"""Bodies of events about incidents and drills, and what the state knows of an incident.

    reported --> notified by every partner --> closed
        \----> remedied ---------------------/

An incident is a breach or failure of safeguards. Its digest is that of the event that reports it.
The one who reports it names the partners whose data it touches; each of them confirms by
`incident.notified` that it knows. It is closed by somebody else than who reported it.
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from ledger.codec import Codec, Value
from ledger.scalars import Date, Hash32, Identifier, Text, Uint

PARTNERS_MAX = 64
EXCHANGES_MAX = 256

Severity = Literal["low", "medium", "high", "critical"]
IncidentStatus = Literal["open", "remedied", "closed"]
DrillResult = Literal["passed", "failed"]


class IncidentReported(Value, frozen=True, kw_only=True):
    """Something went wrong. Both lists are sorted and without duplicates; they may be empty."""

    category: Identifier
    severity: Severity
    discovered_on: Date
    partners: Annotated[tuple[Identifier, ...], Meta(max_length=PARTNERS_MAX)]
    exchanges: Annotated[tuple[Hash32, ...], Meta(max_length=EXCHANGES_MAX)]
    text: Text


class IncidentNotified(Value, frozen=True, kw_only=True):
    """A partner confirms that it knows of the incident."""

    incident: Hash32
    text: Text


class IncidentRemedied(Value, frozen=True, kw_only=True):
    """Who reported the incident says what was done about it."""

    incident: Hash32
    measures: Text


class IncidentClosed(Value, frozen=True, kw_only=True):
    """A partner, or a supervisor, is satisfied."""

    incident: Hash32
    text: Text


class DrillRun(Value, frozen=True, kw_only=True):
    """An emergency drill, or a backup restored and verified; the report itself stays at home."""

    category: Identifier
    result: DrillResult
    held_on: Date
    duration_minutes: Annotated[int, Meta(ge=0, le=100_000)]
    report_digest: Hash32
    text: Text


IncidentStep: TypeAlias = IncidentNotified | IncidentRemedied | IncidentClosed
IncidentBody: TypeAlias = IncidentReported | IncidentStep


class Incident(Value, frozen=True, kw_only=True):
    """State of an incident. Times are block times; 0: not yet. `notified` is sorted."""

    status: IncidentStatus
    member: Identifier
    category: Identifier
    severity: Severity
    partners: tuple[Identifier, ...]
    notified: tuple[Identifier, ...]
    reported_ms: Uint
    remedied_ms: Uint
    closed_ms: Uint
    closed_by: str


class OpenIncidents(Value, frozen=True, kw_only=True):
    """How many incidents that a member has reported, or that touch it, are open."""

    reported: Uint
    touching: Uint


INCIDENTS = Codec(Incident, size_bytes_max=16_384)
OPEN_INCIDENTS = Codec(OpenIncidents, size_bytes_max=256)
NO_INCIDENTS = OpenIncidents(reported=0, touching=0)
