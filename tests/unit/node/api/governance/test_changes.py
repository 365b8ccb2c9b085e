"""What actions change, before and after: every action there is, as people read it."""

from typing import Any, get_args

import msgspec
import pytest

from contracts.credit.score import DEFAULT_FORMULA
from contracts.governance.catalogue import target_of
from contracts.governance.effects import rehearse
from contracts.governance.faults import Moment
from contracts.risk.reasons import DEFAULT_RULES as RISK_RULES
from contracts.shipped import load_shipped
from ledger.custody.certificates import hash_certificate
from ledger.custody.encryption import hash_encryption_key
from ledger.custody.rotation import sign_rotation
from ledger.exchange.matters import DEFAULT_DEADLINES
from ledger.governance.actions import (
    Action,
    LiftFreeze,
    ReinstateMember,
    RemoveContract,
    RetireMember,
    RevokeOfficer,
    SanctionMember,
    SetBasis,
    SetCreditRules,
    SetDataset,
    SetDeadlines,
    SetParameters,
    SetPurpose,
    SetRiskRules,
    SetRoles,
    SetRule,
    SetSchema,
    SuspendMember,
    ValidatorAction,
    VotingRule,
)
from ledger.governance.keys import RotateOfficer, SetTerm
from ledger.keys import SecretKey, format_public_key
from ledger.registry import Purpose
from ledger.state import MapState
from node.api.schemas.governance.changes import change_bodies
from tests import builders
from tests.builders import NETWORK, TIME_MS, VALIDATORS, key_of, member
from tests.certificates import der_of
from tests.registers import code_list, record_schema, sunset
from tests.unit.contracts.governance.parts import encryption_bytes, gateway, recipient
from tests.unit.contracts.samples import states
from tests.unit.node.api.governance.proposing import add_officer, admit, change_contract, freeze

OUTSIDER = sorted(builders.MEMBERS)[4]
OFFICER = key_of(OUTSIDER, "provider").public
NEW_OFFICER = add_officer(OUTSIDER)
NEXT = SecretKey(builders.hash32("next"))
RECIPIENT_HASH = hash_encryption_key(encryption_bytes("one")).hex()
STOP = freeze(dataset="account")
GROUNDS = "as decided"
RISK = msgspec.structs.replace(RISK_RULES, version=1, open_hour=6)
CREDIT = msgspec.structs.replace(DEFAULT_FORMULA.rules, version=1, grade_a=850)

