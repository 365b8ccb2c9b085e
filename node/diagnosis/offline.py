"""Why a node does not start: its configuration, files and addresses, without running it.

Nothing is changed. The order is that of a start; what cannot be judged because something before it
is wrong is left out:

1. the configuration        2. genesis, signatures     3. keys and certificate
4. the disk                 5. the lock: does it run?   6. activation, stored votes, stored log
7. the list of validators   8. addresses                9. the clock
"""

import fcntl
import os
import socket
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from contracts.lookup import find_member, read_parameters, read_pending, read_validators
from ledger.errors import LedgerError
from ledger.genesis import Genesis, genesis_state, hash_genesis
from ledger.log import Log
from ledger.registry import Validator
from ledger.state import MapState, StateReader
from ledger.storage import open_store
from node.activation import STORE, WAL, verify_activation
from node.config import Address, Config, read_config
from node.diagnosis.machine import read_disk, read_expiry_ms
from node.diagnosis.rules import Finding, Severity, judge_certificate, judge_disk, worst
from node.engine.epochs import pinned_peers
from node.errors import InvalidConfig, StartRefused
from node.simplex.errors import CorruptWal
from node.simplex.wal import decode_segment
from node.startup import (
    Identity,
    check_listed,
    read_genesis,
    read_identity,
    read_signatures,
)

