"""CONSENSUS section 2, WAL and restart: what a process finds after it was killed."""

from pathlib import Path

import pytest

from node.simplex.errors import CorruptWal, WalFailed
from node.simplex.types import (
    BlockRecord,
    CertificateRecord,
    DataArrived,
    FloorRecord,
    Frontier,
    Kind,
    OwnVote,
    PeerVote,
    Proposal,
    Vote,
    WalRecord,
)
from node.simplex.wal import MAGIC, Wal, decode_segment, encode_record
from tests.unit.node.simplex.builders import (
    GENESIS,
    Bench,
    certify,
    make_block,
    sign,
    subject_of,
)
from tests.unit.node.simplex.network import Net, between, everything, kinds

N, X, F = Kind.NOTARIZE, Kind.NULLIFY, Kind.FINALIZE
BLOCK_1 = make_block(view=1, proposer=0)
CHILD_2 = make_block(
    view=2,
    proposer=1,
    parent_view=1,
    height=2,
    parent_hash=BLOCK_1.hash,
    time_ms=GENESIS.time_ms + 5,
)


def busy() -> Bench:
    """Validator 1 with every kind of record in its log."""
    bench = Bench(me=1)
    bench.receive(bench.propose(BLOCK_1))
    bench.receive(sign(subject_of(N, BLOCK_1), 2), 2)
    bench.submit()
    bench.receive(sign(subject_of(X, view=2), 3), 3)
    bench.tick(5_000)
    return bench


def standing(bench: Bench) -> tuple[int, int, set[str]]:
    core = bench.core
    return core.current_view, core.final_view, {repr(each) for each in core.live_records()}


def test_replay_does_not_depend_on_the_order_of_records() -> None:
    """ava #328: the last record is not where the node was; records are in no order of views."""
    bench = busy()
    expected = standing(Bench(me=1, records=bench.records, blocks=[BLOCK_1]))
    records = bench.records
    for order in (records[::-1], records[3:] + records[:3], sorted(records, key=repr)):
        assert standing(Bench(me=1, records=list(order), blocks=[BLOCK_1])) == expected
    assert expected[0] == bench.core.current_view


def test_an_own_nullify_found_in_the_log_is_sent_again() -> None:
    """ava #328: the retry of a lost empty vote was not restored after a restart."""
    bench = Bench(me=2)
    bench.submit()
    bench.tick(600)
    nullify = bench.core._own.vote(X, 1)
    assert nullify is not None
    restarted = Bench.restarted(bench)
    frontiers = [each for each in restarted.sent() if isinstance(each, Frontier)]
    assert nullify in frontiers[0].votes
    wake_ms = restarted.effects.wake_ms
    assert wake_ms is not None
    restarted.tick(wake_ms + 2_000)
    assert any(isinstance(each, Frontier) and nullify in each.votes for each in restarted.sent())


def test_a_restarted_leader_starts_its_view() -> None:
    """ava #328: a view entered by replay was not started, so its leader proposed nothing."""
    bench = Bench(me=1)
    bench.receive(certify(subject_of(X, view=1), signers=(0, 2, 3)))
    restarted = Bench.restarted(bench)
    restarted.submit()
    assert restarted.own_votes() == [(N, 2)]


def test_a_restarted_leader_offers_the_same_block_again() -> None:
    """R10: its proposal may be lost; what it sends again is what it logged, and nothing else."""
    bench = Bench(me=0)
    bench.submit()
    first = next(each for each in bench.sent() if isinstance(each, Proposal))
    restarted = Bench.restarted(bench)
    assert [each for each in restarted.sent() if isinstance(each, Proposal)] == [first]
    assert restarted.own_votes() == [(N, 1)]


def test_no_second_empty_vote_is_written() -> None:
    """ava #486: after a restart timers run out again, and the vote in the log is enough."""
    bench = Bench(me=2)
    bench.submit()
    bench.tick(600)
    for _ in range(3):
        bench = Bench.restarted(bench)
        bench.tick(bench.time_ms + 70_000)
    assert bench.own_votes() == [(X, 1)]


def every_record() -> list[WalRecord]:
    nullify = sign(subject_of(X, view=3), 1)
    return [
        FloorRecord(epoch=1, view=1, height=1, block_hash=BLOCK_1.hash),
        CertificateRecord(certificate=certify(subject_of(F, BLOCK_1), signers=(0, 2, 3))),
        BlockRecord(hash=CHILD_2.hash, header=CHILD_2.header, refs=(), events=()),
        OwnVote(vote=sign(subject_of(N, CHILD_2), 1)),
        PeerVote(vote=sign(subject_of(N, CHILD_2), 2)),
        CertificateRecord(certificate=certify(subject_of(N, CHILD_2), signers=(0, 1, 2))),
        OwnVote(vote=sign(subject_of(F, CHILD_2), 1)),
        OwnVote(vote=nullify),
        PeerVote(vote=sign(subject_of(X, view=3), 3)),
        CertificateRecord(certificate=certify(subject_of(X, view=4), signers=(0, 1, 3))),
    ]


