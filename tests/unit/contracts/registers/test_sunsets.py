"""Sunset dates: what ends when, by the time of blocks, and what it means for decisions."""

from datetime import date, timedelta

import pytest

from contracts.execute import Execution
from contracts.lookup import (
    is_ended,
    read_parameters,
    read_policy_set,
    read_sunsets,
)
from ledger.events import Event
from ledger.governance.actions import (
    RemoveContract,
    SetContract,
    SetParameters,
)
from ledger.governance.registers import SUNSETS, SUNSETS_MAX, Sunset
from ledger.registry import Contract
from ledger.state import SUNSETS_KEY, MapState, nonce_key
from tests.builders import HEIGHT, TIME_MS, parameters, propose, request
from tests.registers import code_list, record_schema, sunset
from tests.unit.contracts.governance.parts import after, codes, faults, passed, refusal
from tests.unit.contracts.samples import run, states

DAY_MS = 86_400_000
TODAY = date(1970, 1, 1) + timedelta(days=TIME_MS // DAY_MS)
MIDNIGHT_MS = TIME_MS - TIME_MS % DAY_MS
STOP = Contract(
    id="stop",
    text='@id("stop")\n@title_zh("停止")\n@title_en("stop")\n'
    'forbid(principal, action == Action::"request", resource);\n',
)


def day(number: int) -> str:
    return (TODAY + timedelta(days=number)).isoformat()


def block(state: MapState, *events: Event, days: int, before_ms: int = 0) -> Execution:
    """A block on the first moment of a day from today, or shortly before."""
    time_ms = MIDNIGHT_MS + days * DAY_MS - before_ms
    execution = run(state, *events, height=HEIGHT + 1 + days, time_ms=time_ms)
    state.pairs.update(execution.overlay.changes)
    return execution


@pytest.mark.parametrize(
    ("target", "code"),
    [("dataset/registration", "dataset-ended"), ("purpose/assessment", "purpose-ended")],
)
def test_a_dataset_or_purpose_is_in_force_until_the_last_moment_before_its_day(
    target: str, code: str
) -> None:
    state = after(*passed(sunset(target, day(3))))
    last = block(state, request(label="last"), days=3, before_ms=1)
    assert codes(last) == [""]
    assert not is_ended(state, target)
    assert codes(block(state, request(label="first"), days=3)) == [code]
    assert is_ended(state, target)
    assert codes(block(state, request(label="later"), days=4)) == [code]


def test_what_has_ended_is_in_force_again_with_a_later_day_or_none() -> None:
    state = after(*passed(sunset("purpose/assessment", day(1))))
    block(state, days=2)
    for number, again in enumerate((day(30), None)):
        events = passed(sunset("purpose/assessment", again), label=f"again {number}")
        block(state, *events, days=3 + 2 * number)
        after_that = block(state, request(label=str(number)), days=4 + 2 * number)
        assert codes(after_that) == [""], again
    assert read_sunsets(state) == ()


def test_a_contract_leaves_the_policy_set_for_the_whole_block_of_its_day() -> None:
    state = after(*passed(SetContract(contract=STOP), sunset("contract/stop", day(2))))
    before = block(state, request(label="a"), days=1)
    assert [each.decision for each in before.outcomes] == ["deny"]
    version = read_policy_set(state).version
    first = block(state, request(label="b"), request(label="c"), days=2)
    assert [each.decision for each in first.outcomes] == ["permit", "permit"]
    assert len({each.policy_set for each in (*before.outcomes, *first.outcomes)}) == 2
    assert read_policy_set(state).version == version + 1
    assert [each.id for each in read_policy_set(state).contracts if each.id == "stop"] == []
    assert read_sunsets(state) == (), "it has gone, and its last day with it"


def test_a_block_without_events_ends_what_is_due() -> None:
    state = after(*passed(SetContract(contract=STOP), sunset("contract/stop", day(2))))
    changes = block(state, days=9).overlay.changes
    assert sorted(key[:2] for key in changes) == [b"S/", b"p/"]
    assert block(state, days=10).overlay.changes == {}


def test_parameters_become_again_what_they_were() -> None:
    old = read_parameters(states())
    shorter, longer = (SetParameters(parameters=parameters(delta_ms=n)) for n in (100, 400))
    state = after(*passed(shorter, sunset("parameters", day(2))))
    assert read_parameters(state) == shorter.parameters
    block(state, *passed(longer, label="longer"), days=0)
    assert read_parameters(state) == longer.parameters
    block(state, days=2)
    assert read_parameters(state) == old, "not the first of the two that were for a time"
    assert read_sunsets(state) == ()


def test_parameters_that_nobody_has_changed_have_nothing_to_become() -> None:
    assert faults(states(), sunset("parameters", day(2))) == ["sunset-target-unknown"]


def test_an_end_of_parameters_is_voted_on_as_parameters_are() -> None:
    mixed = faults(states(), sunset("parameters", day(2)), sunset("purpose/audit", day(2)))
    assert mixed == ["classes-mixed"]


@pytest.mark.parametrize(
    "target",
    [
        "contract/none", "dataset/none", "purpose/none", "code-list/iso-4217",
        "record-schema/account@1", "record-schema/account@99999",
    ],
)  # fmt: skip
def test_only_what_is_registered_can_end(target: str) -> None:
    assert faults(states(), sunset(target, day(1))) == ["sunset-target-unknown"]


def test_registered_lists_and_schemas_can_end() -> None:
    state = after(*passed(code_list(), record_schema()))
    for target in ("code-list/iso-4217", "record-schema/account@1"):
        assert faults(state, sunset(target, day(1))) == []


@pytest.mark.parametrize("text", ["2027-02-30", "1970-01-01", "0001-01-01"])
def test_a_day_that_is_none_is_refused(text: str) -> None:
    assert faults(states(), sunset("purpose/audit", text)) == ["sunset-date-invalid"]


def test_what_stands_is_not_decided_again() -> None:
    assert faults(states(), sunset("purpose/audit", None)) == ["unchanged"]
    state = after(*passed(sunset("purpose/audit", day(1))))
    assert faults(state, sunset("purpose/audit", day(1))) == ["unchanged"]
    assert faults(state, sunset("purpose/audit", day(2))) == []
    assert faults(state, sunset("purpose/audit", None)) == []


def test_there_is_room_for_so_many_ends() -> None:
    full = tuple(
        Sunset(target=f"purpose/p{number:03}", date=day(9), proposal=bytes(32), ended=False)
        for number in range(SUNSETS_MAX)
    )
    state = states()
    state.pairs[SUNSETS_KEY] = SUNSETS.encode(full)
    assert faults(state, sunset("purpose/audit", day(1))) == ["sunsets-full"]


def test_a_contract_that_is_removed_takes_its_end_with_it() -> None:
    state = after(*passed(SetContract(contract=STOP), sunset("contract/stop", day(2))))
    block(state, *passed(RemoveContract(id="stop"), label="remove"), days=0)
    assert read_sunsets(state) == ()
    block(state, *passed(SetContract(contract=STOP), label="again"), days=1)
    block(state, days=3)
    assert "stop" in [each.id for each in read_policy_set(state).contracts]


def test_the_end_names_the_proposal_that_decided_it() -> None:
    proposed = propose(sunset("purpose/audit", day(1)))
    state = after(*passed(sunset("purpose/audit", day(1))))
    (found,) = read_sunsets(state)
    assert (found.proposal, found.ended) == (proposed.digest, False)


def test_a_refused_request_is_a_record_that_changes_nothing_else() -> None:
    state = after(*passed(sunset("dataset/registration", day(0))))
    block(state, days=1)
    asked = request(label="late")
    execution = block(state, asked, days=1)
    assert execution.overlay.changes == {nonce_key(asked.member, asked.nonce): asked.digest}
    check = refusal(state, request(label="later"))
    assert (check.code, check.recordable) == ("dataset-ended", True)
