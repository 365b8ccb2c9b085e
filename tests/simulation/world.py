"""A world: virtual time, nodes of production parts, their network and disks.

Every node runs the production `Node`, `Driver`, core, chain, log, write-ahead log and cosigner,
composed by `node.engine.compose.make_driver` as in a daemon. Only what reaches outside is replaced:
links, clocks, threads, disk. A node that starts again has nothing but its disk.
"""

import asyncio
import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Protocol

import structlog

from contracts.engine import Contracts
from ledger.errors import StoreFailed
from ledger.log import Log
from ledger.registry import Validator
from node.engine.compose import Late, Surroundings, make_driver
from node.engine.driver import Driver
from node.node import Node
from node.peers.links import Channel, Peer
from node.pool import PoolLimits
from node.service import FinalBlock
from node.simplex.core import Simplex
from node.simplex.errors import WalFailed
from node.simplex.types import Config, Now, Signer, WalRecord
from node.simplex.votes import Verifier
from node.startup import Identity
from tests.builders import TIME_MS
from tests.simulation.byzantine import Adversary
from tests.simulation.disk import Crash, Disk, Files, MemoryStore
from tests.simulation.loop import US_PER_MS, VirtualLoop
from tests.simulation.network import Network, Weather
from tests.simulation.workload import Ground, identity

LIMITS = PoolLimits(events_max=10_000, events_per_member_max=10_000)
EVENTS_PER_S = 1_000_000
START_MS = 1_000


class Inline:
    """Workers that work at once."""

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)


class Silent:
    """Stands for what only reports to people: figures and diagnoses."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


class Clock:
    """The clocks of one machine. Its wall clock is wrong and may jump; the monotonic one is not."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.skew_ms = 0

    def now(self) -> Now:
        ms = START_MS + self._loop.now_us // US_PER_MS
        return Now(mono_ms=ms, wall_ms=TIME_MS + ms + self.skew_ms)


class Outlet:
    """The transport of one process: it ends with the process."""

    def __init__(self, site: "Outside") -> None:
        self._site = site
        self.is_open = True

    def send(self, peer: str | None, channel: Channel, frame: bytes) -> None:
        if self.is_open:
            self._site.send(peer, channel, frame)

    def is_connected(self, peer: str) -> bool:
        return self._site.is_connected(peer)

    def set_peers(self, peers: Sequence[Peer]) -> None:
        if self.is_open:
            self._site.pin(tuple(peer.member for peer in peers))


class Outside(Protocol):
    """What a process reaches through its `Outlet`, and who hears of what it does."""

    def send(self, peer: str | None, channel: Channel, frame: bytes) -> None:
        """Send a frame to a peer, or to all."""

    def is_connected(self, peer: str) -> bool:
        """Whether the peer can be reached."""

    def pin(self, peers: tuple[str, ...]) -> None:
        """The node speaks with these from now on."""

    def on_final(self, blocks: tuple[FinalBlock, ...]) -> None:
        """Final blocks."""


class Process:
    """One run of a node on a disk, from its start to its crash."""

    def __init__(
        self, world: "World", who: Identity, disk: Disk, outside: Outside, clock: Clock
    ) -> None:
        on_final = Late()
        self.outlet = Outlet(outside)
        disk.is_held = True
        self.driver: Driver
        self.records: list[WalRecord]
        self.driver, self.records = make_driver(
            genesis=world.ground.genesis,
            identity=who,
            store=MemoryStore(disk),
            wal_dir=disk.wal_dir,
            limits=LIMITS,
            contracts=world.contracts,
            around=Surroundings(
                transport=self.outlet, clock=clock, workers=Inline(), disk=Inline()
            ),
            on_final=on_final,
            on_checkpoint=lambda: None,
            make_core=world.make_core,
        )
        self.node = Node(
            genesis=world.ground.genesis,
            chain=self.driver.chain,
            driver=self.driver,
            links=self.outlet,
            addresses={},
            metrics=Silent(),
            workers=Inline(),
            clock=clock,
            events_per_second_per_member=EVENTS_PER_S,
            gatherer=Silent(),
            overseer=Silent(),
        )

        def deliver(blocks: tuple[FinalBlock, ...]) -> None:
            outside.on_final(blocks)
            self.node.on_final(blocks)

        on_final.call = deliver
        self.task: asyncio.Task[None] | None = None

    def start(self, world: "World", on_end: "Callable[[asyncio.Task[None]], None]") -> None:
        """Run the engine."""
        self.task = world.loop.create_task(self.driver.run(self.records))
        self.task.add_done_callback(on_end)

    def kill(self) -> None:
        """Nothing of this process does anything any more."""
        self.outlet.is_open = False
        if self.task is not None:
            self.task.cancel()


