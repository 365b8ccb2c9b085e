"""A cheap signature scheme in place of Ed25519, for runs in which nobody breaks signatures.

A signature is the keyed BLAKE2b hash of the message, keyed with the public key: as long as an
Ed25519 signature, deterministic, refused for other bytes and other keys, and fifty times as fast.
Anyone could forge one; adversaries of the simulation sign with keys of their own only. It takes the
place of libsodium's two functions, so that every caller of them stays as it is. Keys are real.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from nacl import bindings, exceptions

_SIGNATURE_BYTES = 64
_SEED_BYTES = 32


def _tag(message: bytes, public: bytes) -> bytes:
    return hashlib.blake2b(message, key=public, digest_size=_SIGNATURE_BYTES).digest()


def sign(message: bytes, secret: bytes) -> bytes:
    """Signature and message, like `crypto_sign`; the secret key ends with the public one."""
    return _tag(message, secret[_SEED_BYTES:]) + message


def open_signed(signed: bytes, public: bytes) -> bytes:
    """The message, like `crypto_sign_open`. Raises `BadSignatureError`."""
    message = signed[_SIGNATURE_BYTES:]
    if _tag(message, public) != signed[:_SIGNATURE_BYTES]:
        raise exceptions.BadSignatureError("the signature is not of this message and key")
    return message


@contextmanager
def cheap_signatures() -> Iterator[None]:
    """All signatures made and verified inside are of the cheap scheme."""
    real = bindings.crypto_sign, bindings.crypto_sign_open
    bindings.crypto_sign, bindings.crypto_sign_open = sign, open_signed
    try:
        yield
    finally:
        bindings.crypto_sign, bindings.crypto_sign_open = real
