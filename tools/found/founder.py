r"""Founder file: what an agency hands in so that a genesis can name it.

Public only: the agency's data, the public keys of its officers, and its validator with the address
for the other nodes (an agency without a node has none). It names the log (`origin`), so a file made
for one network cannot be used to found another.

Format (version 1): JSON in exactly one form, as `encode_founder` writes it; other bytes are
refused. Two signatures stand in it, both over the canonical MessagePack of `founder`:

    possession   by the consensus key, domain `tallystick/founder-possession/v1\0`; empty without
                 a node
    signature    by `key`, domain `tallystick/founder/v1\0`, over those bytes followed by
                 `possession`. The key is that of one of the founder's own officers; with a node, of
                 one with the role `admin`: it signs the genesis later

A founder file proves that whoever made it holds these keys, not who that is: the founders see each
other's keys in the assembled genesis, compare them by another way, and then sign.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cryptography import x509
from msgspec import Meta

from ledger.codec import Codec, Value
from ledger.errors import InvalidEncoding, InvalidKey, InvalidSignature
from ledger.genesis import Origin
from ledger.keys import ED25519, SIGNATURE_BYTES, Signer, verify_signature
from ledger.registry import MemberKind, Name, Role, Validator
from ledger.scalars import Identifier, PeerAddress, PublicKeyBytes, SignatureBytes
from tools.exits import InvalidInput
from tools.founding import NodeSecrets, read_file, validator_of

FOUNDER_DOMAIN = b"tallystick/founder/v1\0"
POSSESSION_DOMAIN = b"tallystick/founder-possession/v1\0"
FOUNDER_BYTES_MAX = 16_384
OFFICERS_MAX = 16
# What reading the names in a certificate can raise.
UNREADABLE = (
    ValueError,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.UnsupportedGeneralNameType,
)
ROLES: tuple[Role, ...] = ("requester", "approver", "provider", "admin")


class FoundingMember(Value, frozen=True, kw_only=True):
    """What an agency says of itself; its credit is for the network to say."""

    id: Identifier
    name_zh: Name
    name_en: Name
    region: Annotated[str, Meta(pattern=r"^([0-9]{6}|[A-Z]{2})\Z")]
    kind: MemberKind


class FoundingOfficer(Value, frozen=True, kw_only=True):
    """A public key and its roles."""

    key: PublicKeyBytes
    roles: Annotated[tuple[Role, ...], Meta(min_length=1, max_length=6)]


class FoundingNode(Value, frozen=True, kw_only=True):
    """The validator, and where its peers reach it at first."""

    validator: Validator
    address: PeerAddress


class Founder(Value, frozen=True, kw_only=True):
    """What is signed. `officers` are sorted by key."""

    version: Literal[1]
    origin: Origin
    member: FoundingMember
    officers: Annotated[tuple[FoundingOfficer, ...], Meta(min_length=1, max_length=OFFICERS_MAX)]
    node: FoundingNode | None


class FounderFile(Value, frozen=True, kw_only=True):
    """A founder and its signatures."""

    founder: Founder
    key: PublicKeyBytes
    possession: Annotated[bytes, Meta(max_length=SIGNATURE_BYTES)]
    signature: SignatureBytes


_CODEC = Codec(Founder, size_bytes_max=FOUNDER_BYTES_MAX)
_JSON = msgspec.json.Decoder(FounderFile)


def make_founder(
    member: FoundingMember,
    *,
    origin: str,
    officers: Mapping[Role, Signer],
    node: NodeSecrets | None,
    address: str,
) -> FounderFile:
    """The signed file of an agency. Raises `InvalidInput` for data that no file may hold."""
    listed = [FoundingOfficer(key=key.public, roles=(role,)) for role, key in officers.items()]
    founder = Founder(
        version=1,
        origin=origin,
        member=member,
        officers=tuple(sorted(listed, key=lambda officer: officer.key)),
        node=FoundingNode(validator=validator_of(node), address=address) if node else None,
    )
    signer = officers.get("admin") or next(iter(officers.values()))
    data = _CODEC.encode(founder)
    possession = node.consensus.sign(POSSESSION_DOMAIN, data) if node else b""
    file = FounderFile(
        founder=founder,
        key=signer.public,
        possession=possession,
        signature=signer.sign(FOUNDER_DOMAIN, data + possession),
    )
    # Strict reading finds what the constructors do not check: ids, regions, addresses.
    decode_founder(encode_founder(file), name=member.id)
    return file


def encode_founder(file: FounderFile) -> bytes:
    """The founder file."""
    return msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n"


def read_founder(path: Path) -> FounderFile:
    """The verified founder file at `path`. Raises `InvalidInput`."""
    data = read_file(path, size_bytes_max=FOUNDER_BYTES_MAX)
    return decode_founder(data, name=str(path))


def decode_founder(data: bytes, *, name: str) -> FounderFile:
    """The verified founder file of these bytes. Raises `InvalidInput`, which names the file."""
    try:
        file = _JSON.decode(data)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise InvalidInput("founder-invalid", f"{name}: {error}") from None
    if encode_founder(file) != data:
        raise InvalidInput("founder-invalid", f"{name}: the bytes are not in canonical form")
    fault = next(_find_faults(file), None)
    if fault is not None:
        raise InvalidInput("founder-invalid", f"{name}: {fault}")
    return file


def _find_faults(file: FounderFile) -> Iterator[str]:
    founder = file.founder
    signers = [
        officer.key
        for officer in founder.officers
        if founder.node is None or "admin" in officer.roles
    ]
    if file.key not in signers:
        yield "the key that signed is not that of an admin officer in the file"
    try:
        data = _CODEC.encode(founder)
        verify_signature(file.key, FOUNDER_DOMAIN, data + file.possession, file.signature)
    except (InvalidEncoding, InvalidKey, InvalidSignature) as error:
        yield f"signature: {error}"
        return
    keys = [officer.key for officer in founder.officers]
    if keys != sorted(frozenset(keys)):
        yield "officers: not sorted by key, or one stands twice"
    for name in (founder.member.name_zh, founder.member.name_en):
        if not name.isprintable():
            yield "a name has characters that cannot be shown"
    yield from _find_node_faults(file, data)


def _find_node_faults(file: FounderFile, data: bytes) -> Iterator[str]:
    founder, node = file.founder, file.founder.node
    if node is None:
        if file.possession:
            yield "possession: there is no node whose key could be proven"
        return
    validator = node.validator
    if validator.member != founder.member.id:
        yield f"the validator is that of {validator.member}"
    try:
        verify_signature(validator.consensus_key, POSSESSION_DOMAIN, data, file.possession)
    except (InvalidKey, InvalidSignature) as error:
        yield f"possession of the consensus key: {error}"
    if validator.cosigning_key[0] != ED25519:
        yield "cosigning_key: unknown key algorithm"
    host = host_of(node.address)
    try:
        if host not in _hosts_of(validator.tls_certificate):
            yield f"the TLS certificate does not name {host}"
    except UNREADABLE as error:
        yield f"tls_certificate: {error}"


def _hosts_of(certificate: bytes) -> list[str]:
    """Host names and addresses that a certificate (DER) is for."""
    extensions = x509.load_der_x509_certificate(certificate).extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    hosts: list[str] = names.get_values_for_type(x509.DNSName)
    return hosts + [str(each) for each in names.get_values_for_type(x509.IPAddress)]


def host_of(address: str) -> str:
    """The host of `host:port`, an IPv6 address without brackets in its shortest form."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host
