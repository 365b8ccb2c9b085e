"""What a node reads before it starts: genesis, its founders' signatures, keys, data directory.

Every fault is a `StartRefused`; nothing is changed on disk before all is checked.
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
        raise StartRefused("start-genesis-unreadable", path=path, reason=error) from None
    except InvalidGenesis as error:
        raise StartRefused("start-genesis-invalid", path=path, reason=error) from None


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
        raise StartRefused("start-founders-unreadable", path=path, reason=error) from None
    except InvalidFounding as error:
        raise StartRefused("start-founders-unsigned", path=path, reason=error) from None
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
        raise StartRefused("start-certificate-unpinned", member=identity.member)
    for validator in validators:
        known = (validator.consensus_key, validator.cosigning_key, validator.tls_certificate)
        if validator not in own and not frozenset(keys).isdisjoint(known):
            raise StartRefused("start-member-other", member=identity.member, other=validator.member)
    return None


def lock_data_dir(path: Path) -> int:
    """Create the data directory and lock it for this process. Raises `StartRefused`.

    The returned descriptor holds the lock until the process ends.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartRefused("start-data-unusable", path=path, reason=error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StartRefused("start-data-in-use", path=path) from None
    return descriptor


def _check_key(name: str, key: Signer, expected: bytes) -> None:
    if key.public != expected:
        raise StartRefused(
            "start-key-unexpected",
            setting=f"[keys] {name}",
            found=format_public_key(key.public),
            expected=format_public_key(expected),
        )


def _read_certificate(config: Config, key_pem: bytes) -> bytes:
    """DER of the own certificate, which is valid now and belongs to the TLS key."""
    path, key_path = config.path("keys", "tls_certificate"), config.path("keys", "tls_key")
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        key = load_pem_private_key(key_pem, password=None)
    except OSError as error:
        raise StartRefused(
            "start-certificate-unreadable", path=str(error.filename), reason=error
        ) from None
    except (ValueError, TypeError) as error:
        raise StartRefused(
            "start-certificate-malformed", certificate=path, key=key_path, reason=error
        ) from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise StartRefused("start-certificate-key-other", key=key_path)
    now = datetime.now(UTC)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise StartRefused(
            "start-certificate-period",
            path=path,
            begins=f"{certificate.not_valid_before_utc:%Y-%m-%d}",
            ends=f"{certificate.not_valid_after_utc:%Y-%m-%d}",
            now=f"{now:%Y-%m-%d}",
        )
    return certificate.public_bytes(Encoding.DER)
