r"""Founding: what every founder signs before a network may run, and the log key that follows.

A genesis claims what a network is. Nobody need believe it before its founders say so: each member
that has a validator in genesis signs an `Approval` with the key of one of its active `admin`
officers. A node starts only with a genesis that all of them signed.

Signature: Ed25519 over `tallystick/genesis-signature/v1\0` || canonical MessagePack of

    network   SHA-256 of the genesis (`hash_genesis`), which covers every byte of it
    member    the founder
    address   `host:port` where the other nodes reach the founder's validator at first

File of signatures (version 1), `genesis.signatures.json` beside the genesis: of one founder, or of
any number of them, sorted by member. JSON in exactly one form, as `encode_signatures` writes it:
two spaces, these keys in this order, byte strings in base64, a line feed at the end. Other bytes
are refused. Worked example, checked by a test; a backslash breaks its longest line here only:

    {
      "version": 1,
      "network": "81d852e4327f97cdbc621b11597a3b24059bb5e22709bb376b3f5081292c9986",
      "signatures": [
        {
          "member": "east",
          "address": "node.east.example:7101",
          "key": "AclhUze1x6NTbdqa8kkVx/aDHE7Jx9aTRmYCQ6damfpW",
          "signature": "AS9LBtOmBpL9TT/xCT6E7JM1voYzlkIJ7Ie0e+iXMk5SWEsMJ/\
            rQ+JwfBW2GY6tleBlg9q1OHhE4rJnHyjYEFQU="
        }
      ]
    }

`verify_founders` checks, with these numbers in its code:

1. network      The signatures are for this genesis.
2. founder      Each signer has a validator in genesis.
3. key          Each key is that of an active officer of the signer with the role `admin`.
4. signature    Each signature verifies.
5. complete     No member with a validator is missing.
6. addresses    No address stands twice.

The log key has to be the same for all validators and must not travel between them, so each derives
it: seed = SHA-256(`tallystick/log-key/v1\0` || network id of the genesis with an all-zero log key).
Whoever has the genesis can compute it. That is harmless: the log key alone proves nothing, a
checkpoint is believed for its quorum of cosignatures, each by a key that one member alone holds.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ledger.blocks import VALIDATORS_MAX
from ledger.codec import Codec, Value
from ledger.errors import InvalidFounding, InvalidKey, InvalidSignature
from ledger.genesis import Genesis, hash_genesis
from ledger.keys import ED25519, PUBLIC_KEY_BYTES, SecretKey, Signer, fingerprint, verify_signature
from ledger.scalars import Hash32, Identifier, PeerAddress, PublicKeyBytes, SignatureBytes

GENESIS_SIGNATURE_DOMAIN = b"tallystick/genesis-signature/v1\0"
LOG_KEY_DOMAIN = b"tallystick/log-key/v1\0"
SIGNATURES_SIZE_BYTES_MAX = 65_536

_NO_KEY = bytes([ED25519]) + bytes(PUBLIC_KEY_BYTES - 1)


class Approval(Value, frozen=True, kw_only=True):
    """What a founder signs."""

    network: Hash32
    member: Identifier
    address: PeerAddress


class GenesisSignature(Value, frozen=True, kw_only=True):
    """A founder's signature under `key`, the public key of one of its admin officers."""

    member: Identifier
    address: PeerAddress
    key: PublicKeyBytes
    signature: SignatureBytes


class GenesisSignatures(Value, frozen=True, kw_only=True):
    """Signatures for one network (id in hex), sorted by member."""

    version: Literal[1]
    network: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    signatures: Annotated[
        tuple[GenesisSignature, ...], Meta(min_length=1, max_length=VALIDATORS_MAX)
    ]


_APPROVALS = Codec(Approval, size_bytes_max=1_024)
_JSON = msgspec.json.Decoder(GenesisSignatures)


def derive_log_key(genesis: Genesis) -> SecretKey:
    """The log key that belongs to everything else in `genesis`; public by design."""
    rest = msgspec.structs.replace(genesis, log_key=_NO_KEY)
    return SecretKey(hashlib.sha256(LOG_KEY_DOMAIN + hash_genesis(rest)).digest())


