"""Secret halves of encryption keys: 32 bytes, from which both keys of the pair follow.

The seed is the KEM's own serialisation (X-Wing, draft-connolly-cfrg-xwing-kem): SHAKE-256 stretches
it to the 64 bytes of an ML-KEM-768 seed and the 32 of an X25519 key. A plain key file is one line,
`tallystick-decryption-key-v1:mlkem768-x25519:` and 64 lower-case hex digits; it must have mode
0600. A keystore (`ledger.custody.keystore`) holds the same seed under a pass phrase.
"""

import hashlib
from typing import Final

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ledger.custody.encryption import MLKEM768_X25519, X25519_BYTES
from ledger.errors import InvalidKey

SEED_BYTES: Final = 32
FILE_PREFIX: Final = "tallystick-decryption-key-v1:mlkem768-x25519:"

_MLKEM_SEED_BYTES = 64
_HEX_DIGITS = frozenset("0123456789abcdef")


def expand_seed(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    """Both secret keys of a seed. Raises `InvalidKey`."""
    if len(seed) != SEED_BYTES:
        raise InvalidKey(f"a seed has {SEED_BYTES} bytes, got {len(seed)}")
    expanded = hashlib.shake_256(seed).digest(_MLKEM_SEED_BYTES + X25519_BYTES)
    return (
        MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_BYTES]),
        X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_BYTES:]),
    )


def derive_encryption_key(seed: bytes) -> bytes:
    """The public key of a seed, as on the ledger. Raises `InvalidKey`."""
    mlkem, x25519 = expand_seed(seed)
    public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
    return bytes([MLKEM768_X25519]) + public


def format_seed(seed: bytes) -> str:
    """Content of a plain key file."""
    return f"{FILE_PREFIX}{seed.hex()}\n"


def parse_seed(text: str) -> bytes:
    """Seed of a plain key file. Raises `InvalidKey`; the message never quotes the content."""
    digits = text.strip().removeprefix(FILE_PREFIX)
    is_hex = len(digits) == 2 * SEED_BYTES and all(digit in _HEX_DIGITS for digit in digits)
    if not text.startswith(FILE_PREFIX) or not is_hex:
        raise InvalidKey(f"a decryption key file reads {FILE_PREFIX} and 64 lower-case hex digits")
    return bytes.fromhex(digits)
