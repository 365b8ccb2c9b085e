"""An engine that remembers decides as one that was never asked before, in whatever order."""

from functools import cache
from itertools import product

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.decision import Decision
from contracts.engine import PolicyEngine
from contracts.facts import Act
from contracts.shipped import load_shipped
from ledger.registry import Contract
from tests.builders import TIME_MS
from tests.unit.contracts.samples import states
from tests.unit.contracts.test_engine import act

STATE = states()
# Two actions with the same facts, entities that matter, fields to leave out, days to cut short.
SET = msgspec.structs.replace(
    load_shipped(),
    contracts=(
        Contract(
            id="a",
            text=(
                '@id("a") @redact("name") @retention_days("50")\n'
                'permit (principal, action in [Action::"request", Action::"deliver"], resource)\n'
                'when { principal.member.grade == "A" && context.subjects < 5 };'
                '@id("a.release") permit (principal, action == Action::"release", resource)\n'
                'when { resource.owner.grade == "A" };'
            ),
        ),
    ),
)
CHOICES = {
    "action": ("request", "deliver", "use"),
    "fields": (("uscc",), ("uscc", "name")),
    "retention_days": (20, 90),
    "subjects": (4, 5, 6),
    "grade": ("A", "B"),
    "provider_grade": ("A", "B"),
    "hours": (10, 20),
}


def make_act(values: tuple[object, ...]) -> Act:
    changed = dict(zip(CHOICES, values, strict=True))
    dataset = msgspec.structs.replace(act(STATE).dataset, deadline_hours=changed.pop("hours"))
    return act(STATE, dataset=dataset, **changed)


def decide(engine: PolicyEngine, asked: Act) -> Decision:
    judge = engine.decide_request if asked.action == "request" else engine.decide_step
    return judge(STATE, asked, TIME_MS)


@cache
def decided_afresh(values: tuple[object, ...]) -> Decision:
    return decide(PolicyEngine(SET), make_act(values))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(list(product(*CHOICES.values()))), min_size=2, max_size=25))
def test_memory_changes_no_decision(sequence: list[tuple[object, ...]]) -> None:
    engine = PolicyEngine(SET)
    for values in sequence:
        assert decide(engine, make_act(values)) == decided_afresh(values)


def test_every_choice_of_the_sample_matters() -> None:
    plain = tuple(values[0] for values in CHOICES.values())
    for place, (name, values) in enumerate(CHOICES.items()):
        others = [(*plain[:place], other, *plain[place + 1 :]) for other in values[1:]]
        decisions = [decided_afresh(each) for each in others]
        assert any(each != decided_afresh(plain) for each in decisions), name


def test_all_that_differs_in_one_place_is_told_apart() -> None:
    engine = PolicyEngine(SET)
    plain = tuple(values[0] for values in CHOICES.values())
    decide(engine, make_act(plain))
    for place, values in enumerate(CHOICES.values()):
        for other in values:
            changed = (*plain[:place], other, *plain[place + 1 :])
            assert decide(engine, make_act(changed)) == decided_afresh(changed)
