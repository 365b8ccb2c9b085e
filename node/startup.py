"""What a node reads before it starts: genesis, keys, certificate, data directory.

Every fault is a `StartRefused` with what to do; nothing is changed on disk before all is checked.
"""

import fcntl
import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from ledger.errors import InvalidGenesis, InvalidKey
from ledger.genesis import Genesis, decode_genesis_json
from ledger.keys import SecretKey, format_public_key, parse_secret_key
from node.config import Config
from node.errors import StartRefused

KEY_FILE_BYTES_MAX = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """This node in its network: its index among the validators and its keys."""

    me: int
    consensus: SecretKey
    cosigning: SecretKey
    log: SecretKey


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


def read_identity(config: Config, genesis: Genesis) -> Identity:
    """Keys that match the genesis. Raises `StartRefused`."""
    member = config["node", "member"]
    members = [validator.member for validator in genesis.validators]
    if member not in members:
        raise StartRefused(
            f"{member} is not a validator of this network (validators: {', '.join(members)})",
            "Correct [node] member, or use the genesis file of the right network",
        )
    me = members.index(member)
    validator = genesis.validators[me]
    keys = {
        name: _read_key(config.path("keys", name), name, expected)
        for name, expected in (
            ("consensus", validator.consensus_key),
            ("cosigning", validator.cosigning_key),
            ("log", genesis.log_key),
        )
    }
    _check_certificate(config, validator.tls_certificate)
    return Identity(me=me, **keys)


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
            "Check [node] data_dir, its owner and the free space",
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StartRefused(
            f"another process uses the data directory {path}",
            "Stop the other node first: two nodes with one key would contradict each other",
        ) from None
    return descriptor


def _read_key(path: Path, name: str, expected: bytes) -> SecretKey:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_bytes()[:KEY_FILE_BYTES_MAX].decode("ascii", "replace")
    except OSError as error:
        raise StartRefused(
            f"the {name} key file {path} cannot be read: {error.strerror}",
            f"Put the key there, or correct [keys] {name}",
        ) from None
    _check_private(path, name, mode)
    try:
        key = parse_secret_key(text)
    except InvalidKey as error:
        raise StartRefused(f"the {name} key file {path}: {error}", "Restore the key file") from None
    if key.public != expected:
        raise StartRefused(
            f"the {name} key is {format_public_key(key.public)}, the genesis expects"
            f" {format_public_key(expected)}",
            f"Use the key that was made for this member, or correct [keys] {name}",
        )
    return key


def _check_private(path: Path, name: str, mode: int) -> None:
    if mode & 0o077:
        raise StartRefused(
            f"the {name} key file {path} can be read by others (mode {mode:04o})",
            f"Run: chmod 600 {path}",
        )


def _check_certificate(config: Config, pinned: bytes) -> None:
    path, key_path = config.path("keys", "tls_certificate"), config.path("keys", "tls_key")
    try:
        _check_private(key_path, "TLS", stat.S_IMODE(key_path.stat().st_mode))
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        key = load_pem_private_key(key_path.read_bytes(), password=None)
    except OSError as error:
        raise StartRefused(
            f"{error.filename} cannot be read: {error.strerror}", "Correct [keys]"
        ) from None
    except (ValueError, TypeError) as error:
        raise StartRefused(
            f"{path} or {key_path} is not valid PEM: {error}", "Restore the files"
        ) from None
    if certificate.public_bytes(Encoding.DER) != pinned:
        raise StartRefused(
            f"the certificate {path} is not the one pinned in the genesis",
            "Use the certificate that was made for this member",
        )
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
