"""The state transition: what each step leaves behind, counters, duties, selection, determinism."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from contracts.errors import InvalidInclusion, InvalidTime
from contracts.execute import TIME_MS_MAX, select
from contracts.lifecycle import STATUSES, STEPS
from contracts.lookup import find_exchange, read_counters
from ledger.blocks import RECORDS
from ledger.events import BODY_TYPES, Event
from ledger.lthash.digest import apply_changes
from ledger.registry import (
    EMPTY_COUNTERS,
    PAIR_COUNTERS,
    POLICY_SETS,
    Contract,
    Exchange,
    Freeze,
)
from ledger.state import POLICY_SET_KEY, counters_key
from tests.builders import (
    ASKER,
    HEIGHT,
    NETWORK,
    OWNER,
    TIME_MS,
    approve,
    deliver,
    hash32,
    receive,
    refuse,
    reject,
    request,
    reviewed_request,
    withdraw,
)
from tests.unit.contracts.samples import CONTRACTS, run, state_after, states

HOUR_MS = 3_600_000
ROOT = Path(__file__).parents[3]


def exchange_of(event: Event, *later: Event) -> Exchange:
    found = find_exchange(state_after(event, *later), event.digest)
    assert found is not None
    return found


def test_permitted_request_opens_an_exchange_with_its_duties() -> None:
    opened = request()
    execution = run(states(), opened)
    assert execution.outcomes[0].decision == "permit"
    found = find_exchange(execution.overlay, opened.digest)
    assert found is not None
    assert (found.status, found.requested_index, found.changed_height) == ("permitted", 1, HEIGHT)
    assert found.deadline_ms == TIME_MS + 24 * HOUR_MS
    assert found.retention_days == 365
    record = RECORDS.decode(execution.records[0])
    assert (record.event, record.outcome) == (opened.data, execution.outcomes[0])


def test_steps_lead_to_the_states_of_the_table() -> None:
    opened, reviewed = request(), reviewed_request()
    again = deliver(opened, label="again", commitment=hash32("better"))
    for status, events in {
        "in_review": (reviewed,),
        "permitted": (reviewed, approve(reviewed)),
        "refused": (reviewed, refuse(reviewed)),
        "withdrawn": (reviewed, withdraw(reviewed)),
        "rejected": (opened, deliver(opened), reject(opened)),
        "delivered": (opened, deliver(opened), reject(opened), again),
        "received": (opened, deliver(opened), receive(opened)),
    }.items():
        assert exchange_of(*events).status == status
    found = exchange_of(opened, deliver(opened), reject(opened), again)
    assert found.commitment == hash32("better")


def test_denied_request_is_a_recorded_exchange_with_a_reason() -> None:
    denied = request(legal_basis="ended")
    outcome = run(states(), denied).outcomes[0]
    assert (outcome.applied, outcome.code, outcome.decision) == (True, "contract-denied", "deny")
    assert outcome.obligations is None
    assert exchange_of(denied).status == "denied"


def test_time_to_answer_starts_when_the_review_ends() -> None:
    reviewed = reviewed_request()
    state = state_after(reviewed)
    later_ms = TIME_MS + 10 * HOUR_MS
    execution = run(state, approve(reviewed), height=HEIGHT + 1, time_ms=later_ms)
    found = find_exchange(execution.overlay, reviewed.digest)
    assert found is not None
    assert found.deadline_ms == later_ms + 72 * HOUR_MS


def test_counters_of_the_pair() -> None:
    opened, reviewed = request(), reviewed_request(purpose="audit")
    state = state_after(
        opened, deliver(opened), reject(opened), deliver(opened, label="again"), receive(opened),
        reviewed, approve(reviewed), request(label="denied", legal_basis="ended"),
    )  # fmt: skip
    counted = read_counters(state, ASKER, OWNER, "assessment", 2026)
    assert (counted.asked, counted.permitted, counted.denied) == (2, 1, 1)
    # A delivery after a rejection is the same answer once more.
    assert (counted.delivered, counted.late, counted.records) == (1, 0, 3)
    audit = read_counters(state, ASKER, OWNER, "audit", 2026)
    assert (audit.asked, audit.reviewed, audit.permitted) == (1, 1, 1)


def test_counters_stop_at_the_largest_number() -> None:
    opened = request()
    state = state_after(opened)
    key = counters_key(ASKER, OWNER, "assessment", 2026)
    full = msgspec.structs.replace(EMPTY_COUNTERS, records=2**63 - 2)
    state.pairs[key] = PAIR_COUNTERS.encode(full)
    execution = run(state, deliver(opened))
    assert read_counters(execution.overlay, ASKER, OWNER, "assessment", 2026).records == 2**63 - 1


def test_late_delivery_is_counted_in_the_year_of_its_block() -> None:
    opened = request()
    later_ms = TIME_MS + 366 * 24 * HOUR_MS
    execution = run(state_after(opened), deliver(opened), time_ms=later_ms)
    counted = read_counters(execution.overlay, ASKER, OWNER, "assessment", 2027)
    assert (counted.delivered, counted.late) == (1, 1)


def test_same_event_twice_in_a_block_makes_it_invalid() -> None:
    with pytest.raises(InvalidInclusion, match="duplicate"):
        run(states(), request(), request())


def test_engine_error_at_a_step_is_a_refused_record() -> None:
    opened = request()
    state = state_after(opened)
    policy_set = POLICY_SETS.decode(state.pairs[POLICY_SET_KEY])
    text = (
        '@id("zz") forbid (principal, action, resource)'
        "when { context.timeMs + 9223372036854775807 > 0 };"
    )
    broken = (*policy_set.contracts, Contract(id="zz", text=text))
    state.pairs[POLICY_SET_KEY] = POLICY_SETS.encode(
        msgspec.structs.replace(policy_set, contracts=broken)
    )
    outcome = run(state, deliver(opened)).outcomes[0]
    assert (outcome.applied, outcome.code) == (False, "contract-error")


@pytest.mark.parametrize("time_ms", [TIME_MS_MAX + 1, 2**63 - 1])
def test_time_beyond_the_calendar_makes_a_block_invalid(time_ms: int) -> None:
    assert run(states(), request(), time_ms=TIME_MS_MAX).outcomes[0].decision == "deny"
    with pytest.raises(InvalidTime):
        run(states(), request(), time_ms=time_ms)


def test_freeze_stops_an_approval() -> None:
    reviewed = reviewed_request()
    state = states(freezes=(Freeze(requester="", provider="", dataset="", reason=""),))
    state.pairs.update(run(states(), reviewed).overlay.changes)
    outcome = run(state, approve(reviewed)).outcomes[0]
    assert (outcome.applied, outcome.code) == (False, "contract-denied")


def test_legal_basis_that_ended_since_the_request_stops_the_delivery() -> None:
    opened = request()
    later_ms = TIME_MS + 75 * 366 * 24 * HOUR_MS  # in 2101; the basis ends with 2099
    outcome = run(state_after(opened), deliver(opened), time_ms=later_ms).outcomes[0]
    assert (outcome.applied, outcome.code) == (False, "contract-denied")
    assert outcome.policies == ("legality",)


def test_table_of_steps_covers_every_kind_of_event() -> None:
    shares = {kind for kind, _ in BODY_TYPES if kind.startswith("share.")}
    assert shares == STEPS.keys() | {"share.requested", "share.offered"}
    named = {status for step in STEPS.values() for status in (*step.before, step.after)}
    assert named - {None} <= {*STATUSES}


def pick(events: list[Event], *, events_max: int = 1_000, bytes_max: int = 1 << 20):
    return select(
        states(), events, network=NETWORK, height=HEIGHT, time_ms=TIME_MS, first_index=1,
        contracts=CONTRACTS, events_max=events_max, bytes_max=bytes_max,
    )  # fmt: skip


def test_selected_events_execute_to_the_same_records() -> None:
    opened, expired = request(), request(expires_height=HEIGHT - 1)
    execution, included, evicted = pick([opened, expired, opened, deliver(opened)])
    assert included == (opened, deliver(opened))
    assert [(event, refused.code) for event, refused in evicted] == [
        (expired, "event-expired"), (opened, "duplicate")
    ]  # fmt: skip
    again = run(states(), *included)
    assert again.records == execution.records
    assert again.overlay.changes == execution.overlay.changes


def test_selection_is_bounded_by_count_and_bytes() -> None:
    events = [request(label=str(number)) for number in range(5)]
    assert pick(events, events_max=3)[1] == tuple(events[:3])
    two = len(events[0].data) + len(events[1].data)
    assert pick(events, bytes_max=two)[1] == tuple(events[:2])
    assert pick(events, bytes_max=two - 1)[1] == tuple(events[:1])


def transcript() -> str:
    """Digest of records and state after a day of every kind of event."""
    opened, reviewed, denied = request(), reviewed_request(), request(legal_basis="ended")
    events = (
        opened, reviewed, denied, approve(reviewed), deliver(opened), reject(opened),
        deliver(opened, label="again"), receive(opened), withdraw(reviewed), refuse(reviewed),
    )  # fmt: skip
    execution = run(states(), *events)
    records = hashlib.sha256(b"".join(execution.records)).hexdigest()
    return records + apply_changes(bytes(2_048), execution.overlay).digest().hex()


@pytest.mark.parametrize("seed", ["0", "4711"])
def test_execution_does_not_depend_on_the_hash_seed(seed: str) -> None:
    code = "from tests.unit.contracts.test_execute import transcript; print(transcript())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == transcript(), done.stderr
