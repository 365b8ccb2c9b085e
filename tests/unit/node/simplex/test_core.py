"""The core by hand: rules R1 to R12, invariants, and the traps of CONSENSUS section 2."""

import pytest

from node.simplex.errors import ConflictingVote, CorruptQuorum, CorruptWal, InvalidEvidence
from node.simplex.messages import FRONTIER_BYTES_MAX, encode_message, signed_vote
from node.simplex.pacemaker import VOTE_VIEWS_AHEAD
from node.simplex.types import (
    Block,
    Certificate,
    CertificateRecord,
    Evidence,
    FloorRecord,
    Frontier,
    Kind,
    OwnVote,
    PeerVote,
    Proposal,
    Received,
    Synced,
    Vote,
)
from node.simplex.votes import verify_evidence
from tests.unit.node.simplex.builders import (
    EVENT,
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
BLOCK_1 = make_block(view=1, proposer=0)


def test_r4_the_leader_logs_block_and_vote_before_it_sends() -> None:
    bench = Bench(me=0)
    effects = bench.submit()
    assert [type(each).__name__ for each in effects.persist] == ["BlockRecord", "OwnVote"]
    assert effects.sync
    proposal = bench.sent()[0]
    assert isinstance(proposal, Proposal)
    assert proposal.justification == ()
    assert bench.own_votes() == [(N, 1)]


def test_r5_r6_r11_a_view_runs_to_finality() -> None:
    bench = Bench(me=1)
    bench.receive(bench.propose(BLOCK_1))
    assert bench.own_votes() == [(N, 1)]
    bench.receive(sign(subject_of(N, BLOCK_1), 2), 2)
    assert bench.core.current_view == 2
    assert bench.own_votes() == [(N, 1), (F, 1)]
    bench.receive(sign(subject_of(F, BLOCK_1), 2), 2)
    effects = bench.receive(sign(subject_of(F, BLOCK_1), 3), 3)
    assert [block.hash for block in effects.commit] == [BLOCK_1.hash]
    assert bench.core.final_view == 1
    assert bench.receive(certify(subject_of(F, BLOCK_1))).commit == ()


def test_r9_an_idle_node_is_silent_but_for_the_heartbeat() -> None:
    bench = Bench(me=0)
    assert bench.effects.wake_ms is not None
    assert bench.effects.wake_ms > 3_000_000
    effects = bench.tick(60_000)
    assert effects.send == ()
    bench.tick(effects.wake_ms or 0)
    assert bench.own_votes() == [(N, 1)]


def test_r9_b_a_notarized_tip_is_flushed_by_one_empty_block_after_four_delta() -> None:
    bench = Bench(me=1, blocks=[BLOCK_1])
    effects = bench.receive(certify(subject_of(N, BLOCK_1), signers=(0, 2, 3)))
    assert bench.own_votes() == [(F, 1)]
    bench.tick(1_199)
    assert bench.own_votes() == [(F, 1)]
    bench.tick(1_200)
    assert effects.wake_ms is not None
    assert effects.wake_ms <= 1_200
    assert bench.own_votes() == [(F, 1), (N, 2)]


def test_r8_leader_must_time_out_on_its_own_round_ava_234() -> None:
    bench = Bench(me=0)
    bench.submit()
    bench.tick(899)
    assert bench.own_votes() == [(N, 1)]
    bench.tick(900)
    assert bench.own_votes() == [(N, 1), (X, 1)]


def test_r8_a_timer_of_a_left_view_cannot_fire_ava_232() -> None:
    bench = Bench(me=2)
    bench.submit()
    bench.time_ms = 599
    bench.receive(certify(subject_of(X, view=1), signers=(0, 1, 3)))
    bench.tick(600)
    assert (X, 2) not in bench.own_votes()
    bench.tick(1_199)
    assert bench.own_votes() == [(X, 2)]


def test_r4_a_leader_with_nothing_to_propose_nullifies_at_once() -> None:
    bench = Bench(me=0)
    bench.receive(sign(subject_of(X, view=1), 1), 1)
    assert bench.own_votes() == []
    bench.receive(sign(subject_of(X, view=1), 2), 2)
    assert (X, 1) in bench.own_votes()


def test_r4_a_failed_build_is_a_nullify() -> None:
    bench = Bench(me=0)
    bench.application.builds = False
    bench.submit()
    assert bench.own_votes() == [(X, 1)]


def test_r7_the_leaders_own_nullify_ends_the_view() -> None:
    bench = Bench(me=2)
    bench.receive(sign(subject_of(X, view=1), 0), 0)
    assert bench.own_votes() == [(X, 1)]


def test_r7_a_silent_leader_is_skipped_only_while_a_quorum_is_active() -> None:
    for active, expected in (((1, 3), [(X, 1)]), ((1,), [])):
        bench = Bench(me=2)
        bench.time_ms = 40_000
        for peer in active:
            bench.receive(Frontier(epoch=1, certificates=(), votes=()), peer)
        bench.submit()
        assert bench.own_votes() == expected


def test_r7_a_dead_leader_costs_one_timeout_until_it_is_heard_again() -> None:
    bench = Bench(me=2)
    bench.submit()
    bench.tick(600)
    assert bench.own_votes() == [(X, 1)]
    hello = Frontier(epoch=1, certificates=(), votes=())
    for view in (1, 2, 3, 4):
        for peer in (1, 3):
            bench.receive(hello, peer)
        bench.receive(certify(subject_of(X, view=view), signers=(1, 2, 3)), 1)
    assert (X, 5) in bench.own_votes(), "no second timeout for the dead leader of view 1"
    for view in (5, 6, 7, 8):
        bench.receive(certify(subject_of(X, view=view), signers=(1, 2, 3)), 1)
        bench.receive(hello, 0)
    assert (X, 9) not in bench.own_votes(), "it was heard again: it gets its time"
    bench.tick(600 + bench.time_ms)
    assert (X, 9) not in bench.own_votes(), "growth makes the timer of view 9 longer"
    bench.tick(bench.time_ms + 60_000)
    assert (X, 9) in bench.own_votes()


def test_r5_an_invalid_proposal_is_nullified_and_an_untimely_one_waits() -> None:
    bench = Bench(me=1)
    bench.receive(bench.propose(make_block(view=1, proposer=0, data_root=bytes(32))))
    assert bench.own_votes() == [(X, 1)]
    bench = Bench(me=1)
    late = make_block(view=1, proposer=0, time_ms=GENESIS.time_ms + 10_000)
    bench.receive(bench.propose(late))
    assert bench.own_votes() == []
    bench.tick(10_000)
    assert bench.own_votes() == [(X, 1)]


def child_of_one_ahead(*, after_ms: int) -> tuple[Block, Block]:
    """A block of an hour ahead, and a child of it."""
    parent = make_block(view=1, proposer=0, time_ms=GENESIS.time_ms + 3_600_000)
    child = make_block(
        view=2,
        parent_view=1,
        height=2,
        parent_hash=parent.hash,
        proposer=1,
        time_ms=parent.time_ms + after_ms,
    )
    return parent, child


@pytest.mark.parametrize(("after_ms", "expected"), [(1, [(F, 1), (N, 2)]), (2, [(F, 1)])])
def test_time_ahead_is_accepted_only_from_who_cannot_propose_an_earlier_one(
    after_ms: int, expected: list[tuple[Kind, int]]
) -> None:
    """The clocks of a quorum were an hour ahead once, and are right again: the chain goes on."""
    parent, child = child_of_one_ahead(after_ms=after_ms)
    bench = Bench(me=2, blocks=[parent])
    bench.receive(bench.propose(child, certify(subject_of(N, parent), signers=(0, 1, 3))))
    assert bench.own_votes() == expected


def test_a_time_from_long_ago_is_not_accepted_because_the_parent_is_older() -> None:
    bench = Bench(me=1, time_ms=10_000)
    bench.receive(bench.propose(make_block(view=1, proposer=0, time_ms=GENESIS.time_ms + 1)))
    assert bench.own_votes() == []


@pytest.mark.parametrize(("ahead_ms", "waits"), [(400, True), (600, False)])
def test_the_leader_waits_for_a_parent_only_if_its_clock_gets_there(
    ahead_ms: int, waits: bool
) -> None:
    wall_ms = Bench().now().wall_ms
    parent = make_block(view=1, proposer=0, time_ms=wall_ms + ahead_ms)
    bench = Bench(me=1, blocks=[parent])
    bench.submit()
    bench.receive(certify(subject_of(N, parent), signers=(0, 2, 3)))
    assert ((N, 2) not in bench.own_votes()) is waits
    bench.tick(401)
    assert (N, 2) in bench.own_votes()


def test_r9_b_a_tip_that_was_nullified_too_is_flushed_at_once() -> None:
    """Its own finalize votes can never be enough: waiting for them only prolongs a stall."""
    bench = Bench(me=3, blocks=[BLOCK_1])
    bench.receive(certify(subject_of(N, BLOCK_1), signers=(0, 1, 2)))
    assert not bench.core._pace.has_demand
    bench.receive(certify(subject_of(X, view=1), signers=(0, 1, 2)))
    assert bench.core._pace.has_demand


def test_r8_a_proposal_with_a_wrong_time_gets_no_longer_timer() -> None:
    """No vote can follow here: three times the growth would be waited for nothing."""
    bench = Bench(me=1)
    for view in range(1, 5):
        bench.receive(certify(subject_of(X, view=view), signers=(0, 2, 3)))
    wrong = make_block(view=5, proposer=0, time_ms=GENESIS.time_ms + 10_000)
    bench.receive(bench.propose(wrong))
    assert bench.core._pace._growth() == (3, 2)
    bench.tick(599)
    assert bench.own_votes() == []
    bench.tick(600)
    assert bench.own_votes() == [(X, 5)]


def test_r7_more_than_f_nullify_end_the_view_and_f_do_not() -> None:
    """Who cast nullify casts no finalize: the view cannot become final any more."""
    bench = Bench(me=1, count=7)
    bench.submit()
    for signer in (2, 3):
        bench.receive(sign(subject_of(X, view=1), signer), signer)
    assert bench.own_votes() == []
    bench.receive(sign(subject_of(X, view=1), 4), 4)
    assert bench.own_votes() == [(X, 1)]


def test_r7_split_votes_end_the_view() -> None:
    """The leader gave each half another block: neither can get a quorum, so nobody waits."""
    other = make_block(view=1, proposer=0, time_ms=GENESIS.time_ms + 2)
    bench = Bench(me=1, count=6)
    bench.receive(bench.propose(BLOCK_1))
    bench.receive(sign(subject_of(N, other), 2), 2)
    assert bench.own_votes() == [(N, 1)], "5 of 6 are a quorum: two votes and three to come"
    bench.receive(sign(subject_of(N, other), 3), 3)
    assert bench.own_votes() == [(N, 1), (X, 1)]
    # A vote and the timer of the one that cast it are one validator.
    bench = Bench(me=1, count=6)
    bench.receive(bench.propose(BLOCK_1))
    bench.receive(sign(subject_of(N, BLOCK_1), 2), 2)
    bench.receive(sign(subject_of(X, view=1), 2), 2)
    assert bench.own_votes() == [(N, 1)]


def test_r4_a_leader_that_waits_for_its_parent_sleeps() -> None:
    """Its clock allows it to propose, but the parent that is certified since then is not here.

    A wake time in the past made the driver spin until the parent came.
    """
    bench = Bench(me=1, time_ms=-300)
    bench.receive(certify(subject_of(X, view=1), signers=(0, 2, 3)))
    bench.submit()
    assert bench.own_votes() == [], "the genesis is ahead of this clock"
    bench.receive(certify(subject_of(N, BLOCK_1), signers=(0, 2, 3)))
    wake_ms = bench.tick(0).wake_ms
    assert bench.own_votes() == []
    assert wake_ms is not None
    assert wake_ms > 0


def test_r5_missing_data_is_fetched_and_judged_again_never_a_cached_no() -> None:
    other = Bench()
    other.application.submit(EVENT)
    refs = tuple(other.application.pool)
    block = make_block(view=1, proposer=0, refs=refs)
    bench = Bench(me=1)
    effects = bench.receive(bench.propose(block))
    assert [(each.block_hash, each.ask) for each in effects.fetch] == [(block.hash, (0,))]
    bench.application.events[refs[0]] = EVENT
    bench.step(DataArrived(block_hash=block.hash))
    assert bench.own_votes() == [(N, 1)]


def test_r5_justification_heals_split_views_commonware_2137() -> None:
    """Some hold notarization(1), others nullification(1): the proposal carries what they lack."""
    child = make_block(
        view=2,
        proposer=1,
        parent_view=1,
        height=2,
        parent_hash=BLOCK_1.hash,
        time_ms=GENESIS.time_ms + 5,
    )
    bench = Bench(me=2, blocks=[BLOCK_1])
    bench.receive(certify(subject_of(X, view=1), signers=(0, 1, 3)))
    assert bench.core.current_view == 2
    notarization = certify(subject_of(N, BLOCK_1), signers=(0, 1, 3))
    bench.receive(bench.propose(child, notarization))
    assert (N, 2) in bench.own_votes()
    sibling = make_block(view=2, proposer=1, parent_view=0)
    bench = Bench(me=2, blocks=[BLOCK_1])
    bench.receive(notarization)
    bench.receive(bench.propose(sibling))
    assert (N, 2) not in bench.own_votes()
    bench.receive(certify(subject_of(X, view=1), signers=(0, 1, 3)))
    assert (N, 2) in bench.own_votes()


def test_r6_no_finalize_after_nullify_ava_280_also_after_restart_and_retransmission() -> None:
    bench = Bench(me=1, blocks=[BLOCK_1])
    bench.submit()
    bench.tick(600)
    assert bench.own_votes() == [(X, 1)]
    bench.receive(certify(subject_of(N, BLOCK_1), signers=(0, 2, 3)))
    bench.tick(5_000)
    assert (F, 1) not in bench.own_votes()
    restarted = Bench(me=1, records=bench.records, blocks=[BLOCK_1])
    restarted.tick(5_000)
    assert (F, 1) not in restarted.own_votes()
    with pytest.raises(ConflictingVote):
        restarted.core._cast(subject_of(F, BLOCK_1))


def test_r6_a_late_notarization_is_finalized_after_its_view_was_left_commonware_2695() -> None:
    bench = Bench(me=1, blocks=[BLOCK_1])
    bench.receive(certify(subject_of(X, view=1), signers=(0, 2, 3)))
    bench.receive(certify(subject_of(N, BLOCK_1), signers=(0, 2, 3)))
    assert bench.own_votes() == [(F, 1), (N, 2)]


def test_r1_entering_by_certificate_starts_the_view_ava_471() -> None:
    bench = Bench(me=1)
    bench.submit()
    bench.receive(certify(subject_of(X, view=1), signers=(0, 2, 3)))
    assert bench.own_votes() == [(N, 2)]


def test_r2_votes_outside_the_window_are_not_kept_i13() -> None:
    bench = Bench(me=1)
    bench.receive(sign(subject_of(X, view=1 + VOTE_VIEWS_AHEAD), 2), 2)
    assert len(bench.effects.persist) == 1
    bench.receive(sign(subject_of(X, view=2 + VOTE_VIEWS_AHEAD), 2), 2)
    assert bench.effects.persist == ()


def test_r2_certificates_from_far_ahead_are_accepted_and_forwarded_once() -> None:
    bench = Bench(me=1)
    certificate = certify(subject_of(X, view=900), signers=(0, 2, 3))
    bench.receive(certificate)
    assert bench.core.current_view == 901
    assert certificate in bench.sent()
    assert bench.receive(certificate).send == ()


def test_a_certificate_below_the_quorum_or_with_a_bad_signature_changes_nothing() -> None:
    bench = Bench(me=1)
    subject = subject_of(X, view=1)
    good = certify(subject)
    bad: list[Certificate] = [
        certify(subject, signers=(1, 2)),
        Certificate(subject=subject, committee=4, signers=(0, 2, 3), signatures=good.signatures),
        certify(subject, signers=(0, 1, 2, 3, 4), count=5),
    ]
    for certificate in bad:
        effects = bench.receive(certificate)
        assert effects.rejected[0].is_fault
        assert effects.persist == ()
        assert bench.core.current_view == 1


def test_a_later_vote_does_not_replace_a_verified_one_ava_546() -> None:
    bench = Bench(me=1)
    honest = sign(subject_of(X, view=1), 2)
    bench.receive(honest, 2)
    forged = Vote(subject=honest.subject, signer=2, signature=bytes(64))
    assert bench.receive(forged, 3).rejected
    bench.receive(sign(subject_of(X, view=1), 3), 3)  # more than f: this node joins, a quorum
    certificate = next(each for each in bench.sent() if isinstance(each, Certificate))
    bench.core._verifier.verify_certificate(certificate)
    assert bench.core.current_view == 2


def test_wrong_epoch_and_wrong_network_are_rejected_commonware_4038_ava_554() -> None:
    bench = Bench(me=1)
    assert bench.receive(certify(subject_of(X, view=1, epoch=2))).rejected
    other = sign(subject_of(X, view=1), 2, network_id=bytes(32))
    assert bench.receive(other, 2).rejected
    assert bench.core.current_view == 1


def test_noise_is_rejected_with_blame() -> None:
    bench = Bench(me=1)
    for message in (b"", b"\x09" + bytes(40), b"\x01" + bytes(8), bytes(2_000_000)):
        assert bench.step(Received(sender=2, message=message)).rejected


@pytest.mark.parametrize(
    ("one", "other"), [((N, 1), (N, 2)), ((F, 1), (F, 2)), ((X, 0), (F, 1)), ((N, 1), (F, 2))]
)
def test_r12_evidence_is_found_once_verifies_and_survives_a_restart_commonware_2797(
    one: tuple[Kind, int], other: tuple[Kind, int]
) -> None:
    blocks = {1: BLOCK_1, 2: make_block(view=1, proposer=0, time_ms=GENESIS.time_ms + 9)}
    subjects = [
        subject_of(kind, blocks[which]) if which else subject_of(kind, view=1)
        for kind, which in (one, other)
    ]
    bench = Bench(me=1)
    bench.receive(sign(subjects[0], 3), 3)
    assert any(isinstance(record, PeerVote) for record in bench.records)
    restarted = Bench(me=1, records=bench.records)
    for each in (bench, restarted):
        evidence = each.receive(sign(subjects[1], 3), 3).evidence
        assert len(evidence) == 1
        verify_evidence(evidence[0], each.core._verifier)
        assert each.receive(sign(subjects[1], 3), 3).evidence == ()


def test_r12_a_notarize_and_a_nullify_are_no_evidence() -> None:
    bench = Bench(me=1)
    bench.receive(sign(subject_of(N, BLOCK_1), 3), 3)
    assert bench.receive(sign(subject_of(X, view=1), 3), 3).evidence == ()
    one, two = sign(subject_of(N, BLOCK_1), 3), sign(subject_of(X, view=1), 3)
    with pytest.raises(InvalidEvidence):
        verify_evidence(Evidence(first=one, second=two), bench.core._verifier)


def test_i6_contradicting_certificates_stop_the_node() -> None:
    other = make_block(view=1, proposer=0, time_ms=GENESIS.time_ms + 9)
    for second in (subject_of(N, other), subject_of(F, other), subject_of(X, view=1)):
        bench = Bench(me=1, blocks=[BLOCK_1])
        bench.receive(certify(subject_of(F, BLOCK_1), signers=(0, 2, 3)))
        with pytest.raises(CorruptQuorum) as raised:
            bench.receive(certify(second, signers=(0, 2, 3)))
        assert raised.value.first
        assert raised.value.second


def test_restart_counts_own_votes_again_commonware_4275() -> None:
    """All nodes crashed after their nullify: the frontier and the own recount complete it."""
    nullify = subject_of(X, view=1)
    records = [OwnVote(vote=sign(nullify, 1)), PeerVote(vote=sign(nullify, 2))]
    bench = Bench(me=1, records=list(records))
    assert isinstance(bench.sent()[0], Frontier)
    bench.receive(Frontier(epoch=1, certificates=(), votes=(sign(nullify, 3),)), 3)
    assert bench.core.current_view == 2
    third = PeerVote(vote=sign(nullify, 3))
    assert Bench(me=1, records=[*records, third]).core.current_view == 2


def test_replay_does_not_depend_on_the_order_of_records_ava_328() -> None:
    bench = Bench(me=1)
    bench.receive(bench.propose(BLOCK_1))
    bench.receive(sign(subject_of(N, BLOCK_1), 2), 2)
    bench.submit()
    bench.tick(5_000)
    states = []
    for records in (bench.records, bench.records[::-1]):
        restarted = Bench(me=1, records=records, blocks=[BLOCK_1])
        restarted.tick(1)
        live = {repr(record) for record in restarted.core.live_records()}
        states.append((restarted.core.current_view, restarted.core.final_view, live))
    assert states[0] == states[1]


def test_live_records_restore_the_same_state_and_pass_the_guard() -> None:
    bench = Bench(me=1)
    bench.receive(bench.propose(BLOCK_1))
    bench.receive(sign(subject_of(N, BLOCK_1), 2), 2)
    live = bench.core.live_records()
    assert bench.signer is not None
    bench.signer.check_rotation(live)
    again = Bench(me=1, records=live, blocks=[BLOCK_1])
    assert [repr(each) for each in again.core.live_records()] == [repr(each) for each in live]


def test_a_logged_vote_that_does_not_verify_is_corrupt() -> None:
    vote = Vote(subject=subject_of(X, view=1), signer=1, signature=bytes(64))
    with pytest.raises(CorruptWal):
        Bench(me=1, records=[OwnVote(vote=vote)])


def test_r10_frontier_repeats_stored_bytes_only_and_is_bounded_i12() -> None:
    bench = Bench(me=2)
    certificates = [certify(subject_of(X, view=v), signers=(0, 1, 3)) for v in range(1, 401)]
    for certificate in certificates:
        bench.receive(certificate)
    logged = {
        record.certificate for record in bench.records if isinstance(record, CertificateRecord)
    }
    seen: set[Certificate] = set()
    for _ in range(4):
        frontier = encode_message(bench.core._frontiers.build())
        assert len(frontier) <= FRONTIER_BYTES_MAX
        bench.connect(1)
        sent = bench.sent()[0]
        assert isinstance(sent, Frontier)
        assert bench.effects.persist == ()
        assert set(sent.certificates) <= logged
        seen |= set(sent.certificates)
        assert certificates[-1] in sent.certificates
    assert len(seen) > 300


def test_r10_broadcast_each_second_while_unsettled_and_reply_to_a_peer_behind() -> None:
    bench = Bench(me=1, blocks=[BLOCK_1])
    bench.receive(certify(subject_of(N, BLOCK_1), signers=(0, 2, 3)))
    bench.tick(1_037)
    assert any(isinstance(each, Frontier) for each in bench.sent())
    peer = Bench(me=2)
    status = peer.core.status(peer.now())
    effects = bench.step(Received(sender=2, message=status))
    assert [send.to for send in effects.send] == [2]
    assert bench.step(Received(sender=2, message=status)).send == ()


def test_r11_missing_ancestors_are_fetched_and_delivered_in_order() -> None:
    block_2 = make_block(
        view=2,
        proposer=1,
        parent_view=1,
        height=2,
        parent_hash=BLOCK_1.hash,
        time_ms=GENESIS.time_ms + 5,
    )
    bench = Bench(me=None)
    effects = bench.receive(certify(subject_of(F, block_2)))
    assert [fetch.block_hash for fetch in effects.fetch] == [block_2.hash]
    bench.application.absorb(block_2, ())
    effects = bench.step(DataArrived(block_hash=block_2.hash))
    assert [fetch.block_hash for fetch in effects.fetch] == [BLOCK_1.hash]
    asked = [time_ms for time_ms in range(0, 9_000, 100) if bench.tick(time_ms).fetch]
    assert asked == [500, 1_500, 3_500, 7_500], "again, and ever less often"
    assert bench.tick(9_100).fetch == ()
    assert bench.connect(3).fetch != (), "what was asked on the link before is lost with it"
    assert [time_ms for time_ms in range(9_200, 10_000, 100) if bench.tick(time_ms).fetch] == [
        9_600
    ]
    bench.application.absorb(BLOCK_1, ())
    effects = bench.step(DataArrived(block_hash=BLOCK_1.hash))
    assert [block.height for block in effects.commit] == [1, 2]


def test_state_sync_moves_the_floor_and_it_never_moves_back_i8() -> None:
    bench = Bench(me=1)
    tip = make_block(view=50, proposer=1, height=40)
    bench.application.blocks[tip.hash] = tip
    effects = bench.step(Synced(view=50, height=40, block_hash=tip.hash))
    assert any(isinstance(record, FloorRecord) for record in effects.persist)
    bench.step(Synced(view=7, height=6, block_hash=BLOCK_1.hash))
    bench.receive(certify(subject_of(F, BLOCK_1)))
    assert (bench.core.final_view, bench.core.current_view) == (50, 51)
    assert bench.signer is not None
    with pytest.raises(ConflictingVote):
        bench.signer.sign_vote(signed_vote(NETWORK_ID, subject_of(X, view=50)))


def test_i13_a_leader_that_floods_a_view_keeps_two_proposals_ava_541() -> None:
    bench = Bench(me=1)
    for extra in range(5):
        block = make_block(view=2, proposer=1, time_ms=GENESIS.time_ms + 1 + extra)
        bench = bench if extra else Bench(me=2)
        bench.receive(bench.propose(block), 1)
    assert len(bench.core._proposals._views[2]) == 2


def test_an_observer_follows_without_voting() -> None:
    bench = Bench(me=None)
    bench.receive(bench.propose(BLOCK_1))
    bench.receive(certify(subject_of(N, BLOCK_1)))
    effects = bench.receive(certify(subject_of(F, BLOCK_1)))
    assert [block.hash for block in effects.commit] == [BLOCK_1.hash]
    assert bench.own_votes() == []
    assert effects.send == ()
