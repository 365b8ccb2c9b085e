"""Incidents: who reports, confirms, remedies and closes, and what contracts see of it."""

import pytest

from contracts.exchange.incidents import find_incident, read_open
from ledger.blocks import Outcome
from ledger.events import Event
from ledger.exchange.incidents import Incident
from tests.builders import ASKER, OWNER, hash32
from tests.exchanges import (
    HELD,
    OPEN,
    OTHER,
    ask_consent,
    close,
    confirm,
    give_consent,
    remedy,
    report,
    use,
)
from tests.unit.contracts.samples import run, state_after

REPORTED = report()
CONFIRMED, REMEDIED = confirm(REPORTED), remedy(REPORTED)
WHOLE = (REPORTED, CONFIRMED, REMEDIED, close(REPORTED))


def incident_after(*events: Event) -> Incident:
    found = find_incident(state_after(*events), events[0].digest)
    assert found is not None
    return found


def outcome(event: Event, *before: Event) -> Outcome:
    return run(state_after(*before), event).outcomes[0]


def test_an_incident_goes_its_way() -> None:
    assert incident_after(REPORTED).status == "open"
    assert incident_after(REPORTED, CONFIRMED).notified == (OWNER,)
    assert incident_after(REPORTED, REMEDIED).status == "remedied"
    closed = incident_after(*WHOLE)
    assert (closed.status, closed.closed_by) == ("closed", OWNER)


def test_open_incidents_are_counted_for_reporter_and_partners() -> None:
    state = state_after(REPORTED)
    assert (read_open(state, ASKER).reported, read_open(state, OWNER).touching) == (1, 1)
    assert read_open(state, OTHER).touching == 0
    state = state_after(*WHOLE)
    assert (read_open(state, ASKER).reported, read_open(state, OWNER).touching) == (0, 0)


def test_exchanges_of_an_incident_name_their_parties() -> None:
    state = state_after(*HELD)
    assert run(state, report(OPEN)).outcomes[0].applied
    assert run(state, report(OPEN, partners=())).outcomes[0].code == "partner-missing"
    assert run(state, report(OPEN, member=OTHER)).outcomes[0].code == "not-a-party"


def test_whoever_was_handed_the_data_is_a_partner_of_its_incidents() -> None:
    asked = ask_consent(OPEN)
    onward = use(OPEN, consent=asked.digest)
    state = state_after(*HELD, asked, give_consent(OPEN, asked), onward)
    assert run(state, report(OPEN)).outcomes[0].code == "partner-missing"
    both = tuple(sorted((OWNER, OTHER)))
    assert run(state, report(OPEN, partners=both)).outcomes[0].applied
    # The breach may be at the new holder, who then tells the other two.
    both = tuple(sorted((OWNER, ASKER)))
    assert run(state, report(OPEN, member=OTHER, partners=both)).outcomes[0].applied


REFUSALS: dict[str, tuple[tuple[Event, ...], Event, str]] = {
    "unsorted": ((), report(partners=(OWNER, OTHER)), "list-not-sorted"),
    "twice": ((), report(exchanges=(hash32("x"), hash32("x"))), "list-not-sorted"),
    "itself": ((), report(partners=(ASKER,)), "partner-unknown"),
    "nobody": ((), report(partners=("nobody",)), "partner-unknown"),
    "no exchange": ((), report(exchanges=(hash32("x"),)), "exchange-unknown"),
    "no partner can close": ((REPORTED,), close(REPORTED, role="approver"), "role-missing"),
    "no incident": ((), confirm(OPEN), "incident-unknown"),
    "not touched": ((REPORTED,), confirm(REPORTED, member=OTHER), "not-a-party"),
    "confirmed twice": (
        (REPORTED, CONFIRMED), confirm(REPORTED, label="again"), "notified-already"
    ),
    "remedied by a partner": ((REPORTED,), remedy(REPORTED, member=OWNER), "not-a-party"),
    "remedied twice": ((REPORTED, REMEDIED), remedy(REPORTED, label="again"), "incident-state"),
    "closed too early": ((REPORTED, CONFIRMED), close(REPORTED), "incident-state"),
    "closed without notice": ((REPORTED, REMEDIED), close(REPORTED), "partners-not-notified"),
    "closed by itself": (
        (REPORTED, CONFIRMED, REMEDIED), close(REPORTED, member=ASKER), "not-a-party"
    ),
    "closed by a stranger": (
        (REPORTED, CONFIRMED, REMEDIED), close(REPORTED, member=OTHER), "not-a-party"
    ),
    "closed twice": (WHOLE, close(REPORTED, label="again"), "incident-state"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_refused(name: str) -> None:
    before, event, code = REFUSALS[name]
    found = outcome(event, *before)
    assert (found.applied, found.code) == (False, code)
