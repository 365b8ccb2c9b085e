"""Policy texts with words and characters changed: the check never raises, never lies."""

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.drafts.check import find_policy_set_faults
from contracts.drafts.places import words_of
from contracts.drafts.probe import probe_questions
from contracts.engine import ACTIONS, PolicyEngine, validate_policy_set
from contracts.shipped import load_shipped
from ledger.registry import Contract, PolicySet

SHIPPED = load_shipped()
VOCABULARY = sorted(
    {word.text for contract in SHIPPED.contracts for word in words_of(contract.text)}
    | {'"', "//", "\\", "\n", "?principal", "-", "9223372036854775807", "enum", "\x00", "汉", "+"}
)


@st.composite
def mutated(draw: st.DrawFn, text: str) -> str:
    """The text with some of its words removed, doubled, or replaced by others."""
    pieces = [(word.start, word.end) for word in words_of(text)]
    for _ in range(draw(st.integers(1, 4))):
        start, end = draw(st.sampled_from(pieces))
        new = draw(st.one_of(st.sampled_from(VOCABULARY), st.just(""), st.text(max_size=3)))
        text = text[:start] + new + text[end:]
    return text


@st.composite
def policy_sets(draw: st.DrawFn) -> PolicySet:
    contract = draw(st.sampled_from(SHIPPED.contracts))
    text = draw(mutated(contract.text))
    contracts = tuple(
        Contract(id=each.id, text=text if each is contract else each.text)
        for each in SHIPPED.contracts
    )
    schema = draw(mutated(SHIPPED.schema)) if draw(st.integers(0, 4)) == 0 else SHIPPED.schema
    return msgspec.structs.replace(SHIPPED, contracts=contracts, schema=schema)


def alone(text: str) -> PolicySet:
    contracts = (Contract(id="a", text='@id("a")' + text),)
    return msgspec.structs.replace(SHIPPED, contracts=contracts)


@settings(max_examples=150, deadline=None)
@given(policy_sets())
@example(
    alone("permit (principal, action, resource) when {" + "context.frozen && " * 60 + "true};")
)
@example(alone("permit (principal, action, resource) when {" + "-(" * 63 + "1"))
@example(
    alone("permit (principal, action, resource) when { principal.member.id == " + '"\\u{0}"};')
)
def test_a_set_without_faults_answers_every_question(policy_set: PolicySet) -> None:
    faults = find_policy_set_faults(policy_set)
    assert faults == find_policy_set_faults(policy_set)
    if faults:
        assert all(fault.code for fault in faults)
        return
    validate_policy_set(policy_set)
    engine = PolicyEngine(policy_set)
    for action in ACTIONS:
        for act, facts in probe_questions(action):
            assert engine.ask(act, action, facts).errors == ()


EXPRESSIONS = st.recursive(
    st.sampled_from(
        ["context.balance", "context.subjects", "7", "9007199254740991", "-3", "context.timeMs"]
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda each: f"-({each})"),
        st.tuples(inner, inner).map(lambda t: f"(if context.frozen then {t[0]} else {t[1]})"),
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(EXPRESSIONS, EXPRESSIONS)
def test_arithmetic_that_is_let_through_never_overflows(left: str, right: str) -> None:
    policy_set = alone(f"permit (principal, action, resource) when {{ {left} > {right} }};")
    faults = find_policy_set_faults(policy_set)
    assert {fault.code for fault in faults} <= {"policy-overflow"}
    if not faults:
        engine = PolicyEngine(policy_set)
        for act, facts in probe_questions("request"):
            assert engine.ask(act, "request", facts).errors == ()


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=8), st.integers(-1, 3))
def test_no_text_makes_it_raise(text: str, schema: str, name: str, version: int) -> None:
    contracts = (Contract(id=name, text=text),)
    assert find_policy_set_faults(
        PolicySet(version=version, engine=SHIPPED.engine, schema=schema, contracts=contracts)
    )
    assert find_policy_set_faults(msgspec.structs.replace(SHIPPED, contracts=contracts))
