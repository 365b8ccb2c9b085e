"""CONSENSUS section 2: catch-up, missing finalizations, idle chains, lists of leaders to avoid."""

from collections import Counter

import pytest

from node.simplex.messages import FRONTIER_BYTES_MAX, decode_message, encode_message
from node.simplex.types import (
    Block,
    DataArrived,
    Frontier,
    Kind,
    Received,
    Status,
)
from tests.simulation.toy import ToyApplication
from tests.unit.node.simplex.builders import (
    EVENT,
    GENESIS,
    Bench,
    certify,
    make_block,
    sign,
    subject_of,
)
from tests.unit.node.simplex.network import Net, between

N, X, F = Kind.NOTARIZE, Kind.NULLIFY, Kind.FINALIZE
BLOCK_1 = make_block(view=1, proposer=0)


def chain_of(length: int) -> list[Block]:
    """Blocks of views 1, 2, ..., each on the one before."""
    blocks = [BLOCK_1]
    for view in range(2, length + 1):
        parent = blocks[-1]
        blocks.append(
            make_block(
                view=view,
                proposer=(view - 1) % 4,
                parent_view=parent.view,
                height=view,
                parent_hash=parent.hash,
                time_ms=parent.time_ms + 1,
            )
        )
    return blocks


def test_a_frontier_that_does_not_fit_is_cut_and_answered_never_dropped() -> None:
    """ava REPLICATION_BUG_REPORT: 11 asked, 10 allowed, silently dropped, asked again for ever."""
    source = Bench(me=2)
    for view in range(1, 401):
        source.receive(certify(subject_of(X, view=view), signers=(0, 1, 3)))
    lagging = Bench(me=1)
    lagging.submit()
    source.submit()
    for turn in range(1, 9):
        effects = source.tick(turn * 1_100)
        assert effects.send, "it is broadcast while something waits"
        for send in effects.send:
            assert len(send.message) <= FRONTIER_BYTES_MAX
            lagging.step(Received(sender=2, message=send.message))
    assert lagging.core.current_view == 401
    assert set(lagging.core._store.nullified) == set(range(1, 401))
    assert lagging.core._pace.parent_view() == 0, "it can lead and vote again"


def test_a_finalization_does_not_lose_a_proposal_that_still_waits() -> None:
    """ava #542: state was deleted before the work on it was accepted."""
    event_block = make_block(view=1, proposer=0, refs=tuple(event_refs()))
    bench = Bench(me=1)
    bench.receive(bench.propose(event_block))
    assert bench.own_votes() == []
    bench.receive(certify(subject_of(F, event_block), signers=(0, 2, 3)))
    assert bench.core.final_view == 1
    for time_ms in (2_000, 4_000):
        effects = bench.tick(time_ms)
        assert [fetch.block_hash for fetch in effects.fetch] == [event_block.hash]
    bench.application.absorb(event_block, (EVENT,))
    effects = bench.step(DataArrived(block_hash=event_block.hash))
    assert [block.hash for block in effects.commit] == [event_block.hash]


def event_refs() -> list[bytes]:
    application = ToyApplication(me=0)
    application.submit(EVENT)
    return list(application.pool)


def test_a_block_is_kept_under_its_hash_and_not_under_a_number_it_claims() -> None:
    """ava #544: stored under a self-declared number, the first writer won."""
    liar = make_block(view=1, proposer=0, time_ms=GENESIS.time_ms + 9)
    bench = Bench(me=1)
    bench.receive(certify(subject_of(F, BLOCK_1), signers=(0, 2, 3)))
    bench.application.absorb(liar, ())
    effects = bench.step(DataArrived(block_hash=liar.hash))
    assert effects.commit == ()
    bench.application.absorb(BLOCK_1, ())
    effects = bench.step(DataArrived(block_hash=BLOCK_1.hash))
    assert [block.hash for block in effects.commit] == [BLOCK_1.hash]


def test_blocks_asked_for_at_a_time_are_bounded_and_the_final_one_is_among_them() -> None:
    """ava #558, #559, #562, #563: a long past that comes back at once fills nothing."""
    blocks = chain_of(300)
    bench = Bench(me=1)
    for block in blocks[:299]:
        effects = bench.receive(certify(subject_of(N, block), signers=(0, 2, 3)))
        assert len(effects.fetch) <= 64
    assert len(bench.core._wanted._due_ms) <= 64
    frontier = Frontier(
        epoch=1,
        certificates=(certify(subject_of(F, blocks[-1]), signers=(0, 2, 3)),),
        votes=(),
    )
    effects = bench.receive(frontier, 2)
    assert blocks[-1].hash in [fetch.block_hash for fetch in effects.fetch]
    assert bench.core._unvoted == set()


