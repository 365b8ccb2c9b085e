"""What a node reads before it starts: genesis, its founders' signatures, keys, data directory.

Every fault is a `StartRefused` with what to do; nothing is changed on disk before all is checked.
Keys may be keystores (`node.custody`).
"""

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from ledger.errors import InvalidFounding, InvalidGenesis
from ledger.genesis import Genesis, decode_genesis_json
from ledger.keys import RawSigner, SecretKey, Signer, format_public_key
from ledger.quorum.founding import (
    SIGNATURES_SIZE_BYTES_MAX,
    GenesisSignatures,
    decode_signatures,
    verify_founders,
)
from ledger.registry import Validator
from node.config import Config
from node.custody.keys import KeyReader
from node.errors import StartRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """This node in its network: its member, its keys and its TLS certificate (DER)."""

    member: str
    consensus: RawSigner
    cosigning: RawSigner
    log: SecretKey
    certificate: bytes
    # Its keys are voted for: a log that is behind names those of the member's former node.
    replaces: bool = False
    # PEM, where the file of `[keys] tls_key` is a keystore that TLS cannot read by itself.
    tls_key: bytes | None = field(default=None, repr=False)


def read_genesis(config: Config) -> Genesis:
    """The checked genesis. Raises `StartRefused`."""
    path = config.path("node", "genesis")
    try:
        return decode_genesis_json(path.read_bytes())
    except OSError as error:
        raise StartRefused(
            f"the genesis file {path} cannot be read: {error.strerror}",
            "Copy the genesis file of your network there, or correct [node] genesis",
        ) from None
    except InvalidGenesis as error:
        raise StartRefused(
            f"the genesis file {path} is not valid: {error}",
            "Get the file again from another member and compare its hash",
        ) from None


def read_signatures(config: Config, genesis: Genesis) -> GenesisSignatures:
    """The signatures of all founders under this very genesis. Raises `StartRefused`."""
    path = config.path("node", "genesis")
    path = path.with_name(f"{path.stem}.signatures.json")
    if config["node", "genesis_signatures"]:
        path = config.path("node", "genesis_signatures")
    try:
        with path.open("rb") as file:
            signatures = decode_signatures(file.read(SIGNATURES_SIZE_BYTES_MAX + 1))
        verify_founders(genesis, signatures)
    except OSError as error:
        raise StartRefused(
            f"the founders' signatures {path} cannot be read: {error.strerror}",
            "Copy the file from another member of the network to this place, or correct [node]"
            " genesis_signatures; founders make it with: tally admin found finish",
        ) from None
    except InvalidFounding as error:
        raise StartRefused(
            f"{path} does not show that all founders signed this genesis: {error}",
            "Get genesis and signatures together from another member; a founder that has not"
            " signed yet runs: tally admin found sign",
        ) from None
    return signatures


def read_identity(config: Config, genesis: Genesis) -> Identity:
    """The node's own keys and certificate, each readable, whole and private.

    The log key must be the network's. Whether the others are on the ledger is for `check_listed`.
    Raises `StartRefused`.
    """
    reader = KeyReader(config)
    keys = {name: reader.open_signing_key(name) for name in ("consensus", "cosigning")}
    log = reader.read_signing_key("log")
    _check_key("log", log, genesis.log_key)
    tls_key, was_sealed = reader.read_tls_key()
    return Identity(
        member=config["node", "member"],
        replaces=config["node", "replaces"],
        certificate=_read_certificate(config, tls_key),
        tls_key=tls_key if was_sealed else None,
        log=log,
        **keys,
    )


def check_listed(identity: Identity, validators: Sequence[Validator]) -> Validator | None:
    """The entry of this node in lists of validators, or None: it has none (yet, or any more).

    Raises `StartRefused` if the entry has other keys, unless this node replaces that one, or if a
    key of this node is another member's.
    """
    own = [each for each in validators if each.member == identity.member]
    keys = (identity.consensus.public, identity.cosigning.public, identity.certificate)
    for validator in own:
        if keys == (
            validator.consensus_key,
            validator.cosigning_key,
            validator.tls_certificate,
        ):
            return validator
    if own and not identity.replaces:
        _check_key("consensus", identity.consensus, own[-1].consensus_key)
        _check_key("cosigning", identity.cosigning, own[-1].cosigning_key)
        raise StartRefused(
            "the TLS certificate is not the one pinned on the ledger",
            "Use the certificate that was made for this member",
        )
    for validator in validators:
        known = (validator.consensus_key, validator.cosigning_key, validator.tls_certificate)
        if validator not in own and not frozenset(keys).isdisjoint(known):
            raise StartRefused(
                f"{identity.member} has no validator, and its keys are those of {validator.member}",
                f"Correct [node] member, or use the keys of {identity.member}",
            )
    return None


def lock_data_dir(path: Path) -> int:
    """Create the data directory and lock it for this process. Raises `StartRefused`.

    The returned descriptor holds the lock until the process ends.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartRefused(
            f"the data directory {path} cannot be used: {error.strerror}",
            "Check data_dir in the configuration, its owner and the free space",
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StartRefused(
            f"another process uses the data directory {path}",
            "Stop that process first: two with one key would contradict each other",
        ) from None
    return descriptor


def _check_key(name: str, key: Signer, expected: bytes) -> None:
    if key.public != expected:
        raise StartRefused(
            f"the {name} key is {format_public_key(key.public)}, the ledger expects"
            f" {format_public_key(expected)}",
            f"Use the key that was made for this member, or correct [keys] {name}",
        )


def _read_certificate(config: Config, key_pem: bytes) -> bytes:
    """DER of the own certificate, which is valid now and belongs to the TLS key."""
    path, key_path = config.path("keys", "tls_certificate"), config.path("keys", "tls_key")
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        key = load_pem_private_key(key_pem, password=None)
    except OSError as error:
        raise StartRefused(
            f"{error.filename} cannot be read: {error.strerror}", "Correct [keys]"
        ) from None
    except (ValueError, TypeError) as error:
        raise StartRefused(
            f"{path} or {key_path} is not valid PEM: {error}", "Restore the files"
        ) from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise StartRefused(
            f"the TLS key {key_path} does not belong to the certificate", "Correct [keys] tls_key"
        )
    now = datetime.now(UTC)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise StartRefused(
            f"the certificate {path} is valid from {certificate.not_valid_before_utc:%Y-%m-%d}"
            f" to {certificate.not_valid_after_utc:%Y-%m-%d}, now is {now:%Y-%m-%d}",
            "Renew the certificate, or correct the clock of this machine",
        )
    return certificate.public_bytes(Encoding.DER)
