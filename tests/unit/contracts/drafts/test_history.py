"""The past is rebuilt from recorded outcomes exactly, and a record that lies ends the walk."""

import msgspec
import pytest

from contracts.drafts.history import Happened, History
from contracts.engine import PolicyEngine
from ledger.blocks import RECORDS
from ledger.errors import Divergence
from ledger.verify import BlockEntries
from tests.unit.contracts.drafts.pasts import make_past
from tests.unit.ledger.builders import ChainBuilder, read_records


def blocks_of(chain: ChainBuilder) -> list[BlockEntries]:
    found, index = [], 0
    for block in chain.blocks:
        found.append(
            BlockEntries(
                index=index,
                header_bytes=block.header_bytes,
                header=block.header,
                block_hash=block.block_hash,
                records=block.records,
                **read_records(block.records),
            )
        )
        index += 1 + len(block.records)
    return found


@pytest.fixture(scope="module")
def chain() -> ChainBuilder:
    return make_past()


def test_the_state_after_each_block_is_the_executed_one(chain: ChainBuilder) -> None:
    history = History(chain.genesis)
    for block in blocks_of(chain):
        history.add(block)
        history.verify_state(block)
    assert history.state.pairs == chain.state.pairs


def test_every_question_is_seen_with_its_facts(chain: ChainBuilder) -> None:
    history = History(chain.genesis)
    engine = PolicyEngine(history.policy_set)
    happened = [each for block in blocks_of(chain) for each in history.add(block)]
    kinds = set()
    for each in happened:
        assert (each.act is None) == (each.outcome.policy_set == b"")
        if each.act is None or each.facts is None:
            continue
        kinds.add((each.event.kind, each.outcome.decision, each.outcome.applied))
        judge = engine.judge_request if each.act.action == "request" else engine.judge_step
        decision = judge(each.act, each.facts)
        assert decision.policies == each.outcome.policies
        if each.outcome.decision:
            assert decision.verdict.value == each.outcome.decision
            assert decision.obligations == each.outcome.obligations
    assert kinds >= {
        ("share.requested", "permit", True),
        ("share.requested", "review", True),
        ("share.requested", "deny", True),
        ("share.approved", "", True),
        ("share.delivered", "", True),
    }
    assert any(not each.outcome.applied for each in happened)
    balances = [each.facts["balance"] for each in happened if each.facts]
    assert max(balances) > 0 > min(balances)


def lying(block: BlockEntries, at: int, **lies: object) -> BlockEntries:
    records = list(block.records)
    record = RECORDS.decode(records[at])
    outcome = msgspec.structs.replace(record.outcome, **lies)
    records[at] = RECORDS.encode(msgspec.structs.replace(record, outcome=outcome))
    return BlockEntries(
        index=block.index,
        header_bytes=block.header_bytes,
        header=block.header,
        block_hash=block.block_hash,
        records=tuple(records),
        **read_records(tuple(records)),
    )


def test_a_record_that_does_not_follow_ends_the_walk(chain: ChainBuilder) -> None:
    first = blocks_of(chain)[0]
    refused = next(
        at for at, data in enumerate(first.records) if not RECORDS.decode(data).outcome.applied
    )
    with pytest.raises(Divergence) as caught:
        History(chain.genesis).add(lying(first, refused, code="made-up"))
    assert (caught.value.step_name, caught.value.index) == ("outcomes", first.index + 1 + refused)
    asked = next(at for at, d in enumerate(first.records) if RECORDS.decode(d).outcome.policy_set)
    with pytest.raises(Divergence) as caught:
        History(chain.genesis).add(lying(first, asked, policy_set=b""))
    assert caught.value.step_name == "outcomes"


def test_another_decision_gives_another_state(chain: ChainBuilder) -> None:
    first = blocks_of(chain)[0]
    asked = next(
        at for at, d in enumerate(first.records) if RECORDS.decode(d).outcome.decision == "permit"
    )
    history = History(chain.genesis)
    lie = lying(first, asked, decision="deny", obligations=None, code="contract-denied")
    history.add(lie)
    with pytest.raises(Divergence) as caught:
        history.verify_state(lie)
    assert caught.value.step_name == "state"


def test_what_the_contracts_were_not_asked_has_no_facts(chain: ChainBuilder) -> None:
    history = History(chain.genesis)
    happened: list[Happened] = [each for block in blocks_of(chain) for each in history.add(block)]
    unknown = [each for each in happened if each.outcome.code == "dataset-unknown"]
    assert unknown
    assert all((each.act, each.facts, each.basis) == (None, None, None) for each in unknown)
