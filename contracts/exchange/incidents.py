"""Incidents and drills: who may say what, and how many are open between whom.

The numbers of open incidents are facts of the contracts (`openIncidents`): a contract may suspend
a pair while one is open, and the pair resumes by itself when it is closed.
"""

import msgspec

from contracts.errors import refused
from contracts.exchange.force import check_role
from contracts.exchange.matters import read_matters
from contracts.lookup import find_exchange, find_member
from ledger.events import Event
from ledger.exchange.incidents import (
    INCIDENTS,
    NO_INCIDENTS,
    OPEN_INCIDENTS,
    Incident,
    IncidentBody,
    IncidentClosed,
    IncidentNotified,
    IncidentRemedied,
    IncidentReported,
    IncidentStep,
    OpenIncidents,
)
from ledger.registry import Officer
from ledger.state import Overlay, StateReader, incident_key, open_incidents_key

# A breach can be found by anybody who works with the data; an auditor or a supervisor looks on.
REPORTERS = ("admin", "approver", "provider", "requester")
CLOSERS = ("admin", "supervisor")


def find_incident(state: StateReader, incident: bytes) -> Incident | None:
    """Incident by the digest of the event that reported it, or None."""
    data = state.get(incident_key(incident))
    return None if data is None else INCIDENTS.decode(data)


def read_open(state: StateReader, member: str) -> OpenIncidents:
    """How many open incidents a member has reported, and how many touch it."""
    data = state.get(open_incidents_key(member))
    return NO_INCIDENTS if data is None else OPEN_INCIDENTS.decode(data)


def check_incident(state: StateReader, event: Event, body: IncidentBody, officer: Officer) -> None:
    """Check an event about an incident. Raises `RefusedEvent`."""
    if isinstance(body, IncidentReported):
        _check_report(state, event, body, officer)
    else:
        _check_step(state, event, body, officer)


def check_drill(officer: Officer) -> None:
    """Check a drill. Raises `RefusedEvent`."""
    check_role(officer, "admin")


def _check_report(
    state: StateReader, event: Event, body: IncidentReported, officer: Officer
) -> None:
    check_role(officer, *REPORTERS)
    if list(body.partners) != sorted(frozenset(body.partners)):
        raise refused("list-not-sorted", "partners")
    if list(body.exchanges) != sorted(frozenset(body.exchanges)):
        raise refused("list-not-sorted", "exchanges")
    for partner in body.partners:
        if partner == event.member or find_member(state, partner) is None:
            raise refused("partner-unknown", partner)
    for each in body.exchanges:
        exchange = find_exchange(state, each)
        if exchange is None:
            raise refused("exchange-unknown", each.hex())
        # Whoever was handed the data later is touched no less than the two that exchanged it.
        holders = {holding.holder for holding in read_matters(state, each, exchange).holders}
        involved = {exchange.requester, exchange.provider, *holders}
        if event.member not in involved:
            raise refused("not-a-party", f"{event.member} has no part in {each.hex()}")
        for missing in sorted(involved - {event.member, *body.partners}):
            raise refused("partner-missing", f"{missing} has a part in {each.hex()}")


def _check_step(state: StateReader, event: Event, body: IncidentStep, officer: Officer) -> None:
    incident = find_incident(state, body.incident)
    if incident is None:
        raise refused("incident-unknown", body.incident.hex())
    if incident.status == "closed":
        raise refused("incident-state", f"{event.kind} while closed")
    if isinstance(body, IncidentNotified):
        check_role(officer, *REPORTERS)
        if event.member not in incident.partners:
            raise refused("not-a-party", f"only its partners confirm {body.incident.hex()}")
        if event.member in incident.notified:
            raise refused("notified-already", event.member)
    elif isinstance(body, IncidentRemedied):
        check_role(officer, *REPORTERS)
        if event.member != incident.member:
            raise refused("not-a-party", f"only {incident.member} remedies its incident")
        if incident.status != "open":
            raise refused("incident-state", f"{event.kind} while {incident.status}")
    else:
        _check_closing(state, event, incident, officer)


def _check_closing(state: StateReader, event: Event, incident: Incident, officer: Officer) -> None:
    check_role(officer, *CLOSERS)
    member = find_member(state, event.member)
    is_supervisor = member is not None and member.kind == "supervisor"
    if event.member == incident.member or (
        incident.partners and event.member not in incident.partners and not is_supervisor
    ):
        raise refused("not-a-party", "a partner or a supervisor closes an incident")
    if incident.status != "remedied":
        raise refused("incident-state", f"{event.kind} while {incident.status}")
    missing = [name for name in incident.partners if name not in incident.notified]
    if missing:
        raise refused("partners-not-notified", ", ".join(missing))


def apply_incident(overlay: Overlay, event: Event, body: IncidentBody, time_ms: int) -> None:
    """Carry out an event that `check_incident` has passed."""
    if isinstance(body, IncidentReported):
        _report(overlay, event, body, time_ms)
        return
    incident = find_incident(overlay, body.incident)
    assert incident is not None, "check_incident has found it"
    if isinstance(body, IncidentNotified):
        notified = tuple(sorted((*incident.notified, event.member)))
        moved = msgspec.structs.replace(incident, notified=notified)
    elif isinstance(body, IncidentRemedied):
        moved = msgspec.structs.replace(incident, status="remedied", remedied_ms=time_ms)
    else:
        assert isinstance(body, IncidentClosed)
        moved = msgspec.structs.replace(
            incident, status="closed", closed_ms=time_ms, closed_by=event.member
        )
        _count(overlay, incident.member, reported=-1)
        for partner in incident.partners:
            _count(overlay, partner, touching=-1)
    overlay.put(incident_key(body.incident), INCIDENTS.encode(moved))


def _report(overlay: Overlay, event: Event, body: IncidentReported, time_ms: int) -> None:
    incident = Incident(
        status="open",
        member=event.member,
        category=body.category,
        severity=body.severity,
        partners=body.partners,
        notified=(),
        reported_ms=time_ms,
        remedied_ms=0,
        closed_ms=0,
        closed_by="",
    )
    overlay.put(incident_key(event.digest), INCIDENTS.encode(incident))
    _count(overlay, event.member, reported=1)
    for partner in body.partners:
        _count(overlay, partner, touching=1)


def _count(overlay: Overlay, member: str, *, reported: int = 0, touching: int = 0) -> None:
    before = read_open(overlay, member)
    after = OpenIncidents(reported=before.reported + reported, touching=before.touching + touching)
    overlay.put(open_incidents_key(member), OPEN_INCIDENTS.encode(after))
