"""What founding a network needs: its source in TOML, keys, node certificates, applications.

The source (`config/demo/network.toml`) names agencies, datasets, purposes and legal bases; keys
never stand in it. Key files are written with mode 0600 before anything else refers to them.
"""

import datetime as dt
import ipaddress
import os
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ledger.codec import Value
from ledger.errors import InvalidFounding
from ledger.keys import SecretKey, Signer
from ledger.quorum.founding import (
    SIGNATURES_SIZE_BYTES_MAX,
    GenesisSignatures,
    decode_signatures,
)
from ledger.quorum.governance import AddValidator, prove_possession
from ledger.registry import (
    Dataset,
    Freeze,
    LegalBasis,
    MemberKind,
    Parameters,
    Purpose,
    Role,
    Validator,
)
from tools.exits import InvalidInput

CERTIFICATE_DAYS = 730
LOOPBACK = ("localhost", "127.0.0.1")
SOURCE_BYTES_MAX = 4_194_304
APPLICATION_BYTES_MAX = 16_384


class SourceMember(Value, frozen=True, kw_only=True):
    """An agency of the source; every role of `officers` gets a key of its own."""

    id: str
    name_zh: str
    name_en: str
    region: str
    kind: MemberKind
    credit: int
    validator: bool
    officers: tuple[Role, ...]


class Source(Value, frozen=True, kw_only=True):
    """Everything of a genesis that is not a key. An empty list of members is left to the files."""

    name: str
    origin: str
    parameters: Parameters
    members: tuple[SourceMember, ...] = ()
    datasets: tuple[Dataset, ...]
    purposes: tuple[Purpose, ...]
    legal_bases: tuple[LegalBasis, ...]
    freezes: tuple[Freeze, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSecrets:
    """The private half of one validator: secret keys, or what signs for those on a token."""

    member: str
    consensus: Signer
    cosigning: Signer
    tls_key_pem: bytes
    tls_certificate_pem: bytes


def read_source(path: Path | None = None) -> Source:
    """The source in the file `path`, or the shipped demonstration network."""
    if path is None:
        data = (files("config") / "demo" / "network.toml").read_bytes()
    else:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InvalidInput("source-unreadable", f"{path}: {error.strerror}") from None
    if len(data) > SOURCE_BYTES_MAX:
        raise InvalidInput("source-invalid", f"{path or 'network.toml'}: > {SOURCE_BYTES_MAX} B")
    try:
        return msgspec.convert(tomllib.loads(data.decode()), Source)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidInput("source-invalid", f"{path or 'network.toml'}: {error}") from None


def new_secret_key() -> SecretKey:
    """A key of the system's randomness."""
    return SecretKey(os.urandom(32))


def make_certificate(
    member: str, now: dt.datetime, *, host: str = "localhost"
) -> tuple[bytes, bytes]:
    """PEM of a fresh P-256 key and of its self-issued certificate, for server and client use.

    It is for `host`, a name or an address, and for the loopback.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, member)])
    hosts = dict.fromkeys((_general_name(host), *map(_general_name, LOOPBACK)))
    names = x509.SubjectAlternativeName(list(hosts))
    uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # An hour back, so that a peer whose clock lags accepts it at once.
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=CERTIFICATE_DAYS))
        .add_extension(names, critical=False)
        .add_extension(uses, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return key_pem, certificate.public_bytes(serialization.Encoding.PEM)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def read_file(path: Path, *, size_bytes_max: int) -> bytes:
    """Content of a file that a user named. Raises `InvalidInput`."""
    try:
        with path.open("rb") as file:
            data = file.read(size_bytes_max + 1)
    except OSError as error:
        raise InvalidInput("file-unreadable", f"{path}: {error.strerror}") from None
    if len(data) > size_bytes_max:
        raise InvalidInput("file-too-large", f"{path}: > {size_bytes_max} B")
    return data


def read_signatures(path: Path) -> GenesisSignatures:
    """Signatures of a file, not verified yet. Raises `InvalidInput`."""
    data = read_file(path, size_bytes_max=SIGNATURES_SIZE_BYTES_MAX)
    try:
        return decode_signatures(data)
    except InvalidFounding as error:
        raise InvalidInput("signatures-invalid", f"{path}: {error}") from None


def signatures_path(genesis: Path) -> Path:
    """Where the founders' signatures lie: beside the genesis."""
    return genesis.with_name(f"{genesis.stem}.signatures.json")


def write_secret(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read. Raises `InvalidInput` if it exists."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InvalidInput("file-exists", str(path)) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def new_node(
    member: str,
    now: dt.datetime,
    *,
    host: str = "localhost",
    consensus: Signer | None = None,
    cosigning: Signer | None = None,
) -> NodeSecrets:
    """Keys and a certificate for the node of a member, which others reach at `host`.

    Keys that are not given are fresh ones.
    """
    key_pem, certificate_pem = make_certificate(member, now, host=host)
    return NodeSecrets(
        member=member,
        consensus=consensus or new_secret_key(),
        cosigning=cosigning or new_secret_key(),
        tls_key_pem=key_pem,
        tls_certificate_pem=certificate_pem,
    )


def make_application(node: NodeSecrets, *, network: bytes, address: str) -> AddValidator:
    """What a member hands to the others so that they can vote its node into the network.

    Public keys, the address for peers, and the proof that the applicant holds the consensus key.
    """
    validator = validator_of(node)
    return AddValidator(
        validator=validator,
        address=address,
        possession=prove_possession(node.consensus, network, validator),
    )


def encode_application(application: AddValidator) -> bytes:
    """The application as a JSON file."""
    return msgspec.json.format(msgspec.json.encode(application)) + b"\n"


def read_application(path: Path) -> AddValidator:
    """The application in a file. Raises `InvalidInput`."""
    data = read_file(path, size_bytes_max=APPLICATION_BYTES_MAX)
    try:
        return msgspec.json.decode(data, type=AddValidator)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("application-unreadable", f"{path}: {error}") from None


def validator_of(node: NodeSecrets) -> Validator:
    """The public half of the keys of a node."""
    certificate = x509.load_pem_x509_certificate(node.tls_certificate_pem)
    return Validator(
        member=node.member,
        consensus_key=node.consensus.public,
        cosigning_key=node.cosigning.public,
        tls_certificate=certificate.public_bytes(serialization.Encoding.DER),
    )
