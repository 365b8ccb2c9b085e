"""The guard alone: I1, I2, I3 from the bytes it is asked to sign."""

import pytest

from ledger.keys import SecretKey
from node.simplex.errors import ConflictingVote
from node.simplex.guard import GuardedSigner
from node.simplex.messages import signed_vote
from node.simplex.types import FloorRecord, Kind, OwnVote, Subject
from tests.unit.node.simplex.builders import NETWORK_ID, make_block, seed_of, sign, subject_of

A = make_block(view=5, time_ms=10)
B = make_block(view=5, time_ms=11)
NOTARIZE_A, NOTARIZE_B = subject_of(Kind.NOTARIZE, A), subject_of(Kind.NOTARIZE, B)
FINALIZE_A, FINALIZE_B = subject_of(Kind.FINALIZE, A), subject_of(Kind.FINALIZE, B)
NULLIFY = subject_of(Kind.NULLIFY, view=5)


def make_guard() -> GuardedSigner:
    return GuardedSigner(key=SecretKey(seed_of(0)), network_id=NETWORK_ID)


def vote(guard: GuardedSigner, subject: Subject) -> bytes:
    return guard.sign_vote(signed_vote(NETWORK_ID, subject))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (NOTARIZE_A, NOTARIZE_B),
        (FINALIZE_A, FINALIZE_B),
        (NULLIFY, FINALIZE_A),
        (FINALIZE_A, NULLIFY),
        (NOTARIZE_A, FINALIZE_B),
        (FINALIZE_A, NOTARIZE_B),
        (NULLIFY, NOTARIZE_A),
    ],
)
def test_a_contradiction_is_refused_also_after_a_restart(first: Subject, second: Subject) -> None:
    guard = make_guard()
    vote(guard, first)
    with pytest.raises(ConflictingVote):
        vote(guard, second)
    restarted = make_guard()
    restarted.restore([OwnVote(vote=sign(first, 0))])
    with pytest.raises(ConflictingVote):
        vote(restarted, second)


def test_legal_pairs_and_repetition_are_signed_with_the_same_bytes() -> None:
    guard = make_guard()
    assert vote(guard, NOTARIZE_A) == vote(guard, NOTARIZE_A) == sign(NOTARIZE_A, 0).signature
    vote(guard, NULLIFY)
    restarted = make_guard()
    restarted.restore([OwnVote(vote=sign(each, 0)) for each in (NULLIFY, NOTARIZE_A)])
    assert vote(restarted, NULLIFY)


def test_nothing_is_signed_at_or_below_the_floor() -> None:
    guard = make_guard()
    guard.restore([FloorRecord(epoch=1, view=5, height=1, block_hash=bytes(32))])
    guard.advance_floor(epoch=1, view=3)
    with pytest.raises(ConflictingVote, match="floor"):
        vote(guard, NULLIFY)
    assert vote(guard, subject_of(Kind.NULLIFY, view=6))


def test_other_bytes_are_not_signed() -> None:
    guard = make_guard()
    for message in (b"", b"x" * 120, signed_vote(bytes(32), NULLIFY)):
        with pytest.raises(ConflictingVote):
            guard.sign_vote(message)
        with pytest.raises(ConflictingVote):
            guard.sign_status(message)
    with pytest.raises(ConflictingVote):
        guard.sign_status(signed_vote(NETWORK_ID, NULLIFY))


def test_a_rotation_that_forgets_a_vote_is_refused() -> None:
    guard = make_guard()
    vote(guard, NOTARIZE_A)
    floor = FloorRecord(epoch=1, view=4, height=1, block_hash=bytes(32))
    guard.check_rotation([floor, OwnVote(vote=sign(NOTARIZE_A, 0))])
    with pytest.raises(ConflictingVote):
        guard.check_rotation([floor])
