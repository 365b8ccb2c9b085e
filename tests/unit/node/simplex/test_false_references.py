"""A leader's vote signs its header. References that do not belong to it are a lie, not a fork."""

import msgspec

from node.simplex.types import Block, BlockRecord, DataArrived, Kind
from tests.unit.node.simplex.builders import Bench, certify, make_block, subject_of

N, X, F = Kind.NOTARIZE, Kind.NULLIFY, Kind.FINALIZE
EVENTS = (b"one", b"other")


def lied_to() -> tuple[Bench, Block]:
    """Validator 1 got the header of a valid block with its references in another order."""
    bench = Bench(me=1)
    for event in EVENTS:
        bench.submit(event)
    block = make_block(view=1, proposer=0, refs=tuple(bench.application.events))
    lie = msgspec.structs.replace(bench.propose(block), refs=block.refs[::-1])
    bench.receive(lie)
    assert bench.own_votes() == [(X, 1)]
    return bench, block


def test_a_notarized_block_with_false_references_is_fetched() -> None:
    bench, block = lied_to()
    bench.receive(certify(subject_of(N, block), signers=(0, 2, 3)))
    assert [fetch.block_hash for fetch in bench.effects.fetch] == [block.hash]
    assert set(bench.effects.fetch[0].ask) == {0, 2, 3}


def test_a_final_block_with_false_references_is_fetched_and_delivered() -> None:
    bench, block = lied_to()
    bench.receive(certify(subject_of(F, block), signers=(0, 2, 3)))
    assert bench.application.committed[-1].height == 0
    bench.application.absorb(block, EVENTS)
    bench.step(DataArrived(block_hash=block.hash))
    assert bench.application.committed[-1].hash == block.hash


def test_a_seal_block_proposed_again_with_false_references_is_logged_with_its_own() -> None:
    """With false ones in the log the block would not execute any more at the next start."""
    bench = Bench(me=2)
    for event in EVENTS:
        bench.submit(event)
    refs = tuple(bench.application.events)
    seal = make_block(view=1, proposer=0, refs=refs, is_seal=True)
    bench.application.absorb(seal, EVENTS)
    notarized = certify(subject_of(N, seal), signers=(0, 1, 3))
    bench.tick(700)
    assert bench.own_votes() == [(X, 1)]
    bench.receive(notarized)
    again = subject_of(N, seal, view=2, parent_view=1)
    honest = bench.propose(seal, notarized, again=again)
    bench.receive(msgspec.structs.replace(honest, refs=refs[::-1]))
    assert bench.own_votes() == [(X, 1), (N, 2)]
    logged = [record for record in bench.records if isinstance(record, BlockRecord)]
    assert [record.refs for record in logged] == [refs]
