"""Roles and four eyes: what admission refuses, and that the contracts alone would refuse it too.

Acts that grant or move data ask the contracts: request, release, approve, deliver. The others are
statements about what was done (refused, withdrawn, received, rejected): they grant nothing, and a
freeze or a lost legal basis must not keep them off the record, so admission alone checks them.
"""

import json
from collections.abc import Callable

import cedarpy
import pytest

from contracts.decision import Verdict
from contracts.engine import PolicyEngine
from contracts.facts import Act
from contracts.lifecycle import STEPS
from contracts.lookup import find_dataset, find_member
from contracts.shipped import load_shipped
from contracts.words import describe
from ledger.events import Event
from ledger.registry import OFFICERS, Freeze, Officer, Role
from ledger.state import officer_key
from tests import builders
from tests.builders import (
    ASKER,
    OWNER,
    TIME_MS,
    approve,
    hash32,
    key_of,
    refuse,
    request,
)
from tests.exchanges import REVIEWED, SCRIPTS, drill, offer
from tests.unit.contracts.samples import run, state_after, states

ENGINE = PolicyEngine(load_shipped())
MAKE: dict[str, tuple[tuple[Event, ...], Callable[..., Event]]] = {
    "share.requested": ((), lambda of, **changed: request(**changed)),
    "share.offered": ((), lambda of, **changed: offer(**changed)),
    "drill.run": ((), lambda of, **changed: drill(**changed)),
    **SCRIPTS,
}
# Roles of whoever the builders act as; both sides may dispute.
ROLES = {
    **{step.kind: step.actors[0].role for step in STEPS.values()},
    "share.requested": "requester", "share.offered": "provider", "drill.run": "admin",
    "share.dispute_resolved": "approver",
}  # fmt: skip
WRONG_SIDE = ("not-a-party", "not-a-holder", "role-missing", "dispute-side")
OTHER_ROLES: tuple[Role, ...] = ("requester", "approver", "provider", "admin")


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("role", OTHER_ROLES)
def test_each_act_wants_its_role(kind: str, role: Role) -> None:
    before, make = MAKE[kind]
    state = state_after(*before) if before else states()
    outcome = run(state, make(before[0] if before else None, role=role)).outcomes[0]
    assert outcome.applied is (role == ROLES[kind])
    if not outcome.applied:
        assert outcome.code == "role-missing"
        words = describe(outcome.code, "en", detail=ROLES[kind])
        assert words.detail == f"The officer has no role {ROLES[kind]}."


@pytest.mark.parametrize("kind", sorted(STEPS))
def test_each_step_is_for_its_party_only(kind: str) -> None:
    before, make = MAKE[kind]
    for member in sorted(builders.MEMBERS):
        outcome = run(state_after(*before), make(before[0], member=member)).outcomes[0]
        sides = [actor.side for actor in STEPS[kind].actors]
        if len(sides) > 1 or "holder" in sides:
            assert outcome.applied or outcome.code in WRONG_SIDE, outcome
            assert member in (ASKER, OWNER) or not outcome.applied
            continue
        is_party = member == (ASKER if "requester" in sides else OWNER)
        assert outcome.applied is is_party
        assert is_party or outcome.code == "not-a-party"


def act(action: str, member: str, *roles: Role, **changed: object) -> Act:
    """An act that the shipped contracts allow to an officer with the right role."""
    state = states()
    acting, asking, giving = (find_member(state, id_) for id_ in (member, ASKER, OWNER))
    dataset = find_dataset(state, "registration")
    officer = Officer(key=key_of(member, "any").public, member=member, roles=roles, status="active")
    base: dict[str, object] = {
        "action": action, "officer": officer, "member": acting, "requester": asking,
        "provider": giving, "dataset": dataset, "purpose": "assessment", "legal_basis": "all",
        "urgency": "normal", "fields": ("uscc",), "subjects": 1, "period_days": 30,
        "retention_days": 100, "same_officer": action == "request", "grade": "A",
        "provider_grade": "A",
    }  # fmt: skip
    return Act(**{**base, **changed})