class HonestSite:
    """A machine with an honest node on it, which may crash and start again."""

    def __init__(self, world: "World", member: str) -> None:
        self.world = world
        self.member = member
        self.clock = Clock(world.loop)
        self.disk = world.make_disk(member)
        self.disk.on_crash = self._died
        self.process: Process | None = None
        self.pinned: tuple[str, ...] = ()
        self.height = 0
        self.is_gone = False  # for good
        self.failures: list[str] = []

    @property
    def is_up(self) -> bool:
        return self.process is not None

    @property
    def driver(self) -> Driver:
        assert self.process is not None, f"{self.member} does not run"
        return self.process.driver

    @property
    def driver_log(self) -> Log:
        """The log of the node that runs."""
        return self.driver.chain.log

    # --- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Start from the disk."""
        if self.is_gone or self.is_up:
            return
        try:
            process = Process(self.world, identity(self.member), self.disk, self, self.clock)
        except Crash:
            return  # `_died` has seen to the next start
        except (StoreFailed, WalFailed) as error:
            self._fail(error)
            return
        self.process = process
        self.world.observer.started(self, process.records)
        process.start(self.world, lambda task: self._ended(process, task))
        self.world.network.refresh()

    def crash(self) -> None:
        """The process is killed from outside."""
        self.disk.crash()

    def _died(self) -> None:
        """At the instant of a crash, wherever in the code that is."""
        self.world.observer.crashed(self)
        if self.process is not None:
            self.process.kill()
            self.process = None
        self.world.network.refresh()
        if not self.is_gone:
            self.world.loop.after(self.world.restart_ms(), self.start)

    def _ended(self, process: Process, task: "asyncio.Task[None]") -> None:
        process.driver.close()
        if task.cancelled():
            return
        error = task.exception()
        if process is not self.process or isinstance(error, Crash):
            return
        if isinstance(error, StoreFailed | WalFailed):
            self._fail(error)
            return
        assert error is not None, "a driver runs until it is cancelled"
        raise error

    def _fail(self, error: Exception) -> None:
        """The disk did not serve: the node stops, and is started again later."""
        self.failures.append(str(error))
        self.disk.crash()

    # --- links --------------------------------------------------------------------------------

    def send(self, peer: str | None, channel: Channel, frame: bytes) -> None:
        self.world.network.send(self.member, peer, channel, frame)

    def is_connected(self, peer: str) -> bool:
        return self.world.network.is_linked(self.member, peer)

    def pin(self, peers: tuple[str, ...]) -> None:
        if peers != self.pinned:
            self.pinned = peers
            self.world.network.refresh()

    def receive(self, sender: str, channel: Channel, frame: bytes) -> None:
        if self.process is not None:
            try:
                self.process.node.on_frame(sender, channel, frame)
            except Crash:
                return

    def connected(self, peer: str) -> None:
        if self.process is not None:
            try:
                self.process.node.on_connected(peer)
            except Crash:
                return

    # --- use ----------------------------------------------------------------------------------

    def on_final(self, blocks: tuple[FinalBlock, ...]) -> None:
        self.world.observer.final(self, blocks)

    def submit(self, data: bytes) -> None:
        """A client hands in an event; whether it is taken is for the node to say."""
        process = self.process
        if process is None:
            return

        async def work() -> None:
            try:
                await process.node.submit([data], client="client")
            except Crash:
                return

        self.world.loop.create_task(work())


class Observer:
    """Whoever watches a world; the checkers do."""

    def started(self, site: HonestSite, records: Sequence[WalRecord]) -> None:
        """A process has restored its disk and begins."""

    def crashed(self, site: HonestSite) -> None:
        """A process is about to vanish."""

    def final(self, site: HonestSite, blocks: tuple[FinalBlock, ...]) -> None:
        """A node holds these blocks for final."""

    def sent(self, sender: str, receivers: tuple[str, ...], frame: bytes) -> None:
        """A site sends a frame."""


