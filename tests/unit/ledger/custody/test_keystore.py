"""Keystores: round trips, a frozen file, every byte counts, hostile files cost nothing."""

import hashlib
import inspect
import json
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ledger.custody.keystore as module
from ledger.custody.keystore import (
    INTERACTIVE,
    KEYSTORE_BYTES_MAX,
    MEMORY_KIB_MAX,
    Cost,
    decode_keystore,
    decrypt_keystore,
    describe_secret,
    encrypt_keystore,
    is_keystore,
)
from ledger.errors import InvalidKey, InvalidKeystore, WrongPassphrase
from ledger.keys import SecretKey, fingerprint, format_public_key

CHEAP = Cost(passes=1, memory_kib=8)
SEED = bytes(range(32))
PHRASE = "correct horse battery"
FROZEN = Path(__file__).parents[3] / "vectors" / "custody" / "keystore.json"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def make(
    secret: bytes = SEED,
    phrase: str = PHRASE,
    algorithm: Literal["ed25519", "p256"] = "ed25519",
    cost: Cost = CHEAP,
) -> bytes:
    return encrypt_keystore(secret, algorithm, phrase, salt=SEED[:16], nonce=SEED[:12], cost=cost)


def resealed(document: dict[str, object]) -> bytes:
    """A file with a good checksum over whatever it says: the work of somebody who knows how."""
    document = {name: value for name, value in document.items() if name != "checksum"}
    text = json.dumps({**document, "checksum": ""}, indent=2, ensure_ascii=False)
    before = text[: text.index('  "checksum"')].encode()
    sum_ = hashlib.sha256(before).hexdigest()
    return before + f'  "checksum": "{sum_}"\n}}\n'.encode()


def test_the_example_of_the_specification_and_the_vector_are_what_is_made() -> None:
    made = make(cost=INTERACTIVE)
    assert made == FROZEN.read_bytes()
    example = [line[4:] for line in inspect.getdoc(module).split("\n") if line.startswith("    ")]  # type: ignore[union-attr]  # it has one
    start = example.index("{")
    assert "\n".join(example[start:]).encode() + b"\n" == made
    assert decrypt_keystore(decode_keystore(made), PHRASE) == SEED


@settings(max_examples=30, deadline=None)
@given(
    secret=st.binary(min_size=32, max_size=32),
    phrase=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    salt=st.binary(min_size=16, max_size=16),
    nonce=st.binary(min_size=12, max_size=12),
)
def test_what_is_sealed_is_opened_by_its_pass_phrase_alone(
    secret: bytes, phrase: str, salt: bytes, nonce: bytes
) -> None:
    data = encrypt_keystore(secret, "ed25519", phrase, salt=salt, nonce=nonce, cost=CHEAP)
    keystore = decode_keystore(data)
    assert is_keystore(data)
    assert decrypt_keystore(keystore, phrase) == secret
    key = SecretKey(secret)
    assert keystore.public_key == format_public_key(key.public)
    assert keystore.fingerprint == fingerprint(key.public)
    assert secret.hex() not in data.decode()
    with pytest.raises(WrongPassphrase):
        decrypt_keystore(keystore, phrase + "x")


def test_a_pass_phrase_is_the_same_however_it_was_typed() -> None:
    assert decrypt_keystore(decode_keystore(make(phrase="caf\u00e9 符契")), "cafe\u0301 符契")


@pytest.mark.parametrize("phrase", ["", "x" * 1_025, "符" * 342, "\ud800"])
def test_what_is_no_pass_phrase(phrase: str) -> None:
    with pytest.raises(WrongPassphrase):
        make(phrase=phrase)
    with pytest.raises(WrongPassphrase):
        decrypt_keystore(decode_keystore(make()), phrase)


def test_every_changed_byte_is_seen_without_the_pass_phrase() -> None:
    data = make()
    for place in range(len(data)):
        for flip in (1, 32, 128):
            changed = data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :]
            with pytest.raises(InvalidKeystore):
                decode_keystore(changed)
    for changed in (data[:-1], data + b"\n", b" " + data, data.replace(b"  ", b"\t"), b"", b"{}"):
        with pytest.raises(InvalidKeystore):
            decode_keystore(changed)


