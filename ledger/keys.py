"""Keys and signatures, each with an algorithm id, so that algorithms can be added.

`PublicKey` bytes = algorithm id (1) || raw key; `Signature` bytes = algorithm id (1) || raw.

| id   | algorithm            | key | signature | state    |
|------|----------------------|-----|-----------|----------|
| 0x01 | Ed25519 (RFC 8032)   | 32  | 64        | in use   |
| 0x02 | ML-DSA-44 (FIPS 204) | -   | -         | reserved |
| 0x03 | SM2 (GB/T 32918)     | -   | -         | reserved |

Text form of a public key: `ed25519:` and 64 lower-case hex digits. One strict verifier, libsodium,
is used everywhere (it refuses small-order keys and a non-canonical `s`): nodes with different
verifiers could disagree on the validity of one signature.
"""

import hashlib
from typing import Protocol

from nacl import bindings, exceptions

from ledger.errors import InvalidKey, InvalidSignature

ED25519 = 0x01
PUBLIC_KEY_BYTES = 33
SIGNATURE_BYTES = 65
SEED_BYTES = 32

_TEXT_PREFIX = "ed25519:"
_SECRET_PREFIX = "tallystick-secret-key-v1:ed25519:"  # noqa: S105 - a label, not a key
_HEX_DIGITS = frozenset("0123456789abcdef")


class Signer(Protocol):
    """Whatever signs for one key: the key itself, or a device that never gives it away."""

    @property
    def public(self) -> bytes:
        """The public key (33 bytes)."""

    def sign(self, domain: bytes, message: bytes) -> bytes:
        """Signature (65 bytes) over `domain || message`."""


class RawSigner(Signer, Protocol):
    """A signer for formats that have no domain, as those of checkpoints and votes."""

    def sign_raw(self, message: bytes) -> bytes:
        """Raw Ed25519 signature (64 bytes) over exactly `message`."""


class SecretKey:
    """An Ed25519 signing key. Never printed: `repr` shows the public half only."""

    __slots__ = ("_secret", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise InvalidKey(f"a seed has {SEED_BYTES} bytes, got {len(seed)}")
        raw_public, self._secret = bindings.crypto_sign_seed_keypair(seed)
        self.public: bytes = bytes([ED25519]) + raw_public

    def sign(self, domain: bytes, message: bytes) -> bytes:
        """Signature (65 bytes) over `domain || message`."""
        return bytes([ED25519]) + self.sign_raw(domain + message)

    def sign_raw(self, message: bytes) -> bytes:
        """Raw Ed25519 signature (64 bytes) over exactly `message`."""
        return bindings.crypto_sign(message, self._secret)[:64]

    @property
    def seed(self) -> bytes:
        """The 32 secret bytes, for a key file only."""
        return self._secret[:SEED_BYTES]

    def __repr__(self) -> str:
        return f"SecretKey({format_public_key(self.public)})"


def verify_signature(public_key: bytes, domain: bytes, message: bytes, signature: bytes) -> None:
    """Check `signature` over `domain || message`. Raises `InvalidSignature` or `InvalidKey`."""
    if len(public_key) != PUBLIC_KEY_BYTES or public_key[0] != ED25519:
        raise InvalidKey("unknown key algorithm or wrong key length")
    if len(signature) != SIGNATURE_BYTES or signature[0] != ED25519:
        raise InvalidSignature("unknown signature algorithm or wrong signature length")
    verify_raw(public_key[1:], domain + message, signature[1:])


def verify_raw(raw_key: bytes, message: bytes, raw_signature: bytes) -> None:
    """Check a raw Ed25519 signature. Raises `InvalidSignature`."""
    try:
        bindings.crypto_sign_open(raw_signature + message, raw_key)
    except (exceptions.BadSignatureError, exceptions.ValueError, ValueError):
        raise InvalidSignature("signature does not verify under the named key") from None


def format_public_key(public_key: bytes) -> str:
    """Text form, `ed25519:<hex>`."""
    if len(public_key) != PUBLIC_KEY_BYTES or public_key[0] != ED25519:
        raise InvalidKey("unknown key algorithm or wrong key length")
    return _TEXT_PREFIX + public_key[1:].hex()


def parse_public_key(text: str) -> bytes:
    """Public key bytes of a text form. Raises `InvalidKey`."""
    digits = text.removeprefix(_TEXT_PREFIX)
    is_hex = len(digits) == 64 and all(digit in _HEX_DIGITS for digit in digits)
    if not text.startswith(_TEXT_PREFIX) or not is_hex:
        raise InvalidKey("a public key reads ed25519: and 64 lower-case hex digits")
    return bytes([ED25519]) + bytes.fromhex(digits)


def fingerprint(public_key: bytes) -> str:
    """First 16 hex digits of SHA-256 of the key bytes, to compare two keys by eye."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def format_secret_key(key: SecretKey) -> str:
    """Content of a key file: one line. The file must have mode 0600."""
    return f"{_SECRET_PREFIX}{key.seed.hex()}\n"


def parse_secret_key(text: str) -> SecretKey:
    """Key of a key file's content. Raises `InvalidKey`; the message never quotes the content."""
    digits = text.strip().removeprefix(_SECRET_PREFIX)
    is_hex = len(digits) == 64 and all(digit in _HEX_DIGITS for digit in digits)
    if not text.startswith(_SECRET_PREFIX) or not is_hex:
        raise InvalidKey(f"a secret key file reads {_SECRET_PREFIX} and 64 lower-case hex digits")
    return SecretKey(bytes.fromhex(digits))
