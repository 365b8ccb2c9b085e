"""An engine that remembers decides as one that was never asked before, in whatever order."""

from functools import cache, partial
from itertools import product

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.decision import Decision
from contracts.engine import PolicyEngine
from contracts.facts import Act, FactReader, block_date, build_context
from contracts.lookup import find_dataset
from contracts.shipped import load_shipped
from contracts.slices import stand_in_for
from ledger.exchange.incidents import OPEN_INCIDENTS, OpenIncidents
from ledger.exchange.receipts import RECEIPTS, Receipts
from ledger.exchange.risk import Risk, RiskReason
from ledger.registry import (
    EMPTY_COUNTERS,
    FREEZES,
    PAIR_COUNTERS,
    Contract,
    Dataset,
    Freeze,
)
from ledger.state import (
    FREEZES_KEY,
    MapState,
    counters_key,
    open_incidents_key,
    receipts_key,
)
from tests.builders import ASKER, OWNER, TIME_MS
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


def marked(level: str) -> Dataset:
    """The dataset of the sample with all fields of one sensitivity."""
    dataset = act(STATE).dataset
    fields = tuple(msgspec.structs.replace(each, sensitivity=level) for each in dataset.fields)
    return msgspec.structs.replace(dataset, fields=fields)


# One value of each fact, and what an act or the state must be for another one.
ACTS: dict[str, tuple[dict[str, object], ...]] = {
    "purpose": ({"purpose": "audit"},),
    "urgency": ({"urgency": "urgent"},),
    "legal_basis": ({"legal_basis": "none"},),
    "fields": ({"fields": ("name",)}, {"fields": ("uscc", "name")}),
    "subjects": ({"subjects": 60},),
    "period_days": ({"period_days": 31},),
    "retention_days": ({"retention_days": 101},),
    "same_officer": ({"same_officer": False},),
    "risk": (
        {"risk": Risk(score=60, reasons=(RiskReason("volume", 60),), rules_version=0)},
        {"risk": Risk(score=60, reasons=(RiskReason("off-hours", 60),), rules_version=0)},
    ),
    "dataset": (
        {"dataset": find_dataset(STATE, "invoice")},
        {"dataset": marked("personal")},
        {"dataset": marked("secret")},
    ),
}


def states_apart() -> list[MapState]:
    """States in which the facts that are looked up differ."""
    pairs = STATE.pairs
    freeze = Freeze(requester="", provider="", dataset="", reason="")
    counters = msgspec.structs.replace(EMPTY_COUNTERS, delivered=30)
    received = Receipts(exchanges=1, records=9)
    year = block_date(TIME_MS).year
    changes: tuple[dict[bytes, bytes], ...] = (
        {FREEZES_KEY: FREEZES.encode((freeze,))},
        {counters_key(ASKER, OWNER, "assessment", year): PAIR_COUNTERS.encode(counters)},
        {counters_key(OWNER, ASKER, "assessment", year): PAIR_COUNTERS.encode(counters)},
        {
            receipts_key(ASKER, year): RECEIPTS.encode(received),
            receipts_key(ASKER, year, OWNER): RECEIPTS.encode(received),
        },
        {open_incidents_key(OWNER): OPEN_INCIDENTS.encode(OpenIncidents(reported=1, touching=0))},
        {open_incidents_key(ASKER): OPEN_INCIDENTS.encode(OpenIncidents(reported=0, touching=4))},
    )
    return [STATE, *(MapState(pairs | change) for change in changes)]


def test_a_reader_tells_apart_all_that_the_context_does() -> None:
    """Acts whose facts are read as equal have the same context, whichever facts are wanted."""
    acts = [act(STATE), *(act(STATE, **each) for several in ACTS.values() for each in several)]
    far_ms = TIME_MS + 400 * 86_400_000 * 30
    scenes = [
        (state, each, time_ms)
        for state in states_apart()
        for each in acts
        for time_ms in (TIME_MS, TIME_MS + 1, far_ms)
    ]
    contexts = [build_context(*scene) for scene in scenes]
    differs = {name for name in contexts[0] if any(c[name] != contexts[0][name] for c in contexts)}
    assert differs == set(contexts[0]), "every fact has another value in some scene"
    for wanted in (None, *([name] for name in contexts[0])):
        reader = FactReader(wanted, {})
        names = contexts[0] if wanted is None else wanted
        seen: dict[object, dict[str, object]] = {}
        for scene, context in zip(scenes, contexts, strict=True):
            picked = {name: context[name] for name in names}
            assert seen.setdefault(reader.read(*scene), picked) == picked


def test_a_reader_reads_no_more_than_is_wanted() -> None:
    reader = FactReader(["frozen"], {})
    assert reader.read(STATE, act(STATE), TIME_MS) == reader.read(
        STATE, act(STATE, subjects=60, purpose="audit"), TIME_MS + 1
    )


def test_values_that_no_policy_tells_apart_are_read_as_one() -> None:
    reader = FactReader(["subjects"], {"subjects": partial(stand_in_for, (50,))})
    read = [reader.read(STATE, act(STATE, subjects=each), TIME_MS) for each in (1, 49, 50, 51, 99)]
    assert read[0] == read[1] != read[2] != read[3] == read[4]
