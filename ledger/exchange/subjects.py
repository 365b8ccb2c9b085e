r"""What the ledger says of a taxpayer without saying who it is.

    commitment = HMAC-SHA-256(key = blind, subject in UTF-8)

The blind is 32 random bytes, fresh for every subject of every request. It never reaches the ledger:
the requester keeps it, and the provider gets it with the subjects in a sealed payload. So equal
subjects have unrelated commitments, and whoever guesses a subject cannot test the guess without
the blind: there are few identifiers, but 2^256 blinds. Once both parties have erased the blind,
the commitment says nothing about anybody.

Either party can open a commitment to an auditor by showing subject and blind; no code of ours is
needed to check it:

    printf %s SUBJECT | openssl dgst -sha256 -mac HMAC -macopt hexkey:BLIND
"""

import hmac
from typing import Final

from ledger.errors import InvalidSubject

BLIND_BYTES: Final = 32


def commit_subject(subject: str, blind: bytes) -> bytes:
    """Commitment (32 bytes) to a subject. Raises `InvalidSubject` for a blind of another length.

    HMAC pads shorter keys and hashes longer ones, so that two blinds could be one.
    """
    if len(blind) != BLIND_BYTES:
        raise InvalidSubject(f"a blind has {BLIND_BYTES} bytes, this one {len(blind)}")
    return hmac.digest(blind, subject.encode(), "sha256")


def verify_subject(commitment: bytes, subject: str, blind: bytes) -> None:
    """Check that subject and blind open a commitment. Raises `InvalidSubject`."""
    if not hmac.compare_digest(commit_subject(subject, blind), commitment):
        raise InvalidSubject(f"{subject} and its blind do not open {commitment.hex()}")
