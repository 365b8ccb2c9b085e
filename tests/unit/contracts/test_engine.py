"""The engine: validation with every fault, hashes, errors that deny, and facts under the schema."""

from importlib.metadata import version

import cedarpy
import msgspec
import pytest

from contracts.decision import Decision, Verdict, explain
from contracts.engine import (
    ENGINE_VERSION,
    Contracts,
    PolicyEngine,
    hash_policy_set,
    validate_policy_set,
)
from contracts.errors import InvalidPolicySet
from contracts.execute import BlockInput, execute
from contracts.facts import Act, build_context, entities_of, question
from contracts.lookup import find_dataset, find_member, find_officer
from contracts.shipped import load_shipped
from contracts.words import Language
from ledger.registry import Contract, PolicySet
from ledger.state import StateReader
from tests import builders
from tests.builders import ASKER, OWNER, TIME_MS, key_of
from tests.unit.contracts.samples import states


def made_of(text: str, contract: str = "draft") -> PolicySet:
    return msgspec.structs.replace(load_shipped(), contracts=(Contract(id=contract, text=text),))


def act(state: StateReader, **changed: object) -> Act:
    officer = find_officer(state, key_of(ASKER, "requester").public)
    member, provider = find_member(state, ASKER), find_member(state, OWNER)
    dataset = find_dataset(state, "registration")
    assert None not in (officer, member, provider, dataset)
    base: dict[str, object] = {
        "action": "request", "officer": officer, "member": member, "requester": member,
        "provider": provider, "dataset": dataset, "purpose": "assessment", "legal_basis": "all",
        "urgency": "normal", "fields": ("uscc",), "subjects": 1, "period_days": 30,
        "retention_days": 100, "same_officer": True, "grade": "A", "provider_grade": "A",
    }  # fmt: skip
    return Act(**{**base, **changed})


def decide(policy_set: PolicySet) -> Decision:
    state = states()
    return PolicyEngine(policy_set).decide_request(state, act(state), TIME_MS)


def test_engine_version_is_the_installed_one() -> None:
    assert f"cedarpy-{version('cedarpy')}" == ENGINE_VERSION


def test_hash_covers_engine_schema_and_texts() -> None:
    base = load_shipped()
    others = (
        msgspec.structs.replace(base, engine="cedarpy-0.0.0"),
        msgspec.structs.replace(base, schema=base.schema + "\n"),
        msgspec.structs.replace(base, contracts=base.contracts[1:]),
    )
    assert len({hash_policy_set(each) for each in (base, *others)}) == 4


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("permit (principal, action, resource", "unexpected end of input"),
        ('@id("other") permit (principal, action, resource);', '@id("draft")'),
        ("permit (principal, action, resource);", '@id("draft")'),
        ('@id("draft") @speed("9") permit (principal, action, resource);', "@speed"),
        ('@id("draft") @deadline_hours("-1") permit (principal, action, resource);', "-1"),
        ('@id("draft") permit (principal == ?principal, action, resource);', "templates"),
        (
            '@id("draft") permit (principal, action, resource) when { context.shoe == 1 };',
            "shoe",
        ),
        (
            2 * '@id("draft") permit (principal, action, resource);',
            "stands twice",
        ),
        ('@id("draft") forbid (principal, action, resource) when {' + "(" * 9_000, "brackets"),
        (
            '@id("draft") permit (principal, action, resource) when {' + "true && " * 4_000,
            "words",
        ),
        (
            '@id("draft") permit (principal, action, resource) when { "\\";" == ' + "(" * 65,
            "brackets",
        ),
        ('@id("draft") @redact("phone, name") permit (principal, action, resource);', "fields"),
        ('@id("draft") @redact("name") forbid (principal, action, resource);', "duties"),
        (f'@id("draft.{64 * "a"}") permit (principal, action, resource);', "64 characters"),
        (
            "".join(f'@id("draft.{n}") permit (principal, action, resource);' for n in range(65)),
            "65 policies",
        ),
    ],
)
def test_invalid_policies_are_refused_with_the_fault(text: str, fault: str) -> None:
    with pytest.raises(InvalidPolicySet) as caught:
        validate_policy_set(made_of(text))
    assert fault in " ".join(caught.value.faults)


def test_other_engine_and_bad_schema_are_refused() -> None:
    with pytest.raises(InvalidPolicySet, match="cedarpy-1"):
        validate_policy_set(msgspec.structs.replace(load_shipped(), engine="cedarpy-1"))
    deep = "type Deep = " + "{a: " * 9_000
    for schema in ("entity", deep):
        with pytest.raises(InvalidPolicySet, match="schema"):
            validate_policy_set(msgspec.structs.replace(load_shipped(), schema=schema))


def test_facts_that_the_schema_does_not_know_are_a_deny_not_a_crash() -> None:
    draft = made_of('@id("draft") permit (principal, action, resource);')
    assert draft.schema.count("grade: String,") == 1
    narrow = msgspec.structs.replace(draft, schema=draft.schema.replace("grade: String,", ""))
    decision = decide(narrow)
    assert (decision.verdict, decision.policies) == (Verdict.DENY, ())
    assert "entity" in decision.errors[0]


def test_any_engine_error_is_a_deny_even_beside_a_permit() -> None:
    overflow = "context.timeMs + 9223372036854775807 > 0"
    text = (
        '@id("draft.allow") permit (principal, action, resource);'
        f'@id("draft.guard") forbid (principal, action, resource) when {{ {overflow} }};'
    )
    decision = decide(made_of(text))
    assert decision.verdict is Verdict.DENY
    assert "overflow" in decision.errors[0]
    assert decision.policies == ()
    assert "overflow" in explain(decision, "en")


