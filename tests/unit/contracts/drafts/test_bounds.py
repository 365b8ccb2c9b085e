"""What the bounds let through can be asked with the largest facts; what could fail is named."""

import json

import cedarpy
import pytest

from contracts.drafts.bounds import find_excess
from contracts.drafts.check import find_policy_set_faults
from contracts.drafts.probe import probe_act, probe_questions
from contracts.engine import ACTIONS, PolicyEngine
from tests.unit.contracts.drafts.test_check import when


def excess(condition: str) -> list[str]:
    text = f"permit (principal, action, resource) when {{ {condition} }};"
    document = json.loads(cedarpy.policies_to_json_str(text))
    return [code for code, _ in find_excess(document["staticPolicies"]["policy0"])]


@pytest.mark.parametrize(
    ("condition", "codes"),
    [
        ("context.subjects + 1 > 2", []),
        ("context.balance * 8191 > 1", []),
        ("context.balance * 8192 > 1", ["policy-overflow"]),
        ("context.timeMs + 9223372036854775807 > 0", ["policy-overflow"]),
        ("-(context.timeMs) - context.balance < 5", []),
        ("(if context.frozen then context.balance else 3) * 8192 > 1", ["policy-overflow"]),
        ("[context.balance * 10000].contains(5)", ["policy-overflow"]),
        ("-9223372036854775808 < context.balance", ["policy-overflow"]),
        ('ip("10.0.0.1").isIpv4()', ["policy-operator"]),
        ("{a: 1}.a == 1", ["policy-operator", "policy-stranger"]),
        ('(if context.frozen then Member::"a" else principal.member).kind == "tax"',
         ["policy-stranger"]),
        ('principal.member == Member::"a" || principal in Role::"x"', []),
        ('principal is Officer in Role::"x" && context.purpose like "a*"', []),
        ("context.fields.containsAny([\"a\"]) && !context.fields.isEmpty()", []),
    ],
)  # fmt: skip
def test_what_could_fail_is_named(condition: str, codes: list[str]) -> None:
    assert sorted(frozenset(excess(condition))) == codes


@pytest.mark.parametrize("condition", ["context.balance * 8191 > 1", "-(context.timeMs) < 5"])
@pytest.mark.parametrize("action", ACTIONS)
def test_what_is_within_bounds_is_answered(condition: str, action: str) -> None:
    policy_set = when(condition)
    assert find_policy_set_faults(policy_set) == ()
    engine = PolicyEngine(policy_set)
    for act, facts in probe_questions(action):
        assert engine.ask(act, action, facts).errors == ()


def test_a_stranger_would_have_failed_every_question() -> None:
    """Seen to fail: an attribute of an entity that is named, but not part of the question."""
    engine = PolicyEngine(when('Member::"a".kind == "tax"'))
    _, facts = next(probe_questions("request"))
    assert "does not exist" in engine.ask(probe_act(), "request", facts).errors[0]