def test_a_leader_that_floods_a_view_keeps_two_proposals() -> None:
    """ava #541: distinct blocks of one leader are neither kept nor executed beyond two a view."""
    bench = Bench(me=2)
    for extra in range(50):
        block = make_block(view=1, proposer=0, time_ms=GENESIS.time_ms + 1 + extra)
        bench.receive(bench.propose(block), 0)
    assert len(bench.core._proposals._views[1]) == 2
    assert len(bench.application.blocks) - 1 <= 2
    assert bench.own_votes() == [(N, 1)]


def test_the_floor_does_not_jump_over_undelivered_blocks() -> None:
    """tempo #6779: what is final far ahead is delivered in order, also after a restart."""
    blocks = chain_of(5)
    bench = Bench(me=1)
    bench.receive(certify(subject_of(F, blocks[-1]), signers=(0, 2, 3)))
    assert bench.core.final_view == 5
    assert bench.core.snapshot().delivered_height == 0
    restarted = Bench(me=1, records=bench.core.live_records())
    for each in (bench, restarted):
        heights: list[int] = []
        for block in reversed(blocks):
            each.application.absorb(block, ())
            effects = each.step(DataArrived(block_hash=block.hash))
            heights += [final.height for final in effects.commit]
        assert heights == [1, 2, 3, 4, 5]


def test_what_a_status_calls_final_is_delivered() -> None:
    """tempo #1173: "latest" was the network's tip, not the own one."""
    blocks = chain_of(3)
    bench = Bench(me=1, blocks=[blocks[2]])
    bench.receive(certify(subject_of(F, blocks[2]), signers=(0, 2, 3)))
    status = decode_message(bench.core.status(bench.now()))
    assert isinstance(status, Status)
    assert (status.final_view, status.final_height) == (3, 0)
    snapshot = bench.core.snapshot()
    assert (snapshot.final_height, snapshot.delivered_height) == (3, 0)


class CountingApplication(ToyApplication):
    """Counts the blocks that are looked up."""

    def __init__(self, *, me: int) -> None:
        super().__init__(me=me)
        self.lookups = Counter[str]()

    def block(self, block_hash: bytes) -> Block | None:
        self.lookups["block"] += 1
        return super().block(block_hash)


def test_a_long_gap_is_walked_once_and_not_once_for_every_block() -> None:
    """Blocks of a gap come one by one: walking it for each again would take the square of it."""
    count = 400
    blocks = chain_of(count)
    application = CountingApplication(me=1)
    bench = Bench(me=1, application=application)
    bench.receive(certify(subject_of(F, blocks[-1]), signers=(0, 2, 3)))
    committed: list[int] = []
    for block in reversed(blocks):
        application.absorb(block, ())
        effects = bench.step(DataArrived(block_hash=block.hash))
        committed += [final.height for final in effects.commit]
    assert committed == list(range(1, count + 1))
    assert application.lookups["block"] < 20 * count


def test_a_block_that_the_application_gives_up_meanwhile_is_fetched_again() -> None:
    """What was walked over may be dropped again (a refused range): it is not committed unseen."""
    blocks = chain_of(3)
    bench = Bench(me=1)
    bench.receive(certify(subject_of(F, blocks[2]), signers=(0, 2, 3)))
    for block in (blocks[2], blocks[1]):
        bench.application.absorb(block, ())
        bench.step(DataArrived(block_hash=block.hash))
    del bench.application.blocks[blocks[2].hash]
    bench.application.absorb(blocks[0], ())
    effects = bench.step(DataArrived(block_hash=blocks[0].hash))
    assert effects.commit == ()
    assert [fetch.block_hash for fetch in effects.fetch] == [blocks[2].hash]
    bench.application.absorb(blocks[2], ())
    effects = bench.step(DataArrived(block_hash=blocks[2].hash))
    assert [block.height for block in effects.commit] == [1, 2, 3]


def test_a_block_without_a_finalization_of_its_own_is_final_with_its_child() -> None:
    """tempo #1477: code that waits for a finalization of each block halts the chain."""
    blocks = chain_of(3)
    bench = Bench(me=1, blocks=blocks)
    for block in blocks[:2]:
        bench.receive(certify(subject_of(N, block), signers=(0, 2, 3)))
    effects = bench.receive(certify(subject_of(F, blocks[2]), signers=(0, 2, 3)))
    assert [block.height for block in effects.commit] == [1, 2, 3]


