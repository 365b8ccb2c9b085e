"""CONSENSUS section 2, Liveness: certificate splits and lost messages, scripted over real cores."""

import pytest

from node.simplex.messages import decode_message
from node.simplex.types import Certificate, Frontier, Kind, Proposal, Status, Vote
from tests.unit.node.simplex.builders import (
    EVENT,
    GENESIS,
    Bench,
    DataArrived,
    certify,
    make_block,
    sign,
    subject_of,
)
from tests.unit.node.simplex.network import Net, Packet, between, everything, kinds

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


def is_of(kind: Kind, packet: Packet) -> bool:
    """A vote, or a certificate, of that kind."""
    message = packet.message
    return isinstance(message, Vote | Certificate) and message.subject.kind is kind


def split_views(count: int, notarized: tuple[int, ...]) -> Net:
    """All voted for view 1 and timed out; `notarized` learned its notarization, the rest it not."""
    net = Net(count)
    net.submit()
    net.move(kinds(Proposal))
    held = net.wire
    net.wire = []
    net.time_ms = 900  # every timer of view 1 runs out with the notarize votes still on the way
    for index in range(count):
        net.benches[index].tick(900)
        net._post(index, net.benches[index].effects)
    late = [packet for packet in net.wire if is_of(X, packet)]
    net.wire = [packet for packet in held if packet.to in notarized]
    net.move()
    net.wire = [packet for packet in late if packet.to not in notarized]
    net.move()
    for index, bench in enumerate(net.benches):
        assert (1 in bench.core._store.notarized) == (index in notarized)
        assert (1 in bench.core._store.nullified) != (index in notarized)
    assert set(net.views()) == {2}
    return net


@pytest.mark.parametrize(
    ("count", "notarized"), [(4, (0, 1)), (4, (2, 3)), (4, (0,)), (7, (1, 4, 6))]
)
def test_split_views_do_not_lock_up(count: int, notarized: tuple[int, ...]) -> None:
    """commonware #2137, #2192 (#2149, #1224): some hold notarization(1), others nullification(1).

    Every certificate that was in flight is lost; the proposal's justification brings what lacks.
    """
    net = split_views(count, notarized)
    net.lose(kinds(Certificate, Vote, Frontier))
    net.pass_time(20_000, lambda packet: not isinstance(packet.message, Frontier))
    assert min(net.heights()) >= 1
    assert len({bench.application.committed[1].hash for bench in net.benches}) == 1


@pytest.mark.parametrize("notarized", [(0, 1), (3,)])
def test_a_certified_split_heals_through_frontiers_alone(notarized: tuple[int, ...]) -> None:
    """commonware #4332, #4386: the split comes again when nothing of it is repeated."""
    net = split_views(4, notarized)
    net.lose()
    net.pass_time(4_000, lambda packet: not isinstance(packet.message, Proposal))
    for bench in net.benches:
        assert 1 in bench.core._store.notarized
        assert 1 in bench.core._store.nullified
    net.pass_time(60_000)
    assert min(net.heights()) >= 1


def test_the_proposal_carries_its_justification() -> None:
    """commonware #1078: a voter that lacks notarization(1) or nullification(1) gets it inline."""
    notarization = certify(subject_of(N, BLOCK_1), signers=(0, 1, 3))
    nullification = certify(subject_of(X, view=1), signers=(0, 1, 3))
    bench = Bench(me=2, blocks=[BLOCK_1])
    bench.receive(nullification)
    bench.receive(bench.propose(CHILD_2, notarization))
    assert (N, 2) in bench.own_votes()
    sibling = make_block(view=2, proposer=1, parent_view=0)
    bench = Bench(me=2, blocks=[BLOCK_1])
    bench.receive(notarization)
    bench.receive(bench.propose(sibling, nullification))
    assert (N, 2) in bench.own_votes()


def test_a_timeout_and_then_a_late_notarization_do_not_stop_the_view() -> None:
    """commonware #2695, #2697, #2703: having nullified, a node must go on with a notarization."""
    net = Net()
    net.submit()
    net.move(kinds(Proposal))
    notarizes, net.wire = net.wire, []
    net.time_ms = 900
    for index in range(4):
        net._post(index, net.benches[index].tick(900))
    net.lose()
    net.wire = notarizes
    net.settle()
    assert min(net.views()) >= 2, "the notarization moves all on, though each has nullified"
    assert net.own_votes(F, 1) == [], "none of them may finalize view 1"
    net.pass_time(30_000)
    assert min(net.heights()) >= 1


@pytest.mark.parametrize("kind", [X, F], ids=["nullify", "finalize"])
def test_lost_votes_are_sent_again(kind: Kind) -> None:
    """ava #159, #168, #279: votes to skip or to finalize, all lost, come again in frontiers."""
    net = Net(down=(0,) if kind is X else ())
    net.submit()
    up = net.up()
    net.pass_time(950 if kind is X else 0, lambda packet: not is_of(kind, packet))
    net.lose(lambda packet: is_of(kind, packet))
    final_before = max(net.heights(up))
    assert final_before == 0
    net.pass_time(30_000, lambda packet: not is_of(kind, packet))
    assert min(net.heights(up)) >= 1, "frontiers alone carried the votes"


def test_a_leader_times_out_on_its_own_round() -> None:
    """ava #234: the leader whose proposal nobody gets skips its view like everyone else."""
    net = Net(down=(3,))  # without the leader's nullify there is no quorum
    net.submit()
    net.lose(kinds(Proposal))
    net.pass_time(1_000, lambda packet: not isinstance(packet.message, Proposal))
    assert net.own_votes(X, 1) == [0, 1, 2]
    assert net.views()[:3] == [2, 2, 2]


