"""Signatures of the founders: the example of the format, and every way in which they can be bad."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InvalidFounding
from ledger.genesis import Genesis, hash_genesis
from ledger.keys import SecretKey
from ledger.quorum import founding
from ledger.quorum.founding import (
    GenesisSignature,
    GenesisSignatures,
    decode_signatures,
    derive_log_key,
    encode_signatures,
    merge_signatures,
    sign_genesis,
    verify_founders,
)
from ledger.registry import Officer
from tests.unit.ledger.builders import MEMBERS, make_genesis, make_validator, officer_secret

OUTSIDER = SecretKey(b"o" * 32)


def officer(member: str, key: SecretKey, **lies: Any) -> Officer:
    fields: dict[str, Any] = {"roles": ("admin",), "status": "active", **lies}
    return Officer(key=key.public, member=member, **fields)


def admins(**lies: Any) -> tuple[Officer, ...]:
    listed = [officer(member, officer_secret(member), **lies) for member in MEMBERS]
    return tuple(sorted(listed, key=lambda each: each.key))


GENESIS = make_genesis(officers=admins())


def sign(member: str, **lies: Any) -> GenesisSignatures:
    fields: dict[str, Any] = {
        "key": officer_secret(member),
        "genesis": GENESIS,
        "member": member,
        "address": f"node.{member}.example:7101",
        **lies,
    }
    return sign_genesis(**fields)


def all_signed(**of_west: Any) -> GenesisSignatures:
    """Signatures of all four founders; keywords lie about that of `west`."""
    files = [sign(member) for member in MEMBERS if member != "west"]
    return merge_signatures([*files, sign("west", **of_west)])


def faults_of(signatures: GenesisSignatures, genesis: Genesis = GENESIS) -> tuple[str, ...]:
    with pytest.raises(InvalidFounding) as caught:
        verify_founders(genesis, signatures)
    assert str(caught.value) == "; ".join(caught.value.faults)
    return caught.value.faults


def undecodable(data: bytes) -> str:
    with pytest.raises(InvalidFounding) as caught:
        decode_signatures(data)
    return str(caught.value)


def test_the_example_of_the_format() -> None:
    text = (founding.__doc__ or "").split("here only:\n\n")[1].split("\n\n`verify")[0]
    joined = re.sub(r"\\\n +", "", text)
    example = "".join(line.removeprefix("    ") + "\n" for line in joined.split("\n"))
    assert example.encode() == encode_signatures(sign("east"))


def test_all_founders_signed() -> None:
    signatures = all_signed()
    verify_founders(GENESIS, decode_signatures(encode_signatures(signatures)))
    assert [each.member for each in signatures.signatures] == sorted(MEMBERS)


def test_any_admin_of_a_founder_will_do() -> None:
    second = officer("west", OUTSIDER, roles=("approver", "admin"))
    genesis = make_genesis(officers=(*admins(), second))
    files = [sign(member, genesis=genesis) for member in MEMBERS if member != "west"]
    files.append(sign("west", genesis=genesis, key=OUTSIDER))
    verify_founders(genesis, merge_signatures(files))


def test_another_network() -> None:
    other = make_genesis(officers=admins(), name="another")
    (fault,) = faults_of(all_signed(), other)
    assert hash_genesis(GENESIS).hex() in fault
    assert hash_genesis(other).hex() in fault


@pytest.mark.parametrize("member", MEMBERS)
def test_a_missing_founder(member: str) -> None:
    signatures = merge_signatures([sign(each) for each in MEMBERS if each != member])
    assert faults_of(signatures) == (f"{member}: its signature is missing",)


def revoked(member: str) -> Genesis:
    listed = (
        officer(each, officer_secret(each), status="revoked" if each == member else "active")
        for each in MEMBERS
    )
    return make_genesis(officers=tuple(sorted(listed, key=lambda each: each.key)))


def test_a_key_that_may_not_sign() -> None:
    for key in (OUTSIDER, officer_secret("north")):
        (fault,) = faults_of(all_signed(key=key))
        assert re.fullmatch(r"west: key [0-9a-f]{16} is not that of one of its admins", fault)
    for genesis in (
        revoked("west"),
        make_genesis(officers=admins(roles=("requester", "approver", "provider"))),
    ):
        files = [sign(member, genesis=genesis) for member in MEMBERS]
        assert "is not that of one of its admins" in faults_of(merge_signatures(files), genesis)[-1]


def test_a_member_that_is_no_founder() -> None:
    four = tuple(make_validator(member) for member in ("a", "east", "north", "south"))
    genesis = make_genesis(officers=admins(), validators=four)
    files = [sign(member, genesis=genesis) for member in MEMBERS]
    assert faults_of(merge_signatures(files), genesis) == (
        "west: is not a member with a validator in genesis",
        "a: its signature is missing",
    )


def test_two_founders_at_one_address() -> None:
    (fault,) = faults_of(all_signed(address="node.east.example:7101"))
    assert fault == "west: address node.east.example:7101 is also that of east"


CHANGED: list[Callable[[GenesisSignature], GenesisSignature]] = [
    lambda each: msgspec.structs.replace(each, address="node.else.example:7101"),
    lambda each: msgspec.structs.replace(each, signature=each.signature[:-1] + b"\0"),
    lambda each: msgspec.structs.replace(each, signature=b"\x02" + each.signature[1:]),
]


@pytest.mark.parametrize("change", CHANGED)
def test_a_changed_signature(change: Callable[[GenesisSignature], GenesisSignature]) -> None:
    signatures = all_signed()
    changed = (change(signatures.signatures[0]), *signatures.signatures[1:])
    (fault,) = faults_of(msgspec.structs.replace(signatures, signatures=changed))
    assert fault.startswith("east: ")


def test_a_signature_of_one_founder_under_the_name_of_another() -> None:
    signatures = all_signed()
    east, north, *rest = signatures.signatures
    renamed = msgspec.structs.replace(east, member="north")
    faults = faults_of(msgspec.structs.replace(signatures, signatures=(renamed, *rest)))
    assert len(faults) == 2
    assert faults[1] == "east: its signature is missing"
    resigned = msgspec.structs.replace(north, signature=east.signature)
    (fault,) = faults_of(msgspec.structs.replace(signatures, signatures=(east, resigned, *rest)))
    assert fault.startswith("north: signature does not verify")


def test_merging_refuses_what_contradicts_itself() -> None:
    assert merge_signatures([sign("east"), sign("east")]) == sign("east")
    assert merge_signatures([all_signed(), sign("north")]) == all_signed()
    for files, said in (
        ([], "no signature was given"),
        (
            [sign("east"), sign("east", address="node.else.example:7101")],
            "east: two different signatures",
        ),
        ([sign("east"), sign("north", genesis=make_genesis())], "different networks"),
    ):
        with pytest.raises(InvalidFounding, match=said):
            merge_signatures(files)


def test_files_have_one_form() -> None:
    good = encode_signatures(all_signed())
    signatures = all_signed().signatures
    backwards = msgspec.structs.replace(all_signed(), signatures=signatures[::-1])
    twice = msgspec.structs.replace(all_signed(), signatures=(signatures[0], *signatures))
    for data, said in (
        (good[:-1], "not in canonical form"),
        (good.replace(b"  ", b"\t", 1), "not in canonical form"),
        (good.replace(b'"version": 1', b'"version": 2'), "Invalid enum value 2"),
        (good.replace(b'"address"', b'"adress"', 1), "unknown field"),
        (encode_signatures(backwards), "not sorted"),
        (encode_signatures(twice), "not sorted"),
        (good + b" " * 65_536, "more than 65536 bytes"),
        (b"[" * 5_000, ""),
        (b"", ""),
    ):
        assert said in undecodable(data)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_no_byte_of_a_file_can_be_changed(place: int, flip: int) -> None:
    data = bytearray(encode_signatures(all_signed()))
    data[place % len(data)] ^= flip
    with pytest.raises(InvalidFounding):
        verify_founders(GENESIS, decode_signatures(bytes(data)))


def test_the_log_key_follows_from_everything_else() -> None:
    key = derive_log_key(GENESIS)
    with_key = msgspec.structs.replace(GENESIS, log_key=key.public)
    assert derive_log_key(with_key).seed == key.seed
    assert derive_log_key(make_genesis(officers=admins(), name="another")).seed != key.seed