def test_two_finalizations_of_one_seal_block_in_two_views_are_one_end() -> None:
    """commonware #2365: at the end of an epoch one block may be final in several views."""
    seal = make_block(view=1, proposer=0, is_seal=True)
    final = [
        certify(subject_of(F, seal), signers=(0, 2, 3)),
        certify(subject_of(F, seal, view=2, parent_view=1), signers=(0, 1, 2)),
    ]
    for order in (final, final[::-1]):
        bench = Bench(me=1, blocks=[seal])
        commits = [block.hash for each in order for block in bench.receive(each).commit]
        assert commits == [seal.hash]
        assert bench.core.is_over


def test_an_idle_chain_ends_with_a_final_tip_and_makes_no_block() -> None:
    """ava WaitForPendingBlock, CometBFT create_empty_blocks=false, tgrade #230: no proof blocks."""
    net = Net()
    net.submit()
    net.pass_time(30_000)
    heights, views = net.heights(), net.views()
    assert min(heights) == max(heights) >= 1
    blocks = net.benches[0].application.committed[1:]
    assert [bool(block.refs) for block in blocks] == [True] * len(blocks)
    net.pass_time(600_000)
    assert (net.heights(), net.views()) == (heights, views)
    assert net.wire == []
    assert all(not bench.core.snapshot().demand_ms for bench in net.benches)


@pytest.mark.parametrize("accusers", [(1,), (3,)])
def test_f_validators_cannot_make_others_skip_a_leader(accusers: tuple[int, ...]) -> None:
    """ava #557, #568: no list of suspects exists; only what a node itself does not hear counts."""
    bench = Bench(me=2)
    bench.receive(Frontier(epoch=1, certificates=(), votes=()), 0)
    for view in range(1, 6):
        for accuser in accusers:
            bench.receive(sign(subject_of(X, view=view), accuser), accuser)
    bench.submit()
    bench.tick(599)
    assert bench.own_votes() == [], "the leader of view 1 has its whole time"


def test_a_silent_leader_is_skipped_only_while_a_quorum_is_heard() -> None:
    """R8: it fails open when fewer than a quorum are active (commonware `skip_timeout`)."""
    for active, expected in (((1, 3), [(X, 1)]), ((1,), [])):
        bench = Bench(me=2)
        bench.time_ms = 40_000
        for peer in active:
            bench.receive(Frontier(epoch=1, certificates=(), votes=()), peer)
        bench.submit()
        assert bench.own_votes() == expected


def test_a_node_that_was_cut_off_for_long_follows_through_messages_alone() -> None:
    """R11: ten blocks later it gets the finalization and fetches its way back."""
    net = Net()
    for turn in range(10):
        net.submit(b"event %d" % turn, to=(0, 1, 2))
        net.pass_time(3_000, between((0, 1, 2)))
        net.lose()
    assert net.heights((3,)) == [0]
    net.pass_time(100)
    for index in (0, 1, 2):
        net._post(index, net.benches[index].connect(3))
    net.pass_time(10_000)
    assert len(set(net.heights())) == 1
    assert net.heights()[0] >= 10


def test_a_snapshot_says_what_a_view_waits_for() -> None:
    """For people: the certificate that comes next, who voted, who was heard, since when."""
    bench = Bench(me=1)
    idle = bench.core.snapshot()
    assert (idle.awaited, idle.demand_ms, idle.timeout_ms) == (None, None, None)
    assert idle.heard_ms == (None, None, None, None)
    bench.time_ms = 50
    bench.receive(bench.propose(BLOCK_1))
    voting = bench.core.snapshot()
    assert (voting.awaited, voting.awaited_view, voting.has_proposal) == (N, 1, True)
    assert voting.votes[N] == (0, 1)
    assert voting.heard_ms[0] == 50
    assert (voting.demand_ms, voting.timeout_ms) == (50, 950)
    bench.receive(sign(subject_of(N, BLOCK_1), 2), 2)
    final = bench.core.snapshot()
    assert (final.awaited, final.awaited_view, final.votes[F]) == (F, 1, (1,))
    assert (final.certified, final.certified_view) == (N, 1)
    bench.submit()
    bench.tick(60_000)
    assert bench.core.snapshot().awaited is X
    encoded = encode_message(certify(subject_of(X, view=2), signers=(0, 1, 2)))
    bench.step(Received(sender=2, message=encoded))
    assert bench.core.snapshot().leader == 2
