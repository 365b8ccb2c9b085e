"""Replay finds what only re-execution can find: outcomes and states that are not those executed."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from contracts.engine import ENGINE_VERSION, Contracts
from contracts.execute import BlockInput, execute
from contracts.facts import block_date
from contracts.replay import replay
from contracts.shipped import load_shipped
from ledger.blocks import RECORDS
from ledger.errors import Divergence
from ledger.events import Event, ShareApproved
from ledger.genesis import Genesis
from ledger.governance.actions import SetSunset
from ledger.governance.proposals import GovernanceBalloted, GovernanceProposed
from ledger.lthash.digest import apply_changes
from ledger.verify import Progress
from tests.unit.ledger.builders import (
    MEMBERS,
    ChainBuilder,
    make_copy,
    make_event,
    make_genesis,
    make_request,
    officer_secret,
)

DAY_MS = 86_400_000


def make_cedar_genesis(**lies: Any) -> Genesis:
    return make_genesis(**({"policy_set": load_shipped()} | lies))


def add_executed(chain: ChainBuilder, events: Sequence[Event], **lies: Any) -> tuple[bytes, ...]:
    """A block with the true outcomes of its events; `records` and header fields may lie."""
    time_ms = lies.get("time_ms", chain.time_ms + 1)
    given = BlockInput(
        network=chain.network,
        height=len(chain.blocks) + 1,
        time_ms=time_ms,
        first_index=chain.range.size + 1,
        events=tuple(events),
    )
    execution = execute(chain.state, given, Contracts())
    digest = apply_changes(chain.accumulator, execution.overlay)
    fields = {
        "records": execution.records,
        "time_ms": time_ms,
        "engine": ENGINE_VERSION,
        "state_digest": digest.digest(),
    }
    chain.add(**(fields | lies))
    chain.accumulator = digest.encode()
    chain.state.pairs.update(execution.overlay.changes)
    return execution.records


@pytest.fixture
def chain() -> ChainBuilder:
    """Two requests that are executed, an approval that is refused, an empty block."""
    chain = ChainBuilder(make_cedar_genesis())
    first = make_event(1, network=chain.network)
    second = make_event(2, network=chain.network, body=make_request(provider="unknown"))
    add_executed(chain, (first, second))
    approval = ShareApproved(exchange=b"\x09" * 32, comment="")
    add_executed(chain, (make_event(3, network=chain.network, body=approval),))
    add_executed(chain, ())
    return chain


def replay_chain(chain: ChainBuilder, **options: Any) -> Any:
    return replay(make_copy(chain.entries, chain.genesis).get, **options)


def refused_at(chain: ChainBuilder) -> tuple[int, str, int]:
    with pytest.raises(Divergence) as caught:
        replay_chain(chain)
    return caught.value.step, caught.value.step_name, caught.value.index


def test_true_log_is_valid(chain: ChainBuilder) -> None:
    seen: list[Progress] = []
    report = replay_chain(chain, on_progress=seen.append)
    assert (report.entries, report.blocks, report.events) == (6, 3, 3)
    assert sum(report.decisions.values()) == 1
    assert report.refused >= 2
    assert report.state_digest == chain.blocks[-1].header.state_digest
    assert seen[-1] == Progress(done=6, total=6)


def test_forged_outcome_is_named(chain: ChainBuilder) -> None:
    """Every signature, hash and cosignature is right: a whole quorum lied about one outcome."""
    event = make_event(7, network=chain.network)
    true = execute(
        chain.state,
        BlockInput(
            network=chain.network, height=4, time_ms=chain.time_ms + 1, first_index=7,
            events=(event,),
        ),
        Contracts(),
    ).records[0]  # fmt: skip
    record = RECORDS.decode(true)
    lie = "deny" if record.outcome.decision != "deny" else "permit"
    outcome = msgspec.structs.replace(record.outcome, decision=lie)
    forged = RECORDS.encode(msgspec.structs.replace(record, outcome=outcome))
    add_executed(chain, (event,), records=(forged,))
    with pytest.raises(Divergence) as caught:
        replay_chain(chain)
    assert (caught.value.step_name, caught.value.index) == ("outcomes", 7)
    assert lie in caught.value.found
    assert lie not in caught.value.expected


def test_forged_state_digest_is_named(chain: ChainBuilder) -> None:
    add_executed(chain, (), state_digest=bytes(32))
    assert refused_at(chain) == (10, "state", 6)


def test_other_engine_is_named(chain: ChainBuilder) -> None:
    add_executed(chain, (), engine="cedarpy-0")
    assert refused_at(chain) == (9, "outcomes", 6)


def test_event_that_no_block_may_include(chain: ChainBuilder) -> None:
    """The first event of the log once more: its nonce is used."""
    add_executed(chain, (), records=(chain.entries[1],))
    assert refused_at(chain) == (9, "outcomes", 7)


def test_limits_of_the_parameters_hold() -> None:
    parameters = msgspec.structs.replace(make_genesis().parameters, block_events_max=1)
    chain = ChainBuilder(make_cedar_genesis(parameters=parameters))
    add_executed(chain, [make_event(at, network=chain.network) for at in range(2)])
    assert refused_at(chain) == (9, "outcomes", 0)


def test_earlier_steps_run_too(chain: ChainBuilder) -> None:
    files = make_copy(chain.entries, chain.genesis, cosigners=("north", "south"))
    with pytest.raises(Divergence, match="step 3 checkpoint"):
        replay(files.get)


def test_policy_set_that_does_not_load() -> None:
    chain = ChainBuilder()
    chain.add(engine=ENGINE_VERSION)
    assert refused_at(chain) == (9, "outcomes", 0)


def make_ending_chain() -> tuple[ChainBuilder, int, bytes]:
    """Members have voted that a contract ends at a midnight; a request comes just before it.

    Returns the chain, the midnight, and the record of the request.
    """
    genesis = make_cedar_genesis()
    officers = [msgspec.structs.replace(each, roles=("admin", "requester"))
                for each in genesis.officers]  # fmt: skip
    chain = ChainBuilder(msgspec.structs.replace(genesis, officers=tuple(officers)))
    midnight_ms = (chain.time_ms // DAY_MS + 1) * DAY_MS
    ending = SetSunset(target="contract/legality", date=block_date(midnight_ms).isoformat())
    proposed = make_event(
        1,
        network=chain.network,
        body=GovernanceProposed(
            actions=(ending,), text="", activate_height=0, ballots_until_height=9
        ),
    )
    aye = GovernanceBalloted(proposal=proposed.digest, approve=True, text="")
    ballots = [
        make_event(1, network=chain.network, member=member, secret=officer_secret(member), body=aye)
        for member in MEMBERS[2:]
    ]
    add_executed(chain, (proposed, *ballots))
    asked = make_event(2, network=chain.network)
    (record,) = add_executed(chain, (asked,), time_ms=midnight_ms - 1)
    return chain, midnight_ms, record


def test_what_ends_on_a_day_ends_for_the_auditor_too() -> None:
    chain, midnight_ms, before = make_ending_chain()
    asked = make_event(3, network=chain.network)
    (after,) = add_executed(chain, (asked,), time_ms=midnight_ms)
    sets = [RECORDS.decode(each).outcome.policy_set for each in (before, after)]
    assert sets[0] != sets[1]
    assert replay_chain(chain).refused == 0


def test_a_decision_by_a_contract_that_has_ended_is_named() -> None:
    chain, midnight_ms, _ = make_ending_chain()
    given = BlockInput(
        network=chain.network,
        height=3,
        time_ms=midnight_ms - 1,
        first_index=chain.range.size + 1,
        events=(make_event(3, network=chain.network),),
    )
    late = execute(chain.state, given, Contracts())
    add_executed(chain, given.events, time_ms=midnight_ms, records=late.records)
    with pytest.raises(Divergence, match="policy set"):
        replay_chain(chain)
