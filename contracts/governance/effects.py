"""What carried actions do: rehearsed on an overlay, so that a dry run and the real thing are one.

Actions of a proposal belong to one class, and those on the list of validators stand alone: they
take effect by a seal block (`contracts.governance.validators`). All others take effect together or
not at all, at the end of the block before their height.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.governance.catalogue import ROWS, class_of
from contracts.governance.faults import Case, Fault, Moment
from contracts.governance.registries import change_contracts
from contracts.governance.rules import find_voter_faults
from contracts.governance.validators import preview_change
from ledger.governance.actions import Action, ContractAction, PartyAction, ValidatorAction
from ledger.state import Overlay, StateReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What actions would change, and every reason why they may not."""

    overlay: Overlay
    faults: tuple[Fault, ...]


def is_about_validators(actions: Sequence[Action]) -> bool:
    """Whether the actions change the list of validators, in their own way."""
    return isinstance(actions[0], ValidatorAction)


def find_faults(state: StateReader, actions: Sequence[Action], *, network: bytes) -> list[Fault]:
    """Every reason why the actions are not possible on this state."""
    if len(frozenset(map(class_of, actions))) > 1:
        return [Fault(code="classes-mixed", detail=", ".join(sorted(map(class_of, actions))))]
    about_list = [isinstance(action, ValidatorAction) for action in actions]
    if any(about_list) and not all(about_list):
        return [Fault(code="actions-conflict", detail="changes of the validators stand alone")]
    if any(about_list):
        return list(preview_change(state, actions, network=network).faults)
    return list(rehearse(state, actions, network=network).faults)


def rehearse(
    state: StateReader,
    actions: Sequence[Action],
    *,
    network: bytes,
    moment: Moment | None = None,
) -> Rehearsal:
    """Carry actions out on an overlay of the state; `state` is not changed.

    Without a moment it is a dry run, which says nothing of what depends on the time.
    """
    overlay = Overlay(state)
    case = Case(network=network, moment=moment)
    faults: list[Fault] = []
    contracts = [action for action in actions if isinstance(action, ContractAction)]
    if contracts:
        faults += change_contracts(overlay, contracts)
    for action in actions:
        change = ROWS[type(action)].change
        if change is not None:
            faults += change(overlay, action, case)
    if any(isinstance(action, PartyAction) for action in actions):
        faults += find_voter_faults(overlay)
    return Rehearsal(overlay=overlay, faults=tuple(faults))
