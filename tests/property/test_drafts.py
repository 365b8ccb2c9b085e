"""Policy texts with words and characters changed: the check never raises, never lies."""

import cedarpy
import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.drafts.check import find_policy_set_faults
from contracts.drafts.places import words_of
from contracts.drafts.probe import probe_questions
from contracts.engine import ACTIONS, PolicyEngine, validate_policy_set
from contracts.facts import entities_of, question
from contracts.shipped import load_shipped
from ledger.registry import Contract, PolicySet
from tests.builders import hash32
from tests.unit.contracts.drafts.pasts import (
    add_executed,
    answers,
    make_past_genesis,
    replaced,
    signed,
)
from tests.unit.contracts.drafts.test_whatif import ask, naive
from tests.unit.ledger.builders import ChainBuilder, make_request

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


ATOMS = st.one_of(
    st.tuples(
        st.sampled_from(("subjects", "balance", "periodDays")),
        st.sampled_from(("<", "<=", ">", ">=", "==", "!=")),
        st.integers(-3, 3),
        st.booleans(),
    ).map(lambda t: f"{t[2]} {t[1]} context.{t[0]}" if t[3] else f"context.{t[0]} {t[1]} {t[2]}"),
    st.sampled_from(
        ("context has balance", "context.frozen", "context.balance < context.subjects")
    ),
)
CONDITIONS = st.lists(
    st.tuples(st.sampled_from(("permit", "forbid")), ATOMS, st.sampled_from(("&&", "||")), ATOMS),
    min_size=1,
    max_size=4,
)


@settings(max_examples=100, deadline=None)
@given(CONDITIONS, st.data())
def test_facts_told_apart_by_nothing_are_one_question(
    rules: list[tuple[str, str, str, str]], data: st.DataObject
) -> None:
    """Every answer is that of the whole set about the very facts, error and reasons included."""
    text = "".join(
        f'@id("a.{at}") {effect} (principal, action, resource) when {{ {one} {joint} {other} }};'
        for at, (effect, one, joint, other) in enumerate(rules)
    )
    contracts = (Contract(id="a", text=text),)
    engine = PolicyEngine(msgspec.structs.replace(SHIPPED, contracts=contracts))
    policies = cedarpy.PolicySet.from_str(text)
    act, facts = next(iter(probe_questions("request")))
    for _ in range(12):
        names = ("subjects", "balance", "periodDays")
        changed = {name: data.draw(st.integers(-5, 5)) for name in names}
        context = {**facts, **changed, "frozen": data.draw(st.booleans())}
        encoded = msgspec.json.encode(context).decode()
        whole = cedarpy.is_authorized(question(act, "request", encoded), policies, entities_of(act))
        found = engine.ask(act, "request", context)
        reasons = whole.diagnostics.id_annotations_by_reason
        assert sorted(found.policies) == sorted(reasons.values())
        assert found.is_allowed == whole.allowed
        assert (found.errors, whole.diagnostics.errors) == ((), [])


@st.composite
def pasts(draw: st.DrawFn) -> ChainBuilder:
    """A log of two blocks with requests that were executed, the second with answers too."""
    chain, before = ChainBuilder(make_past_genesis()), []
    for block in range(2):
        requests = []
        for at in range(draw(st.integers(1, 6))):
            body = make_request(
                provider=draw(st.sampled_from(("east", "north"))),
                dataset=draw(st.sampled_from(("registration", "filing", "unknown"))),
                fields=("uscc",),
                purpose=draw(st.sampled_from(("assessment", "criminal", "statistics"))),
                urgency=draw(st.sampled_from(("normal", "critical"))),
                subjects=tuple(hash32(f"{n}") for n in range(draw(st.integers(1, 5)))),
                retention_days=draw(st.sampled_from((1, 1_829, 1_830, 1_831, 36_500))),
            )
            member = draw(st.sampled_from(("south", "west")))
            requests.append(signed(chain, member, body, 10 * block + at))
        outcomes = add_executed(chain, [*answers(chain, before), *requests])[-len(requests) :]
        rows = zip(requests, outcomes, strict=True)
        before = [event for event, outcome in rows if outcome.decision in ("permit", "review")]
    return chain


@settings(max_examples=60, deadline=None)
@given(pasts(), st.integers(0, 5), st.integers(0, 1_832), st.sampled_from(("1", "24")))
def test_a_draft_about_any_past_says_what_execution_says(
    chain: ChainBuilder, subjects: int, days: int, hours: str
) -> None:
    draft = SHIPPED
    for name, old, new in (
        ("necessity", "context.subjects > 200", f"context.subjects > {subjects}"),
        ("necessity", "context.retentionDays > 1830", f"context.retentionDays > {days}"),
        ("registration-release", '"24"', f'"{hours}"'),
    ):
        draft = replaced(draft, name, old, new)
    changes, _ = ask(chain, draft, batch=2)
    assert {each.exchange: (each.old, each.new) for each in changes} == naive(chain, draft)
