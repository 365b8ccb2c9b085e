"""Genesis: every fault is named, every byte counts, and the state follows from it."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InvalidGenesis
from ledger.genesis import (
    GENESIS_SIZE_BYTES_MAX,
    Genesis,
    cosigner_keys,
    decode_genesis_json,
    encode_genesis_json,
    genesis_state,
    hash_genesis,
    log_policy,
    log_verifier_key,
    verify_genesis,
)
from ledger.registry import (
    EPOCH_RECORDS,
    PENDINGS,
    VALIDATOR_LISTS,
    EpochRecord,
    LegalBasis,
    Officer,
)
from ledger.registry import MEMBERS as MEMBER_CODEC
from ledger.state import EPOCH_KEY, PENDING_KEY, VALIDATORS_KEY, epoch_key, member_key
from ledger.tlog.checkpoint import Checkpoint, cosign, sign_checkpoint
from ledger.tlog.merkle import EMPTY_ROOT
from ledger.tlog.note import SignedNote
from ledger.tlog.policy import Policy
from tests.unit.ledger.builders import (
    LOG_KEY,
    MEMBERS,
    ORIGIN,
    cosigning_key,
    make_genesis,
    make_member,
    make_validator,
    officer_secret,
)

GENESIS = make_genesis()
FILE = encode_genesis_json(GENESIS)


def faults_of(genesis: Genesis) -> tuple[str, ...]:
    with pytest.raises(InvalidGenesis) as caught:
        verify_genesis(genesis)
    with pytest.raises(InvalidGenesis):
        decode_genesis_json(encode_genesis_json(genesis))
    return caught.value.faults


def validators_with(**lies: Any) -> Genesis:
    others = [make_validator(member) for member in MEMBERS[1:]]
    return make_genesis(validators=(make_validator(MEMBERS[0], **lies), *others))


def test_there_and_back() -> None:
    assert decode_genesis_json(FILE) == GENESIS
    assert encode_genesis_json(decode_genesis_json(FILE)) == FILE
    assert "示例" in FILE.decode()


def test_layout_of_the_file_does_not_matter() -> None:
    dense = json.dumps(json.loads(FILE), sort_keys=True).encode()
    assert hash_genesis(decode_genesis_json(dense)) == hash_genesis(GENESIS)


@pytest.mark.parametrize(
    "lies",
    [
        {"name": "Other"},
        {"origin": "ledger.example/other"},
        {"time_ms": 1},
        {"log_key": b"\x01" + cosigning_key("east").verifier.raw},
        {"validators": GENESIS.validators[::-1]},
        {"members": (*GENESIS.members, make_member("zone"))},
        {"purposes": ()},
    ],
)
def test_network_id_names_every_field(lies: dict[str, Any]) -> None:
    assert hash_genesis(make_genesis(**lies)) != hash_genesis(GENESIS)


BAD_FILES: dict[str, Callable[[dict[str, Any]], object]] = {
    "unknown field": lambda plain: plain | {"colour": "red"},
    "missing field": lambda plain: {key: plain[key] for key in plain if key != "members"},
    "version": lambda plain: plain | {"version": 2},
    "origin": lambda plain: plain | {"origin": "Ledger Example"},
    "origin newline": lambda plain: plain | {"origin": "ledger.example\n"},
    "negative time": lambda plain: plain | {"time_ms": -1},
    "short key": lambda plain: plain | {"log_key": "AQID"},
    "not base64": lambda plain: plain | {"log_key": "!" * 44},
    "null": lambda plain: None,
    "list": lambda plain: [plain],
    "parameters": lambda plain: plain | {"parameters": {}},
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_refused(name: str) -> None:
    data = json.dumps(BAD_FILES[name](json.loads(FILE))).encode()
    with pytest.raises(InvalidGenesis):
        decode_genesis_json(data)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", FILE[:-9], FILE + b"x", b"\xff" + FILE, b"[" * 100_000, FILE.replace(
        b'"Exchange', b'"\\ud800')],
)  # fmt: skip
def test_broken_json_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidGenesis):
        decode_genesis_json(data)


def test_file_is_bounded() -> None:
    with pytest.raises(InvalidGenesis, match="more than"):
        decode_genesis_json(FILE + b" " * GENESIS_SIZE_BYTES_MAX)


@given(position=st.integers(0, 2**20), bit=st.integers(0, 7))
def test_flipped_bit_is_refused_or_seen(position: int, bit: int) -> None:
    data = bytearray(FILE)
    data[position % len(data)] ^= 1 << bit
    try:
        genesis = decode_genesis_json(bytes(data))
    except InvalidGenesis:
        return
    assert (hash_genesis(genesis) == hash_genesis(GENESIS)) == (genesis == GENESIS)


@pytest.mark.parametrize("field", ["members", "officers", "datasets", "legal_bases", "purposes"])
def test_sets_are_sorted_without_duplicates(field: str) -> None:
    items = getattr(GENESIS, field)
    assert f"{field}: an id stands twice" in faults_of(make_genesis(**{field: (*items, items[-1])}))
    if len(items) > 1:
        faults = faults_of(make_genesis(**{field: items[::-1]}))
        assert faults == (f"{field}: not sorted by id",)


def test_contracts_are_sorted() -> None:
    contract = GENESIS.policy_set.contracts[0]
    twice = msgspec.structs.replace(GENESIS.policy_set, contracts=(contract, contract))
    assert "policy_set.contracts: an id stands twice" in faults_of(make_genesis(policy_set=twice))


def test_unknown_references_are_all_named() -> None:
    basis = GENESIS.legal_bases[0]
    lost = LegalBasis(
        **(
            {name: getattr(basis, name) for name in LegalBasis.__struct_fields__}
            | {"parties": ("nobody",), "purposes": ("none",), "categories": ("nothing",)}
        )
    )
    officer = Officer(key=officer_secret("ghost").public, member="ghost", roles=(), status="active")
    assert set(faults_of(make_genesis(legal_bases=(lost,), officers=(officer,)))) == {
        "officers: member ghost is unknown",
        "legal_bases law-1: party nobody is unknown",
        "legal_bases law-1: purpose none is unknown",
        "legal_bases law-1: category nothing is unknown",
    }


@pytest.mark.parametrize("count", [0, 1, 3, 31])
def test_validators_are_4_to_30(count: int) -> None:
    names = [f"m{number:02d}" for number in range(count)]
    members = tuple(make_member(name) for name in sorted({*names, *MEMBERS}))
    validators = tuple(make_validator(name) for name in names)
    faults = faults_of(make_genesis(members=members, validators=validators))
    assert faults == (f"validators: {count}, from 4 to 30 are allowed",)


@pytest.mark.parametrize("field", ["member", "consensus_key", "cosigning_key", "tls_certificate"])
def test_no_two_validators_share_a_key(field: str) -> None:
    taken = getattr(GENESIS.validators[1], field)
    assert f"validators: one {field} stands twice" in faults_of(validators_with(**{field: taken}))


def test_validator_is_a_member() -> None:
    assert faults_of(validators_with(member="ghost")) == ("validators: member ghost is unknown",)


@pytest.mark.parametrize("field", ["consensus_key", "cosigning_key"])
def test_keys_are_of_a_known_algorithm(field: str) -> None:
    (fault,) = faults_of(validators_with(**{field: b"\x02" + bytes(32)}))
    assert fault == f"validators: {field} of east: unknown key algorithm 0x02"


def test_other_keys_are_of_a_known_algorithm() -> None:
    officer = msgspec.structs.replace(GENESIS.officers[0], key=b"\x03" + bytes(32))
    officers = (*GENESIS.officers[1:], officer)
    faults = faults_of(make_genesis(log_key=b"\x02" + bytes(32), officers=officers))
    assert faults == (
        "log_key: unknown key algorithm 0x02",
        f"officers: key of {officer.member}: unknown key algorithm 0x03",
    )


def test_keys_that_accept_forgeries_are_refused() -> None:
    """A point of small order as log key or cosigning key."""
    for genesis in (
        make_genesis(log_key=b"\x01" + b"\x01" + bytes(31)),
        validators_with(cosigning_key=b"\x01" + b"\x01" + bytes(31)),
    ):
        (fault,) = faults_of(genesis)
        assert "policy of checkpoints" in fault


@pytest.mark.parametrize("name", ["none", "validators"])
def test_names_with_a_meaning_in_the_policy_are_refused(name: str) -> None:
    members = tuple(sorted((*GENESIS.members, make_member(name)), key=lambda item: item.id))
    validators = (*GENESIS.validators, make_validator(name))
    (fault,) = faults_of(make_genesis(members=members, validators=validators))
    assert "policy of checkpoints" in fault


def test_state_follows_from_genesis() -> None:
    pairs = genesis_state(GENESIS)
    counts = (
        len(GENESIS.members), len(GENESIS.officers), len(GENESIS.datasets),
        len(GENESIS.legal_bases), len(GENESIS.purposes), 8,
    )  # fmt: skip
    assert len(pairs) == sum(counts)
    assert MEMBER_CODEC.decode(pairs[member_key("east")]) == GENESIS.members[0]
    assert VALIDATOR_LISTS.decode(pairs[VALIDATORS_KEY]) == GENESIS.validators
    first = EpochRecord(epoch=0, first_height=1, validators=GENESIS.validators)
    assert EPOCH_RECORDS.decode(pairs[epoch_key(0)]) == first
    assert PENDINGS.decode(pairs[PENDING_KEY]).change is None
    assert pairs[EPOCH_KEY] == bytes(8)


def test_keys_of_checkpoints() -> None:
    assert log_verifier_key(GENESIS) == LOG_KEY.verifier
    assert cosigner_keys(GENESIS) == tuple(cosigning_key(member).verifier for member in MEMBERS)
    assert cosigner_keys(GENESIS)[0].name == f"{ORIGIN}/east"


def test_policy_wants_a_quorum() -> None:
    policy = log_policy(GENESIS)
    assert Policy.parse(policy.format()) == policy
    assert [policy.is_quorum(MEMBERS[:count]) for count in range(5)] == [
        False, False, False, True, True,
    ]  # fmt: skip
    tree = Checkpoint(origin=ORIGIN, size=0, root=EMPTY_ROOT)
    note = sign_checkpoint(tree, LOG_KEY)
    lines = [cosign(tree, cosigning_key(member), 1) for member in MEMBERS[:3]]
    assert policy.verify(SignedNote(text=note.text, signatures=(*note.signatures, *lines))) == tree
