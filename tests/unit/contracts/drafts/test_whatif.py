"""A draft asked about the past, against a naive twin that decides each request by itself."""

import msgspec
import pytest

from contracts.drafts import whatif
from contracts.drafts.history import History
from contracts.drafts.whatif import Change, Reconsideration
from contracts.engine import PolicyEngine
from contracts.execute import BlockInput, execute
from contracts.shipped import load_shipped
from ledger.blocks import RECORDS
from ledger.events import parse_event
from ledger.genesis import genesis_state
from ledger.registry import POLICY_SETS, PolicySet
from ledger.state import POLICY_SET_KEY, MapState
from tests.unit.contracts.drafts.pasts import CONTRACTS, changed_set, make_past
from tests.unit.contracts.drafts.test_history import blocks_of
from tests.unit.ledger.builders import ChainBuilder

DRAFTS = {
    "fewer subjects": changed_set("necessity", "context.subjects > 200", "context.subjects > 20"),
    "no routine": changed_set("routine-release", "context.subjects <= 50", "context.subjects < 0"),
    "shorter": changed_set("registration-release", '"24"', '"12"'),
    "by time": changed_set("freeze", "context.frozen", "context.timeMs > 1767225603000"),
    "by balance": changed_set("reciprocity", "context.balance >= 25", "context.balance >= 1"),
    "renamed": changed_set("statistics", '@id("statistics")', '@id("statistics.open")'),
}


@pytest.fixture(scope="module")
def chain() -> ChainBuilder:
    return make_past()


def ask(
    chain: ChainBuilder, draft: PolicySet, *, batch: int = 1
) -> tuple[list[Change], whatif.Tally]:
    engine = PolicyEngine(draft)
    asked, history = Reconsideration(engine), History(chain.genesis)
    changes, waiting = [], []
    for block in blocks_of(chain):
        prepared = asked.prepare(history.add(block))
        waiting.append((prepared, engine.ask_all(prepared.questions)))
        if len(waiting) == batch:
            for each in waiting:
                changes += asked.finish(*each)
            waiting = []
    for each in waiting:
        changes += asked.finish(*each)
    return changes, asked.tally


def naive(chain: ChainBuilder, draft: PolicySet) -> dict[str, tuple[str, str]]:
    """Each request executed alone under the draft, in the state that the log really had."""
    state, found = MapState(genesis_state(chain.genesis)), {}
    for block in blocks_of(chain):
        events = [parse_event(RECORDS.decode(data).event) for data in block.records]
        inputs = [
            BlockInput(
                network=chain.network, height=block.header.height, time_ms=block.header.time_ms,
                first_index=block.index + 1 + at, events=(event,),
            )
            for at, event in enumerate(events)
        ]  # fmt: skip
        for event, given, data in zip(events, inputs, block.records, strict=True):
            old = RECORDS.decode(data).outcome
            if event.kind == "share.requested" and old.policy_set:
                drafted = MapState({**state.pairs, POLICY_SET_KEY: POLICY_SETS.encode(draft)})
                new = execute(drafted, given, CONTRACTS).outcomes[0]
                if (new.decision, new.obligations) != (old.decision, old.obligations):
                    found[event.digest.hex()] = (old.decision, new.decision)
            state.pairs.update(execute(state, given, CONTRACTS).overlay.changes)
    return found


def test_the_set_in_force_changes_nothing(chain: ChainBuilder) -> None:
    changes, tally = ask(chain, load_shipped())
    assert changes == []
    assert (tally.changed, tally.reasons) == (0, 0)
    recorded = [RECORDS.decode(data) for block in chain.blocks for data in block.records]
    assert tally.requests == sum(bool(record.outcome.decision) for record in recorded) > 60


@pytest.mark.parametrize("name", sorted(DRAFTS))
@pytest.mark.parametrize("batch", [1, 3])
def test_a_draft_changes_what_the_naive_twin_changes(
    chain: ChainBuilder, name: str, batch: int
) -> None:
    changes, tally = ask(chain, DRAFTS[name], batch=batch)
    found = {change.exchange: (change.old, change.new) for change in changes}
    assert found == naive(chain, DRAFTS[name])
    assert (
        tally.changed == len(changes) == sum(tally.pairs.values()) == sum(tally.purposes.values())
    )
    if name == "renamed":
        assert (len(changes), tally.reasons > 0) == (0, True)
    else:
        assert 0 < len(changes) < tally.requests


def test_a_change_names_both_sides(chain: ChainBuilder) -> None:
    change = ask(chain, DRAFTS["fewer subjects"])[0][0]
    assert change.new == "deny"
    assert change.new_policies == ("necessity.subjects",)
    assert change.old_policies
    assert change.old in ("permit", "review")
    assert change.new_duties == "" != change.old_duties
    duties = ask(chain, DRAFTS["shorter"])[0][0]
    assert (duties.old, duties.new) == ("permit", "permit")
    assert duties.old_duties.startswith("24h")
    assert duties.new_duties.startswith("12h")


def test_a_draft_that_fails_on_a_question_denies_with_the_error(chain: ChainBuilder) -> None:
    narrow = msgspec.structs.replace(
        load_shipped(), schema=load_shipped().schema.replace("region: String,", "")
    )
    changes, tally = ask(chain, narrow)
    assert tally.changed == len(changes)
    assert {change.new for change in changes} == {"deny"}
    assert all(change.errors for change in changes)


def test_a_full_memo_is_given_up_between_batches(
    chain: ChainBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ask(chain, DRAFTS["by balance"])[0]
    monkeypatch.setattr(whatif, "MEMO_MAX", 3)
    assert ask(chain, DRAFTS["by balance"], batch=2)[0] == expected
