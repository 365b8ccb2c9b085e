"""CONSENSUS section 2, Epochs, and section 3: the seal block, by hand."""

import pytest

from node.simplex.errors import ConflictingVote, CorruptChain, CorruptWal
from node.simplex.messages import decode_message, signed_vote
from node.simplex.types import (
    BlockRecord,
    FloorRecord,
    Kind,
    OwnVote,
    Proposal,
    Synced,
)
from tests.unit.node.simplex.builders import (
    GENESIS,
    NETWORK_ID,
    Bench,
    DataArrived,
    certify,
    make_block,
    sign,
    subject_of,
)

N, X, F = Kind.NOTARIZE, Kind.NULLIFY, Kind.FINALIZE
SEAL = make_block(view=1, proposer=0, is_seal=True)
AGAIN = subject_of(N, SEAL, view=2, parent_view=1)
NOTARIZED = certify(subject_of(N, SEAL), signers=(0, 2, 3))
FINAL = certify(subject_of(F, SEAL), signers=(0, 2, 3))


def test_a_notarized_seal_is_proposed_again_at_once_by_the_next_leader() -> None:
    bench = Bench(me=1, blocks=[SEAL])
    bench.receive(NOTARIZED)
    proposal = next(each for each in bench.sent() if isinstance(each, Proposal))
    assert proposal.header == SEAL.header
    assert proposal.vote.subject == AGAIN
    assert proposal.justification == (NOTARIZED,)
    assert bench.own_votes() == [(F, 1), (N, 2)]
    assert [type(each) for each in bench.records].count(BlockRecord) == 1


def test_a_seal_proposed_again_is_voted_on_with_the_view_and_parent_view_of_the_vote() -> None:
    late = Bench(me=3, blocks=[SEAL])
    late.time_ms = 3_600_000  # its time is not judged again
    late.receive(late.propose(SEAL, NOTARIZED, again=AGAIN))
    assert late.own_votes() == [(F, 1), (N, 2)]
    votes = [each.vote.subject for each in late.records if isinstance(each, OwnVote)]
    assert votes[1] == AGAIN
    late.receive(certify(AGAIN, signers=(0, 1, 2)))
    votes = [each.vote.subject for each in late.records if isinstance(each, OwnVote)]
    assert votes[2] == subject_of(F, SEAL, view=2, parent_view=1)


def test_a_seal_that_is_not_held_comes_with_its_second_proposal() -> None:
    bench = Bench(me=3)
    bench.receive(bench.propose(SEAL, NOTARIZED, again=AGAIN))
    assert bench.own_votes() == [(N, 2), (F, 1)] or bench.own_votes() == [(F, 1), (N, 2)]
    assert bench.application.holds(SEAL.hash)


def test_a_normal_child_of_a_seal_block_is_invalid() -> None:
    """Allowing it was caught as a fork by simulation (CONSENSUS 3)."""
    child = make_block(
        view=2,
        proposer=1,
        parent_view=1,
        height=2,
        parent_hash=SEAL.hash,
        time_ms=GENESIS.time_ms + 5,
    )
    bench = Bench(me=3, blocks=[SEAL])
    bench.receive(bench.propose(child, NOTARIZED))
    assert bench.own_votes() == [(F, 1), (X, 2)]


def test_a_block_that_is_no_seal_cannot_be_proposed_again() -> None:
    block = make_block(view=1, proposer=0)
    bench = Bench(me=3, blocks=[block])
    notarized = certify(subject_of(N, block), signers=(0, 2, 3))
    again = subject_of(N, block, view=2, parent_view=1)
    bench.receive(bench.propose(block, notarized, again=again))
    assert bench.own_votes() == [(F, 1), (X, 2)]


def test_a_seal_is_proposed_again_only_where_the_parent_view_notarized_it() -> None:
    """Its parent view must name it, be notarized with it, and be followed by nullified views."""
    skipped = certify(subject_of(X, view=2), signers=(0, 2, 3))
    third = subject_of(N, SEAL, view=3, parent_view=1)
    for justification, expected in (((NOTARIZED, skipped), True), ((NOTARIZED,), False)):
        bench = Bench(me=3, blocks=[SEAL])
        bench.receive(bench.propose(SEAL, *justification, again=third))
        bench.receive(skipped)
        bench.time_ms += 1
        assert ((N, 3) in bench.own_votes()) or not expected
    other = make_block(view=1, proposer=0, is_seal=True, time_ms=GENESIS.time_ms + 9)
    bench = Bench(me=3, blocks=[SEAL, other])
    bench.receive(
        bench.propose(other, NOTARIZED, again=subject_of(N, other, view=2, parent_view=1))
    )
    assert bench.own_votes() == [(F, 1), (X, 2)]


def test_the_seal_of_the_epoch_before_is_a_normal_parent_at_view_0() -> None:
    genesis = make_block(epoch=1, view=7, height=9, is_seal=True)
    first = make_block(
        epoch=2, view=1, height=10, parent_hash=genesis.hash, time_ms=genesis.time_ms + 1
    )
    bench = Bench(me=1, epoch=2, genesis=genesis)
    assert not bench.core.is_over
    bench.receive(bench.propose(first))
    assert bench.own_votes() == [(N, 1)]