# Each action with fields of what it changes, before and after; None: there is nothing.
CHANGES: tuple[tuple[Action, dict[str, Any] | None, dict[str, Any] | None], ...] = (
    (admit(), None, {"status": "applied", "name_zh": "深圳市税务局"}),
    (
        SuspendMember(member=OUTSIDER, grounds=GROUNDS),
        {"status": "active"},
        {"status": "suspended"},
    ),
    (
        ReinstateMember(member="gone", grounds=GROUNDS),
        {"status": "suspended"},
        {"status": "active"},
    ),
    (RetireMember(member=OUTSIDER, grounds=GROUNDS), {"status": "active"}, {"status": "retired"}),
    (
        SanctionMember(member=OUTSIDER, points=100, grounds=GROUNDS),
        {"score": 880},
        {"score": 780},
    ),
    (NEW_OFFICER, None, {"key": format_public_key(NEW_OFFICER.officer.key), "member": OUTSIDER}),
    (SetRoles(key=OFFICER, roles=("admin",)), {"roles": ("provider",)}, {"roles": ("admin",)}),
    (RevokeOfficer(key=OFFICER, grounds=GROUNDS), {"status": "active"}, {"status": "revoked"}),
    (
        RotateOfficer(
            statement=sign_rotation(
                key_of(OUTSIDER, "provider"), NEXT, network=NETWORK, member=OUTSIDER
            )
        ),
        None,
        {"key": format_public_key(NEXT.public), "roles": ("provider",)},
    ),
    (
        SetTerm(member=OUTSIDER, key=OFFICER, not_after="2027-06-30"),
        None,
        {"not_after": "2027-06-30"},
    ),
    (
        recipient(OUTSIDER, not_after="2027-06-30"),
        None,
        {"hash": RECIPIENT_HASH, "not_after": "2027-06-30", "from_height": 9},
    ),
    (
        gateway(OUTSIDER, labels=("one", "two")),
        None,
        {
            "address": "gate.example.org:8443",
            "certificates": [hash_certificate(der_of(each)).hex() for each in ("one", "two")],
            "height": 9,
        },
    ),
    (
        change_contract(),
        {"id": "statistics"},
        {"text": change_contract().contract.text},
    ),
    (RemoveContract(id="credit"), {"id": "credit"}, None),
    (
        SetSchema(schema=f"{load_shipped().schema}\n"),
        {"schema": load_shipped().schema},
        {"schema": f"{load_shipped().schema}\n"},
    ),
    (
        SetDataset(dataset=builders.dataset("vehicle", plate="internal")),
        None,
        {"version": 1, "category": "vehicle"},
    ),
    (
        SetBasis(basis=builders.legal_basis("all", in_force_to="2030-12-31")),
        {"in_force_to": "2099-12-31"},
        {"in_force_to": "2030-12-31"},
    ),
    (
        SetPurpose(purpose=Purpose(id="audit", name_zh="稽查", name_en="audit")),
        {"name_zh": "audit"},
        {"name_zh": "稽查"},
    ),
    (
        SetParameters(parameters=builders.parameters(delta_ms=300)),
        {"delta_ms": 200},
        msgspec.to_builtins(builders.parameters(delta_ms=300)),
    ),
    (
        SetRule(rule=VotingRule(action_class="parties", share=700, factors=1)),
        {"share": 667},
        {"share": 700},
    ),
    (record_schema(), None, {"dataset": "account", "version": 1}),
    (code_list(), None, {"id": "iso-4217", "version": 1}),
    (sunset("dataset/account", "2027-01-31"), None, {"date": "2027-01-31"}),
    (SetCreditRules(rules=CREDIT), {"version": 0}, {"version": 1, "grade_a": 850}),
    (SetRiskRules(rules=RISK), {"version": 0}, {"version": 1, "open_hour": 6}),
    (
        SetDeadlines(rules=msgspec.structs.replace(DEFAULT_DEADLINES, receipt_hours=24)),
        {"receipt_hours": 72, "remedy_days": 30},
        {"receipt_hours": 24, "remedy_days": 30},
    ),
    (STOP, None, {"dataset": "account", "reason": "stop"}),
    (
        LiftFreeze(requester="", provider="", dataset="invoice"),
        {"dataset": "invoice", "reason": "frozen"},
        None,
    ),
)


def world() -> MapState:
    """A network with a suspended member and a freeze."""
    gone = msgspec.structs.replace(member(VALIDATORS[0]), id="gone", status="suspended")
    members = (*(member(each) for each in sorted(builders.MEMBERS)), gone)
    return states(members=members, freezes=(freeze(dataset="invoice", reason="frozen").freeze,))


def test_every_action_is_among_the_samples() -> None:
    kinds = frozenset(get_args(Action)) - frozenset(get_args(ValidatorAction))
    assert kinds == frozenset(type(action) for action, _, _ in CHANGES)


@pytest.mark.parametrize("row", CHANGES, ids=lambda row: type(row[0]).__name__)
def test_an_action_is_shown_by_what_it_changes(
    row: tuple[Action, dict[str, Any] | None, dict[str, Any] | None],
) -> None:
    action, before, after = row
    state = world()
    moment = Moment(proposal=bytes(32), height=9, time_ms=TIME_MS)
    rehearsal = rehearse(state, (action,), network=NETWORK, moment=moment)
    assert rehearsal.faults == ()
    changes = change_bodies(state, rehearsal.overlay, time_ms=TIME_MS)
    (change,) = [each for each in changes if each.target == target_of(action)]
    assert change.kind == ("remove" if after is None else "set")
    for wanted, found in ((before, change.before), (after, change.after)):
        if wanted is None:
            assert found is None
        else:
            assert found is not None
            assert {name: found[name] for name in wanted} == wanted
    # The rest says how the policy set as a whole moves, and which keys an applicant brings.
    rest = {each.target.partition("/")[0] for each in changes if each is not change}
    assert rest <= {"policy-set", "officer"}