def test_every_changed_field_is_authenticated_by_the_pass_phrase() -> None:
    """Seen with a corrected checksum, as somebody with write access to the file would make it."""
    document = json.loads(make())
    other = describe_secret(SEED[::-1], "ed25519")
    changes: dict[str, object] = {
        "public_key": other[0],
        "fingerprint": other[1],
        "algorithm": "p256",
        "passes": 2,
        "memory_kib": 9,
        "salt": "ff" + document["salt"][2:],
        "nonce": "ff" + document["nonce"][2:],
        "sealed": "00" + document["sealed"][2:],
    }
    assert resealed(document) == make()
    for field, value in changes.items():
        keystore = decode_keystore(resealed({**document, field: value}))
        with pytest.raises(WrongPassphrase):
            decrypt_keystore(keystore, PHRASE)


def test_a_secret_of_another_public_key_is_damage() -> None:
    """The tag is right; only who knows the pass phrase can make this."""
    document = json.loads(make())
    keystore = decode_keystore(resealed({**document, "fingerprint": "0" * 16}))
    forged = module.AESGCM(module._derive(keystore, PHRASE.encode())).encrypt(
        SEED[:12], SEED, module._associated_data(keystore)
    )
    forgery = resealed({**document, "fingerprint": "0" * 16, "sealed": forged.hex()})
    with pytest.raises(InvalidKeystore, match="not that of the public key"):
        decrypt_keystore(decode_keystore(forgery), PHRASE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("memory_kib", MEMORY_KIB_MAX + 1),
        ("memory_kib", 2**62),
        ("memory_kib", 7),
        ("memory_kib", -1),
        ("memory_kib", 8.0),
        ("passes", 17),
        ("passes", 0),
        ("passes", True),
        ("kdf", "scrypt"),
        ("cipher", "aes-256-cbc"),
        ("format", "tallystick-keystore-v2"),
        ("algorithm", "rsa"),
        ("salt", "00"),
        ("salt", "00" * 1_000),
        ("nonce", "AA" * 12),
        ("sealed", "00" * 49),
        ("public_key", "符"),
        ("more", 1),
    ],
)
def test_hostile_fields_are_refused_before_any_work(field: str, value: object) -> None:
    """Reading derives nothing, and what reading refuses cannot be opened."""
    with pytest.raises(InvalidKeystore):
        decode_keystore(resealed({**json.loads(FROZEN.read_bytes()), field: value}))


def test_a_file_of_any_size_or_depth_is_refused() -> None:
    for data in (b"{" * KEYSTORE_BYTES_MAX, b"{" * (KEYSTORE_BYTES_MAX + 1), b"\xff" * 100):
        with pytest.raises(InvalidKeystore):
            decode_keystore(data)


@given(st.binary(max_size=200))
def test_garbage_is_no_keystore(data: bytes) -> None:
    with pytest.raises(InvalidKeystore):
        decode_keystore(data)


def test_a_tls_key_is_kept_too() -> None:
    keystore = decode_keystore(make(algorithm="p256"))
    assert keystore.public_key.startswith("p256:0")
    assert decrypt_keystore(keystore, PHRASE) == SEED
    for scalar in (0, P256_ORDER, 2**256 - 1):
        with pytest.raises(InvalidKey):
            make(secret=scalar.to_bytes(32, "big"), algorithm="p256")
    with pytest.raises(InvalidKey):
        make(secret=SEED[:31], algorithm="p256")


def test_no_error_quotes_a_secret() -> None:
    """A plain key or a pass phrase in the place of a keystore stays out of every message."""
    for content in (f'{{"format": "{SEED.hex()}"}}', f'{{"{PHRASE}": 1}}', SEED.hex()):
        with pytest.raises(InvalidKeystore) as damaged:
            decode_keystore(content.encode())
        assert SEED.hex() not in str(damaged.value)
        assert PHRASE not in str(damaged.value)
    with pytest.raises(WrongPassphrase) as wrong:
        decrypt_keystore(decode_keystore(make()), PHRASE + "!")
    assert PHRASE not in str(wrong.value)
    assert wrong.value.__cause__ is None
