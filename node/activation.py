"""Activation: which machine may sign with this node's consensus key, said by a person.

No local table can stop two machines that sign with one key. So a key signs only where an operator
activated it: `activation.json` in the data directory names network, key and machine, and is written
by `tally node activate` after a warning. From then on the folder `wal`, which holds the votes, must
be there too: a node that has forgotten its votes does not start (CONSENSUS 1.4, amnesia).
"""

import hashlib
import socket
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ledger.keys import format_public_key
from ledger.storage import write_file
from node.errors import StartRefused
from node.simplex.wal import Wal

FILE = "activation.json"
WAL = "wal"
STORE = "store"
FILE_BYTES_MAX = 4_096
_MACHINE_DOMAIN = b"tallystick/machine/v1\0"

Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Activation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of `activation.json`. `machine` is a hash: it identifies, and reveals nothing."""

    version: Literal[1]
    network: Hex32
    consensus_key: Annotated[str, Meta(max_length=128)]
    machine: Hex32


class Outcome(StrEnum):
    """What `activate` did."""

    ALREADY = "already"
    FIRST = "first"
    MOVED = "moved"


def identify_machine() -> str:
    """Hash that tells machines apart: of the systemd machine id, else of the host name."""
    try:
        name = Path("/etc/machine-id").read_bytes().strip()
    except OSError:
        name = b""
    return hashlib.sha256(_MACHINE_DOMAIN + (name or socket.gethostname().encode())).hexdigest()


def verify_activation(data_dir: Path, *, network: bytes, consensus_key: bytes) -> None:
    """Raises `StartRefused` unless this key is activated on this machine and its votes are here."""
    found = _read(data_dir)
    wanted = _make(network, consensus_key)
    if found is None:
        raise StartRefused("start-key-inactive", key=wanted.consensus_key, path=data_dir)
    if (found.network, found.consensus_key) != (wanted.network, wanted.consensus_key):
        raise StartRefused(
            "start-activation-other",
            path=data_dir,
            found=found.consensus_key,
            found_network=found.network,
            key=wanted.consensus_key,
            network=wanted.network,
        )
    if found.machine != wanted.machine:
        raise StartRefused("start-machine-other", key=wanted.consensus_key)
    if not _has_votes(data_dir):
        raise StartRefused("start-votes-missing", path=data_dir / WAL)


def is_untouched(data_dir: Path) -> bool:
    """Nothing was ever activated, voted or stored here."""
    return not any((data_dir / name).exists() for name in (FILE, WAL, STORE))


def activate(data_dir: Path, *, network: bytes, consensus_key: bytes) -> Outcome:
    """Bind the key to this machine. The caller holds the lock and has asked the operator.

    Raises `StartRefused` where the key's earlier votes are missing. After a crash at any point the
    step can be done again.
    """
    found, wanted = _read(data_dir), _make(network, consensus_key)
    has_votes = _has_votes(data_dir)
    is_used = (data_dir / STORE).exists() or found is not None
    is_new_key = found is not None and found.consensus_key != wanted.consensus_key
    if not has_votes and is_used and not is_new_key:
        raise StartRefused("start-votes-missing", path=data_dir / WAL)
    if found == wanted:
        return Outcome.ALREADY
    # The votes' folder first: an activation without it means that votes are lost.
    if not has_votes:
        wal, _ = Wal.open(data_dir / WAL)
        wal.close()
    write_file(data_dir / FILE, msgspec.json.format(msgspec.json.encode(wanted)) + b"\n")
    return Outcome.MOVED if has_votes else Outcome.FIRST


def _make(network: bytes, consensus_key: bytes) -> Activation:
    return Activation(
        version=1,
        network=network.hex(),
        consensus_key=format_public_key(consensus_key),
        machine=identify_machine(),
    )


def _has_votes(data_dir: Path) -> bool:
    return any((data_dir / WAL).glob("*.wal"))


def _read(data_dir: Path) -> Activation | None:
    path = data_dir / FILE
    try:
        data = path.read_bytes()[: FILE_BYTES_MAX + 1]
        return msgspec.json.decode(data, type=Activation)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise StartRefused("start-activation-unreadable", path=path, reason=error) from None
