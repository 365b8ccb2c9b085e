"""Keys and signatures: known answers, strict forms, and no secret in a text."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InvalidKey, InvalidSignature
from ledger.keys import (
    SecretKey,
    fingerprint,
    format_public_key,
    format_secret_key,
    parse_public_key,
    parse_secret_key,
    verify_raw,
    verify_signature,
)

KEY = SecretKey(bytes(range(32)))
SIGNATURE = KEY.sign(b"domain\0", b"message")
# RFC 8032 section 7.1, tests 1 and 3: seed, public key, message, signature.
RFC_8032 = (
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e3970"
            "1cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760"
            "984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
)
# Encodings of the points of order 1, 2, 4 and 8 on edwards25519.
SMALL_ORDER = (
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
)
ORDER = 2**252 + 27742317777372353535851937790883648493


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_known_answers(seed: str, public: str, message: str, signature: str) -> None:
    key = SecretKey(bytes.fromhex(seed))
    assert key.public == b"\x01" + bytes.fromhex(public)
    assert key.sign_raw(bytes.fromhex(message)).hex() == signature
    verify_raw(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))


def test_signature_covers_domain_and_message() -> None:
    verify_signature(KEY.public, b"domain\0", b"message", SIGNATURE)
    for domain, message in ((b"other\0", b"message"), (b"domain\0", b"messagf")):
        with pytest.raises(InvalidSignature):
            verify_signature(KEY.public, domain, message, SIGNATURE)
    with pytest.raises(InvalidSignature):
        verify_signature(SecretKey(bytes(32)).public, b"domain\0", b"message", SIGNATURE)


def test_every_flipped_bit_is_refused() -> None:
    for bit in range(65 * 8):
        changed = bytearray(SIGNATURE)
        changed[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(InvalidSignature):
            verify_signature(KEY.public, b"domain\0", b"message", bytes(changed))


def test_wrong_algorithm_or_length_is_refused() -> None:
    for signature in (b"", SIGNATURE[:-1], SIGNATURE + b"\0", b"\x02" + SIGNATURE[1:]):
        with pytest.raises(InvalidSignature):
            verify_signature(KEY.public, b"domain\0", b"message", signature)
    for public in (b"", KEY.public[:-1], KEY.public + b"\0", b"\x02" + KEY.public[1:]):
        with pytest.raises(InvalidKey):
            verify_signature(public, b"domain\0", b"message", SIGNATURE)


def test_larger_s_is_refused() -> None:
    """RFC 8032 section 5.1.7: s < L, or anyone could make a second signature of one message."""
    larger = int.from_bytes(SIGNATURE[33:], "little") + ORDER
    malleable = SIGNATURE[:33] + larger.to_bytes(32, "little")
    with pytest.raises(InvalidSignature):
        verify_signature(KEY.public, b"domain\0", b"message", malleable)


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_small_order_keys_sign_nothing(point: str) -> None:
    """With such a key, (R = key, s = 0) would be a signature of many messages."""
    public = bytes.fromhex(point)
    for r in (public, bytes.fromhex(SMALL_ORDER[0])):
        for message in (b"", b"a", b"b", b"c"):
            with pytest.raises(InvalidSignature):
                verify_raw(public, message, r + bytes(32))


@given(seed=st.binary(min_size=32, max_size=32))
def test_texts_go_there_and_back(seed: bytes) -> None:
    key = SecretKey(seed)
    assert parse_public_key(format_public_key(key.public)) == key.public
    again = parse_secret_key(format_secret_key(key))
    assert (again.seed, again.public) == (seed, key.public)


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda text: text + " ",
        lambda text: " " + text,
        lambda text: text[:-1],
        lambda text: text + "0",
        lambda text: text.replace("ed25519:", ""),
        lambda text: text.replace("ed25519:", "ed25519: "),
        lambda text: text[:-2] + "_0",
        lambda text: text[:-2] + "\u0660\u0660",
        lambda text: "ed25519:" + text,
        lambda text: "",
    ],
)
def test_other_spellings_of_a_key_are_refused(change: Callable[[str], str]) -> None:
    with pytest.raises(InvalidKey):
        parse_public_key(change(format_public_key(KEY.public)))


@pytest.mark.parametrize("text", ["", "00" * 32, "tallystick-secret-key-v1:ed25519:00"])
def test_bad_key_files_are_refused_without_quoting_them(text: str) -> None:
    with pytest.raises(InvalidKey) as caught:
        parse_secret_key(text)
    assert not text or text not in str(caught.value)


def test_bad_secret_is_not_in_the_message() -> None:
    text = format_secret_key(KEY).strip()[:-1] + "G"
    with pytest.raises(InvalidKey) as caught:
        parse_secret_key(text)
    assert KEY.seed.hex()[:10] not in str(caught.value)


def test_secret_never_shows() -> None:
    assert KEY.seed.hex() not in repr(KEY)
    assert KEY.public[1:].hex() in repr(KEY)
    assert not hasattr(KEY, "__dict__")


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(InvalidKey):
        SecretKey(bytes(size))


def test_fingerprint() -> None:
    assert len(fingerprint(KEY.public)) == 16
    assert fingerprint(KEY.public) != fingerprint(SecretKey(bytes(32)).public)
    for public in (b"", b"\x02" + KEY.public[1:]):
        with pytest.raises(InvalidKey):
            format_public_key(public)
