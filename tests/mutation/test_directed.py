"""Tests that a mutation called for: each kills one that no other test saw."""

from itertools import product

import msgspec
import pytest

from ledger.keys import SecretKey
from ledger.quorum.votes import is_contradiction
from node.simplex import rules
from node.simplex.errors import (
    ConflictingVote,
    CorruptChain,
    CorruptQuorum,
    InvalidEvidence,
    InvalidMessage,
)
from node.simplex.guard import GuardedSigner
from node.simplex.messages import signed_vote
from node.simplex.proposals import parse_block
from node.simplex.types import (
    BlockRecord,
    Certificate,
    CertificateRecord,
    DataArrived,
    Evidence,
    FloorRecord,
    Frontier,
    Kind,
    Message,
    OwnVote,
    Proposal,
    Received,
    Vote,
)
from node.simplex.votes import Verifier, verify_evidence
from tests.mutation.slow import SlowNetwork
from tests.unit.node.simplex.builders import (
    EVENT,
    GENESIS,
    NETWORK_ID,
    Bench,
    certify,
    keys_of,
    make_block,
    seed_of,
    sign,
    subject_of,
)

N, X, F = Kind.NOTARIZE, Kind.NULLIFY, Kind.FINALIZE
BLOCK = make_block(view=1, proposer=0)
OTHER = make_block(view=1, proposer=0, time_ms=GENESIS.time_ms + 9)
FLAGS = (False, True)


def child_of_block(**changed: int) -> Message:
    """A proposal in view 2 on `BLOCK`; change one thing."""
    fields = {"height": 2, "time_ms": BLOCK.time_ms + 1, **changed}
    block = make_block(view=2, proposer=1, parent_view=1, parent_hash=BLOCK.hash, **fields)
    return Bench(me=3).propose(block, certify(subject_of(N, BLOCK), signers=(0, 1, 2)))


# --- rules.py: every condition of the predicates, said the other way round: when it refuses -----


def test_r5_r7_the_tables_of_notarize_and_nullify() -> None:
    for view, current, one, other in product((4, 5, 6), (5,), FLAGS, FLAGS):
        refuses = view < current or view > current or one or other
        may_notarize = rules.may_notarize(
            view=view, current=current, has_notarized=one, has_nullified=other
        )
        may_nullify = rules.may_nullify(
            view=view, current=current, has_nullified=one, has_finalized=other
        )
        assert may_notarize is may_nullify is not refuses


def test_r6_the_table_of_finalize() -> None:
    for view, notarized, own, has_nullified, has_finalized in product(
        (2, 3, 4, 5), (None, b"a"), (None, b"a", b"b"), FLAGS, FLAGS
    ):
        is_outside = view in (2, 5)  # the final view and the current one
        refuses = is_outside or notarized is None or own == b"b" or has_nullified or has_finalized
        may_finalize = rules.may_finalize(
            view=view,
            current=5,
            final_view=2,
            notarized_hash=notarized,
            own_notarized_hash=own,
            has_nullified=has_nullified,
            has_finalized=has_finalized,
        )
        assert may_finalize is not refuses


def test_r3_stops_at_the_final_view() -> None:
    def choose(final_view: int) -> int | None:
        return rules.choose_parent(
            current=4, final_view=final_view, notarized={1: b"one"}, nullified={2, 3}
        )

    assert choose(1) == 1
    assert choose(2) is None


def test_r2_the_window_has_both_ends() -> None:
    def is_in(view: int) -> bool:
        return rules.is_in_window(view, current=5, final_view=3, ahead=2)

    assert [is_in(view) for view in range(3, 9)] == [False, True, True, True, True, False]


# --- votes.py ---------------------------------------------------------------------------------


def test_a_certificate_of_another_number_of_validators_is_refused() -> None:
    bench = Bench(me=1)
    effects = bench.receive(certify(subject_of(X, view=1), signers=(0, 2, 3), count=5))
    assert effects.rejected[0].is_fault
    assert bench.core.current_view == 1


