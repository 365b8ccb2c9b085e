"""Contracts, registries, numbers and freezes by vote, and what is not possible."""

import msgspec
import pytest

from contracts.credit.accounts import read_formula
from contracts.credit.behaviours import DEFAULT_RULES
from contracts.engine import validate_policy_set
from contracts.lookup import (
    find_dataset,
    find_legal_basis,
    find_purpose,
    read_freezes,
    read_parameters,
    read_policy_set,
)
from contracts.risk.habits import read_risk_rules
from contracts.risk.reasons import DEFAULT_RULES as RISK_RULES
from contracts.shipped import load_shipped
from ledger.governance.actions import (
    LiftFreeze,
    RemoveContract,
    SetBasis,
    SetContract,
    SetCreditRules,
    SetDataset,
    SetFreeze,
    SetParameters,
    SetPurpose,
    SetRiskRules,
    SetSchema,
)
from ledger.registry import Contract, Freeze, Purpose
from tests.builders import ASKER, DATASETS, HEIGHT, OWNER, legal_basis, parameters, propose, request
from tests.unit.contracts.governance.parts import (
    SECOND,
    after,
    block,
    faults,
    passed,
    states,
    votes,
)

STOP = Contract(
    id="stop",
    text='@id("stop")\n@title_zh("停止")\n@title_en("stop")\n'
    'forbid(principal, action == Action::"request", resource);\n',
)


def test_a_contract_changes_decisions_from_the_next_block_on() -> None:
    state = states()
    events = passed(SetContract(contract=STOP))
    asked = [request(label=str(number)) for number in range(3)]
    first = block(state, asked[0], *events, asked[1])
    decisions = [outcome.decision for outcome in first.outcomes if outcome.decision]
    assert decisions == ["permit", "permit"], "one block has one policy set"
    (later,) = block(state, asked[2], height=HEIGHT + 1).outcomes
    assert (later.decision, later.policies) == ("deny", ("stop",))
    assert read_policy_set(state).version == 2
    assert later.policy_set != first.outcomes[0].policy_set
    after(*passed(RemoveContract(id="stop")), state=state, height=HEIGHT + 2)
    assert read_policy_set(state).contracts == load_shipped().contracts
    assert read_policy_set(state).version == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "forbid(",
        "permit(principal, action, resource) when { context.nothing };",
        '@id("other")\npermit(principal, action == Action::"request", resource);',
        '@id("stop")\npermit(principal, action == Action::"fly", resource);',
        '@id("stop")\npermit(principal, action == Action::"request", resource) when {'
        + "(" * 300
        + "true"
        + ")" * 300
        + "};",
        '@id("stop")\npermit(principal == ?principal, action, resource);',
    ],
)
def test_what_could_not_be_evaluated_is_refused_when_it_is_proposed(text: str) -> None:
    found = faults(states(), SetContract(contract=Contract(id="stop", text=text)))
    assert frozenset(found) == {"contract-invalid"}


def test_the_policy_set_is_judged_as_a_whole() -> None:
    """A schema that the contracts do not fit, and one that fits together with a new contract."""
    schema = load_shipped().schema
    assert "contract-invalid" in faults(states(), SetSchema(schema=schema.replace("urgency", "x")))
    assert faults(states(), SetSchema(schema=schema)) == ["unchanged"]
    assert faults(states(), RemoveContract(id="nothing")) == ["contract-unknown"]
    assert faults(states(), SetContract(contract=STOP), RemoveContract(id="stop")) == ["unchanged"]
    state = after(*passed(SetContract(contract=STOP), RemoveContract(id="statistics")))
    assert validate_policy_set(read_policy_set(state))


def test_a_dataset_gets_its_next_version() -> None:
    known = DATASETS[0]
    following = msgspec.structs.replace(known, version=2, deadline_hours=24)
    state = after(*passed(SetDataset(dataset=following)))
    assert find_dataset(state, known.id) == following
    for version in (1, 2, 4):
        again = msgspec.structs.replace(known, version=version)
        assert faults(state, SetDataset(dataset=again)) == ["version-invalid"]
    twice = msgspec.structs.replace(known, version=3, fields=known.fields * 2)
    assert faults(state, SetDataset(dataset=twice)) == ["field-repeated"]
    new = msgspec.structs.replace(known, id="customs", version=1)
    assert faults(state, SetDataset(dataset=new)) == []
    assert faults(state, SetDataset(dataset=msgspec.structs.replace(new, version=2))) == [
        "version-invalid"
    ]