def test_every_legal_record_can_be_replayed() -> None:
    """ava #540: a legal record that replay cannot parse is a crash loop for ever."""
    records = every_record()
    data = MAGIC + b"".join(encode_record(record) for record in records)
    read, size = decode_segment(data)
    assert (read, size) == (records, len(data))
    assert {type(each) for each in read} == {
        OwnVote, PeerVote, BlockRecord, CertificateRecord, FloorRecord,
    }  # fmt: skip
    for subset in (read, *([each] for each in read)):
        Bench(me=1, records=list(subset), blocks=[BLOCK_1, CHILD_2])
    assert Bench(me=1, records=read, blocks=[BLOCK_1, CHILD_2]).core.current_view == 5


def test_a_logged_block_is_executed_again_before_it_is_voted_on() -> None:
    """ava #176: blocks are held in memory; a record of one is not yet a verified block."""
    bench = Bench(me=1)
    bench.receive(bench.propose(BLOCK_1))
    restarted = Bench(me=1, records=bench.records)  # the application did not execute it
    effects = restarted.receive(certify(subject_of(N, BLOCK_1), signers=(0, 2, 3)))
    assert (F, 1) not in restarted.own_votes()
    assert [fetch.block_hash for fetch in effects.fetch] == [BLOCK_1.hash]
    restarted.application.validate(BLOCK_1)
    effects = restarted.step(DataArrived(block_hash=BLOCK_1.hash))
    assert [type(each) for each in effects.persist[:2]] == [BlockRecord, OwnVote]


@pytest.mark.parametrize("count", [4, 7])
def test_all_crash_after_their_nullify_and_the_network_goes_on(count: int) -> None:
    """commonware #4275: own votes in the log count again, and are sent again, after a restart."""
    net = Net(count)
    net.submit()
    net.lose(kinds(Proposal))
    net.time_ms = 900
    for index in range(count):
        net._post(index, net.benches[index].tick(900))
    assert net.own_votes(X, 1) == list(range(count))
    net.crash(*range(count))
    assert net.wire == []
    net.restart(*range(count))
    net.settle()
    assert min(net.views()) >= 2
    net.submit(b"another")
    net.pass_time(30_000)
    assert min(net.heights()) >= 1


def test_votes_in_the_log_of_a_crashed_node_complete_a_certificate() -> None:
    """commonware #4275: a quorum of votes found in the log is a certificate, with no message."""
    nullify = subject_of(X, view=1)
    records: list[WalRecord] = [OwnVote(vote=sign(nullify, 1))]
    records += [PeerVote(vote=sign(nullify, signer)) for signer in (2, 3)]
    assert Bench(me=1, records=records).core.current_view == 2


def test_all_crash_after_their_finalize_votes() -> None:
    """commonware #4275, for the other votes: none had seen another's finalize."""
    net = Net()
    net.submit()
    for _ in range(2):
        net.move()
    net.settle(lambda packet: isinstance(packet.message, Vote) and packet.message.subject.kind is N)
    assert len(net.own_votes(F, 1)) == 4
    net.crash(0, 1, 2, 3)
    net.restart(0, 1, 2, 3)
    net.pass_time(30_000)
    assert min(net.heights()) >= 1


@pytest.mark.parametrize("log_view", [0, 1, 3])
def test_the_final_view_is_the_higher_of_the_log_and_the_application(log_view: int) -> None:
    """commonware #3727: application at N, log at N-1, and the other way round."""
    blocks = [GENESIS, BLOCK_1, CHILD_2]
    child_3 = make_block(
        view=3,
        proposer=2,
        parent_view=2,
        height=3,
        parent_hash=CHILD_2.hash,
        time_ms=GENESIS.time_ms + 9,
    )
    logged = [*blocks, child_3][log_view]
    floor = FloorRecord(epoch=1, view=log_view, height=logged.height, block_hash=logged.hash)
    bench = Bench(me=1, records=[floor], tip=CHILD_2, blocks=blocks)
    assert bench.core.final_view == max(log_view, 2)
    if log_view == 3:
        assert bench.own_votes() == []
        assert [fetch.block_hash for fetch in bench.effects.fetch] == [child_3.hash]
        bench.application.committed += [BLOCK_1, CHILD_2]
        bench.application.absorb(child_3, ())
        effects = bench.step(DataArrived(block_hash=child_3.hash))
        assert [block.height for block in effects.commit] == [3]
    bench.submit()
    bench.tick(20_000)
    assert all(view > max(log_view, 2) for _, view in bench.own_votes())


def test_after_a_failed_write_the_log_takes_and_syncs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """commonware #3543 (review): a vote was sent although persisting its block had failed."""

    def fail(_: int) -> None:
        raise OSError("no space left on device")

    wal, _ = Wal.open(tmp_path)
    wal.append([OwnVote(vote=sign(subject_of(X, view=1), 1))])
    monkeypatch.setattr("os.fdatasync", fail)
    with pytest.raises(WalFailed):
        wal.sync()
    monkeypatch.undo()
    assert wal.is_dirty
    for use in (wal.sync, lambda: wal.append([OwnVote(vote=sign(subject_of(X, view=2), 1))])):
        with pytest.raises(WalFailed):
            use()
    wal.close()


