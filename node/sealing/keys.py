"""Pairs of encryption keys: made, written to a file, used.

The secret key is the KEM's own serialisation, a seed of 32 bytes (draft-connolly-cfrg-xwing-kem):
SHAKE-256 stretches it to the 64 bytes of an ML-KEM-768 seed and the 32 of an X25519 key. A key file
is one line, `tallystick-decryption-key-v1:mlkem768-x25519:` and 64 lower-case hex digits. Public
keys have their form in `ledger.custody.encryption`.
"""

import hashlib
import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from ledger.custody.encryption import (
    MLKEM768_X25519,
    MLKEM_BYTES,
    X25519_BYTES,
    format_fingerprint,
    hash_encryption_key,
    verify_encryption_key,
)
from ledger.errors import InvalidKey
from node.sealing.errors import InvalidPayload

SEED_BYTES: Final = 32

_FILE_PREFIX = "tallystick-decryption-key-v1:mlkem768-x25519:"
_HEX_DIGITS = frozenset("0123456789abcdef")
_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class DecryptionKey:
    """The secret half of a pair. Never printed: `repr` shows the fingerprint only."""

    __slots__ = ("_key", "hash", "public", "seed")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise InvalidKey(f"a seed has {SEED_BYTES} bytes, got {len(seed)}")
        expanded = hashlib.shake_256(seed).digest(64 + X25519_BYTES)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
        self._key = MLKEM768X25519PrivateKey(mlkem, x25519)
        self.seed = seed
        self.public: bytes = (
            bytes([MLKEM768_X25519])
            + mlkem.public_key().public_bytes_raw()
            + x25519.public_key().public_bytes_raw()
        )
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
    verify_encryption_key(public)
    key = MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(public[1 : 1 + MLKEM_BYTES]),
        X25519PublicKey.from_public_bytes(public[-X25519_BYTES:]),
    )
    return _SUITE.encrypt(plaintext, key, info=info)


def format_decryption_key(key: DecryptionKey) -> str:
    """Content of a key file: one line. The file must have mode 0600."""
    return f"{_FILE_PREFIX}{key.seed.hex()}\n"


def parse_decryption_key(text: str) -> DecryptionKey:
    """Key of a key file's content. Raises `InvalidKey`; the message never quotes the content."""
    digits = text.strip().removeprefix(_FILE_PREFIX)
    is_hex = len(digits) == 64 and all(digit in _HEX_DIGITS for digit in digits)
    if not text.startswith(_FILE_PREFIX) or not is_hex:
        raise InvalidKey(f"a decryption key file reads {_FILE_PREFIX} and 64 lower-case hex digits")
    return DecryptionKey(bytes.fromhex(digits))