class World:
    """Everything of one run."""

    def __init__(
        self,
        *,
        random: Random,
        ground: Ground,
        folder: Path,
        weather: Weather,
        is_real: bool,
    ) -> None:
        self.loop = VirtualLoop()
        self.random = random
        self.ground = ground
        self.contracts: Contracts = ground.contracts
        self.folder = folder
        self.files = Files()
        self.network = Network(self.loop, random, weather)
        self.network.on_send = self._sent
        self.observer = Observer()
        self.honest: dict[str, HonestSite] = {}
        self.adversaries: dict[str, Adversary] = {}
        self.names: tuple[str, ...] = ()  # of all sites there will be
        self.lists: list[tuple[Validator, ...]] = []  # of epochs that honest nodes have begun
        self.early_lists: dict[int, tuple[Validator, ...]] = {}  # those of adversaries
        self.restart_ms_max = 3_000
        self.crash_rate = 0.0
        self._is_real = is_real
        self._verifiers: dict[tuple[bytes, ...], Verifier] = {}
        self._transcript = hashlib.blake2b(digest_size=16)

    # --- making -------------------------------------------------------------------------------

    def make_disk(self, name: str) -> Disk:
        """An empty disk: the log stands at the genesis, the write-ahead log does not exist."""
        folder = self.folder / name
        folder.mkdir()
        disk = Disk(folder, self.random, self.ground.content)
        disk.crash_rate = self.crash_rate
        self.files.add(disk)
        return disk

    def make_core(self, config: Config, chain: Any, signer: Signer | None) -> Simplex:
        """The production core. All nodes share what they have verified, unless run for real."""
        verifier = None
        if not self._is_real:
            verifier = self._verifiers.get(config.validators)
            if verifier is None:
                verifier = Verifier(network_id=config.network_id, validators=config.validators)
                self._verifiers[config.validators] = verifier
        return Simplex(config=config, application=chain, signer=signer, verifier=verifier)

    def validators_of(self, epoch: int) -> tuple[Validator, ...]:
        """The list of an epoch that has begun somewhere. Raises `KeyError`."""
        return self.lists[epoch] if epoch < len(self.lists) else self.early_lists[epoch]

    def make_process(self, who: Identity, disk: Disk, outside: Outside) -> Process:
        """A node of these keys on a disk, not started."""
        return Process(self, who, disk, outside, Clock(self.loop))

    def populate(self, adversaries: Mapping[str, type[Adversary]], names: Sequence[str]) -> None:
        """Make all sites; nothing is started. `adversaries`: who is not honest."""
        self.names = tuple(names)
        for name in names:
            kind = adversaries.get(name)
            if kind is None:
                self.honest[name] = self.network.sites[name] = HonestSite(self, name)
            else:
                self.adversaries[name] = self.network.sites[name] = kind(self, name)

    def start(self) -> None:
        """Start everything."""
        for adversary in self.adversaries.values():
            adversary.start()
        for site in self.honest.values():
            site.start()

    def restart_ms(self) -> int:
        """How long a crashed node is away."""
        return self.random.randrange(10, self.restart_ms_max)

    # --- running ------------------------------------------------------------------------------

    @property
    def running(self) -> list[HonestSite]:
        """Honest nodes that run now."""
        return [site for site in self.honest.values() if site.is_up]

    @property
    def now_ms(self) -> int:
        """Virtual time."""
        return self.loop.now_us // US_PER_MS

    @property
    def crashes(self) -> int:
        """How often a process of an honest node died."""
        return sum(site.disk.crashes for site in self.honest.values())

    def transcript(self) -> str:
        """Hash of all that was sent and committed, with its time."""
        return self._transcript.hexdigest()

    def note(self, *parts: bytes) -> None:
        """Add to the transcript."""
        self._transcript.update(struct.pack(">Q", self.loop.now_us) + b"|".join(parts))

    def _sent(self, sender: str, receivers: tuple[str, ...], frame: bytes) -> None:
        self.note(sender.encode(), ",".join(receivers).encode(), frame)
        self.observer.sent(sender, receivers, frame)


@contextmanager
def silent_logs() -> Iterator[None]:
    """Log lines of the product are dropped before they are made."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        yield
    finally:
        structlog.configure(**before)