def sign_genesis(key: Signer, genesis: Genesis, *, member: str, address: str) -> GenesisSignatures:
    """The founder's signature as a file of one. Whether the key may sign is for the verifier."""
    network = hash_genesis(genesis)
    message = _APPROVALS.encode(Approval(network=network, member=member, address=address))
    signature = GenesisSignature(
        member=member,
        address=address,
        key=key.public,
        signature=key.sign(GENESIS_SIGNATURE_DOMAIN, message),
    )
    return GenesisSignatures(version=1, network=network.hex(), signatures=(signature,))


def merge_signatures(files: Sequence[GenesisSignatures]) -> GenesisSignatures:
    """All signatures of the files as one. Raises `InvalidFounding`.

    The same signature may stand in several files, another of the same member may not.
    """
    if not files:
        raise InvalidFounding(("no signature was given",))
    if any(file.network != files[0].network for file in files):
        raise InvalidFounding(("the files are for different networks",))
    found: dict[str, GenesisSignature] = {}
    faults = tuple(
        f"{signature.member}: two different signatures"
        for file in files
        for signature in file.signatures
        if found.setdefault(signature.member, signature) != signature
    )
    if faults:
        raise InvalidFounding(faults)
    in_order = tuple(found[member] for member in sorted(found))
    return GenesisSignatures(version=1, network=files[0].network, signatures=in_order)


def encode_signatures(signatures: GenesisSignatures) -> bytes:
    """The file of signatures."""
    return msgspec.json.format(msgspec.json.encode(signatures), indent=2) + b"\n"


def decode_signatures(data: bytes) -> GenesisSignatures:
    """Signatures of a file's bytes, well formed but not verified. Raises `InvalidFounding`."""
    if len(data) > SIGNATURES_SIZE_BYTES_MAX:
        raise InvalidFounding((f"file has more than {SIGNATURES_SIZE_BYTES_MAX} bytes",))
    try:
        signatures = _JSON.decode(data)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise InvalidFounding((str(error),)) from None
    if encode_signatures(signatures) != data:
        raise InvalidFounding(("the bytes are not in canonical form",))
    members = [each.member for each in signatures.signatures]
    if members != sorted(frozenset(members)):
        raise InvalidFounding(("signatures: not sorted by member, or one stands twice",))
    return signatures


def verify_founders(genesis: Genesis, signatures: GenesisSignatures) -> None:
    """All founders signed this genesis. Raises `InvalidFounding` with every fault found."""
    network = hash_genesis(genesis)
    if signatures.network != network.hex():  # 1
        raise InvalidFounding(
            (f"the signatures are for network {signatures.network}, this is {network.hex()}",)
        )
    faults = [
        *(fault for each in signatures.signatures for fault in _faults_of(genesis, network, each)),
        *_gaps(genesis, signatures.signatures),
    ]
    if faults:
        raise InvalidFounding(tuple(faults))


def _faults_of(genesis: Genesis, network: bytes, found: GenesisSignature) -> Iterator[str]:
    if found.member not in (validator.member for validator in genesis.validators):  # 2
        yield f"{found.member}: is not a member with a validator in genesis"
        return
    admins = [
        officer.key
        for officer in genesis.officers
        if officer.member == found.member
        and officer.status == "active"
        and "admin" in officer.roles
    ]
    if found.key not in admins:  # 3
        yield f"{found.member}: key {fingerprint(found.key)} is not that of one of its admins"
        return
    approval = Approval(network=network, member=found.member, address=found.address)
    message = _APPROVALS.encode(approval)
    try:
        verify_signature(found.key, GENESIS_SIGNATURE_DOMAIN, message, found.signature)  # 4
    except (InvalidKey, InvalidSignature) as error:
        yield f"{found.member}: {error}"


def _gaps(genesis: Genesis, signatures: Sequence[GenesisSignature]) -> Iterator[str]:
    signed = frozenset(each.member for each in signatures)
    for validator in genesis.validators:  # 5
        if validator.member not in signed:
            yield f"{validator.member}: its signature is missing"
    first: dict[str, str] = {}
    for each in signatures:  # 6
        other = first.setdefault(each.address, each.member)
        if other != each.member:
            yield f"{each.member}: address {each.address} is also that of {other}"
