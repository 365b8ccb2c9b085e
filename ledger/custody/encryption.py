"""Public keys that payloads are sealed to: bytes, text form, fingerprint. No cryptography.

Bytes = algorithm id (1) || the KEM's own serialisation.

| id   | algorithm                                          | raw key     | state    |
|------|----------------------------------------------------|-------------|----------|
| 0x01 | MLKEM768-X25519 (X-Wing, HPKE KEM id 0x647a)       | 1184 + 32   | in use   |
| 0x02 | SM2 (GB/T 32918)                                   | -           | reserved |

The raw key is an ML-KEM-768 encapsulation key (FIPS 203) followed by an X25519 public key
(RFC 7748). Text form: `mlkem768-x25519:` and 2,432 lower-case hex digits. These ids are another
space than those of signing keys in `ledger.keys`.

A key on the ledger is one that anybody can seal to, so keys for which every sender's library would
refuse are refused here: coefficients of ML-KEM that are not reduced (FIPS 203 section 7.2) and
points of X25519 of small order (RFC 7748 section 6.1).
"""

import hashlib
from typing import Final

from ledger.errors import InvalidKey

MLKEM768_X25519: Final = 0x01
MLKEM_BYTES: Final = 1_184
X25519_BYTES: Final = 32
ENCRYPTION_KEY_BYTES: Final = 1 + MLKEM_BYTES + X25519_BYTES

_TEXT_PREFIX = "mlkem768-x25519:"
_TEXT_CHARS = len(_TEXT_PREFIX) + 2 * (ENCRYPTION_KEY_BYTES - 1)
_HEX_DIGITS = frozenset("0123456789abcdef")
_COEFFICIENTS_BYTES = 1_152  # 768 coefficients of 12 bits; the seed of the matrix follows
_MLKEM_MODULUS = 3_329
_X25519_MODULUS = 2**255 - 19
# Coordinates of the points of order 1, 2, 4 and 8 on the curve and on its twist.
_SMALL_ORDER = (
    0,
    1,
    _X25519_MODULUS - 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)


def verify_encryption_key(key: bytes) -> None:
    """Check that `key` is of a known algorithm and can be sealed to. Raises `InvalidKey`."""
    if len(key) != ENCRYPTION_KEY_BYTES or key[0] != MLKEM768_X25519:
        raise InvalidKey("unknown encryption key algorithm or wrong key length")
    # Three bytes hold two coefficients, the lower bits first.
    for start in range(1, 1 + _COEFFICIENTS_BYTES, 3):
        pair = int.from_bytes(key[start : start + 3], "little")
        if pair & 0xFFF >= _MLKEM_MODULUS or pair >> 12 >= _MLKEM_MODULUS:
            raise InvalidKey("the ML-KEM-768 part has a coefficient that is not reduced")
    # The top bit is ignored (RFC 7748 section 5).
    point = int.from_bytes(key[-X25519_BYTES:], "little") & (2**255 - 1)
    if point % _X25519_MODULUS in _SMALL_ORDER:
        raise InvalidKey("the X25519 part is a point of small order")


def hash_encryption_key(key: bytes) -> bytes:
    """SHA-256 of the key bytes: names the recipient in sealed payloads."""
    return hashlib.sha256(key).digest()


def format_fingerprint(key_hash: bytes) -> str:
    """First 16 hex digits of a key hash, to compare two keys by eye, as `ledger.keys` does."""
    return key_hash.hex()[:16]


def format_encryption_key(key: bytes) -> str:
    """Text form, `mlkem768-x25519:<hex>`. Raises `InvalidKey`."""
    verify_encryption_key(key)
    return _TEXT_PREFIX + key[1:].hex()


def parse_encryption_key(text: str) -> bytes:
    """Key bytes of a text form. Raises `InvalidKey`."""
    digits = text.removeprefix(_TEXT_PREFIX)
    is_hex = len(text) == _TEXT_CHARS and all(digit in _HEX_DIGITS for digit in digits)
    if not text.startswith(_TEXT_PREFIX) or not is_hex:
        raise InvalidKey(
            f"an encryption key reads {_TEXT_PREFIX} and"
            f" {_TEXT_CHARS - len(_TEXT_PREFIX):,} lower-case hex digits"
        )
    key = bytes([MLKEM768_X25519]) + bytes.fromhex(digits)
    verify_encryption_key(key)
    return key
