"""Slices: an action's policies and facts give the answers that the whole set gives."""

import json

import cedarpy
import msgspec
import pytest

from contracts.engine import ACTIONS
from contracts.facts import build_context, entities_of, question
from contracts.shipped import load_shipped
from contracts.slices import find_reading, slice_policies
from tests.builders import TIME_MS, world
from tests.unit.contracts.test_engine import act

KNOWN = ("request", "release", "deliver")


def policies_of(text: str) -> dict[str, dict[str, object]]:
    document = json.loads(cedarpy.policies_to_json_str(text))
    return {policy["annotations"]["id"]: policy for policy in document["staticPolicies"].values()}


def facts_of(text: str, action: str = "request") -> tuple[str, ...] | None:
    return slice_policies(policies_of(text), action, KNOWN).facts


def count_of(text: str, action: str) -> int:
    return len(slice_policies(policies_of(text), action, KNOWN).policies)


@pytest.mark.parametrize(
    ("scope", "counts"),
    [
        ("action", (1, 1, 1)),
        ('action == Action::"request"', (1, 0, 0)),
        ('action in [Action::"request", Action::"deliver"]', (1, 0, 1)),
        ('action in Action::"release"', (0, 1, 0)),
        # A group that is not known may hold every action.
        ('action in Action::"everything"', (1, 1, 1)),
    ],
)
def test_only_policies_that_may_concern_the_action_stay(
    scope: str, counts: tuple[int, int, int]
) -> None:
    text = f'@id("a") permit (principal, {scope}, resource);'
    assert tuple(count_of(text, action) for action in KNOWN) == counts


@pytest.mark.parametrize(
    ("condition", "facts"),
    [
        ("context.frozen", {"frozen"}),
        ("!(context.subjects > 3 && principal.member.grade == context.purpose)",
         {"subjects", "purpose"}),
        ("context has balance && context.balance > 0", {"balance"}),
        ("resource.owner == principal.member", set()),
        ("context == resource.owner", None),
        ("[context].contains(principal)", None),
    ],
)  # fmt: skip
def test_the_facts_that_policies_read(condition: str, facts: set[str] | None) -> None:
    text = f'@id("a") permit (principal, action, resource) when {{ {condition} }};'
    assert facts_of(text) == (None if facts is None else tuple(sorted(facts)))


def test_unless_reads_facts_too() -> None:
    text = '@id("a") forbid (principal, action, resource) unless { context.basisInForce };'
    assert facts_of(text) == ("basisInForce",)


LONG_MIN, LONG_MAX = -(2**63), 2**63 - 1


@pytest.mark.parametrize(
    ("condition", "values", "picked"),
    [
        ("context.subjects > 3", (-9, 3, 4, 9), (2, 3, 4, 4)),
        ("3 < context.subjects || context.subjects == 9", (1, 3, 5, 8, 9, 70),
         (2, 3, 4, 4, 9, 10)),
        ("context.subjects != 3 && context.subjects >= 4", (2, 3, 4, 5), (2, 3, 4, 5)),
        ("context has subjects", (5, -5), (0, 0)),
        (f"context.subjects > {LONG_MIN} || context.subjects <= {LONG_MAX}",
         (LONG_MIN, 7, LONG_MAX), (LONG_MIN, LONG_MIN + 1, LONG_MAX)),
        # What is no Long fails, and must not become one that does not.
        ("context.subjects > 3", (LONG_MAX + 1, LONG_MIN - 1), (LONG_MAX + 1, LONG_MIN - 1)),
        ("context.subjects > 3", (True, "x"), (True, "x")),
        # Other uses of the value keep it.
        ("context.subjects > 3 && context.subjects > context.balance", (8, 9), (8, 9)),
        ("context.subjects + 1 > 3", (8, 9), (8, 9)),
        ("[3].contains(context.subjects)", (8, 9), (8, 9)),
        ("context.subjects == 3 || context == resource.owner", (8, 9), (8, 9)),
    ],
)  # fmt: skip
def test_a_fact_that_is_only_compared_counts_by_its_place(
    condition: str, values: tuple[object, ...], picked: tuple[object, ...]
) -> None:
    text = f'@id("a") permit (principal, action, resource) when {{ {condition} }};'
    part = slice_policies(policies_of(text), "request", KNOWN)
    found = tuple(part.pick({"subjects": value})["subjects"] for value in values)
    assert found == picked
    assert list(map(type, found)) == list(map(type, picked))


def test_two_policies_add_their_numbers() -> None:
    text = "".join(
        f'@id("{name}") permit (principal, {scope}, resource)'
        f"when {{ context.subjects > {number} }};"
        for name, scope, number in (
            ("a", "action", 9),
            ("b", "action", 3),
            ("c", 'action == Action::"deliver"', 5),
        )
    )
    assert slice_policies(policies_of(text), "request", KNOWN).marks == {"subjects": (3, 9)}


def test_a_reading_of_two_actions_tells_apart_what_either_does() -> None:
    text = "".join(
        f'@id("{name}") permit (principal, action == Action::"{action}", resource)'
        f"when {{ {condition} }};"
        for name, action, condition in (
            ("a", "request", "context.subjects > 9 && context.risk > 3"),
            ("b", "release", "context.subjects > 3 && context.risk == context.balance"),
            ("c", "deliver", "context.frozen"),
        )
    )
    reading = find_reading(policies_of(text), ("request", "release"), KNOWN)
    assert reading.facts == ("balance", "risk", "subjects")
    assert reading.marks == {"subjects": (3, 9)}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"subjects": 500},
        {"purpose": "statistics"},
        {"purpose": "criminal", "urgency": "critical"},
        {"legal_basis": "expired"},
        {"period_days": 5_000, "retention_days": 9_000},
    ],
)
def test_a_slice_answers_as_the_whole_set(action: str, changed: dict[str, object]) -> None:
    shipped = load_shipped()
    text = "\n".join(contract.text for contract in shipped.contracts)
    state = world().state
    asked = act(state, **{"action": action, **changed})
    context = build_context(state, asked, TIME_MS)
    entities = entities_of(asked)
    part = slice_policies(policies_of(text), action, ACTIONS)

    def ask(policies: cedarpy.PolicySet, facts: dict[str, object]) -> cedarpy.AuthzResult:
        encoded = msgspec.json.encode(facts).decode()
        return cedarpy.is_authorized(question(asked, action, encoded), policies, entities)

    whole = ask(cedarpy.PolicySet.from_str(text), context)
    sliced = ask(part.policies, part.pick(context))
    assert sliced.decision == whole.decision
    names = whole.diagnostics.id_annotations_by_reason
    assert sorted(sliced.diagnostics.reasons) == sorted(names.values())
    assert (whole.diagnostics.errors, sliced.diagnostics.errors) == ([], [])
