"""What a step shows of the provider, for each row of the table, and what shows nothing."""

import pytest

from contracts.credit.behaviours import (
    DEFAULT_RULES,
    IN_TIME,
    LATE,
    REASONS,
    REJECTED,
    REVIEWED_LATE,
    TABLE,
    UNFOUNDED,
    judge_step,
)
from contracts.credit.score import find_rules_faults
from contracts.lookup import find_exchange
from ledger.events import Event
from ledger.registry import Exchange
from tests.builders import (
    TIME_MS,
    approve,
    deliver,
    receive,
    refuse,
    reject,
    request,
    reviewed_request,
    withdraw,
)
from tests.unit.contracts.samples import state_after

OPEN, REVIEWED = request(label="open"), reviewed_request(label="reviewed")
DEADLINE_MS = {OPEN.digest: TIME_MS + 24 * 3_600_000, REVIEWED.digest: TIME_MS + 72 * 3_600_000}


def shown(before: tuple[Event, ...], step: Event, *, late_ms: int = 0) -> tuple[str, ...]:
    exchange = find_exchange(state_after(*before), before[0].digest)
    assert isinstance(exchange, Exchange)
    time_ms = DEADLINE_MS[before[0].digest] + late_ms
    return judge_step(step, exchange, time_ms, DEFAULT_RULES.permitted_reasons)


@pytest.mark.parametrize(
    ("before", "step", "in_time", "late"),
    [
        ((OPEN,), deliver(OPEN), (IN_TIME,), (LATE,)),
        ((REVIEWED,), refuse(REVIEWED), (), (LATE,)),
        ((REVIEWED,), refuse(REVIEWED, reason="no-time"), (UNFOUNDED,), (LATE, UNFOUNDED)),
        ((REVIEWED,), approve(REVIEWED), (), (REVIEWED_LATE,)),
        ((OPEN, deliver(OPEN)), reject(OPEN), (REJECTED,), (REJECTED,)),
        ((OPEN, deliver(OPEN)), receive(OPEN), (), ()),
        ((OPEN, deliver(OPEN), reject(OPEN)), deliver(OPEN, label="again"), (), ()),
        ((OPEN,), withdraw(OPEN), (), ()),
        ((REVIEWED,), withdraw(REVIEWED), (), ()),
    ],
)  # fmt: skip
def test_what_a_step_shows(
    before: tuple[Event, ...], step: Event, in_time: tuple[str, ...], late: tuple[str, ...]
) -> None:
    assert shown(before, step) == in_time
    assert shown(before, step, late_ms=1) == late


@pytest.mark.parametrize("reason", [row.id for row in REASONS])
def test_a_permitted_reason_costs_nothing(reason: str) -> None:
    assert shown((REVIEWED,), refuse(REVIEWED, reason=reason)) == ()


def test_table_and_reasons_are_sorted_and_worded() -> None:
    assert find_rules_faults(DEFAULT_RULES) == ()
    for row in TABLE:
        assert 0 < abs(row.points) <= row.limit
        assert row.zh != row.en
    assert len({row.zh for row in (*TABLE, *REASONS)}) == len(TABLE) + len(REASONS)
