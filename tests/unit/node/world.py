"""Real parts of a node on real storage, without processes: chain, pool, log, cosigner, driver."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contracts.engine import Contracts
from ledger.events import Event
from ledger.genesis import Genesis
from ledger.keys import SecretKey
from ledger.log import Log
from ledger.storage import open_store
from node.chain import Chain
from node.engine.cosign import Committee, Cosigner
from node.engine.driver import Driver
from node.engine.duties import Duties
from node.engine.epochs import Epochs
from node.engine.ports import Threads
from node.engine.proofs import Archive
from node.peers.links import Channel
from node.pool import Pool, PoolLimits
from node.service import FinalBlock
from node.simplex.guard import GuardedSigner
from node.simplex.types import Block, Now
from node.simplex.wal import Wal
from tests.builders import MEMBERS, TIME_MS, genesis, hash32

GENESIS = genesis()
VALIDATORS = sorted(MEMBERS)[:4]
LIMITS = PoolLimits(events_max=10_000, events_per_member_max=10_000)


def cosigner_of(me: int, **changed: Any) -> Cosigner:
    base: dict[str, Any] = {
        "genesis": GENESIS,
        "member": VALIDATORS[me],
        "committee": Committee.of(GENESIS, GENESIS.validators),
        "cosigning_key": SecretKey(hash32(f"{VALIDATORS[me]}/cosigning")),
        "log_key": SecretKey(hash32("log")),
    }
    return Cosigner(**{**base, **changed})


@dataclass(slots=True, kw_only=True)
class Ledger:
    """Chain, pool and log of one node, and shortcuts that play the consensus."""

    chain: Chain
    pool: Pool
    log: Log
    view: int = 0

    def build(self, *events: Event, parent: Block | None = None) -> Block:
        """A block with these events, and with those that wait, on the tip or a candidate."""
        for event in events:
            self.pool.add(event)
        self.view += 1
        block = self.chain.build(
            parent.hash if parent else self.log.tip.block_hash,
            epoch=0,
            view=self.view,
            parent_view=parent.view if parent else self.log.tip.view,
            wall_ms=TIME_MS + self.view,
        )
        assert block is not None
        return block

    def finalize(self, *events: Event) -> FinalBlock:
        """Build a block and make it final at once."""
        (final,) = self.chain.commit([self.build(*events)], {})
        return final


@contextmanager
def ledger(
    folder: Path, *, me: int = 0, founding: Genesis = GENESIS, limits: PoolLimits = LIMITS
) -> Iterator[Ledger]:
    """An opened ledger in `folder`; opening it again continues it."""
    store = open_store(folder)
    try:
        log, pool = Log(store, founding), Pool(limits)
        chain = Chain(genesis=founding, log=log, pool=pool, contracts=Contracts(), me=me)
        yield Ledger(chain=chain, pool=pool, log=log, view=log.tip.view)
    finally:
        store.close()


def cosigned(of: "Ledger") -> Cosigner:
    """A cosigner that holds the quorum checkpoint of the tip."""
    mine, *others = (cosigner_of(index) for index in range(4))
    for each in (mine, *others):
        each.prepare(TIME_MS // 1_000)
        line = each.sign(of.log.tree_size, of.log.range.root())
        if each is not mine:
            mine.receive(VALIDATORS[others.index(each) + 1], line)
    assert mine.checkpoint_size == of.log.tree_size
    return mine


@dataclass(slots=True)
class Wire:
    """A transport that keeps what was sent; every peer is connected."""

    sent: list[tuple[str | None, Channel, bytes]] = field(default_factory=list)

    def send(self, peer: str | None, channel: Channel, frame: bytes) -> None:
        self.sent.append((peer, channel, frame))

    def is_connected(self, peer: str) -> bool:
        return True

    def take(self, frame_type: int) -> list[tuple[str | None, bytes]]:
        """Contents of the frames of one type, which are removed."""
        found = [(to, data[1:]) for to, _, data in self.sent if data[0] == frame_type]
        self.sent = [each for each in self.sent if each[2][0] != frame_type]
        return found


@dataclass(slots=True)
class HandClock:
    """A clock that a test moves."""

    mono_ms: int = 1_000

    def now(self) -> Now:
        return Now(mono_ms=self.mono_ms, wall_ms=TIME_MS + self.mono_ms)


@dataclass(slots=True, kw_only=True)
class Bench:
    """A driver with real parts on a wire that only records."""

    driver: Driver
    ledger: Ledger
    wire: Wire
    clock: HandClock
    wal: Wal
    finals: list[FinalBlock]

    async def rounds(self, count: int = 1) -> None:
        """Work through what waits, without sleeping."""
        for _ in range(count):
            await self.driver._round()
            await self.helpers()
        await self.driver._round()

    async def helpers(self) -> None:
        """Wait for what runs beside the driver's task."""
        for task in list(self.driver._tasks):
            await task


@contextmanager
def bench(folder: Path, *, me: int = 0) -> Iterator[Bench]:
    """A driver that was not started: its rounds are driven by hand."""
    with ledger(folder / "store", me=me) as opened, ThreadPoolExecutor(1) as workers:
        secret = SecretKey(hash32(f"{VALIDATORS[me]}/consensus"))
        guard = GuardedSigner(key=secret, network_id=opened.chain.network)
        wal, records = Wal.open(folder / "wal")
        guard.restore(records)
        wire, clock, finals = Wire(), HandClock(), []
        epochs = Epochs(
            genesis=GENESIS,
            chain=opened.chain,
            member=VALIDATORS[me],
            consensus_key=secret.public,
            signer=guard,
        )
        cosigner = cosigner_of(me)
        driver = Driver(
            epochs=epochs,
            chain=opened.chain,
            wal=wal,
            guard=guard,
            cosigner=cosigner,
            duties=Duties(
                log=opened.log, member=VALIDATORS[me], consensus_key=secret.public, guard=guard
            ),
            archive=Archive(genesis=GENESIS, log=opened.log, cosigner=cosigner),
            transport=wire,
            clock=clock,
            workers=Threads(workers),
            disk=Threads(workers),
            on_final=finals.extend,
            on_checkpoint=lambda: None,
        )
        driver.restore(records)
        try:
            yield Bench(
                driver=driver, ledger=opened, wire=wire, clock=clock, wal=wal, finals=finals
            )
        finally:
            wal.close()