def test_legal_bases_and_purposes() -> None:
    basis = legal_basis("treaty", purposes=("pensions",), parties=(ASKER, OWNER))
    purpose = Purpose(id="pensions", name_zh="养老", name_en="pensions")
    assert faults(states(), SetBasis(basis=basis)) == ["purpose-unknown"]
    state = after(*passed(SetPurpose(purpose=purpose), SetBasis(basis=basis)))
    assert find_legal_basis(state, "treaty") == basis
    assert find_purpose(state, "pensions") == purpose
    assert faults(state, SetPurpose(purpose=purpose)) == ["unchanged"]
    assert faults(state, SetBasis(basis=basis)) == ["unchanged"]
    wrong = legal_basis("x", in_force_from="2020-01-02", in_force_to="2020-01-01")
    assert faults(state, SetBasis(basis=wrong)) == ["period-invalid"]
    stranger = legal_basis("x", parties=("cn-9999-tax",))
    assert faults(state, SetBasis(basis=stranger)) == ["member-unknown"]


def test_numbers_change_together() -> None:
    changed = parameters(expiry_blocks_max=20)
    state = after(*passed(SetParameters(parameters=changed)))
    assert read_parameters(state) == changed
    assert faults(state, SetParameters(parameters=changed)) == ["unchanged"]


def test_the_rules_of_credit_have_versions() -> None:
    rules = msgspec.structs.replace(DEFAULT_RULES, version=1, grade_a=900)
    state = after(*passed(SetCreditRules(rules=rules)))
    assert read_formula(state).rules == rules
    assert faults(state, SetCreditRules(rules=rules)) == ["version-invalid"]
    wrong = msgspec.structs.replace(rules, version=2, grade_b=950)
    assert faults(state, SetCreditRules(rules=wrong)) == ["credit-rules-invalid"]


def test_the_rules_of_risk_have_versions() -> None:
    rules = msgspec.structs.replace(RISK_RULES, version=1, subjects_many=10)
    state = after(*passed(SetRiskRules(rules=rules)))
    assert read_risk_rules(state) == rules
    assert faults(state, SetRiskRules(rules=rules)) == ["version-invalid"]
    wrong = msgspec.structs.replace(rules, version=2, close_hour=0)
    assert faults(state, SetRiskRules(rules=wrong)) == ["risk-rules-invalid"]


def freeze(**scope: str) -> SetFreeze:
    base = {"requester": "", "provider": "", "dataset": "", "reason": "incident"}
    return SetFreeze(freeze=Freeze(**{**base, **scope}))


@pytest.mark.parametrize(
    ("scope", "stops"),
    [
        ({}, True),
        ({"requester": ASKER, "provider": OWNER}, True),
        ({"requester": OWNER, "provider": ASKER}, False),
        ({"dataset": "registration"}, True),
        ({"dataset": "invoice"}, False),
    ],
)
def test_what_is_frozen_does_not_move_from_the_next_block_on(
    scope: dict[str, str], stops: bool
) -> None:
    state = after(*votes(propose(freeze(**scope)), SECOND))
    (outcome,) = block(state, request(), height=HEIGHT + 1).outcomes
    assert outcome.decision == ("deny" if stops else "permit")
    lift = LiftFreeze(**{"requester": "", "provider": "", "dataset": "", **scope})
    after(*passed(lift), state=state, height=HEIGHT + 2)
    assert read_freezes(state) == ()
    (outcome,) = block(state, request(label="later"), height=HEIGHT + 3).outcomes
    assert outcome.decision == "permit"


def test_what_cannot_be_frozen_or_lifted() -> None:
    state = after(*votes(propose(freeze(dataset="invoice")), SECOND))
    assert faults(state, freeze(dataset="invoice")) == ["unchanged"]
    assert faults(state, freeze(requester="cn-9999-tax")) == ["member-unknown"]
    assert faults(state, freeze(dataset="nothing")) == ["dataset-unknown"]
    assert faults(state, LiftFreeze(requester="", provider="", dataset="")) == ["freeze-unknown"]
    full = tuple(
        Freeze(requester=f"r{number}", provider="", dataset="", reason="") for number in range(64)
    )
    assert faults(states(freezes=full), freeze(dataset="invoice")) == ["freezes-full"]
