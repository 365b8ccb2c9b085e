r"""Genesis: the document that founds a network, and the state it creates.

A JSON file for people (`encode_genesis_json`), hashed in canonical form: the network id is
SHA-256(`tallystick/genesis/v1\0` || canonical MessagePack). Every signed byte of the network
contains that id, so nothing signed for one network is valid in another. Block 1 names the network
id as its parent hash; view 0 of epoch 0 is the genesis, notarized and final by definition.
"""

import hashlib
from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ledger.codec import Codec, Value
from ledger.errors import InvalidEncoding, InvalidGenesis, InvalidKey
from ledger.keys import ED25519 as ALGORITHM_ED25519
from ledger.quorum.lists import cosigner_keys_of, find_list_faults, policy_of_list
from ledger.registry import (
    DATASETS,
    EPOCH_RECORDS,
    FREEZES,
    LEGAL_BASES,
    MEMBERS,
    OFFICERS,
    PARAMETERS,
    PENDINGS,
    POLICY_SETS,
    PURPOSES,
    VALIDATOR_LISTS,
    Dataset,
    EpochRecord,
    Freeze,
    LegalBasis,
    Member,
    Name,
    Officer,
    Parameters,
    Pending,
    PolicySet,
    Purpose,
    Validator,
)
from ledger.scalars import PublicKeyBytes, Uint
from ledger.state import (
    EPOCH_KEY,
    FREEZES_KEY,
    PARAMETERS_KEY,
    PENDING_KEY,
    POLICY_SET_KEY,
    REGISTRY_VERSION_KEY,
    VALIDATORS_KEY,
    dataset_key,
    epoch_key,
    legal_basis_key,
    member_key,
    officer_key,
    purpose_key,
)
from ledger.tlog.note import ED25519, VerifierKey
from ledger.tlog.policy import Policy

GENESIS_DOMAIN = b"tallystick/genesis/v1\0"
GENESIS_SIZE_BYTES_MAX = 16_777_216


Origin = Annotated[str, Meta(min_length=3, max_length=120, pattern=r"^[a-z0-9./-]+\Z")]


class Genesis(Value, frozen=True, kw_only=True):
    """The founding document. `origin` is the name of the log in checkpoints (C2SP)."""

    version: Literal[1]
    name: Name
    origin: Origin
    time_ms: Uint
    log_key: PublicKeyBytes
    parameters: Parameters
    validators: tuple[Validator, ...]
    members: tuple[Member, ...]
    officers: tuple[Officer, ...]
    datasets: tuple[Dataset, ...]
    legal_bases: tuple[LegalBasis, ...]
    purposes: tuple[Purpose, ...]
    freezes: tuple[Freeze, ...]
    policy_set: PolicySet


GENESES = Codec(Genesis, size_bytes_max=GENESIS_SIZE_BYTES_MAX)
_JSON = msgspec.json.Decoder(Genesis)


def hash_genesis(genesis: Genesis) -> bytes:
    """Network id (32 bytes)."""
    return hashlib.sha256(GENESIS_DOMAIN + GENESES.encode(genesis)).digest()


def encode_genesis_json(genesis: Genesis) -> bytes:
    """The genesis file: indented JSON, byte strings in base64."""
    return msgspec.json.format(msgspec.json.encode(genesis), indent=2) + b"\n"


def decode_genesis_json(data: bytes) -> Genesis:
    """Genesis of a file's bytes, fully checked. Raises `InvalidGenesis` with every fault."""
    if len(data) > GENESIS_SIZE_BYTES_MAX:
        raise InvalidGenesis((f"file has more than {GENESIS_SIZE_BYTES_MAX} bytes",))
    try:
        genesis = _JSON.decode(data)
        GENESES.encode(genesis)
    except (msgspec.DecodeError, InvalidEncoding, RecursionError, ValueError) as error:
        raise InvalidGenesis((str(error),)) from None
    verify_genesis(genesis)
    return genesis


def verify_genesis(genesis: Genesis) -> None:
    """Check ids, references and counts. Raises `InvalidGenesis` with every fault found."""
    faults = [
        *_order_faults(genesis),
        *_reference_faults(genesis),
        *_validator_faults(genesis),
        *_key_faults(genesis),
    ]
    if faults:
        raise InvalidGenesis(tuple(faults))
    try:
        log_policy(genesis)
    except (InvalidEncoding, InvalidKey) as error:
        raise InvalidGenesis((f"the policy of checkpoints: {error}",)) from None


