"""How the parts of a node are made and connected. Nothing is started here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from contracts.engine import Contracts
from contracts.lookup import find_access_anchor, find_member, read_pending, read_validators
from ledger.genesis import Genesis
from ledger.log import Log
from ledger.storage import Store
from node.access.anchors import HOUR_MS, Anchors
from node.access.files import Files
from node.access.log import AccessLog
from node.chain import Chain
from node.config import Address, Config
from node.custody.keys import file_of_secret
from node.diagnosis.gather import Gatherer
from node.diagnosis.machine import read_expiry_ms
from node.engine.cosign import CHECKPOINT_META, STATE_META, Committee, Cosigner
from node.engine.driver import Driver
from node.engine.duties import Duties
from node.engine.epochs import CoreFactory, Epochs, make_simplex, pinned_peers
from node.engine.ports import Clock, SystemClock, Transport, Workers
from node.engine.proofs import Archive
from node.errors import StartRefused
from node.hooks.delivery import Hooks
from node.hooks.settings import read_hooks
from node.metrics import Metrics
from node.node import Node
from node.oversight.overseer import Overseer
from node.peers.links import Links
from node.pool import Pool, PoolLimits
from node.service import FinalBlock
from node.simplex.guard import GuardedSigner
from node.simplex.types import WalRecord
from node.simplex.wal import Wal
from node.startup import Identity, check_listed

LOG = structlog.get_logger("compose")

ACCESS = "access"
HOOKS = "hooks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the engine reaches outside itself through: the real machine, or a simulated one."""

    transport: Transport
    clock: Clock
    workers: Workers
    disk: Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A composed node; `driver.run(records)` starts its engine."""

    node: Node
    driver: Driver
    links: Links
    records: list[WalRecord]
    metrics: Metrics
    access: AccessLog
    anchors: Anchors
    hooks: Hooks


class Late:
    """A callback that is set after the parts that call it were made."""

    def __init__(self) -> None:
        self.call: Callable[..., None] = _unset

    def __call__(self, *values: object) -> None:
        """Call what was connected."""
        self.call(*values)


def _unset(*_: object) -> None:
    raise AssertionError("a part was used before it was connected")


def make_driver(
    *,
    genesis: Genesis,
    identity: Identity,
    store: Store,
    wal_dir: Path,
    limits: PoolLimits,
    contracts: Contracts,
    around: Surroundings,
    on_final: Callable[[tuple[FinalBlock, ...]], None],
    on_checkpoint: Callable[[], None],
    make_core: CoreFactory = make_simplex,
) -> tuple[Driver, list[WalRecord]]:
    """An engine on a store and a write-ahead log, and the records found in the latter.

    Raises `CorruptStore`, `CorruptWal` or `WalFailed`.
    """
    log = Log(store, genesis)
    chain = Chain(genesis=genesis, log=log, pool=Pool(limits), contracts=contracts, me=0)
    wal, records = Wal.open(wal_dir)
    guard = GuardedSigner(key=identity.consensus, network_id=chain.network)
    guard.restore(records)
    time_s = log.get_meta(STATE_META)
    cosigner = Cosigner(
        genesis=genesis,
        member=identity.member,
        cosigning_key=identity.cosigning,
        log_key=identity.log,
        committee=Committee.of(genesis, read_validators(log)),
        time_s=int.from_bytes(time_s or b"", "big"),
        checkpoint=log.get_meta(CHECKPOINT_META),
    )
    epochs = Epochs(
        genesis=genesis,
        chain=chain,
        member=identity.member,
        consensus_key=identity.consensus.public,
        signer=guard,
        make_core=make_core,
    )
    driver = Driver(
        epochs=epochs,
        chain=chain,
        wal=wal,
        guard=guard,
        cosigner=cosigner,
        duties=Duties(
            log=log,
            member=identity.member,
            consensus_key=identity.consensus.public,
            guard=guard,
        ),
        archive=Archive(genesis=genesis, log=log, cosigner=cosigner),
        transport=around.transport,
        clock=around.clock,
        workers=around.workers,
        disk=around.disk,
        on_final=on_final,
        on_checkpoint=on_checkpoint,
    )
    return driver, records


def compose(
    config: Config,
    genesis: Genesis,
    identity: Identity,
    store: Store,
    *,
    wal_dir: Path,
    workers: Workers,
    disk: Workers,
) -> Parts:
    """All parts of a node, connected, nothing started. Raises like `make_driver`."""
    on_frame, on_connected, on_final, on_checkpoint = Late(), Late(), Late(), Late()
    clock = SystemClock()
    addresses: dict[str, Address] = config["peers", "addresses"]
    links = _make_links(config, identity, on_frame, on_connected)
    driver, records = make_driver(
        genesis=genesis,
        identity=identity,
        store=store,
        wal_dir=wal_dir,
        limits=PoolLimits(
            events_max=config["limits", "pending_events_max"],
            events_per_member_max=config["limits", "pending_per_member_max"],
        ),
        contracts=Contracts(),
        around=Surroundings(transport=links, clock=clock, workers=workers, disk=disk),
        on_final=on_final,
        on_checkpoint=on_checkpoint,
    )
    check_place(driver.chain.log, identity, addresses)
    metrics = Metrics()
    gatherer = Gatherer(
        driver=driver,
        links=links,
        clock=clock,
        workers=workers,
        data_dir=config.path("node", "data_dir"),
        certificate_expires_ms=read_expiry_ms(identity.certificate),
    )
    node = Node(
        genesis=genesis,
        chain=driver.chain,
        driver=driver,
        links=links,
        addresses=addresses,
        metrics=metrics,
        workers=workers,
        clock=clock,
        events_per_second_per_member=config["limits", "events_per_second_per_member"],
        gatherer=gatherer,
        overseer=_make_overseer(driver.chain.log, identity, clock),
    )
    on_frame.call, on_connected.call = node.on_frame, node.on_connected
    on_final.call, on_checkpoint.call = node.on_final, node.on_checkpoint
    access = AccessLog(Files(config.path("node", "data_dir") / ACCESS))
    anchors = _make_anchors(config, access, driver.chain.log, identity.member, clock)
    driver.duties.access = anchors
    return Parts(
        node=node,
        driver=driver,
        links=links,
        records=records,
        metrics=metrics,
        access=access,
        anchors=anchors,
        hooks=_make_hooks(config),
    )


def _make_links(config: Config, identity: Identity, on_frame: Late, on_connected: Late) -> Links:
    key_file = str(config.path("keys", "tls_key"))
    if identity.tls_key is not None:
        key_file = file_of_secret(identity.tls_key)
    return Links(
        peers=(),
        listen=config["peers", "listen"],
        certificate_file=str(config.path("keys", "tls_certificate")),
        key_file=key_file,
        on_frame=on_frame,
        on_connected=on_connected,
    )


def _make_hooks(config: Config) -> Hooks:
    """Raises `StartRefused`, `InvalidConfig`."""
    file = config["webhooks", "file"]
    hooks = read_hooks(config.path("webhooks", "file")) if file else ()
    return Hooks(hooks, config.path("node", "data_dir") / HOOKS)


def _make_anchors(
    config: Config, access: AccessLog, log: Log, member: str, clock: Clock
) -> Anchors:
    return Anchors(
        access,
        read_last=lambda: find_access_anchor(log, member),
        wall_ms=lambda: clock.now().wall_ms,
        period_ms=config["access", "anchor_hours"] * HOUR_MS,
        lines_max=config["access", "anchor_lines"],
        kept_days=config["access", "retention_days"],
        size_bytes_max=config["access", "size_mb_max"] * 1_000_000,
    )


def _make_overseer(log: Log, identity: Identity, clock: Clock) -> Overseer:
    """One that has looked already: what ends soon is told at every start."""
    overseer = Overseer(
        log=log,
        member=identity.member,
        certificate_ends_ms=read_expiry_ms(identity.certificate),
    )
    overseer.look(clock.now().wall_ms)
    return overseer


def check_place(log: Log, identity: Identity, addresses: Mapping[str, Address]) -> None:
    """What the configuration says must fit what the log says of this node and its peers.

    A log that is behind does not know yet whom the members admitted since: that is only told.
    Raises `StartRefused`.
    """
    pending = read_pending(log)
    validators = read_validators(log) + (pending.validators if pending is not None else ())
    if check_listed(identity, validators) is None:
        LOG.warning(
            "no validator of the network; the node follows",
            member=identity.member,
            is_member=find_member(log, identity.member) is not None,
        )
    unknown = sorted(name for name in addresses if find_member(log, name) is None)
    if unknown:
        LOG.warning("addresses of agencies that the log does not know yet", members=unknown)
    missing = [
        peer.member
        for peer in pinned_peers(log, identity.member, addresses)
        if peer.address is None
    ]
    if missing:
        raise StartRefused("start-peers-missing", members=", ".join(missing))
