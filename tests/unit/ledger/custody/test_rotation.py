"""Rotation: both keys sign, for one network and one member, and nothing else is accepted."""

import json
from pathlib import Path

import msgspec
import pytest

from ledger.custody.rotation import (
    ROTATIONS,
    SignedRotation,
    decode_rotation_json,
    encode_rotation_json,
    sign_rotation,
    verify_rotation,
)
from ledger.errors import InvalidRotation
from ledger.keys import SecretKey

OLD, NEW, OTHER = (SecretKey(bytes([number]) * 32) for number in (1, 2, 3))
FROZEN = Path(__file__).parents[3] / "vectors" / "custody" / "rotation.json"
NETWORK = b"\x5a" * 32


def make(old: SecretKey = OLD, new: SecretKey = NEW) -> SignedRotation:
    return sign_rotation(old, new, network=NETWORK, member="cn-3301-tax")


def test_the_frozen_statement() -> None:
    assert encode_rotation_json(make()) == FROZEN.read_bytes()


def test_a_rotation_is_read_back_from_both_forms() -> None:
    signed = make()
    verify_rotation(signed)
    assert decode_rotation_json(encode_rotation_json(signed)) == signed
    assert ROTATIONS.decode(ROTATIONS.encode(signed)) == signed


@pytest.mark.parametrize(
    "change",
    [
        {"network": b"\x5b" * 32},
        {"member": "cn-3302-tax"},
        {"old_key": OTHER.public},
        {"new_key": OTHER.public},
        {"old_key": NEW.public, "new_key": OLD.public},
        {"new_key": OLD.public},
        {"new_key": b"\x02" + bytes(32)},
    ],
)
def test_every_changed_word_is_refused(change: dict[str, object]) -> None:
    signed = make()
    changed = msgspec.structs.replace(signed.rotation, **change)
    with pytest.raises(InvalidRotation):
        verify_rotation(msgspec.structs.replace(signed, rotation=changed))


def test_neither_signature_stands_for_the_other() -> None:
    signed = make()
    for old, new in (
        (signed.new_signature, signed.old_signature),
        (signed.old_signature, signed.old_signature),
        (signed.new_signature, signed.new_signature),
    ):
        with pytest.raises(InvalidRotation):
            verify_rotation(msgspec.structs.replace(signed, old_signature=old, new_signature=new))


def test_a_key_does_not_follow_itself_and_a_member_has_a_name() -> None:
    with pytest.raises(InvalidRotation, match="follow itself"):
        make(new=OLD)
    with pytest.raises(InvalidRotation):
        sign_rotation(OLD, NEW, network=NETWORK, member="No Such Name")
    with pytest.raises(InvalidRotation):
        sign_rotation(OLD, NEW, network=b"short", member="cn-3301-tax")


def test_a_file_has_one_layout_and_every_byte_counts() -> None:
    data = encode_rotation_json(make())
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(InvalidRotation):
            decode_rotation_json(changed)
    compact = json.dumps(json.loads(data)).encode()
    for changed in (compact, data + b"\n", b"", b"[" * 100_000, b"\xff", data * 9):
        with pytest.raises(InvalidRotation):
            decode_rotation_json(changed)