@pytest.mark.parametrize("place", [0, 1, 2])
def test_every_signature_of_a_certificate_is_checked(place: int) -> None:
    bench = Bench(me=1)
    good = certify(subject_of(X, view=1), signers=(0, 2, 3))
    signatures = [*good.signatures[:place], bytes(64), *good.signatures[place + 1 :]]
    effects = bench.receive(msgspec.structs.replace(good, signatures=tuple(signatures)))
    assert effects.rejected[0].is_fault
    assert bench.core.current_view == 1


def test_what_was_verified_stands_for_no_other_bytes_ava_555() -> None:
    verifier = Verifier(network_id=NETWORK_ID, validators=keys_of(4))
    good = sign(subject_of(N, BLOCK), 2)
    verifier.verify_vote(good)
    forged = [
        msgspec.structs.replace(good, subject=subject_of(N, OTHER)),
        msgspec.structs.replace(good, signature=bytes(64)),
        msgspec.structs.replace(good, signer=3),
        msgspec.structs.replace(good, signer=4),
    ]
    for vote in forged:
        with pytest.raises(InvalidMessage):
            verifier.verify_vote(vote)


def test_an_equivocator_counts_once_in_a_view() -> None:
    bench = Bench(me=1)
    bench.receive(sign(subject_of(N, BLOCK), 3), 3)
    bench.receive(sign(subject_of(N, OTHER), 3), 3)
    for signer in (0, 2):
        bench.receive(sign(subject_of(N, OTHER), signer), signer)
    assert bench.core.current_view == 1, "two honest votes and a second one are no quorum"


def test_i6_a_nullified_view_cannot_be_finalized_either_order() -> None:
    bench = Bench(me=1, blocks=[BLOCK])
    bench.receive(certify(subject_of(X, view=1), signers=(0, 2, 3)))
    with pytest.raises(CorruptQuorum):
        bench.receive(certify(subject_of(F, BLOCK), signers=(0, 2, 3)))


def test_i6_two_notarized_blocks_above_the_final_view() -> None:
    bench = Bench(me=1, blocks=[BLOCK, OTHER])
    bench.receive(certify(subject_of(N, BLOCK), signers=(0, 2, 3)))
    with pytest.raises(CorruptQuorum):
        bench.receive(certify(subject_of(N, OTHER), signers=(0, 2, 3)))


def test_r2_certificates_below_the_final_view_are_dropped() -> None:
    child = make_block(
        view=2,
        proposer=1,
        parent_view=1,
        height=2,
        parent_hash=BLOCK.hash,
        time_ms=BLOCK.time_ms + 1,
    )
    bench = Bench(me=3, blocks=[BLOCK, child])
    bench.receive(certify(subject_of(F, child), signers=(0, 1, 2)))
    assert bench.core.final_view == 2
    effects = bench.receive(certify(subject_of(X, view=1), signers=(0, 1, 2)))
    assert effects.persist == effects.send == ()


def test_r12_evidence_names_one_signer() -> None:
    verifier = Verifier(network_id=NETWORK_ID, validators=keys_of(4))
    first = sign(subject_of(N, BLOCK), 2)
    for signer, is_evidence in ((2, True), (3, False)):
        evidence = Evidence(first=first, second=sign(subject_of(N, OTHER), signer))
        if is_evidence:
            verify_evidence(evidence, verifier)
        else:
            with pytest.raises(InvalidEvidence):
                verify_evidence(evidence, verifier)


def test_r12_votes_of_two_views_or_epochs_are_legal() -> None:
    notarize = subject_of(N, BLOCK)
    assert is_contradiction(notarize, subject_of(N, OTHER))
    for other in (
        msgspec.structs.replace(subject_of(N, OTHER), view=2),
        msgspec.structs.replace(subject_of(N, OTHER), epoch=2),
    ):
        assert not is_contradiction(notarize, other)


# --- voter.py, core.py, proposals.py ------------------------------------------------------------