LOCK = "lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the stored log says, or the genesis where there is none yet; the time of the tip.

    `validators` are those in force, `following` those decided to come next. `unknown` and `missing`
    are members in `[peers.addresses]` that should not, or should, be there.
    """

    validators: tuple[Validator, ...]
    following: tuple[Validator, ...]
    unknown: tuple[str, ...]
    missing: tuple[str, ...]
    tip_time_ms: int
    precision_ms: int


def diagnose_offline(config_path: Path, *, wall_ms: int) -> tuple[Finding, ...]:
    """Findings about a node that need not run, worst first. Never empty."""
    findings = list(_check(config_path, wall_ms))
    if worst(tuple(findings)) is Severity.OK:
        findings.insert(0, Finding(code="ready-to-start", severity=Severity.OK))
    return tuple(sorted(findings, key=lambda finding: -finding.severity))


def _fault(code: str, **values: str | int) -> Finding:
    return Finding(code=code, severity=Severity.FAULT, values=values)


def _refused(code: str, error: StartRefused | InvalidConfig) -> Finding:
    return Finding(code=code, severity=Severity.FAULT, refusal=error)


def _warning(code: str, **values: str | int) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, values=values)


def _check(config_path: Path, wall_ms: int) -> Iterator[Finding]:
    try:
        config = read_config(config_path)  # 1
    except InvalidConfig as error:
        yield _refused("config-invalid", error)
        return
    try:
        genesis = read_genesis(config)  # 2
    except StartRefused as error:
        yield _refused("genesis-invalid", error)
        return
    try:
        read_signatures(config, genesis)
    except StartRefused as error:
        yield _refused("genesis-unsigned", error)
    identity = None
    try:
        identity = read_identity(config, genesis)  # 3
    except StartRefused as error:
        yield _refused("keys-invalid", error)
    else:
        expires_ms = read_expiry_ms(identity.certificate)
        yield from judge_certificate(identity.member, expires_ms, wall_ms, whose="own")
    data_dir = config.path("node", "data_dir")
    stored: Stored | None = None
    if not data_dir.is_dir():
        yield Finding(code="data-missing", severity=Severity.OK, values={"path": str(data_dir)})
    else:
        yield from judge_disk(read_disk(data_dir, sync_ms=None))  # 4
        if is_locked(data_dir / LOCK):  # 5
            yield _warning("node-running", path=str(data_dir))
            return
        yield from _check_activation(data_dir, genesis, identity)  # 6
        yield from _check_votes(data_dir / WAL)
        stored = yield from _check_store(config, data_dir / STORE, genesis)
    founded = _look(MapState(genesis_state(genesis)), config, tip_time_ms=genesis.time_ms)
    place = stored or founded
    if identity is not None:
        yield from judge_listing(identity, place, is_new=stored is None)  # 7
    yield from _check_addresses(config, place, is_new=stored is None)  # 8
    yield from judge_clock(genesis, place, wall_ms)  # 9


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of a data directory."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _check_activation(
    data_dir: Path, genesis: Genesis, identity: Identity | None
) -> Iterator[Finding]:
    if identity is None:
        return
    network, key = hash_genesis(genesis), identity.consensus.public
    try:
        verify_activation(data_dir, network=network, consensus_key=key)
    except StartRefused as error:
        yield _refused("not-activated", error)


def _check_votes(folder: Path) -> Iterator[Finding]:
    """Read the write-ahead log as opening would, without cutting off a torn end."""
    for path in sorted(folder.glob("*.wal"))[-1:]:
        try:
            decode_segment(path.read_bytes())
        except (CorruptWal, OSError) as error:
            yield _fault("votes-damaged", reason=f"{path}: {error}")


def _check_store(
    config: Config, folder: Path, genesis: Genesis
) -> Generator[Finding, None, Stored | None]:
    """Open the store as a start would, if there is one."""
    if not folder.is_dir():
        return None
    try:
        store = open_store(folder, config["node", "storage"])
    except LedgerError as error:
        yield _fault("store-damaged", reason=str(error))
        return None
    try:
        log = Log(store, genesis)
        if log.tree_size:
            log.read_entry(log.tree_size - 1)
        return _look(log, config, tip_time_ms=log.tip.time_ms)
    except LedgerError as error:
        yield _fault("store-damaged", reason=str(error))
        return None
    finally:
        store.close()


def _look(state: StateReader, config: Config, *, tip_time_ms: int) -> Stored:
    """What a state says of this node and its peers."""
    member, addresses = config["node", "member"], config["peers", "addresses"]
    pending = read_pending(state)
    peers = pinned_peers(state, member, addresses)
    return Stored(
        validators=read_validators(state),
        following=() if pending is None else pending.validators,
        unknown=tuple(name for name in sorted(addresses) if find_member(state, name) is None),
        missing=tuple(peer.member for peer in peers if peer.address is None),
        tip_time_ms=tip_time_ms,
        precision_ms=read_parameters(state).precision_ms,
    )


def judge_listing(identity: Identity, place: Stored, *, is_new: bool) -> Iterator[Finding]:
    """Whether the keys of this node are those on the ledger, and what they make it.

    A new node has no log yet: its agency and it may have been voted in since the genesis.
    """
    member = identity.member
    try:
        listed = check_listed(identity, place.validators + place.following)
    except StartRefused as error:
        yield _refused("listing-invalid", error)
        return
    if listed is None and not is_new:
        yield _warning("standing-observer", member=member)
    elif listed is not None and listed not in place.validators:
        yield _warning("standing-joining", member=member)


def _check_addresses(config: Config, place: Stored, *, is_new: bool) -> Iterator[Finding]:
    unknown = () if is_new else place.unknown
    if unknown or place.missing:
        yield _fault(
            "peers-incomplete",
            unknown=", ".join(unknown) or "-",
            missing=", ".join(place.missing) or "-",
        )
    for section in ("peers", "api", "metrics"):
        address = config[section, "listen"]
        reason = _why_not_free(address)
        if reason:
            yield _fault(
                "port-taken", setting=f"[{section}] listen", address=str(address), reason=reason
            )


def _why_not_free(address: Address) -> str:
    """Why nothing can listen there now, or an empty text."""
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, place = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def judge_clock(genesis: Genesis, place: Stored, wall_ms: int) -> Iterator[Finding]:
    """A clock that is before what has happened already is wrong."""
    latest_ms, now = wall_ms + place.precision_ms, _date(wall_ms)
    if latest_ms < genesis.time_ms:
        yield _fault("clock-before-genesis", now=now, genesis=_date(genesis.time_ms))
    elif latest_ms < place.tip_time_ms:
        yield _fault("clock-before-tip", now=now, tip=_date(place.tip_time_ms))


def _date(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
