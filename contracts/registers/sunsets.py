"""Sunset dates: what is out of force from a day on, by the time of blocks and nothing else.

A block is executed as on its day (UTC): before its first event, what ends on that day or before is
ended. So proposer, validator and auditor agree, and a day on which there is no block changes
nothing. A contract leaves the policy set, whose hash then stands in every outcome. The parameters
become again what they were before the last vote on them. Datasets, purposes, record schemas and
code lists stay readable, but what needs them is refused (`contracts.admission`): with a code list
that has ended also deliveries by the versions of record schemas that name it.
"""

from datetime import date

import msgspec

from contracts.facts import block_date
from contracts.governance.faults import Case, Fault
from contracts.lookup import (
    find_code_list,
    find_dataset,
    find_purpose,
    find_record_schema,
    read_policy_set,
    read_sunsets,
)
from ledger.governance.actions import SetSunset
from ledger.governance.registers import SUNSETS, SUNSETS_MAX, Sunset
from ledger.registry import POLICY_SETS
from ledger.state import (
    PARAMETERS_BEFORE_KEY,
    PARAMETERS_KEY,
    POLICY_SET_KEY,
    SUNSETS_KEY,
    Overlay,
    StateReader,
)

PARAMETERS = "parameters"
# A dry run does not know yet which proposal it is.
_NO_PROPOSAL = bytes(32)
_FIRST_DATE = "1970-01-02"


def set_sunset(overlay: Overlay, action: SetSunset, case: Case) -> list[Fault]:
    """A thing gets a day on which it ends, another one, or none."""
    sunsets = {each.target: each for each in read_sunsets(overlay)}
    before = sunsets.pop(action.target, None)
    faults = []
    if not _is_known(overlay, action.target):
        faults.append(Fault(code="sunset-target-unknown", detail=action.target))
    if (None if before is None else before.date) == action.date:
        faults.append(Fault(code="unchanged", detail=action.target))
    if action.date is not None:
        if not _is_date(action.date):
            faults.append(Fault(code="sunset-date-invalid", detail=action.date))
        if len(sunsets) >= SUNSETS_MAX:
            faults.append(Fault(code="sunsets-full", detail=str(SUNSETS_MAX)))
        sunsets[action.target] = Sunset(
            target=action.target,
            date=action.date,
            proposal=_NO_PROPOSAL if case.moment is None else case.moment.proposal,
            ended=False,
        )
    if not faults:
        _put(overlay, sunsets)
    return faults


def end_due(overlay: Overlay, time_ms: int) -> None:
    """Before the events of a block at `time_ms`: end what ends on its day, or before it."""
    sunsets = {each.target: each for each in read_sunsets(overlay)}
    today = block_date(time_ms).isoformat() if sunsets else ""
    due = [each for each in sunsets.values() if not each.ended and each.date <= today]
    if not due:
        return
    for each in due:
        kind, _, name = each.target.partition("/")
        if kind == "contract":
            del sunsets[each.target]
            _remove_contract(overlay, name)
        elif kind == PARAMETERS:
            del sunsets[each.target]
            before = overlay.get(PARAMETERS_BEFORE_KEY)
            assert before is not None, "set_sunset has found them"
            overlay.put(PARAMETERS_KEY, before)
        else:
            sunsets[each.target] = msgspec.structs.replace(each, ended=True)
    _put(overlay, sunsets)


def forget_sunset(overlay: Overlay, target: str) -> None:
    """What is removed has no end any more: whatever has its id next is something else."""
    sunsets = {each.target: each for each in read_sunsets(overlay)}
    if sunsets.pop(target, None) is not None:
        _put(overlay, sunsets)


def keep_parameters(overlay: Overlay) -> None:
    """Note what other parameters will replace: it returns when those end.

    While those in force have an end, what returns then stays.
    """
    if all(each.target != PARAMETERS for each in read_sunsets(overlay)):
        before = overlay.get(PARAMETERS_KEY)
        assert before is not None, "a state without parameters was not made from a genesis"
        overlay.put(PARAMETERS_BEFORE_KEY, before)


def _is_known(state: StateReader, target: str) -> bool:
    kind, _, name = target.partition("/")
    if kind == PARAMETERS:
        return state.get(PARAMETERS_BEFORE_KEY) is not None
    if kind == "contract":
        return any(each.id == name for each in read_policy_set(state).contracts)
    if kind == "record-schema":
        dataset, _, version = name.partition("@")
        number = int(version)
        return number <= 65_535 and find_record_schema(state, dataset, number) is not None
    find = {"dataset": find_dataset, "purpose": find_purpose, "code-list": find_code_list}[kind]
    return find(state, name) is not None


def _is_date(text: str) -> bool:
    """Whether there is such a day, and one before it that computers count."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return text >= _FIRST_DATE


def _remove_contract(overlay: Overlay, name: str) -> None:
    before = read_policy_set(overlay)
    rest = tuple(each for each in before.contracts if each.id != name)
    after = msgspec.structs.replace(before, version=before.version + 1, contracts=rest)
    overlay.put(POLICY_SET_KEY, POLICY_SETS.encode(after))


def _put(overlay: Overlay, sunsets: dict[str, Sunset]) -> None:
    overlay.put(SUNSETS_KEY, SUNSETS.encode(tuple(sunsets[name] for name in sorted(sunsets))))