def test_a_block_is_in_the_log_before_a_vote_on_it() -> None:
    bench = Bench(me=1)
    bench.receive(bench.propose(BLOCK))
    kinds = [type(record) for record in bench.records]
    assert kinds.index(BlockRecord) < kinds.index(OwnVote)
    late = Bench(me=1, blocks=[BLOCK])
    late.receive(certify(subject_of(N, BLOCK), signers=(0, 2, 3)))
    assert late.own_votes() == [(F, 1)]
    kinds = [type(record) for record in late.records]
    assert kinds.index(BlockRecord) < kinds.index(OwnVote)


def test_r6_no_finalize_before_the_block_is_held() -> None:
    bench = Bench(me=1)
    effects = bench.receive(certify(subject_of(N, BLOCK), signers=(0, 2, 3)))
    assert bench.own_votes() == []
    assert [fetch.block_hash for fetch in effects.fetch] == [BLOCK.hash]
    bench.application.absorb(BLOCK, ())
    bench.step(DataArrived(block_hash=BLOCK.hash))
    assert bench.own_votes() == [(F, 1)]


@pytest.mark.parametrize("changed", [{"height": 1}, {"height": 3}, {"time_ms": BLOCK.time_ms}])
def test_r5_height_and_time_follow_those_of_the_parent(changed: dict[str, int]) -> None:
    for proposal, expected in ((child_of_block(), N), (child_of_block(**changed), X)):
        bench = Bench(me=3, blocks=[BLOCK])
        bench.receive(proposal)
        assert (expected, 2) in bench.own_votes()


def test_r5_no_notarize_after_the_own_nullify() -> None:
    bench = Bench(me=1)
    bench.submit()
    bench.tick(600)
    bench.receive(bench.propose(BLOCK))
    assert bench.own_votes() == [(X, 1)]


def test_r5_one_notarize_a_view() -> None:
    bench = Bench(me=1)
    for block in (BLOCK, OTHER):
        bench.receive(bench.propose(block))
    assert bench.own_votes() == [(N, 1)]


def test_r4_a_proposal_justifies_its_parent_and_the_gap() -> None:
    bench = Bench(me=2, blocks=[BLOCK])
    notarization = certify(subject_of(N, BLOCK), signers=(0, 1, 3))
    nullification = certify(subject_of(X, view=2), signers=(0, 1, 3))
    bench.receive(notarization)
    bench.receive(nullification)
    bench.submit()
    (proposal,) = [each for each in bench.sent() if isinstance(each, Proposal)]
    assert proposal.justification == (notarization, nullification)


def test_a_block_that_is_no_seal_is_no_reproposal() -> None:
    seal = make_block(view=1, proposer=0, is_seal=True)
    for block, is_readable in ((seal, True), (BLOCK, False)):
        bench = Bench(me=3)
        proposal = bench.propose(block, again=subject_of(N, block, view=2, parent_view=1))
        assert (parse_block(proposal, bench.application) is not None) is is_readable


def test_a_logged_certificate_of_another_epoch_is_nothing() -> None:
    old = certify(subject_of(X, view=9, epoch=0), signers=(0, 2, 3))
    for certificate, view in ((old, 1), (certify(subject_of(X, view=9), signers=(0, 2, 3)), 10)):
        bench = Bench(me=1, records=[CertificateRecord(certificate=certificate)])
        assert bench.core.current_view == view


def test_r6_a_finalize_may_come_two_views_late() -> None:
    bench = Bench(me=3, blocks=[BLOCK])
    bench.receive(certify(subject_of(X, view=2), signers=(0, 1, 2)))
    bench.receive(certify(subject_of(N, BLOCK), signers=(0, 1, 2)))
    assert bench.own_votes() == [(F, 1)]


def test_i8_a_restart_keeps_the_floor_of_the_log() -> None:
    floor = FloorRecord(epoch=1, view=50, height=40, block_hash=BLOCK.hash)
    bench = Bench(me=1, records=[floor])
    assert (bench.core.final_view, bench.core.current_view) == (50, 51)


def test_a_finalization_is_synced_before_its_block_is_committed() -> None:
    bench = Bench(me=None, blocks=[BLOCK])
    effects = bench.receive(certify(subject_of(F, BLOCK)))
    assert effects.commit
    assert effects.sync


