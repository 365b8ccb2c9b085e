"""Commitments to subjects: the documented HMAC, opened by its blind and by nothing else."""

import hashlib
import hmac

import pytest

from ledger.errors import InvalidSubject
from ledger.exchange.subjects import commit_subject, verify_subject

SUBJECT, BLIND = "91330100MA27W0000X", bytes(range(32))


def test_the_commitment_is_the_documented_hmac() -> None:
    commitment = commit_subject(SUBJECT, BLIND)
    assert commitment == hmac.digest(BLIND, SUBJECT.encode(), hashlib.sha256)
    verify_subject(commitment, SUBJECT, BLIND)


@pytest.mark.parametrize(
    ("subject", "blind"),
    [("91330100MA27W00001", BLIND), (SUBJECT, bytes(32)), (SUBJECT + "\0", BLIND)],
)
def test_nothing_else_opens_it(subject: str, blind: bytes) -> None:
    with pytest.raises(InvalidSubject):
        verify_subject(commit_subject(SUBJECT, BLIND), subject, blind)


@pytest.mark.parametrize("size", [0, 31, 33, 64, 65])
def test_a_blind_has_one_length(size: int) -> None:
    # HMAC pads the key with zeros: 31 bytes and the same with a zero byte would be one blind.
    with pytest.raises(InvalidSubject):
        commit_subject(SUBJECT, bytes(size))