def _order_faults(genesis: Genesis) -> Iterable[str]:
    lists: tuple[tuple[str, list[str]], ...] = (
        ("members", [member.id for member in genesis.members]),
        ("officers", [officer.key.hex() for officer in genesis.officers]),
        ("datasets", [dataset.id for dataset in genesis.datasets]),
        ("legal_bases", [basis.id for basis in genesis.legal_bases]),
        ("purposes", [purpose.id for purpose in genesis.purposes]),
        ("policy_set.contracts", [contract.id for contract in genesis.policy_set.contracts]),
    )
    for name, ids in lists:
        if ids != sorted(ids):
            yield f"{name}: not sorted by id"
        if len(ids) != len(frozenset(ids)):
            yield f"{name}: an id stands twice"


def _reference_faults(genesis: Genesis) -> Iterable[str]:
    members = frozenset(member.id for member in genesis.members)
    purposes = frozenset(purpose.id for purpose in genesis.purposes)
    categories = frozenset(dataset.category for dataset in genesis.datasets)
    for officer in genesis.officers:
        if officer.member not in members:
            yield f"officers: member {officer.member} is unknown"
    for basis in genesis.legal_bases:
        for kind, used, known in (
            ("party", basis.parties, members),
            ("purpose", basis.purposes, purposes),
            ("category", basis.categories, categories),
        ):
            for name in used:
                if name not in known:
                    yield f"legal_bases {basis.id}: {kind} {name} is unknown"


def _validator_faults(genesis: Genesis) -> Iterable[str]:
    members = frozenset(member.id for member in genesis.members)
    for validator in genesis.validators:
        if validator.member not in members:
            yield f"validators: member {validator.member} is unknown"
    for fault in find_list_faults(genesis.validators):
        yield f"validators: {fault}"


def _key_faults(genesis: Genesis) -> Iterable[str]:
    keys: list[tuple[str, bytes]] = [("log_key", genesis.log_key)]
    keys += [(f"officers: key of {item.member}", item.key) for item in genesis.officers]
    for name, key in keys:
        if key[0] != ALGORITHM_ED25519:
            yield f"{name}: unknown key algorithm {key[0]:#04x}"


def genesis_state(genesis: Genesis) -> dict[bytes, bytes]:
    """State pairs that genesis creates."""
    pairs = {
        FREEZES_KEY: FREEZES.encode(genesis.freezes),
        POLICY_SET_KEY: POLICY_SETS.encode(genesis.policy_set),
        VALIDATORS_KEY: VALIDATOR_LISTS.encode(genesis.validators),
        PARAMETERS_KEY: PARAMETERS.encode(genesis.parameters),
        REGISTRY_VERSION_KEY: (0).to_bytes(8, "big"),
        EPOCH_KEY: (0).to_bytes(8, "big"),
        PENDING_KEY: PENDINGS.encode(Pending(change=None)),
    }
    first = EpochRecord(epoch=0, first_height=1, validators=genesis.validators)
    pairs[epoch_key(0)] = EPOCH_RECORDS.encode(first)
    for member in genesis.members:
        pairs[member_key(member.id)] = MEMBERS.encode(member)
    for officer in genesis.officers:
        pairs[officer_key(officer.key)] = OFFICERS.encode(officer)
    for dataset in genesis.datasets:
        pairs[dataset_key(dataset.id)] = DATASETS.encode(dataset)
    for basis in genesis.legal_bases:
        pairs[legal_basis_key(basis.id)] = LEGAL_BASES.encode(basis)
    for purpose in genesis.purposes:
        pairs[purpose_key(purpose.id)] = PURPOSES.encode(purpose)
    return pairs


def log_verifier_key(genesis: Genesis) -> VerifierKey:
    """The log's key in checkpoints; its name is the origin."""
    return VerifierKey(name=genesis.origin, kind=ED25519, raw=genesis.log_key[1:])


def cosigner_keys(genesis: Genesis) -> tuple[VerifierKey, ...]:
    """The cosigning keys of epoch 0 in validator order, named `<origin>/<member>`."""
    return cosigner_keys_of(genesis.origin, genesis.validators)


def log_policy(genesis: Genesis) -> Policy:
    """The tlog-policy under which a checkpoint of epoch 0 is believed."""
    return policy_of_list(genesis.origin, genesis.log_key, genesis.validators)