def test_no_vote_after_the_seal_is_final_i5() -> None:
    bench = Bench(me=1, blocks=[SEAL])
    assert bench.core.sealed is None
    effects = bench.receive(FINAL)
    assert [block.hash for block in effects.commit] == [SEAL.hash]
    sealed = bench.core.sealed
    assert sealed is not None
    assert bench.core.is_over
    assert sealed.block.hash == SEAL.hash
    assert decode_message(sealed.finalization) == FINAL
    before = bench.own_votes()
    bench.submit()
    bench.receive(bench.propose(SEAL, NOTARIZED, again=AGAIN))
    for signer in (0, 2, 3):
        bench.receive(sign(subject_of(X, view=2), signer), signer)
    assert bench.tick(100_000).wake_ms is None
    assert bench.own_votes() == before == []
    with pytest.raises(AssertionError, match="I5"):
        bench.core._cast(subject_of(X, view=9))


def test_no_vote_while_a_final_block_is_not_held_for_it_may_be_the_seal() -> None:
    bench = Bench(me=1)
    effects = bench.receive(FINAL)
    assert [fetch.block_hash for fetch in effects.fetch] == [SEAL.hash]
    bench.submit()
    wake_ms = bench.tick(100_000).wake_ms
    assert wake_ms is not None
    assert wake_ms > 100_000, "nothing runs out while no vote may be cast"
    assert bench.own_votes() == []
    bench.application.absorb(SEAL, ())
    effects = bench.step(DataArrived(block_hash=SEAL.hash))
    assert [block.hash for block in effects.commit] == [SEAL.hash]
    assert bench.core.is_over
    assert bench.own_votes() == []


def test_a_normal_final_block_that_was_missing_lets_the_node_vote_again() -> None:
    block = make_block(view=1, proposer=0)
    bench = Bench(me=1)
    bench.receive(certify(subject_of(F, block), signers=(0, 2, 3)))
    bench.submit()
    assert bench.own_votes() == []
    bench.application.absorb(block, ())
    bench.step(DataArrived(block_hash=block.hash))
    assert bench.own_votes() == [(N, 2)]


def test_state_sync_to_the_seal_ends_the_epoch_without_its_finalization() -> None:
    bench = Bench(me=1, blocks=[SEAL])
    bench.step(Synced(view=1, height=1, block_hash=SEAL.hash))
    assert bench.core.sealed is not None
    assert bench.core.sealed.finalization == b""


def test_a_final_block_above_the_seal_stops_the_node() -> None:
    child = make_block(view=2, proposer=1, parent_view=1, height=2, parent_hash=SEAL.hash)
    for first in ([FINAL], []):
        bench = Bench(me=1, blocks=[SEAL, child])
        for certificate in first:
            bench.receive(certificate)
        with pytest.raises(CorruptChain, match="seal"):
            bench.receive(certify(subject_of(F, child), signers=(0, 2, 3)))


def test_two_parent_views_of_one_seal_are_two_proposals_and_never_contradict_own_votes() -> None:
    """The seal is notarized in views 1 and 2, view 2 is nullified too: view 3 may name either."""
    second = certify(AGAIN, signers=(0, 2, 3))
    skipped = certify(subject_of(X, view=2), signers=(0, 2, 3))
    by_one = subject_of(N, SEAL, view=3, parent_view=1)
    by_two = subject_of(N, SEAL, view=3, parent_view=2)
    bench = Bench(me=3, blocks=[SEAL])
    bench.receive(bench.propose(SEAL, NOTARIZED, second, skipped, again=by_one))
    assert (N, 3) in bench.own_votes()
    effects = bench.receive(bench.propose(SEAL, again=by_two))
    assert [each.first.signer for each in effects.evidence] == [2]
    bench.receive(certify(by_two, signers=(0, 1, 2)))
    assert bench.core.current_view == 4
    assert (F, 3) not in bench.own_votes(), "R12 would convict it of notarize and finalize"


def test_a_log_of_several_epochs_is_read_by_the_epoch_of_the_chain() -> None:
    old = [
        OwnVote(vote=sign(subject_of(X, view=8), 1)),
        FloorRecord(epoch=1, view=7, height=9, block_hash=bytes(32)),
    ]
    genesis = make_block(epoch=1, view=7, height=9, is_seal=True)
    bench = Bench(me=1, epoch=2, genesis=genesis, records=[*old])
    assert (bench.core.final_view, bench.core.current_view) == (0, 1)
    assert bench.core.live_records() == [
        FloorRecord(epoch=2, view=0, height=9, block_hash=genesis.hash)
    ]
    assert bench.signer is not None
    bench.signer.check_rotation(bench.core.live_records())
    with pytest.raises(ConflictingVote):
        bench.signer.sign_vote(signed_vote(NETWORK_ID, subject_of(X, view=900)))
    with pytest.raises(CorruptWal, match="epoch 2"):
        Bench(me=1, records=[FloorRecord(epoch=2, view=0, height=9, block_hash=genesis.hash)])


def test_live_records_keep_a_seal_that_was_proposed_again() -> None:
    bench = Bench(me=3, blocks=[SEAL])
    bench.receive(bench.propose(SEAL, NOTARIZED, again=AGAIN))
    live = bench.core.live_records()
    assert any(isinstance(each, BlockRecord) and each.hash == SEAL.hash for each in live)
    again = Bench(me=3, records=live, blocks=[SEAL])
    assert {repr(each) for each in again.core.live_records()} == {repr(each) for each in live}