ASKED_OF_CONTRACTS = {
    "request": "requester", "approve": "approver", "deliver": "provider", "offer": "provider",
    "use": "requester", "forward": "approver",
}  # fmt: skip


def is_allowed(asked: Act) -> bool:
    decide = ENGINE.decide_request if asked.action == "request" else ENGINE.decide_step
    return decide(states(), asked, TIME_MS).verdict is Verdict.PERMIT


@pytest.mark.parametrize(("action", "role"), ASKED_OF_CONTRACTS.items())
def test_contracts_alone_want_the_role(action: str, role: Role) -> None:
    member = ASKER if action in ("request", "use") else OWNER
    assert is_allowed(act(action, member, role))
    others = tuple(each for each in OTHER_ROLES if each != role)
    assert not is_allowed(act(action, member, *others))
    assert not is_allowed(act(action, member))


@pytest.mark.parametrize(
    ("action", "role"),
    [
        ("approve", "approver"), ("deliver", "provider"), ("offer", "provider"),
        ("forward", "approver"),
    ],
)  # fmt: skip
def test_contracts_alone_want_an_officer_of_the_owner(action: str, role: Role) -> None:
    assert is_allowed(act(action, OWNER, role))
    assert not is_allowed(act(action, ASKER, role))
    assert not is_allowed(act(action, "cn-3205-tax", role))


def test_contracts_alone_want_four_eyes() -> None:
    roles: tuple[Role, ...] = ("requester", "approver")
    assert is_allowed(act("approve", OWNER, *roles))
    assert not is_allowed(act("approve", OWNER, *roles, same_officer=True))


def test_every_shipped_permit_names_the_role_it_is_for() -> None:
    wanted = {**ASKED_OF_CONTRACTS, "release": "requester"}
    for contract in load_shipped().contracts:
        document = json.loads(cedarpy.policies_to_json_str(contract.text))
        for policy in document["staticPolicies"].values():
            if policy["effect"] != "permit":
                continue
            principal, action = policy["principal"], policy["action"]
            assert (principal["op"], principal["entity"]["type"]) == ("in", "Role"), contract.id
            named = action.get("entities") or [action["entity"]]
            for entity in named:
                assert wanted[entity["id"]] == principal["entity"]["id"], contract.id


@pytest.mark.parametrize(
    ("kind", "is_asked"),
    [
        ("share.approved", True), ("share.delivered", True), ("share.refused", False),
        ("share.withdrawn", False), ("share.received", False), ("share.rejected", False),
        ("share.used", True), ("share.consent_given", True), ("share.corrected", True),
        ("share.consent_refused", False), ("share.destroyed", False), ("share.rated", False),
        ("share.correction_acknowledged", False), ("share.disputed", False),
        ("share.dispute_resolved", False), ("share.consent_requested", False),
        ("share.referenced", False),
    ],
)  # fmt: skip
def test_what_is_said_of_the_past_goes_on_record_in_a_freeze(kind: str, is_asked: bool) -> None:
    assert (STEPS[kind].action is not None) is is_asked
    before, make = MAKE[kind]
    state = states(freezes=(Freeze(requester="", provider="", dataset="", reason="x"),))
    state.pairs.update(run(states(), *before).overlay.changes)
    outcome = run(state, make(before[0])).outcomes[0]
    assert outcome.applied is not is_asked
    assert outcome.code == ("contract-denied" if is_asked else "")


def test_an_officer_who_asked_can_neither_approve_nor_refuse_elsewhere() -> None:
    """The key has moved to the owner, with an approver's role."""
    state = state_after(REVIEWED)
    key = key_of(ASKER, "requester")
    moved = Officer(key=key.public, member=OWNER, roles=("approver",), status="active")
    state.pairs[officer_key(key.public)] = OFFICERS.encode(moved)
    for make in (approve, refuse):
        outcome = run(state, make(REVIEWED, key=key, label=hash32("x").hex())).outcomes[0]
        assert (outcome.applied, outcome.code) == (False, "same-officer")
