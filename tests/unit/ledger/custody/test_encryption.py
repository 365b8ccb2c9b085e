"""Public keys for sealing: strict forms, and the same verdict as the library that seals."""

import hashlib
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from ledger import keys
from ledger.custody.encryption import (
    ENCRYPTION_KEY_BYTES,
    MLKEM_BYTES,
    format_encryption_key,
    format_fingerprint,
    hash_encryption_key,
    parse_encryption_key,
    verify_encryption_key,
)
from ledger.errors import InvalidKey

_MLKEM = MLKEM768PrivateKey.from_seed_bytes(bytes(64)).public_key().public_bytes_raw()
_X25519 = X25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
KEY = b"\x01" + _MLKEM + _X25519
P = 2**255 - 19
# Every 32-byte form of the five small-order coordinates, with either top bit.
SMALL_ORDER = [
    (coordinate + top).to_bytes(32, "little")
    for coordinate in (
        0,
        1,
        P - 1,
        P,
        P + 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    )
    for top in (0, 2**255)
]


def _can_seal(key: bytes) -> bool:
    """What the library that seals says of a key."""
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    try:
        public = hpke.MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(key[1 : 1 + MLKEM_BYTES]),
            X25519PublicKey.from_public_bytes(key[-32:]),
        )
        suite.encrypt(b"", public)
    except ValueError:
        return False
    return True


def _is_valid(key: bytes) -> bool:
    try:
        verify_encryption_key(key)
    except InvalidKey:
        return False
    return True


def test_the_text_form_leads_back_to_the_key() -> None:
    text = format_encryption_key(KEY)
    assert text == "mlkem768-x25519:" + KEY[1:].hex()
    assert parse_encryption_key(text) == KEY
    assert len(KEY) == ENCRYPTION_KEY_BYTES == 1_217


def test_the_fingerprint_is_that_of_signing_keys() -> None:
    assert hash_encryption_key(KEY) == hashlib.sha256(KEY).digest()
    assert format_fingerprint(hash_encryption_key(KEY)) == keys.fingerprint(KEY)


@pytest.mark.parametrize(
    "key",
    [b"", KEY[:-1], KEY + b"\0", b"\x00" + KEY[1:], b"\x02" + KEY[1:], KEY[1:]],
    ids=["empty", "short", "long", "algorithm 0", "algorithm 2", "no algorithm"],
)
def test_other_algorithms_and_lengths_are_refused(key: bytes) -> None:
    with pytest.raises(InvalidKey, match="algorithm or wrong key length"):
        verify_encryption_key(key)
    with pytest.raises(InvalidKey):
        format_encryption_key(key)


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda text: text[:-1],
        lambda text: text + "0",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.replace("mlkem768", "mlkem512"),
        lambda text: text.removeprefix("mlkem768-x25519:"),
        lambda text: text[:-1] + "g",
        lambda text: text[:-1] + "\u0661",
    ],
)
def test_other_texts_are_refused(change: Callable[[str], str]) -> None:
    with pytest.raises(InvalidKey):
        parse_encryption_key(change(format_encryption_key(KEY)))


@given(st.integers(0, 767), st.sampled_from((0, 1, 3_328, 3_329, 4_095)))
def test_coefficients_are_reduced_as_the_library_wants(place: int, value: int) -> None:
    start = 1 + 3 * (place // 2)
    pair = int.from_bytes(KEY[start : start + 3], "little")
    shift = 12 * (place % 2)
    pair = pair & ~(0xFFF << shift) | value << shift
    key = KEY[:start] + pair.to_bytes(3, "little") + KEY[start + 3 :]
    assert _is_valid(key) == _can_seal(key) == (value < 3_329)


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_points_of_small_order_are_refused(point: bytes) -> None:
    key = KEY[:-32] + point
    assert not _can_seal(key)
    with pytest.raises(InvalidKey, match="small order"):
        verify_encryption_key(key)
    with pytest.raises(InvalidKey, match="small order"):
        parse_encryption_key("mlkem768-x25519:" + key[1:].hex())


@given(st.binary(min_size=32, max_size=32))
def test_any_other_point_is_accepted_as_the_library_does(point: bytes) -> None:
    key = KEY[:-32] + point
    assert _is_valid(key) == _can_seal(key)
