r"""What the ledger says of a payload without saying what is in it.

    commitment = HMAC-SHA-256(key = blind, "tallystick/payload/v1\0" || plaintext)

The blind is 32 random bytes, fresh for every payload, and travels only among the sealed secrets.
Whoever guesses the plaintext cannot test the guess against the ledger without the blind, and equal
payloads have unrelated commitments. Nobody finds a second plaintext for the same commitment, with
any blind, unless SHA-256 collides: the key always has 32 bytes, so HMAC pads it in one way.

Either party can open the commitment to an auditor by showing blind and plaintext; no code of ours
is needed to check it:

    (printf 'tallystick/payload/v1\0'; cat FILE) |
        openssl dgst -sha256 -mac HMAC -macopt hexkey:BLIND

Once both parties have destroyed the blind, the commitment says nothing about anybody.
"""

import hmac
from typing import Final, Self

BLIND_BYTES: Final = 32

_DOMAIN = b"tallystick/payload/v1\0"


class Commitment:
    """The commitment to a plaintext that arrives in pieces."""

    __slots__ = ("_mac",)

    def __init__(self, blind: bytes) -> None:
        self._mac = hmac.new(blind, _DOMAIN, "sha256")

    def update(self, plaintext: bytes | memoryview) -> None:
        """Take the next piece in."""
        self._mac.update(plaintext)

    def copy(self) -> Self:
        """A second one that goes on from here by itself."""
        twin = object.__new__(type(self))
        twin._mac = self._mac.copy()
        return twin

    def digest(self) -> bytes:
        """The commitment to all that was taken in (32 bytes)."""
        return self._mac.digest()

    def matches(self, commitment: bytes) -> bool:
        """Whether this is the commitment on the ledger."""
        return hmac.compare_digest(self._mac.digest(), commitment)
