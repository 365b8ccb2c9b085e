"""What a whole quorum could forge, and what re-signing by a minority could: each is found.

Every hash, header and cosignature of these logs fits. What a change of bytes alone does, whatever
the file, is in `tests/unit/ledger/test_verify.py`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from contracts.replay import replay
from ledger.access.anchors import NO_ANCHOR, AccessLogged
from ledger.blocks import RECORDS, hash_header
from ledger.errors import Divergence
from ledger.events import Event
from ledger.governance.actions import SetRoles
from ledger.quorum.governance import EvidenceEquivocation
from ledger.quorum.votes import encode_vote
from ledger.tlog.merkle import CompactRange, hash_leaves, root_of
from tests import builders
from tests.unit.contracts.test_replay import add_executed
from tests.unit.contracts.test_replay_epochs import Governed
from tests.unit.ledger.builders import consensus_secret, make_request, officer_secret

ASKER = "north"


def make_log() -> Governed:
    """Two requests (entries 1 and 2), and in entry 4 an anchor of an access log."""
    log = Governed()
    add_executed(log.chain, [log.sign(ASKER, make_request()) for _ in range(2)])
    add_executed(log.chain, [anchored(log, NO_ANCHOR)])
    return log


def anchored(log: Governed, previous: bytes, digest: bytes = b"\x05" * 32) -> Event:
    start_ms = log.chain.time_ms
    body = AccessLogged(
        period_from_ms=start_ms, period_to_ms=start_ms + 1, entries=2, digest=digest,
        previous=previous,
    )  # fmt: skip
    return log.sign("east", body, consensus_secret("east"))


def forged(record: bytes, **lies: Any) -> bytes:
    found = RECORDS.decode(record)
    outcome = msgspec.structs.replace(found.outcome, **lies)
    return RECORDS.encode(msgspec.structs.replace(found, outcome=outcome))


def made_up(event: Event, like: bytes, **lies: Any) -> bytes:
    """A record that says of `event` what stands in another record."""
    found = msgspec.structs.replace(RECORDS.decode(like), event=event.data)
    return forged(RECORDS.encode(found), **lies)


def outcomes_of(log: Governed, events: Sequence[Event]) -> tuple[bytes, ...]:
    """The true records of a block that is not added."""
    twin = Governed()
    twin.chain = rebuilt(log)
    return add_executed(twin.chain, events)


def rebuilt(log: Governed) -> Any:
    """A chain like that of the log, to which blocks can be added without touching it."""
    twin = Governed().chain
    twin.state.pairs.update(log.chain.state.pairs)
    twin.accumulator, twin.range = log.chain.accumulator, log.chain.range
    twin.blocks, twin.entries = list(log.chain.blocks), list(log.chain.entries)
    twin.parent_hash, twin.view = log.chain.parent_hash, log.chain.view
    twin.time_ms = log.chain.time_ms
    return twin


def forge_decision(log: Governed) -> int:
    events = [log.sign(ASKER, make_request())]
    (true,) = outcomes_of(log, events)
    assert RECORDS.decode(true).outcome.decision == "review"
    add_executed(log.chain, events, records=(forged(true, decision="permit"),))
    return log.chain.range.size - 1


def forge_contract_version(log: Governed) -> int:
    events = [log.sign(ASKER, make_request())]
    (true,) = outcomes_of(log, events)
    add_executed(log.chain, events, records=(forged(true, policy_set=b"\x01" * 32),))
    return log.chain.range.size - 1


def forge_deciding_policies(log: Governed) -> int:
    events = [log.sign(ASKER, make_request())]
    (true,) = outcomes_of(log, events)
    add_executed(log.chain, events, records=(forged(true, policies=("legality",)),))
    return log.chain.range.size - 1


def hide_refusal_for_role(log: Governed) -> int:
    """The officer lost the role one block earlier; the quorum lets it ask all the same."""
    key = officer_secret(ASKER).public
    add_executed(log.chain, log.change(SetRoles(key=key, roles=("admin",))))
    events = [log.sign(ASKER, make_request())]
    (true,) = outcomes_of(log, events)
    assert RECORDS.decode(true).outcome.code == "role-missing"
    lie = made_up(events[0], log.chain.entries[1])
    add_executed(log.chain, events, records=(lie,))
    return log.chain.range.size - 1


def refuse_for_a_role_too_early(log: Governed) -> int:
    """The same refusal, but in the block in which the officer still had the role."""
    events = [log.sign(ASKER, make_request())]
    (true,) = outcomes_of(log, events)
    lie = forged(
        true, applied=False, code="role-missing", decision="", policies=(), policy_set=b"",
        obligations=None,
    )  # fmt: skip
    add_executed(log.chain, events, records=(lie,))
    return log.chain.range.size - 1


def rewrite_access_log(log: Governed) -> int:
    """An anchor that passes over the one before it, as if its lines had never been."""
    event = anchored(log, NO_ANCHOR, b"\x06" * 32)
    log.chain.add(records=[made_up(event, log.chain.entries[4])], engine=engine(log))
    return log.chain.range.size - 1


def rewrite_access_log_from_the_start(log: Governed) -> int:
    """The first anchor has another digest; the signature is that of the true one."""
    chain = log.chain
    true = RECORDS.decode(chain.entries[4])
    assert true.event.count(b"\x05" * 32) == 1
    event = true.event.replace(b"\x05" * 32, b"\x06" * 32)
    replace_block(log, 2, [RECORDS.encode(msgspec.structs.replace(true, event=event))])
    return 4


def forge_evidence(log: Governed) -> int:
    """Two votes that do not contradict each other."""
    vote = builders.vote(builders.VALIDATORS[0])
    body = EvidenceEquivocation(first=encode_vote(vote), second=encode_vote(vote))
    event = log.sign("east", body, consensus_secret("east"))
    log.chain.add(records=[made_up(event, log.chain.entries[4])], engine=engine(log))
    return log.chain.range.size - 1


def forge_vote_count(log: Governed) -> int:
    """A ballot that carried a proposal is recorded as refused."""
    events = log.change(SetRoles(key=officer_secret(ASKER).public, roles=("admin",)))
    true = outcomes_of(log, events)
    lie = forged(true[2], applied=False, code="ballot-repeated")
    add_executed(log.chain, events, records=(*true[:2], lie))
    return log.chain.range.size - 1


def swap_records(log: Governed) -> int:
    """Two requests change places in their block: what they left in the state is not the same."""
    chain = log.chain
    replace_block(log, 1, [chain.entries[2], chain.entries[1]])
    return 0


def swap_blocks(log: Governed) -> int:
    """Two blocks change places; the tree is built anew."""
    chain = log.chain
    first, second = chain.entries[:3], chain.entries[3:5]
    chain.entries[:] = [*second, *first]
    chain.range = CompactRange().extend(hash_leaves(chain.entries))
    return 0


def drop_record(log: Governed) -> int:
    """A record is taken out; the header still counts it."""
    del log.chain.entries[2]
    log.chain.range = CompactRange().extend(hash_leaves(log.chain.entries))
    return 2


def drop_record_and_relink(log: Governed) -> int:
    """A record is taken out and every header made to fit: its effect is missing in the state."""
    replace_block(log, 1, [log.chain.entries[1]])
    return 0


def forge_state(log: Governed) -> int:
    """What was late, or any other part of the state, is not what executing gives."""
    add_executed(log.chain, [], state_digest=bytes(32))
    return log.chain.range.size - 1


def forge_engine(log: Governed) -> int:
    add_executed(log.chain, [], engine="cedarpy-4.0.0")
    return log.chain.range.size - 1


TAMPERED: dict[str, tuple[Callable[[Governed], int], str]] = {
    forge_decision.__name__: (forge_decision, "outcomes"),
    forge_contract_version.__name__: (forge_contract_version, "outcomes"),
    forge_deciding_policies.__name__: (forge_deciding_policies, "outcomes"),
    hide_refusal_for_role.__name__: (hide_refusal_for_role, "outcomes"),
    refuse_for_a_role_too_early.__name__: (refuse_for_a_role_too_early, "outcomes"),
    rewrite_access_log.__name__: (rewrite_access_log, "outcomes"),
    rewrite_access_log_from_the_start.__name__: (rewrite_access_log_from_the_start, "events"),
    forge_evidence.__name__: (forge_evidence, "outcomes"),
    forge_vote_count.__name__: (forge_vote_count, "outcomes"),
    swap_records.__name__: (swap_records, "state"),
    swap_blocks.__name__: (swap_blocks, "headers"),
    drop_record.__name__: (drop_record, "records"),
    drop_record_and_relink.__name__: (drop_record_and_relink, "state"),
    forge_state.__name__: (forge_state, "state"),
    forge_engine.__name__: (forge_engine, "outcomes"),
}


def engine(log: Governed) -> str:
    return log.chain.blocks[0].header.engine


def replace_block(log: Governed, height: int, records: Sequence[bytes]) -> None:
    """Other records in a block, and headers that fit from there on."""
    old, chain = log.chain, Governed().chain
    for block in old.blocks:
        header = block.header
        kept = tuple(records) if header.height == height else block.records
        chain.add(
            records=kept,
            time_ms=header.time_ms,
            engine=header.engine,
            state_digest=header.state_digest,
            records_root=root_of(hash_leaves(kept)),
        )
    assert hash_header(chain.blocks[0].header_bytes) == chain.blocks[1].header.parent_hash
    log.chain = chain


def test_the_log_is_valid_before_it_is_tampered_with() -> None:
    report = replay(make_log().chain.copy().get)
    assert (report.events, report.refused) == (3, 0)
    assert report.acts == {"share": 2, "access": 1}


@pytest.mark.parametrize("name", TAMPERED)
def test_what_a_quorum_forges_is_found(name: str) -> None:
    log = make_log()
    tamper, step = TAMPERED[name]
    entry = tamper(log)
    with pytest.raises(Divergence) as caught:
        replay(log.chain.copy().get)
    assert (caught.value.step_name, caught.value.index) == (step, entry), caught.value


@pytest.mark.parametrize("name", TAMPERED)
def test_what_a_minority_signs_again_is_no_log(name: str) -> None:
    log = make_log()
    TAMPERED[name][0](log)
    files = log.chain.copy(checkpoint=log.chain.checkpoint(("north", "south")))
    with pytest.raises(Divergence) as caught:
        replay(files.get)
    assert (caught.value.step_name, caught.value.index) == ("checkpoint", -1)


@pytest.mark.parametrize("name", ["forge_decision", "drop_record", "forge_state"])
def test_the_checkpoint_of_the_true_log_does_not_fit(name: str) -> None:
    log, true = make_log(), make_log()
    if name.startswith("forge"):
        add_executed(true.chain, [true.sign(ASKER, make_request())] if "dec" in name else [])
    TAMPERED[name][0](log)
    files = log.chain.copy(checkpoint=true.chain.checkpoint())
    with pytest.raises(Divergence) as caught:
        replay(files.get)
    assert caught.value.step_name == "tiles"