def test_i7_a_final_chain_with_a_hole_stops_the_node() -> None:
    """The block claims height 2, and its parent is the genesis at height 0."""
    block = make_block(view=1, proposer=0, height=2)
    bench = Bench(me=1, blocks=[block])
    with pytest.raises(CorruptChain, match="I7"):
        bench.receive(certify(subject_of(F, block), signers=(0, 2, 3)))


def test_a_waiting_seal_is_demand_at_once() -> None:
    seal = make_block(view=1, proposer=0, is_seal=True)
    bench = Bench(me=3, blocks=[seal])
    bench.receive(certify(subject_of(N, seal), signers=(0, 1, 2)))
    assert bench.core._pace.has_demand
    assert bench.core._pace.timeout_ms() == 600


def test_a_seal_that_was_repeated_waits_like_any_other_tip() -> None:
    seal = make_block(view=1, proposer=0, is_seal=True)
    again = subject_of(N, seal, view=2, parent_view=1)
    bench = Bench(me=3, blocks=[seal])
    for subject in (subject_of(N, seal), again):
        bench.receive(certify(subject, signers=(0, 1, 2)))
    bench.tick(1_199)
    assert not bench.core._pace.has_demand
    bench.tick(1_200)
    assert bench.core._pace.has_demand


def test_r8_the_timer_starts_with_demand() -> None:
    bench = Bench(me=3)
    bench.time_ms = 10_000
    bench.submit()
    assert bench.core._pace.timeout_ms() == 10_600


def test_r9_c_a_proposal_is_demand() -> None:
    """It is not voted for, and nothing is pending here: the timer runs all the same."""
    late = make_block(view=1, proposer=0, time_ms=GENESIS.time_ms + 10_000)
    bench = Bench(me=3)
    bench.receive(bench.propose(late))
    assert bench.core._pace.has_demand
    assert bench.own_votes() == []


def test_i13_a_proposal_far_ahead_is_not_kept() -> None:
    bench = Bench(me=1)
    bench.receive(bench.propose(make_block(view=400, proposer=3)))
    assert not bench.core._proposals._views


def test_a_proposal_comes_from_its_leader_with_the_header_it_signed() -> None:
    good = Bench(me=1).propose(BLOCK)
    other = Bench(me=1).propose(OTHER)
    lies = [
        (good, 2),
        (msgspec.structs.replace(good, vote=sign(subject_of(N, BLOCK), 2)), 0),
        (msgspec.structs.replace(good, vote=sign(subject_of(N, BLOCK), 2)), 2),
        (msgspec.structs.replace(good, vote=sign(subject_of(F, BLOCK), 0)), 0),
        (msgspec.structs.replace(good, header=other.header), 0),
    ]
    for proposal, sender in lies:
        bench = Bench(me=1)
        effects = bench.receive(proposal, sender)
        assert [each.is_fault for each in effects.rejected] == [True]
        assert bench.own_votes() == []


def test_a_status_comes_from_its_signer() -> None:
    behind, bench = Bench(me=2), Bench(me=1, blocks=[BLOCK])
    bench.receive(certify(subject_of(N, BLOCK), signers=(0, 2, 3)))
    status = behind.core.status(behind.now())
    effects = bench.step(Received(sender=3, message=status))
    assert effects.rejected[0].is_fault
    assert effects.send == ()


def test_r10_a_frontier_has_the_own_votes_and_the_finalization() -> None:
    bench = Bench(me=1, blocks=[BLOCK])
    final = certify(subject_of(F, BLOCK), signers=(0, 2, 3))
    bench.receive(final)
    bench.receive(sign(subject_of(X, view=2), 2), 2)
    bench.receive(sign(subject_of(X, view=2), 3), 3)
    bench.tick(60_000)
    assert bench.own_votes() == [(X, 2)]
    bench.connect(3)
    frontier = bench.sent()[0]
    assert isinstance(frontier, Frontier)
    assert final in frontier.certificates
    assert [vote.subject for vote in frontier.votes] == [subject_of(X, view=2)]


def test_r9_b_a_notarized_tip_alone_is_demand_after_four_delta() -> None:
    bench = Bench(me=3, blocks=[BLOCK])
    bench.receive(certify(subject_of(N, BLOCK), signers=(0, 1, 2)))
    bench.tick(1_199)
    assert not bench.core._pace.has_demand
    bench.tick(1_200)
    assert bench.core._pace.has_demand


