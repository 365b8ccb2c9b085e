"""Every action in one row: the class whose rule counts its votes, what it changes, and how.

A new action is its class in `ledger.governance.actions` and a row here. `target` names what is
changed, as `kind/id`: its history stands under that name, and two proposals that wait never change
the same thing. `change` finds every fault first and only if there is none changes the overlay; it
is None for what is judged together with others of its proposal (`contracts.governance.effects`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from contracts.governance import parties, registries
from contracts.governance.faults import Case, Fault
from contracts.registers.entries import set_code_list, set_record_schema
from contracts.registers.gateways import set_gateway
from contracts.registers.sunsets import PARAMETERS, set_sunset
from ledger.governance import actions, keys
from ledger.governance.actions import Action, ActionClass
from ledger.quorum import governance as seats
from ledger.state import Overlay

Change = Callable[[Overlay, Any, Case], list[Fault]]


@dataclass(frozen=True, slots=True)
class Row:
    """What there is to know about a type of action."""

    action_class: ActionClass | Callable[[Any], ActionClass]
    target: Callable[[Any], str]
    change: Change | None


def _plain(change: Callable[[Overlay, Any], list[Fault]]) -> Change:
    """For changes that depend on nothing but the state."""
    return lambda overlay, action, _case: change(overlay, action)


def _member(action: Any) -> str:
    return f"member/{action.member}"


def _officer(action: Any) -> str:
    return f"officer/{action.key.hex()}"


def _sunset_class(action: Any) -> ActionClass:
    """An end is decided as its thing is."""
    return "parameters" if action.target == PARAMETERS else "contracts"


def _seat(_action: Any) -> str:
    return "validators"


ROWS: dict[type, Row] = {
    actions.AdmitMember: Row("parties", lambda a: f"member/{a.application.id}", parties.admit),
    actions.SuspendMember: Row("parties", _member, _plain(parties.move_member)),
    actions.ReinstateMember: Row("parties", _member, _plain(parties.move_member)),
    actions.RetireMember: Row("parties", _member, _plain(parties.move_member)),
    actions.SanctionMember: Row("parties", _member, parties.sanction),
    actions.AddOfficer: Row(
        "keys", lambda a: f"officer/{a.officer.key.hex()}", parties.add_officer
    ),
    actions.SetRoles: Row("keys", _officer, _plain(parties.set_roles)),
    actions.RevokeOfficer: Row("keys", _officer, _plain(parties.revoke_officer)),
    keys.RotateOfficer: Row(
        "keys",
        lambda a: f"officer/{a.statement.rotation.new_key.hex()}",
        parties.rotate_officer,
    ),
    # A thing of its own: it may be set together with the key.
    keys.SetTerm: Row("keys", lambda a: f"term/{a.key.hex()}", _plain(parties.set_term)),
    keys.SetEncryptionKey: Row(
        "keys", lambda a: f"encryption/{a.member}", parties.set_encryption_key
    ),
    keys.SetGateway: Row("keys", lambda a: f"gateway/{a.member}", set_gateway),
    seats.AddValidator: Row("parties", _seat, None),
    seats.RemoveValidator: Row("parties", _seat, None),
    seats.KeepValidators: Row("parties", _seat, None),
    actions.SetContract: Row("contracts", lambda a: f"contract/{a.contract.id}", None),
    actions.RemoveContract: Row("contracts", lambda a: f"contract/{a.id}", None),
    actions.SetSchema: Row("contracts", lambda _: "schema", None),
    actions.SetDataset: Row(
        "contracts", lambda a: f"dataset/{a.dataset.id}", _plain(registries.set_dataset)
    ),
    actions.SetBasis: Row(
        "contracts", lambda a: f"basis/{a.basis.id}", _plain(registries.set_basis)
    ),
    actions.SetPurpose: Row(
        "contracts", lambda a: f"purpose/{a.purpose.id}", _plain(registries.set_purpose)
    ),
    actions.SetRecordSchema: Row(
        "contracts", lambda a: f"record-schema/{a.record_schema.dataset}", _plain(set_record_schema)
    ),
    actions.SetCodeList: Row(
        "contracts", lambda a: f"code-list/{a.code_list.id}", _plain(set_code_list)
    ),
    actions.SetSunset: Row(_sunset_class, lambda a: f"sunset/{a.target}", set_sunset),
    actions.SetParameters: Row(
        "parameters", lambda _: "parameters", _plain(registries.set_parameters)
    ),
    actions.SetCreditRules: Row(
        "parameters", lambda _: "credit", _plain(registries.set_credit_rules)
    ),
    actions.SetRiskRules: Row("parameters", lambda _: "risk", _plain(registries.set_risk_rules)),
    actions.SetRule: Row(
        "parameters", lambda a: f"rule/{a.rule.action_class}", _plain(registries.set_rule)
    ),
    actions.SetDeadlines: Row(
        "parameters", lambda _: "deadlines", _plain(registries.set_deadlines)
    ),
    actions.SetFreeze: Row("emergency", lambda _: "freezes", _plain(registries.set_freeze)),
    # Ending a freeze is not urgent.
    actions.LiftFreeze: Row("parties", lambda _: "freezes", _plain(registries.lift_freeze)),
}


def class_of(action: Action) -> ActionClass:
    """The class that an action belongs to."""
    found = ROWS[type(action)].action_class
    return found(action) if callable(found) else found


def target_of(action: Action) -> str:
    """What an action changes, as `kind/id`."""
    return ROWS[type(action)].target(action)
