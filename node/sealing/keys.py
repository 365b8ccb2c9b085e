"""Pairs of encryption keys: made, written to a file, used.

Secret keys have their form in `ledger.custody.decryption`, public ones in
`ledger.custody.encryption`.
"""

import secrets
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from ledger.custody.decryption import (
    SEED_BYTES,
    derive_encryption_key,
    expand_seed,
    format_seed,
    parse_seed,
)
from ledger.custody.encryption import (
    MLKEM_BYTES,
    X25519_BYTES,
    format_fingerprint,
    hash_encryption_key,
    verify_encryption_key,
)
from node.sealing.errors import InvalidPayload

_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class DecryptionKey:
    """The secret half of a pair. Never printed: `repr` shows the fingerprint only."""

    __slots__ = ("_key", "hash", "public", "seed")

    def __init__(self, seed: bytes) -> None:
        self._key = MLKEM768X25519PrivateKey(*expand_seed(seed))
        self.seed = seed
        self.public: bytes = derive_encryption_key(seed)
        self.hash: bytes = hash_encryption_key(self.public)

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """What was sealed to this key with `info`. Raises `InvalidPayload`."""
        try:
            return _SUITE.decrypt(sealed, self._key, info=info)
        except (InvalidTag, ValueError):
            raise InvalidPayload("sealed-header-damaged") from None

    def __repr__(self) -> str:
        return f"DecryptionKey({format_fingerprint(self.hash)})"


def generate_key() -> DecryptionKey:
    """A new pair, from the system's randomness."""
    return DecryptionKey(secrets.token_bytes(SEED_BYTES))


def seal_to(public: bytes, plaintext: bytes, info: bytes) -> bytes:
    """HPKE to a public key: enc || ciphertext. Raises `InvalidKey`."""
    return _SUITE.encrypt(plaintext, _public_key(public), info=info)


# To check a key takes longer than to seal to it; there are few partners.
@lru_cache(256)
def _public_key(public: bytes) -> MLKEM768X25519PublicKey:
    verify_encryption_key(public)
    return MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(public[1 : 1 + MLKEM_BYTES]),
        X25519PublicKey.from_public_bytes(public[-X25519_BYTES:]),
    )


def format_decryption_key(key: DecryptionKey) -> str:
    """Content of a key file: one line. The file must have mode 0600."""
    return format_seed(key.seed)


def parse_decryption_key(text: str) -> DecryptionKey:
    """Key of a key file's content. Raises `InvalidKey`; the message never quotes the content."""
    return DecryptionKey(parse_seed(text))