def test_r8_growth_counts_from_the_final_view_not_from_a_notarized_one() -> None:
    """View 10 after two rounds without finality: g = 1.5^2, although view 3 was notarized."""
    block = make_block(view=3, proposer=2)
    bench = Bench(me=3, blocks=[block])
    bench.receive(certify(subject_of(N, block), signers=(0, 1, 2)))
    for view in range(4, 10):
        bench.receive(certify(subject_of(X, view=view), signers=(0, 1, 2)))
    assert bench.core.current_view == 10
    bench.submit()
    assert bench.core._pace.timeout_ms() == 600 * 9 // 4


# --- guard.py -------------------------------------------------------------------------------------


def test_the_guard_refuses_votes_of_another_form() -> None:
    guard = GuardedSigner(key=SecretKey(seed_of(0)), network_id=NETWORK_ID)
    message = signed_vote(NETWORK_ID, subject_of(X, view=1))
    kind_at = len(message) - 17
    forms = [
        message + b"\0",
        message[:-1],
        message[:kind_at] + b"\x04" + message[kind_at + 1 :],
        signed_vote(NETWORK_ID, subject_of(N, BLOCK))[:-1],
    ]
    for form in forms:
        with pytest.raises(ConflictingVote):
            guard.sign_vote(form)


def test_the_guard_keeps_its_floor_through_a_rotation_and_a_restart() -> None:
    guard = GuardedSigner(key=SecretKey(seed_of(0)), network_id=NETWORK_ID)
    guard.advance_floor(epoch=1, view=9)
    lower = FloorRecord(epoch=1, view=8, height=1, block_hash=bytes(32))
    with pytest.raises(ConflictingVote, match="floor"):
        guard.check_rotation([lower])
    guard.check_rotation([msgspec.structs.replace(lower, view=9)])


# --- Rules that save time: measured to finality, in virtual milliseconds -------------------------


def test_r2_a_forwarded_certificate_reaches_who_lost_the_votes() -> None:
    """Node 3 hears no votes but its own and the leader's: the certificates bring the rest."""

    def loses(sender: int, to: int, message: Message) -> bool:
        return to == 3 and isinstance(message, Vote)

    network = SlowNetwork(loses=loses)
    network.submit(at=(0, 1, 2, 3))
    took_ms = network.run(lambda: network.height(3) == 1)
    assert took_ms <= 100


def test_r5_a_proposal_brings_what_justifies_it() -> None:
    """Node 2 is down, and node 3 gets proposals only: its vote is needed in view 2."""

    def loses(sender: int, to: int, message: Message) -> bool:
        return to == 3 and isinstance(message, Vote | Certificate)

    network = SlowNetwork(down=(2,), loses=loses)
    network.submit(at=(0, 1, 3))
    network.run(lambda: network.nodes[1].core.current_view == 2)
    network.submit(at=(0, 1, 3), event=EVENT + b" second")
    took_ms = network.run(lambda: network.height(1) == 1)
    assert took_ms <= 200


def test_r9_d_who_knows_no_event_joins_when_more_than_f_nullify() -> None:
    """The leader of view 1 is down; node 3 has no event: its nullify is needed all the same."""
    network = SlowNetwork(down=(0,))
    network.submit(at=(1, 2))
    took_ms = network.run(lambda: network.height(1) == 1)
    assert took_ms <= 2_000


def test_r9_d_who_joined_without_an_event_repeats_its_nullify() -> None:
    """Its nullify may be the one that lacks, and be lost: joining is demand as well."""
    bench = Bench(me=3, count=7)
    for signer in (1, 2, 4):
        bench.receive(sign(subject_of(X, view=1), signer), signer)
    assert bench.own_votes() == [(X, 1)]
    bench.tick(1_250)
    frontier = bench.sent()[0]
    assert isinstance(frontier, Frontier)
    assert [vote.subject for vote in frontier.votes] == [subject_of(X, view=1)]
