"""CONSENSUS section 2, Safety: the double votes and forged certificates of others, by hand."""

import pytest

from ledger.keys import SecretKey
from node.simplex import rules
from node.simplex.catchup import FrontierBuilder
from node.simplex.errors import ConflictingVote
from node.simplex.guard import GuardedSigner
from node.simplex.messages import signed_vote
from node.simplex.types import (
    Certificate,
    CertificateRecord,
    Evidence,
    Frontier,
    Kind,
    OwnVote,
    PeerVote,
    Received,
    Vote,
    WalRecord,
)
from node.simplex.votes import Verifier, verify_evidence
from tests.unit.node.simplex.builders import (
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
BLOCK_1 = make_block(view=1, proposer=0)
OTHER_1 = make_block(view=1, proposer=0, time_ms=GENESIS.time_ms + 9)


def timed_out_then_notarized() -> Bench:
    """Validator 1 nullified view 1 and learned its notarization afterwards."""
    bench = Bench(me=1, blocks=[BLOCK_1])
    bench.submit()
    bench.tick(600)
    assert bench.own_votes() == [(X, 1)]
    bench.receive(certify(subject_of(N, BLOCK_1), signers=(0, 2, 3)))
    return bench


def test_retransmission_never_signs_a_finalize_for_a_view_that_was_nullified() -> None:
    """ava #280: neither the repetition of old votes nor a restart forgets the timeout."""
    bench = timed_out_then_notarized()
    for time_ms in range(1_000, 60_000, 1_000):
        effects = bench.tick(time_ms)
        assert all(record.vote.subject.view > 1 for record in effects.persist if own(record))
    for peer in (0, 2, 3):
        bench.connect(peer)
    assert (F, 1) not in bench.own_votes()
    restarted = Bench.restarted(bench)
    restarted.tick(70_000)
    assert (F, 1) not in restarted.own_votes()
    with pytest.raises(ConflictingVote):
        restarted.core._cast(subject_of(F, BLOCK_1))


def own(record: WalRecord) -> bool:
    return isinstance(record, OwnVote)


def test_own_votes_are_forgotten_only_below_the_final_view() -> None:
    """ava #280: the flag was deleted with a finalization; ours goes with the floor that bars it."""
    bench = timed_out_then_notarized()
    child = make_block(
        view=2,
        proposer=1,
        parent_view=1,
        height=2,
        parent_hash=BLOCK_1.hash,
        time_ms=GENESIS.time_ms + 700,
    )
    assert bench.core._own.has(X, 1)
    bench.application.blocks[child.hash] = child
    bench.receive(certify(subject_of(F, child), signers=(0, 2, 3)))
    assert not bench.core._own.has(X, 1)
    assert bench.signer is not None
    with pytest.raises(ConflictingVote):
        bench.signer.sign_vote(signed_vote(NETWORK_ID, subject_of(F, BLOCK_1)))


def test_the_path_that_repeats_votes_has_no_signer() -> None:
    """ava #280: R10 cannot sign, because nothing in it can reach a key (I12)."""
    bench = Bench(me=1)
    builder = bench.core._frontiers
    assert isinstance(builder, FrontierBuilder)
    held = [getattr(builder, name) for name in vars(builder)]
    assert not any(hasattr(each, "sign_vote") or hasattr(each, "_cast") for each in held)


@pytest.mark.parametrize("first", [X, F])
def test_nullify_and_finalize_of_one_view_exclude_each_other(first: Kind) -> None:
    """ava PR #99, commonware #2290: explicit in the rules, in the core, and again in the guard."""
    assert not rules.may_nullify(view=1, current=1, has_nullified=False, has_finalized=True)
    facts = {"view": 1, "current": 2, "final_view": 0, "notarized_hash": b"x"}
    assert not rules.may_finalize(
        **facts, own_notarized_hash=None, has_nullified=True, has_finalized=False
    )
    second = F if first is X else X
    signer = GuardedSigner(key=SecretKey(seed_of(1)), network_id=NETWORK_ID)
    subjects = {X: subject_of(X, view=1), F: subject_of(F, BLOCK_1)}
    signer.sign_vote(signed_vote(NETWORK_ID, subjects[first]))
    with pytest.raises(ConflictingVote):
        signer.sign_vote(signed_vote(NETWORK_ID, subjects[second]))


@pytest.mark.parametrize(
    ("count", "quorum"), [(4, 3), (5, 4), (6, 5), (7, 5), (8, 6), (9, 7), (10, 7), (30, 21)]
)
def test_quorums_of_any_size_share_an_honest_validator(count: int, quorum: int) -> None:
    """commonware #733: 2f+1 is too small unless n = 3f+1."""
    faulty = (count - 1) // 3
    assert rules.count_quorum(count) == quorum
    assert 2 * quorum - count >= faulty + 1
    assert count - faulty >= quorum


@pytest.mark.parametrize("count", [5, 6, 8])
def test_2f_plus_1_votes_are_no_certificate(count: int) -> None:
    """commonware #733: one vote less than the quorum moves nobody, counted or certified."""
    too_few = 2 * ((count - 1) // 3) + 1
    quorum = rules.count_quorum(count)
    assert too_few < quorum
    bench = Bench(me=None, count=count)
    subject = subject_of(X, view=1)
    short = certify(subject, signers=tuple(range(too_few)), count=count)
    assert bench.receive(short).rejected[0].is_fault
    for signer in range(quorum):
        assert bench.core.current_view == 1
        bench.receive(sign(subject, signer), signer)
    assert bench.core.current_view == 2


def test_a_second_message_does_not_replace_a_verified_vote() -> None:
    """ava #546: an unverified repetition must not poison the certificate."""
    bench = Bench(me=1)
    honest = sign(subject_of(X, view=1), 2)
    bench.receive(honest, 2)
    forged = Vote(subject=honest.subject, signer=2, signature=bytes(64))
    assert bench.receive(forged, 3).rejected
    bench.receive(sign(subject_of(X, view=1), 3), 3)  # more than f: this node joins, a quorum
    certificate = next(each for each in bench.sent() if isinstance(each, Certificate))
    fresh = Verifier(network_id=NETWORK_ID, validators=keys_of(4))
    fresh.verify_certificate(certificate)
    assert honest.signature in certificate.signatures


def test_what_was_verified_is_the_bytes_and_nothing_near_them() -> None:
    """ava #555: the cache of good signatures is keyed by signer, signed bytes and signature."""
    verifier = Verifier(network_id=NETWORK_ID, validators=keys_of(4))
    vote = sign(subject_of(N, BLOCK_1), 2)
    verifier.verify_vote(vote)
    verifier.verify_vote(vote)
    nearby = [
        Vote(subject=vote.subject, signer=3, signature=vote.signature),
        Vote(subject=vote.subject, signer=2, signature=vote.signature[:-1] + b"\0"),
        Vote(subject=subject_of(F, BLOCK_1), signer=2, signature=vote.signature),
        Vote(subject=subject_of(N, OTHER_1), signer=2, signature=vote.signature),
        Vote(subject=subject_of(N, BLOCK_1, view=2), signer=2, signature=vote.signature),
    ]
    for each in nearby:
        with pytest.raises(Exception, match="does not verify"):
            verifier.verify_vote(each)
    other = Verifier(network_id=bytes(32), validators=keys_of(4))
    with pytest.raises(Exception, match="does not verify"):
        other.verify_vote(vote)


PAIRS = [((N, 1), (N, 2)), ((F, 1), (F, 2)), ((X, 0), (F, 1)), ((N, 1), (F, 2))]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_evidence_survives_a_restart(one: tuple[Kind, int], other: tuple[Kind, int]) -> None:
    """commonware #2797: the first vote is in the log, so the second convicts after a restart."""
    blocks = {1: BLOCK_1, 2: OTHER_1}
    first, second = (
        sign(subject_of(kind, blocks[which]) if which else subject_of(kind, view=1), 3)
        for kind, which in (one, other)
    )
    bench = Bench(me=1)
    assert bench.receive(first, 3).evidence == ()
    restarted = Bench.restarted(bench)
    assert restarted.effects.evidence == ()
    for each in (bench, restarted):
        (evidence,) = each.receive(second, 3).evidence
        verify_evidence(evidence, each.core._verifier)
        assert each.receive(second, 3).evidence == ()


def test_a_log_with_both_votes_reports_them_again() -> None:
    """commonware #4328: a crash between finding evidence and using it loses nothing."""
    bench = Bench(me=1)
    bench.receive(sign(subject_of(N, BLOCK_1), 3), 3)
    (evidence,) = bench.receive(sign(subject_of(N, OTHER_1), 3), 3).evidence
    for records in (bench.records, bench.core.live_records()):
        for order in (records, records[::-1]):
            restarted = Bench(me=1, records=list(order))
            (again,) = restarted.effects.evidence
            assert {again.first, again.second} == {evidence.first, evidence.second}


def test_evidence_about_a_view_that_became_final_is_reported_after_a_restart() -> None:
    """commonware #4328: the views at the crash may be below the floor of the replay."""
    bench = Bench(me=1, blocks=[BLOCK_1])
    bench.receive(sign(subject_of(N, BLOCK_1), 3), 3)
    bench.receive(sign(subject_of(N, OTHER_1), 3), 3)
    bench.receive(certify(subject_of(F, BLOCK_1), signers=(0, 2, 3)))
    restarted = Bench(me=1, records=bench.records, blocks=[BLOCK_1])
    assert restarted.core.final_view == 1
    assert [each.first.signer for each in restarted.effects.evidence] == [3]


def test_a_vote_inside_a_certificate_convicts_who_told_this_node_otherwise() -> None:
    """commonware #2797: an equivocator tells one node one thing; certificates bring the other."""
    bench = Bench(me=1, blocks=[BLOCK_1, OTHER_1])
    bench.receive(sign(subject_of(N, OTHER_1), 3), 3)
    (evidence,) = bench.receive(certify(subject_of(N, BLOCK_1), signers=(0, 2, 3))).evidence
    verify_evidence(evidence, bench.core._verifier)
    assert evidence.second.subject == subject_of(N, BLOCK_1)
    restarted = Bench(me=1, records=bench.records, blocks=[BLOCK_1])
    assert len(restarted.effects.evidence) == 1
    late = Bench(me=1, blocks=[BLOCK_1])
    late.receive(certify(subject_of(N, BLOCK_1), signers=(0, 2, 3)))
    assert len(late.receive(sign(subject_of(N, OTHER_1), 3), 3).evidence) == 1


def test_a_vote_by_the_own_key_that_was_not_cast_here_is_reported() -> None:
    """Section 1.4: two hosts with one key is the realistic double vote."""
    bench = Bench(me=1)
    bench.receive(bench.propose(BLOCK_1))
    effects = bench.receive(sign(subject_of(N, OTHER_1), 1), 2)
    assert [each.reason for each in effects.rejected] == ["another host votes with this node's key"]
    assert [each.first.signer for each in effects.evidence] == [1]
    assert bench.receive(sign(subject_of(N, BLOCK_1), 1), 2).rejected == ()


def test_legal_pairs_of_votes_are_no_evidence() -> None:
    """R12: notarize with nullify, or with finalize, of one block is what honest nodes do."""
    for second in (subject_of(X, view=1), subject_of(F, BLOCK_1)):
        bench = Bench(me=1, blocks=[BLOCK_1])
        bench.receive(sign(subject_of(N, BLOCK_1), 3), 3)
        assert bench.receive(sign(second, 3), 3).evidence == ()
        pair = Evidence(first=sign(subject_of(N, BLOCK_1), 3), second=sign(second, 3))
        with pytest.raises(Exception, match="honest"):
            verify_evidence(pair, bench.core._verifier)


def test_every_vote_is_in_the_log_of_the_same_step_that_sends_it_i4() -> None:
    """I4: what a step sends of its own is in `persist` of that step, or was before."""
    bench = Bench(me=1)
    logged: set[Vote] = set()
    steps = [
        lambda: bench.receive(bench.propose(BLOCK_1)),
        lambda: bench.receive(sign(subject_of(N, BLOCK_1), 2), 2),
        bench.submit,
        lambda: bench.tick(30_000),
        lambda: bench.connect(2),
    ]
    for step in steps:
        effects = step()
        own_now = {record.vote for record in effects.persist if isinstance(record, OwnVote)}
        assert effects.sync or not own_now
        logged |= own_now
        for message in bench.sent():
            votes = message.votes if isinstance(message, Frontier) else [message]
            assert all(vote in logged for vote in votes if is_own(vote))
    assert len(logged) >= 3


def is_own(message: object) -> bool:
    return isinstance(message, Vote) and message.signer == 1


def test_memory_under_a_flooding_validator_is_bounded_i13() -> None:
    """I13: thousands of signed votes for every view leave the window's votes, and no more."""
    bench = Bench(me=1)
    for view in range(1, 200):
        for extra in range(5):
            block = make_block(view=view, proposer=3, time_ms=GENESIS.time_ms + extra)
            for kind in (N, F):
                vote = sign(subject_of(kind, block), 3)
                bench.receive(vote, 3)
        bench.receive(sign(subject_of(X, view=view), 3), 3)
    tally = bench.core._tally
    assert max(tally._first) <= 1 + 4
    assert all(len(votes) <= 3 * 4 for votes in tally._first.values())
    peer_votes = [record for record in bench.records if isinstance(record, PeerVote)]
    assert len(peer_votes) <= 5 * 4, "three first votes a view, and one that convicts"


def test_certificates_above_the_final_view_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """ava #559, #562: a peer that repeats a long past without its finalizations fills no memory."""
    monkeypatch.setattr("node.simplex.votes.CERTIFICATES_MAX", 10)
    bench = Bench(me=1)
    for view in range(1, 30):
        bench.receive(certify(subject_of(X, view=view), signers=(0, 2, 3)))
    assert len(bench.core._store.nullified) == 10
    logged = [each for each in bench.records if isinstance(each, CertificateRecord)]
    assert len(logged) == 10
    tip = make_block(view=29, proposer=0, height=20)
    bench.application.blocks[tip.hash] = tip
    bench.core._delivery.sync(height=20, block_hash=tip.hash)
    bench.receive(certify(subject_of(F, tip), signers=(0, 2, 3)))
    assert bench.core.final_view == 29, "a finalization always gets in, and makes room"


def test_noise_with_huge_numbers_changes_nothing() -> None:
    """Views up to 2^64 are refused, out of the window, or wait without work."""
    bench = Bench(me=1)
    for view in (2**63, 2**64 - 2):
        vote = sign(subject_of(X, view=view), 2)
        assert bench.receive(vote, 2).persist == ()
        leader = (view - 1) % 4
        if leader != 1:
            far = make_block(view=view, parent_view=view - 1, proposer=leader, height=2**63)
            assert bench.receive(bench.propose(far)).persist == ()
    near = make_block(view=3, parent_view=2, proposer=2, height=2**64 - 1)
    bench.receive(bench.propose(near))
    for byte in range(256):
        bench.step(
            Received(sender=2, message=bytes([byte]) + (1).to_bytes(8, "big") + b"\xff" * 40)
        )
    assert bench.core.current_view == 1
    assert bench.own_votes() == []
