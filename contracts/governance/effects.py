"""What carried actions do: rehearsed on an overlay, so that a dry run and the real thing are one.

Actions of a proposal belong to one class, and those on the list of validators stand alone: they
take effect by a seal block (`contracts.governance.validators`). All others take effect together or
not at all, at the end of the block before their height.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.governance import keys, parties, registries
from contracts.governance.faults import Fault, Moment
from contracts.governance.rules import class_of, find_voter_faults
from contracts.governance.validators import preview_change
from ledger.governance.actions import (
    Action,
    AddOfficer,
    AdmitMember,
    ContractAction,
    LiftFreeze,
    PartyAction,
    ReinstateMember,
    RemoveContract,
    RetireMember,
    RevokeOfficer,
    RotateOfficer,
    SanctionMember,
    SetBasis,
    SetContract,
    SetCreditRules,
    SetDataset,
    SetEncryptionKey,
    SetFreeze,
    SetParameters,
    SetPurpose,
    SetRoles,
    SetRule,
    SetSchema,
    SetTerm,
    SuspendMember,
    ValidatorAction,
)
from ledger.state import Overlay, StateReader

_Change = Callable[[Overlay, Any, bytes], list[Fault]]


def _plain(change: Callable[[Overlay, Any], list[Fault]]) -> _Change:
    """For changes that do not depend on the network's id."""

    def changed(overlay: Overlay, action: Any, _network: bytes) -> list[Fault]:
        return change(overlay, action)

    return changed


_CHANGES: dict[type, _Change] = {
    AdmitMember: parties.admit,
    SuspendMember: _plain(parties.move_member),
    ReinstateMember: _plain(parties.move_member),
    RetireMember: _plain(parties.move_member),
    AddOfficer: parties.add_officer,
    SetRoles: _plain(parties.set_roles),
    RevokeOfficer: _plain(parties.revoke_officer),
    RotateOfficer: keys.rotate_officer,
    SetTerm: _plain(keys.set_term),
    SetDataset: _plain(registries.set_dataset),
    SetBasis: _plain(registries.set_basis),
    SetPurpose: _plain(registries.set_purpose),
    SetParameters: _plain(registries.set_parameters),
    SetCreditRules: _plain(registries.set_credit_rules),
    SetRule: _plain(registries.set_rule),
    SetFreeze: _plain(registries.set_freeze),
    LiftFreeze: _plain(registries.lift_freeze),
}

_TARGETS: dict[type, Callable[[Any], str]] = {
    AdmitMember: lambda action: f"member/{action.application.id}",
    SuspendMember: lambda action: f"member/{action.member}",
    ReinstateMember: lambda action: f"member/{action.member}",
    RetireMember: lambda action: f"member/{action.member}",
    SanctionMember: lambda action: f"member/{action.member}",
    AddOfficer: lambda action: f"officer/{action.officer.key.hex()}",
    SetRoles: lambda action: f"officer/{action.key.hex()}",
    RevokeOfficer: lambda action: f"officer/{action.key.hex()}",
    RotateOfficer: lambda action: f"officer/{action.statement.rotation.new_key.hex()}",
    # The term is a thing of its own: it may be set together with the key.
    SetTerm: lambda action: f"term/{action.key.hex()}",
    SetEncryptionKey: lambda action: f"encryption/{action.member}",
    SetContract: lambda action: f"contract/{action.contract.id}",
    RemoveContract: lambda action: f"contract/{action.id}",
    SetSchema: lambda _: "schema",
    SetDataset: lambda action: f"dataset/{action.dataset.id}",
    SetBasis: lambda action: f"basis/{action.basis.id}",
    SetPurpose: lambda action: f"purpose/{action.purpose.id}",
    SetParameters: lambda _: "parameters",
    SetCreditRules: lambda _: "credit",
    SetRule: lambda action: f"rule/{action.rule.action_class}",
    SetFreeze: lambda _: "freezes",
    LiftFreeze: lambda _: "freezes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What actions would change, and every reason why they may not."""

    overlay: Overlay
    faults: tuple[Fault, ...]


def is_about_validators(actions: Sequence[Action]) -> bool:
    """Whether the actions change the list of validators, in their own way."""
    return isinstance(actions[0], ValidatorAction)


def target_of(action: Action) -> str:
    """What an action changes, as `kind/id`: its history stands under that name."""
    return _TARGETS[type(action)](action)


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
    faults: list[Fault] = []
    contracts = [action for action in actions if isinstance(action, ContractAction)]
    if contracts:
        faults += registries.change_contracts(overlay, contracts)
    for action in actions:
        if isinstance(action, SanctionMember):
            faults += parties.sanction(overlay, action, moment)
        elif isinstance(action, SetEncryptionKey):
            faults += keys.set_encryption_key(overlay, action, moment)
        elif not isinstance(action, ContractAction):
            faults += _CHANGES[type(action)](overlay, action, network)
    if any(isinstance(action, PartyAction) for action in actions):
        faults += find_voter_faults(overlay)
    return Rehearsal(overlay=overlay, faults=tuple(faults))