def test_the_block_is_logged_in_front_of_the_vote_that_relies_on_it() -> None:
    """commonware #3543 (review), R6: one append carries both, the block first."""
    bench = Bench(me=1, blocks=[BLOCK_1])
    effects = bench.receive(certify(subject_of(N, BLOCK_1), signers=(0, 2, 3)))
    names = [type(each).__name__ for each in effects.persist]
    assert names.index("BlockRecord") < names.index("OwnVote")
    assert effects.sync


def test_a_block_left_out_of_a_rotated_log_is_logged_again_before_a_vote() -> None:
    """R6: what a new segment does not carry over is not durable any more."""
    bench = Bench(me=1)
    bench.receive(bench.propose(BLOCK_1))
    del bench.application.blocks[BLOCK_1.hash]
    live = bench.core.live_records()
    assert not any(isinstance(each, BlockRecord) for each in live)
    bench.application.blocks[BLOCK_1.hash] = BLOCK_1
    effects = bench.receive(certify(subject_of(N, BLOCK_1), signers=(0, 2, 3)))
    assert any(isinstance(each, BlockRecord) for each in effects.persist)
    assert (F, 1) in bench.own_votes()


def test_a_restarted_node_serves_the_certificates_it_has() -> None:
    """tempo #956: after a restart the cache of certificates was empty, and nobody got one."""
    bench = Bench(me=1, blocks=[BLOCK_1])
    final = certify(subject_of(F, BLOCK_1), signers=(0, 2, 3))
    skipped = certify(subject_of(X, view=2), signers=(0, 2, 3))
    bench.receive(final)
    bench.receive(skipped)
    for records in (bench.records, bench.core.live_records()):
        restarted = Bench(me=1, records=records, blocks=[BLOCK_1])
        restarted.connect(3)
        frontier = restarted.sent()[0]
        assert isinstance(frontier, Frontier)
        assert set(frontier.certificates) == {final, skipped}


def kill_points(bench: Bench) -> list[list[WalRecord]]:
    return [bench.records[:end] for end in range(len(bench.records) + 1)]


def test_a_kill_at_any_record_never_leads_to_a_contradicting_vote() -> None:
    """Section 1.4: whatever prefix of the log survives, the votes in it bind the next process."""
    other = make_block(view=1, proposer=0, time_ms=GENESIS.time_ms + 9)
    for records in kill_points(busy()):
        before = {
            (each.vote.subject.kind, each.vote.subject.view): each.vote.subject
            for each in records
            if isinstance(each, OwnVote)
        }
        bench = Bench(me=1, records=list(records), blocks=[BLOCK_1, other])
        bench.receive(bench.propose(other))
        bench.receive(certify(subject_of(N, BLOCK_1), signers=(0, 2, 3)))
        bench.submit()
        bench.tick(60_000)
        for each in bench.records[len(records) :]:
            if isinstance(each, OwnVote):
                key = (each.vote.subject.kind, each.vote.subject.view)
                assert key not in before, "one vote of a kind in a view, for ever"
                assert (F, key[1]) not in before or key[0] is not X
                assert (X, key[1]) not in before or key[0] is not F


def test_a_network_whose_nodes_crash_in_turn_keeps_one_chain() -> None:
    """Each node is killed once while messages are on the way; the chains stay one."""
    net = Net()
    for turn in range(8):
        net.submit(b"event %d" % turn)
        net.move()
        net.crash(turn % 4)
        net.pass_time(3_000)
        net.restart(turn % 4)
        net.pass_time(3_000)
    net.pass_time(60_000, everything)
    chains = [[block.hash for block in each.application.committed] for each in net.benches]
    assert len(set(map(tuple, chains))) == 1
    assert len(chains[0]) > 8
    assert net.evidence == []


def test_a_log_with_a_vote_that_does_not_verify_is_refused() -> None:
    """A log that lies about this node's or another's votes is corrupt, not ignored."""
    forged = Vote(subject=subject_of(X, view=1), signer=1, signature=bytes(64))
    for record in (OwnVote(vote=forged), PeerVote(vote=forged)):
        with pytest.raises(CorruptWal):
            Bench(me=1, records=[record])


def test_the_restart_of_a_majority_under_a_partition_forks_nothing() -> None:
    """Half of the network restarts while cut off from the other half; then all heals."""
    net = Net()
    net.submit()
    net.move()
    net.pass_time(2_000, between((0, 1), (2, 3)))
    net.crash(0, 1)
    net.restart(0, 1)
    net.pass_time(2_000, between((0, 1), (2, 3)))
    net.pass_time(60_000)
    assert min(net.heights()) >= 1
    assert len({each.application.committed[1].hash for each in net.benches}) == 1
