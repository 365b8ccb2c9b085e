"""CONSENSUS section 2, Epochs, and section 3: the seal block, by hand."""

import msgspec
import pytest

from node.simplex.errors import ConflictingVote, CorruptChain, CorruptWal, InvalidMessage
from node.simplex.messages import decode_message, signed_vote
from node.simplex.types import (
    BlockRecord,
    Certificate,
    CertificateRecord,
    DataArrived,
    FloorRecord,
    Frontier,
    Kind,
    OwnVote,
    PeerVote,
    Proposal,
    Received,
    Synced,
    Vote,
    WalRecord,
)
from node.simplex.votes import Verifier
from tests.unit.node.simplex.builders import (
    GENESIS,
    NETWORK_ID,
    Bench,
    certify,
    keys_of,
    make_block,
    sign,
    subject_of,
)
from tests.unit.node.simplex.network import Net, Packet

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


NEXT_GENESIS = make_block(epoch=1, view=7, height=9, is_seal=True)


def next_epoch(records: list[WalRecord] | None = None) -> Bench:
    """A core of epoch 2, whose view 0 is the seal block of epoch 1."""
    return Bench(me=1, epoch=2, genesis=NEXT_GENESIS, records=records)


def test_votes_of_those_who_left_do_not_count_in_the_next_epoch() -> None:
    """ava #543: votes planted while still a member counted after the rotation."""
    bench = next_epoch()
    planted = [
        sign(subject_of(X, view=1, epoch=epoch), signer) for epoch in (1, 3) for signer in (0, 2, 3)
    ]
    for vote in planted:
        assert bench.receive(vote, vote.signer).rejected
    outsider = sign(subject_of(X, view=1, epoch=2), 4)
    assert bench.receive(outsider, 4).rejected[0].is_fault
    assert bench.core.current_view == 1
    assert bench.core._tally.votes_by_others(None) == []


def test_a_height_has_one_final_block_though_views_after_the_seal_go_on() -> None:
    """ava #545: throw-away blocks after the seal gave two finalizations at one height."""
    bench = Bench(me=1, blocks=[SEAL])
    for subject in (subject_of(F, SEAL), subject_of(F, SEAL, view=2, parent_view=1)):
        bench.receive(certify(subject, signers=(0, 2, 3)))
    assert [block.hash for block in bench.application.committed] == [GENESIS.hash, SEAL.hash]
    assert bench.core.sealed is not None
    assert bench.core.sealed.block.height == 1


def test_records_of_the_ended_epoch_do_not_move_the_next_one() -> None:
    """ava #551: old records of high views set the new epoch's view, and its epoch number."""
    old = make_block(epoch=1, view=50, parent_view=7, height=10)
    records: list[WalRecord] = [
        OwnVote(vote=sign(subject_of(N, old), 1)),
        PeerVote(vote=sign(subject_of(N, old), 2)),
        CertificateRecord(certificate=certify(subject_of(N, old), signers=(0, 1, 2))),
        CertificateRecord(certificate=certify(subject_of(X, view=60), signers=(0, 1, 2))),
        FloorRecord(epoch=1, view=40, height=9, block_hash=bytes(32)),
        BlockRecord(hash=old.hash, header=old.header, refs=()),
    ]
    bench = next_epoch(records)
    assert (bench.core.current_view, bench.core.final_view) == (1, 0)
    assert bench.effects.evidence == ()
    bench.submit()
    bench.tick(600)
    assert [each for each in bench.own_votes() if each[1] < 50] == [(X, 1)]
    assert bench.core.live_records()[0] == FloorRecord(
        epoch=2, view=0, height=9, block_hash=NEXT_GENESIS.hash
    )


