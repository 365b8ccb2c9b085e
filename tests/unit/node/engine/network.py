"""Whole engines on one loop with its own time: real parts, real disks, a network of function calls.

Time moves only when nothing is left to do, to the next timer. So a run takes no longer than its
work, and is the same every time.
"""

import asyncio
import selectors
import shutil
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contracts.admission import check_event
from contracts.engine import Contracts
from contracts.errors import RefusedEvent
from ledger.events import Event, parse_event, verify_event
from ledger.keys import SecretKey
from ledger.storage import Store, open_store
from node.engine.compose import Surroundings, make_driver
from node.engine.driver import Driver
from node.engine.epochs import CoreFactory, make_simplex
from node.engine.summing import sum_part
from node.peers.links import Channel
from node.peers.wire import EventList, FrameType, decode_content
from node.pool import PoolFull, PoolLimits
from node.service import FinalBlock
from node.simplex.types import Now, PendingChanged
from node.startup import Identity
from tests.builders import TIME_MS, consensus_key, genesis, hash32

DELAY_S = 0.002
GENESIS = genesis()
LIMITS = PoolLimits(events_max=10_000, events_per_member_max=10_000)


class _Selector(selectors.SelectSelector):
    """Never waits: what would have been waited is added to the loop's time."""

    waited_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing is left to do, and nothing will ever happen"
            self.waited_s += max(timeout, 0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is that of its timers."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.waited_s


class Inline:
    """Workers that work at once."""

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    async def sum_part(self, part: bytes) -> bytes:
        return sum_part(part)

    async def rest(self) -> None:
        return


class LoopClock:
    """Both clocks from the loop's time."""

    def now(self) -> Now:
        ms = int(asyncio.get_running_loop().time() * 1_000)
        return Now(mono_ms=1_000 + ms, wall_ms=TIME_MS + 1_000 + ms)


@dataclass(slots=True)
class Port:
    """The transport of one site."""

    network: "Network"
    member: str

    def send(self, peer: str | None, channel: Channel, frame: bytes) -> None:
        for name in self.network.sites if peer is None else (peer,):
            if name != self.member and self.is_connected(name):
                loop = asyncio.get_running_loop()
                loop.call_later(DELAY_S, self.network.deliver, self.member, name, frame)

    def is_connected(self, peer: str) -> bool:
        return self.network.are_linked(self.member, peer)


@dataclass(slots=True, kw_only=True)
class Site:
    """One node: its folder stays when it stops."""

    member: str
    folder: Path
    network: "Network"
    consensus: SecretKey
    make_core: CoreFactory = make_simplex
    driver: Driver | None = None
    finals: list[FinalBlock] = field(default_factory=list)
    task: "asyncio.Task[None] | None" = None
    store: Store | None = None

    @property
    def engine(self) -> Driver:
        assert self.driver is not None, f"{self.member} does not run"
        return self.driver

    @property
    def height(self) -> int:
        return self.engine.chain.log.tip.height

    def open(self) -> None:
        """The engine on the folder, not started."""
        self.store = open_store(self.folder / "store")
        self.driver, self._records = make_driver(
            genesis=GENESIS,
            identity=identity(self.member, self.consensus),
            store=self.store,
            wal_dir=self.folder / "wal",
            limits=LIMITS,
            contracts=Contracts(),
            around=Surroundings(
                transport=Port(self.network, self.member),
                clock=LoopClock(),
                workers=Inline(),
                disk=Inline(),
            ),
            on_final=self.finals.extend,
            on_checkpoint=lambda: None,
            make_core=self.make_core,
        )

    _records: Any = None

    def start(self) -> None:
        self.open()
        self.task = asyncio.get_running_loop().create_task(self.engine.run(self._records))
        for name in self.network.sites:
            if name != self.member and self.network.are_linked(self.member, name):
                self.network.sites[name].engine.on_connected(self.member)
                self.engine.on_connected(name)

    def crash(self) -> None:
        """The process is gone; what is on disk stays."""
        if self.task is not None:
            self.task.cancel()
        if self.driver is not None:
            self.driver.close()
        if self.store is not None:
            self.store.close()
        self.driver = self.task = self.store = None

    def add(self, event: Event) -> None:
        """What a node does with an event of a client or a peer."""
        log, pool = self.engine.chain.log, self.engine.chain.pool
        try:
            check_event(
                log,
                event,
                network=log.network,
                height=log.tip.height + 1,
                time_ms=log.tip.time_ms,
            )
            pool.add(event)
        except (RefusedEvent, PoolFull):
            return
        self.engine.put(PendingChanged())


def identity(member: str, consensus: SecretKey) -> Identity:
    return Identity(
        member=member,
        consensus=consensus,
        cosigning=SecretKey(hash32(f"{member}/cosigning")),
        log=SecretKey(hash32("log")),
        certificate=b"",
    )


class Network:
    """Sites by member; a cut site is unreachable, and so is one that does not run."""

    def __init__(self, folder: Path, members: Iterable[str]) -> None:
        self.folder = folder
        self.sites: dict[str, Site] = {}
        self.cut: list[str] = []
        self.dropped: Callable[[str, str, bytes], bool] = lambda sender, to, frame: False
        for member in members:
            self.add_site(member)

    def add_site(self, member: str, **changed: Any) -> Site:
        site = Site(
            member=member,
            folder=self.folder / member,
            network=self,
            **{"consensus": consensus_key(member), **changed},
        )
        self.sites[member] = site
        return site

    def are_linked(self, one: str, other: str) -> bool:
        sites = [self.sites.get(name) for name in (one, other)]
        return all(
            site is not None and site.driver is not None and site.member not in self.cut
            for site in sites
        )

    def deliver(self, sender: str, to: str, frame: bytes) -> None:
        if not self.are_linked(sender, to) or self.dropped(sender, to, frame):
            return
        site = self.sites[to]
        if frame[0] == FrameType.EVENTS:
            for data in decode_content(frame[1:], EventList).events:
                event = parse_event(data)
                verify_event(event)
                site.add(event)
            return
        site.engine.on_frame(sender, frame)

    def connect(self, member: str) -> None:
        """The site can be reached again."""
        self.cut.remove(member)
        for name in self.sites:
            if name != member and self.are_linked(member, name):
                self.sites[name].engine.on_connected(member)
                self.sites[member].engine.on_connected(name)

    def submit(self, *events: Event) -> None:
        for event in events:
            for site in self.running:
                if site.member not in self.cut:
                    site.add(event)

    @property
    def running(self) -> list[Site]:
        return [site for site in self.sites.values() if site.driver is not None]

    async def until(self, reached: Callable[[], bool], limit_s: float = 120) -> None:
        """Let time pass until it is so; a node that fails, fails the test."""
        end_s = asyncio.get_running_loop().time() + limit_s
        while not reached():
            for site in self.running:
                if site.task is not None and site.task.done():
                    site.task.result()
            assert asyncio.get_running_loop().time() < end_s, self.describe()
            await asyncio.sleep(0.01)

    async def record(self, *events: Event, at: Iterable[str] | None = None) -> None:
        """Submit, and wait until all (or `at`) have every event in their log."""
        self.submit(*events)
        names = list(at if at is not None else (each.member for each in self.running))

        def is_recorded() -> bool:
            logs = [self.sites[name].engine.chain.log for name in names]
            return all(
                log.index_of_event(event.digest) is not None for log in logs for event in events
            )

        await self.until(is_recorded)

    def describe(self) -> str:
        return "; ".join(
            f"{site.member}: height {site.height} epoch {site.engine.epochs.current.number}"
            f" view {site.engine.core.current_view} me {site.engine.epochs.me}"
            for site in self.running
        )

    def close(self) -> None:
        for site in self.sites.values():
            site.crash()


def play(folder: Path, members: Iterable[str], test: Callable[[Network], Awaitable[None]]) -> None:
    """Run a test on a started network."""

    async def run() -> None:
        network = Network(folder, members)
        try:
            for site in network.sites.values():
                site.start()
            await test(network)
        finally:
            network.close()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())


def copy(folder: Path, to: Path) -> Path:
    """The data directory as a crash at this instant leaves it."""
    shutil.copytree(folder, to)
    return to


@contextmanager
def opened(site: Site) -> Iterator[Driver]:
    site.open()
    try:
        yield site.engine
    finally:
        site.crash()
