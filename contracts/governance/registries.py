"""Contracts, registries, numbers, rules of voting, freezes: what each action does to the state.

A policy set that cannot be evaluated is refused when it is proposed, never when it is used.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import msgspec

from contracts.credit.score import find_rules_faults
from contracts.drafts.check import find_policy_set_faults
from contracts.exchange.matters import read_deadlines
from contracts.governance.faults import Fault, find_version_faults
from contracts.governance.rules import SHARE_MAX, SHARE_MIN, rule_of
from contracts.lookup import (
    find_dataset,
    find_legal_basis,
    find_member,
    find_purpose,
    read_freezes,
    read_parameters,
    read_policy_set,
)
from contracts.registers.sunsets import forget_sunset, keep_parameters
from contracts.risk.habits import read_risk_rules
from contracts.risk.reasons import find_rules_faults as find_risk_faults
from ledger.errors import InvalidEncoding
from ledger.exchange.matters import DEADLINE_RULES
from ledger.exchange.risk import RISK_RULES
from ledger.governance.actions import (
    ContractAction,
    LiftFreeze,
    RemoveContract,
    SetBasis,
    SetContract,
    SetCreditRules,
    SetDataset,
    SetDeadlines,
    SetFreeze,
    SetParameters,
    SetPurpose,
    SetRiskRules,
    SetRule,
)
from ledger.governance.proposals import VOTING_RULES
from ledger.registry import (
    CREDIT_RULES,
    DATASETS,
    FREEZES,
    LEGAL_BASES,
    PARAMETERS,
    POLICY_SETS,
    PURPOSES,
    Contract,
    Freeze,
    PolicySet,
)
from ledger.state import (
    CREDIT_RULES_KEY,
    DEADLINE_RULES_KEY,
    FREEZES_KEY,
    PARAMETERS_KEY,
    POLICY_SET_KEY,
    RISK_RULES_KEY,
    Overlay,
    StateReader,
    dataset_key,
    legal_basis_key,
    purpose_key,
    voting_rule_key,
)

FREEZES_MAX = 64


def change_contracts(overlay: Overlay, actions: Sequence[ContractAction]) -> list[Fault]:
    """All changes of the policy set together: it is judged as a whole."""
    before = read_policy_set(overlay)
    contracts = {contract.id: contract for contract in before.contracts}
    schema, faults = before.schema, []
    for action in actions:
        if isinstance(action, SetContract):
            contracts[action.contract.id] = action.contract
        elif isinstance(action, RemoveContract):
            if contracts.pop(action.id, None) is None:
                faults.append(Fault(code="contract-unknown", detail=action.id))
        else:
            schema = action.schema
    ordered: tuple[Contract, ...] = tuple(contracts[name] for name in sorted(contracts))
    after = msgspec.structs.replace(before, schema=schema, contracts=ordered)
    if not faults and after == before:
        faults.append(Fault(code="unchanged", detail=f"policy set {before.version}"))
    faults += _policy_faults(after)
    if not faults:
        for contract in before.contracts:
            if contract.id not in contracts:
                forget_sunset(overlay, f"contract/{contract.id}")
        moved = msgspec.structs.replace(after, version=before.version + 1)
        overlay.put(POLICY_SET_KEY, POLICY_SETS.encode(moved))
    return faults


# A proposal is checked several times on its way, and parsing all contracts takes long: memoised.
@lru_cache(8)
def _policy_faults(policy_set: PolicySet) -> tuple[Fault, ...]:
    found = find_policy_set_faults(policy_set)
    return tuple(
        Fault(code="contract-invalid", detail=f"{each.contract}: {each.code} {each.detail}")
        for each in found
    )


def set_dataset(overlay: Overlay, action: SetDataset) -> list[Fault]:
    """A new dataset, or the next version of one; ids of its fields are different."""
    dataset = action.dataset
    before = find_dataset(overlay, dataset.id)
    following = 1 if before is None else before.version + 1
    faults = find_version_faults(dataset.id, dataset.version, following)
    names = [field.id for field in dataset.fields]
    if len(frozenset(names)) != len(names):
        faults.append(Fault(code="field-repeated", detail=dataset.id))
    if not faults:
        overlay.put(dataset_key(dataset.id), DATASETS.encode(dataset))
    return faults


def set_basis(overlay: Overlay, action: SetBasis) -> list[Fault]:
    """A legal basis whose parties and purposes are known."""
    basis = action.basis
    faults = []
    if find_legal_basis(overlay, basis.id) == basis:
        faults.append(Fault(code="unchanged", detail=basis.id))
    if basis.in_force_to < basis.in_force_from:
        detail = f"{basis.in_force_from} to {basis.in_force_to}"
        faults.append(Fault(code="period-invalid", detail=detail))
    checks: tuple[tuple[str, tuple[str, ...], Callable[[StateReader, str], object]], ...] = (
        ("member-unknown", basis.parties, find_member),
        ("purpose-unknown", basis.purposes, find_purpose),
    )
    for code, names, find in checks:
        faults += [Fault(code=code, detail=name) for name in names if find(overlay, name) is None]
    if not faults:
        overlay.put(legal_basis_key(basis.id), LEGAL_BASES.encode(basis))
    return faults


def set_purpose(overlay: Overlay, action: SetPurpose) -> list[Fault]:
    """A purpose."""
    purpose = action.purpose
    if find_purpose(overlay, purpose.id) == purpose:
        return [Fault(code="unchanged", detail=purpose.id)]
    overlay.put(purpose_key(purpose.id), PURPOSES.encode(purpose))
    return []


def set_parameters(overlay: Overlay, action: SetParameters) -> list[Fault]:
    """Numbers that nodes share; their types bound them."""
    if read_parameters(overlay) == action.parameters:
        return [Fault(code="unchanged", detail="parameters")]
    keep_parameters(overlay)
    overlay.put(PARAMETERS_KEY, PARAMETERS.encode(action.parameters))
    return []


def set_credit_rules(overlay: Overlay, action: SetCreditRules) -> list[Fault]:
    """How credit is computed: the next version, with which every score can be reached."""
    before = overlay.get(CREDIT_RULES_KEY)
    following = 1 if before is None else CREDIT_RULES.decode(before).version + 1
    faults = [
        Fault(code="credit-rules-invalid", detail=text) for text in find_rules_faults(action.rules)
    ]
    faults += find_version_faults("credit rules", action.rules.version, following)
    if not faults:
        overlay.put(CREDIT_RULES_KEY, CREDIT_RULES.encode(action.rules))
    return faults


def set_risk_rules(overlay: Overlay, action: SetRiskRules) -> list[Fault]:
    """How risk is assessed: the next version."""
    following = read_risk_rules(overlay).version + 1
    faults = [
        Fault(code="risk-rules-invalid", detail=text) for text in find_risk_faults(action.rules)
    ]
    faults += find_version_faults("rules of risk", action.rules.version, following)
    if not faults:
        overlay.put(RISK_RULES_KEY, RISK_RULES.encode(action.rules))
    return faults


def set_deadlines(overlay: Overlay, action: SetDeadlines) -> list[Fault]:
    """Times that no contract sets; their types bound them."""
    if read_deadlines(overlay) == action.rules:
        return [Fault(code="unchanged", detail="deadlines")]
    overlay.put(DEADLINE_RULES_KEY, DEADLINE_RULES.encode(action.rules))
    return []


def set_rule(overlay: Overlay, action: SetRule) -> list[Fault]:
    """How votes of a class count; never so that one decides alone, or that nothing can pass."""
    rule = action.rule
    if not SHARE_MIN <= rule.share <= SHARE_MAX:
        detail = f"{rule.share}, from {SHARE_MIN} to {SHARE_MAX} thousandths are allowed"
        return [Fault(code="rule-invalid", detail=detail)]
    if rule_of(overlay, rule.action_class) == rule:
        return [Fault(code="unchanged", detail=rule.action_class)]
    overlay.put(voting_rule_key(rule.action_class), VOTING_RULES.encode(rule))
    return []


def set_freeze(overlay: Overlay, action: SetFreeze) -> list[Fault]:
    """Freeze one more scope."""
    freezes, freeze = read_freezes(overlay), action.freeze
    faults = []
    if any(_scope(each) == _scope(freeze) for each in freezes):
        faults.append(Fault(code="unchanged", detail=_name(freeze)))
    if len(freezes) >= FREEZES_MAX:
        faults.append(Fault(code="freezes-full", detail=str(FREEZES_MAX)))
    faults += [
        Fault(code="member-unknown", detail=name)
        for name in (freeze.requester, freeze.provider)
        if name and find_member(overlay, name) is None
    ]
    if freeze.dataset and find_dataset(overlay, freeze.dataset) is None:
        faults.append(Fault(code="dataset-unknown", detail=freeze.dataset))
    if not faults:
        try:
            overlay.put(FREEZES_KEY, FREEZES.encode((*freezes, freeze)))
        except InvalidEncoding as error:
            # Their reasons are long: fewer than `FREEZES_MAX` are too many already.
            faults.append(Fault(code="freezes-full", detail=str(error)))
    return faults


def lift_freeze(overlay: Overlay, action: LiftFreeze) -> list[Fault]:
    """End the freeze of exactly this scope."""
    scope = (action.requester, action.provider, action.dataset)
    freezes = read_freezes(overlay)
    rest = tuple(freeze for freeze in freezes if _scope(freeze) != scope)
    if rest == freezes:
        return [Fault(code="freeze-unknown", detail=" / ".join(name or "*" for name in scope))]
    overlay.put(FREEZES_KEY, FREEZES.encode(rest))
    return []


def _scope(freeze: Freeze) -> tuple[str, str, str]:
    return freeze.requester, freeze.provider, freeze.dataset


def _name(freeze: Freeze) -> str:
    return " / ".join(name or "*" for name in _scope(freeze))