@pytest.mark.parametrize("kind", [X, N, F])
def test_a_view_entered_through_any_certificate_is_started(kind: Kind) -> None:
    """ava #471, #332: the leader of a view that replication brought it to proposes there."""
    bench = Bench(me=1, blocks=[BLOCK_1])
    bench.submit()
    subject = subject_of(X, view=1) if kind is X else subject_of(kind, BLOCK_1)
    bench.receive(certify(subject, signers=(0, 2, 3)))
    assert (N, 2) in bench.own_votes()
    assert any(isinstance(each, Proposal) for each in bench.sent())


def test_a_timer_of_a_left_view_cannot_fire() -> None:
    """ava #232, #323: what was due in view 1 does nothing in view 2."""
    bench = Bench(me=2)
    bench.submit()
    bench.time_ms = 599
    bench.receive(certify(subject_of(X, view=1), signers=(0, 1, 3)))
    bench.tick(600)
    assert (X, 2) not in bench.own_votes()
    bench.tick(1_199)
    assert bench.own_votes() == [(X, 2)]


def test_a_block_is_only_judged_once_its_parent_is_certified() -> None:
    """ava #285: a child of an unknown parent waits, and is voted on when the certificate comes."""
    bench = Bench(me=2)
    bench.receive(certify(subject_of(X, view=1), signers=(0, 1, 3)))
    bench.receive(bench.propose(CHILD_2))
    assert bench.own_votes() == []
    assert not bench.application.holds(CHILD_2.hash), "it was not even executed"
    bench.application.absorb(BLOCK_1, ())
    bench.step(DataArrived(block_hash=BLOCK_1.hash))
    assert bench.own_votes() == []
    bench.receive(certify(subject_of(N, BLOCK_1), signers=(0, 1, 3)))
    assert (N, 2) in bench.own_votes()


def test_a_block_withheld_from_the_next_leader_is_fetched_from_its_voters() -> None:
    """commonware #2861: leader 0 sends its block to all but leader 1, who asks the voters."""
    net = Net()
    net.submit()
    net.lose(lambda packet: packet.to == 1 and isinstance(packet.message, Proposal))
    for _ in range(3):
        net.move()
    asked = [ask for index, _, ask in net.fetches if index == 1]
    assert asked
    assert set(asked[0]) <= {0, 2, 3}
    net.pass_time(3_000)
    assert min(net.heights()) >= 1
    assert net.own_votes(X, 2) == []


@pytest.mark.parametrize("alone", [0, 1, 2, 3])
def test_one_cut_off_node_neither_stops_the_others_nor_stays_behind(alone: int) -> None:
    """Section 1.6: n - f are enough; the healed node gets what it missed and follows."""
    net = Net()
    net.submit()
    others = [index for index in range(4) if index != alone]
    net.pass_time(10_000, between(others))
    assert min(net.heights(others)) >= 1
    net.lose()
    for index in range(4):
        if index != alone:
            net._post(index, net.benches[index].connect(alone))
            net._post(alone, net.benches[alone].connect(index))
    net.pass_time(10_000, everything)
    assert len(set(net.heights())) == 1


def test_two_receivers_in_turn_both_get_every_part_of_a_long_frontier() -> None:
    """A frontier of many views goes out in parts; each receiver has its own place in them.

    With one place for all, and exactly two parts, each would get the same part for ever.
    """
    bench = Bench(me=2)

    def skip(first: int, last: int) -> None:
        for view in range(first, last + 1):
            bench.receive(certify(subject_of(X, view=view), signers=(0, 1, 3)))

    skip(1, 400)
    newest = 2  # they are in every part
    part = len(bench.core._frontiers.build(9).certificates) - newest
    count = 2 * part + newest
    skip(401, count)
    seen: dict[int, set[int]] = {0: set(), 1: set()}
    for turn in range(1, 9):
        bench.time_ms = turn * 10_000
        for peer in seen:
            bench.connect(peer)
            for send, message in zip(bench.effects.send, bench.sent(), strict=True):
                if send.to == peer and isinstance(message, Frontier):
                    seen[peer] |= {each.subject.view for each in message.certificates}
    assert seen[0] == seen[1] == set(range(1, count + 1))


def test_a_status_of_a_peer_behind_is_answered_and_a_flood_of_them_is_not() -> None:
    """R10: TON's standstill traffic can become a death spiral; replies to a peer are bounded."""
    bench = Bench(me=1, blocks=[BLOCK_1])
    bench.receive(certify(subject_of(F, BLOCK_1), signers=(0, 2, 3)))
    behind = Bench(me=2)
    assert isinstance(bench.core.status(bench.now()), bytes)
    replies = 0
    for _ in range(50):
        message = behind.core.status(behind.now())
        effects = bench.receive(decoded_status(message), 2)
        replies += len(effects.send)
    assert replies == 1


def decoded_status(data: bytes) -> Status:
    message = decode_message(data)
    assert isinstance(message, Status)
    return message


def test_votes_of_a_quorum_form_the_certificate_whatever_their_order() -> None:
    """R1, R2: late, early and repeated votes of view 1 end in the same view."""
    votes = [sign(subject_of(X, view=1), signer) for signer in (0, 2, 3)]
    for order in ((0, 1, 2), (2, 1, 0), (1, 1, 0, 2, 2)):
        bench = Bench(me=1)
        bench.submit(EVENT)
        for index in order:
            bench.receive(votes[index], votes[index].signer)
        assert bench.core.current_view == 2