def test_the_core_of_an_ended_epoch_is_inert() -> None:
    """ava #552, #566: whatever is queued for it, a core that is over signs and commits nothing."""
    bench = Bench(me=1, blocks=[SEAL])
    bench.receive(FINAL)
    assert bench.core.is_over
    again = certify(subject_of(F, SEAL, view=2, parent_view=1), signers=(0, 2, 3))
    inputs = [
        lambda: bench.receive(again),
        lambda: bench.receive(NOTARIZED),
        bench.submit,
        lambda: bench.step(Synced(view=1, height=1, block_hash=SEAL.hash)),
        lambda: bench.step(DataArrived(block_hash=SEAL.hash)),
        lambda: bench.tick(7_200_000),
    ]
    for use in inputs:
        effects = use()
        assert (effects.commit, effects.wake_ms) == ((), None)
        assert bench.own_votes() == []
        assert bench.core.is_over


def test_a_lagging_node_still_gets_the_end_from_one_that_is_over() -> None:
    """ava #567 and section 3, step 5: the end of an epoch must reach who missed it."""
    bench = Bench(me=1, blocks=[SEAL])
    bench.receive(FINAL)
    lagging = Bench(me=2)
    effects = bench.step(Received(sender=2, message=lagging.core.status(lagging.now())))
    assert [send.to for send in effects.send] == [2]
    lagging.step(Received(sender=1, message=effects.send[0].message))
    lagging.application.absorb(SEAL, ())
    lagging.step(DataArrived(block_hash=SEAL.hash))
    assert lagging.core.is_over
    other = Bench(me=3)
    assert bench.core.sealed is not None
    other.step(Received(sender=1, message=bench.core.sealed.finalization))
    assert other.core.final_view == 1


@pytest.mark.parametrize("field", ["network", "epoch", "view", "height", "kind"])
def test_everything_that_names_a_place_is_inside_the_signed_bytes(field: str) -> None:
    """ava #554 (chain), commonware #4038 (epoch), #2425 (height): no vote fits anywhere else."""
    subject = subject_of(N, SEAL)
    changes = {
        "epoch": {"epoch": 2},
        "view": {"view": 9},
        "height": {"height": 2},
        "kind": {"kind": F},
        "network": {},
    }
    other = msgspec.structs.replace(subject, **changes[field])
    network_id = bytes(32) if field == "network" else NETWORK_ID
    assert signed_vote(network_id, other) != signed_vote(NETWORK_ID, subject)
    vote = sign(subject, 2)
    moved = Vote(subject=other, signer=2, signature=vote.signature)
    verifier = Verifier(network_id=network_id, validators=keys_of(4))
    with pytest.raises(InvalidMessage):
        verifier.verify_vote(moved)


def test_the_order_of_the_validators_is_part_of_every_certificate() -> None:
    """ava #483: a set that each node sorts its own way; ours is one list, in one order."""
    certificate = certify(subject_of(X, view=1), signers=(0, 2, 3))
    Verifier(network_id=NETWORK_ID, validators=keys_of(4)).verify_certificate(certificate)
    shuffled = Verifier(network_id=NETWORK_ID, validators=keys_of(4)[::-1])
    with pytest.raises(InvalidMessage):
        shuffled.verify_certificate(certificate)


def test_a_certificate_of_another_epoch_than_its_height_is_refused() -> None:
    """commonware #3126 (review): the epoch of a certificate was not compared with the height's."""
    bench = next_epoch()
    first = make_block(
        epoch=2,
        view=1,
        height=10,
        parent_hash=NEXT_GENESIS.hash,
        time_ms=NEXT_GENESIS.time_ms + 1,
    )
    bench.application.blocks[first.hash] = first
    wrong = msgspec.structs.replace(subject_of(F, first), epoch=1)
    assert bench.receive(certify(wrong, signers=(0, 2, 3))).rejected
    assert bench.core.final_view == 0
    stale = make_block(
        epoch=1,
        view=1,
        height=10,
        parent_hash=NEXT_GENESIS.hash,
        time_ms=NEXT_GENESIS.time_ms + 1,
    )
    claimed = msgspec.structs.replace(subject_of(N, stale), epoch=2)
    bench.receive(bench.propose(stale, again=claimed))
    assert bench.own_votes() == [(X, 1)], "the header says another epoch than its vote"