def test_engine_error_of_release_alone_is_a_deny_too() -> None:
    text = (
        '@id("draft.allow") permit (principal, action, resource);'
        '@id("draft.guard") forbid (principal, action == Action::"release", resource)'
        "when { context.timeMs + 9223372036854775807 > 0 };"
    )
    decision = decide(made_of(text))
    assert (decision.verdict, decision.policies) == (Verdict.DENY, ())
    assert decision.errors


@pytest.mark.parametrize(
    ("lie", "verdict"),
    [
        ({}, Verdict.PERMIT),
        ({"same_officer": True}, Verdict.DENY),
        ({"role": "provider"}, Verdict.DENY),
        ({"member": "cn-3205-tax"}, Verdict.DENY),
    ],
)
def test_four_eyes_is_a_contract_too(lie: dict[str, object], verdict: Verdict) -> None:
    state = states()
    name, role = str(lie.get("member", OWNER)), str(lie.get("role", "approver"))
    one = act(
        state,
        action="approve",
        officer=find_officer(state, key_of(name, role).public),
        member=find_member(state, name),
        same_officer=lie.get("same_officer", False),
    )
    decided = PolicyEngine(load_shipped()).decide_step(state, one, TIME_MS)
    assert decided.verdict is verdict


def test_nothing_is_allowed_by_default() -> None:
    text = '@id("draft") permit (principal, action == Action::"deliver", resource);'
    decision = decide(made_of(text))
    assert (decision.verdict, decision.policies, decision.errors) == (Verdict.DENY, (), ())
    assert explain(decision, "zh").startswith("拒绝\n没有合约准许")


def test_strictest_obligation_wins() -> None:
    text = (
        '@id("draft.a") @redact("uscc,name") @retention_days("90") @deadline_hours("10")'
        "permit (principal, action, resource);"
        '@id("draft.b") @retention_days("95") @deadline_hours("5")'
        '@title_en("Second") @basis("L 1")'
        "permit (principal, action, resource);"
    )
    decision = decide(made_of(text))
    assert decision.obligations is not None
    assert decision.obligations.redact == ("uscc",)  # `name` was not asked for
    assert decision.obligations.retention_days == 90
    assert decision.obligations.deadline_hours == 5
    words = explain(decision, "en")
    assert words.split("\n")[0] == "Permit"
    assert "Second [draft.b]" in words
    assert "Legal text: L 1" in words
    assert "within 5 hours" in words


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("en", ("Review", "[tax-request]", "An approver of the provider decides", "72 hours")),
        ("zh", ("复核", "税务机关之间可请求涉税信息", "审批人", "72")),
    ],
)
def test_review_says_why_who_is_next_and_by_when(
    language: Language, sentences: tuple[str, ...]
) -> None:
    state = states()
    held = act(state, dataset=find_dataset(state, "account"), fields=("account-number",),
               purpose="audit")  # fmt: skip
    decision = PolicyEngine(load_shipped()).decide_request(state, held, TIME_MS)
    assert decision.verdict is Verdict.REVIEW
    words = explain(decision, language)
    assert all(sentence in words for sentence in sentences), words


def test_decision_is_not_a_truth_value() -> None:
    with pytest.raises(TypeError):
        bool(decide(load_shipped()))


def test_facts_conform_to_the_schema() -> None:
    """The engine is not asked to check every question, so this test does it for the builder."""
    state = states()
    policy_set = load_shipped()
    schema = cedarpy.Schema.from_str(policy_set.schema)
    one = act(state)
    entities = cedarpy.Entities.from_json_str(entities_of(one), schema)
    context = msgspec.json.encode(build_context(state, one, TIME_MS)).decode()
    policies = "permit (principal, action, resource);"
    for action in ("request", "release", "approve", "deliver"):
        result = cedarpy.is_authorized(question(one, action, context), policies, entities, schema)
        assert (result.allowed, result.diagnostics.errors) == (True, [])
    short = context.replace('"frozen":false,', "")
    broken = cedarpy.is_authorized(question(one, "request", short), policies, entities, schema)
    assert not broken.allowed


def test_engines_follow_the_bytes_of_the_state() -> None:
    contracts = Contracts()
    shipped, draft = (
        states(),
        states(policy_set=made_of('@id("draft") permit (principal, action, resource);')),
    )
    first, second = contracts.at(shipped), contracts.at(draft)
    assert first.hash == hash_policy_set(load_shipped()) != second.hash
    assert contracts.at(states()) is first


def test_a_recorded_outcome_recalls_its_decision() -> None:
    world = builders.world()
    block = BlockInput(
        network=builders.NETWORK,
        height=builders.HEIGHT,
        time_ms=builders.TIME_MS,
        first_index=1,
        events=(builders.request(), builders.request(purpose="statistics", case="other")),
    )
    contracts = Contracts()
    engine = contracts.at(world.state)
    outcomes = execute(world.state, block, contracts).outcomes
    for outcome in outcomes:
        decision = engine.recall(outcome)
        assert decision is not None
        assert (decision.verdict.value, decision.policies) == (outcome.decision, outcome.policies)
        assert [reason.id for reason in decision.reasons] == list(outcome.policies)
    foreign = msgspec.structs.replace(outcomes[0], policy_set=bytes(32))
    assert engine.recall(foreign) is None