def test_timeouts_of_two_epochs_are_never_counted_together() -> None:
    """Concordium #1197: timeouts were weighed with the weights of two epochs."""
    bench = next_epoch()
    for signer, epoch in ((3, 2), (2, 1), (0, 1)):
        bench.receive(sign(subject_of(X, view=1, epoch=epoch), signer), signer)
    assert bench.core.current_view == 1
    assert bench.core._tally.count_nullify(1, 2) == 1
    bench.receive(sign(subject_of(X, view=1, epoch=2), 2), 2)
    bench.receive(sign(subject_of(X, view=1, epoch=2), 0), 0)
    assert bench.core.current_view == 2


def without_finalize(packet: Packet) -> bool:
    """No finalize vote gets through, in whatever message."""
    message = packet.message
    if isinstance(message, Vote | Certificate):
        return message.subject.kind is not F
    return not isinstance(message, Frontier)


def seal_network(count: int = 4) -> Net:
    """The block of height 2 ends the epoch."""
    net = Net(count)
    for bench in net.benches:
        bench.application.seal_height = 2
    net.submit(b"first")
    net.pass_time(20_000)
    assert set(net.heights()) == {1}
    return net


def test_a_network_ends_its_epoch_with_one_seal_block() -> None:
    """Section 3: one seal block, final at all nodes, nothing after it, and then silence."""
    net = seal_network()
    net.submit(b"second")
    net.pass_time(60_000)
    assert set(net.heights()) == {2}
    assert all(bench.core.is_over for bench in net.benches)
    assert len({bench.application.committed[2].hash for bench in net.benches}) == 1
    net.submit(b"third")
    net.pass_time(600_000)
    assert set(net.heights()) == {2}
    assert net.wire == []
    assert net.evidence == []


def test_a_seal_whose_finalize_votes_are_lost_is_proposed_again_until_one_view_holds() -> None:
    """Section 3, step 4: the views after the seal offer the same block, and one finalizes it."""
    net = seal_network()

    net.submit(b"second")
    net.pass_time(5_000, without_finalize)
    assert set(net.heights()) == {1}
    views = {
        record.vote.subject.view
        for bench in net.benches
        for record in bench.records
        if isinstance(record, OwnVote)
        and record.vote.subject.kind is N
        and record.vote.subject.height == 2
    }
    assert len(views) > 2, "it was proposed again and again"
    hashes = {
        record.vote.subject.block_hash
        for bench in net.benches
        for record in bench.records
        if isinstance(record, OwnVote) and record.vote.subject.height == 2
    }
    assert len(hashes) == 1, "and always the same block"
    net.lose()
    net.pass_time(60_000)
    assert all(bench.core.is_over for bench in net.benches)


@pytest.mark.parametrize("crashed", [(0,), (0, 1), (0, 1, 2, 3)])
def test_a_crash_just_before_the_end_of_an_epoch_loses_nothing(crashed: tuple[int, ...]) -> None:
    """tempo #1020: state of the epoch was gone before its last block was final."""
    net = seal_network()

    net.submit(b"second")
    net.settle(without_finalize)
    assert set(net.heights()) == {1}
    net.crash(*crashed)
    net.lose()
    net.restart(*crashed)
    for index in crashed:
        net.benches[index].application.seal_height = 2
    net.pass_time(60_000)
    assert all(bench.core.is_over for bench in net.benches)
    assert len({bench.application.committed[2].hash for bench in net.benches}) == 1


def test_a_killed_process_finds_the_end_of_its_epoch_again() -> None:
    """Between the commit of the seal and the new log: the old log is read, and bars old votes."""
    bench = Bench(me=3, blocks=[SEAL])
    bench.receive(bench.propose(SEAL, NOTARIZED, again=AGAIN))
    bench.receive(FINAL)
    assert bench.core.is_over
    after = Bench(me=3, epoch=2, genesis=SEAL, records=bench.records)
    assert (after.core.current_view, after.core.final_view) == (1, 0)
    assert after.signer is not None
    with pytest.raises(ConflictingVote):
        after.signer.sign_vote(signed_vote(NETWORK_ID, subject_of(X, view=9)))
    stuck = Bench(me=3, records=bench.records, blocks=[SEAL])
    assert stuck.core.is_over, "a log that ends with the final seal delivers it again"
    assert stuck.own_votes() == bench.own_votes()
