"""The gateway put together: its parts, the files of its folders, and following the chain."""

import asyncio
import heapq
import os
import socket
import ssl
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from ledger.keys import Signer
from node.config import Address
from node.errors import StartRefused
from node.gateway.agency.asking import Asking
from node.gateway.agency.drop import Drop
from node.gateway.agency.local import Local
from node.gateway.agency.schedule import Offering, Schedule
from node.gateway.chain import Block, Chain, History
from node.gateway.desk import Desk
from node.gateway.follow import observe, open_job
from node.gateway.jobs import Job, Side, Stage, advance, change, hold
from node.gateway.metrics import Metrics
from node.gateway.partners import Directory
from node.gateway.serving import Runner, Serving, Site
from node.gateway.signing import Signing
from node.gateway.steps.acquire import Acquirer
from node.gateway.steps.provide import Parts, Provider
from node.gateway.store import Store
from node.gateway.work.pool import Pool
from node.gateway.work.prepare import partial_path
from node.gateway.work.tasks import Messages, Plug, Setup

LOG = structlog.get_logger("gateway")

HEIGHT_MARK = "height"
HEIGHT_SAVED_EVERY = 200
SHUTDOWN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What the gateway signs, opens and shows itself with; files of a TLS certificate and key."""

    officer: Signer
    seeds: tuple[bytes, ...]
    certificate_file: str
    key_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the gateway listens and keeps its files, and what it is allowed to use."""

    listen: Address
    metrics: Address
    data_dir: Path
    socket: Path
    base: Path
    drop: Path | None
    outbox_days: int
    in_flight_max: int
    processes: int
    stall_s: float
    memory_bytes_max: int

    @property
    def outbox(self) -> Path:
        """Sealed payloads for others."""
        return self.data_dir / "outbox"

    @property
    def inbox(self) -> Path:
        """Sealed payloads of others."""
        return self.data_dir / "inbox"


class Service:
    """A running gateway."""

    def __init__(
        self,
        *,
        chain: Chain,
        signing: Signing,
        keys: Keys,
        place: Place,
        connectors: dict[str, Plug],
        receiver: Plug,
        schedules: dict[str, Schedule],
        messages: dict[str, Messages],
    ) -> None:
        for folder in (place.data_dir, place.outbox, place.inbox):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._chain = chain
        self._signing = signing
        self._place = place
        self._schedules = schedules
        self._store = Store(place.data_dir / "jobs.sqlite")
        self._directory = Directory(chain, keys.certificate_file, keys.key_file)
        setup = Setup(
            network=signing.network,
            member=signing.member,
            seeds=keys.seeds,
            connectors=connectors,
            receiver=receiver,
            base=str(place.base),
            memory_bytes_max=place.memory_bytes_max,
            messages=messages,
        )
        self._pool = Pool(setup, size=place.processes, stall_s=place.stall_s)
        self._parts = Parts(
            chain=chain, directory=self._directory, pool=self._pool, signing=signing
        )
        # Heights from which something that the members decide may be otherwise.
        self._due: list[int] = []
        self._metrics = Metrics(self._store, signing)
        self._desk = self._make_desk()

    def _make_desk(self) -> Desk:
        place = self._place
        provider = Provider(self._parts, outbox=place.outbox, outbox_days=place.outbox_days)
        acquirer = Acquirer(self._parts, inbox=place.inbox)
        return Desk(
            self._store,
            steps={
                ("provide", "request"): provider.request,
                ("provide", "ask"): provider.ask,
                ("provide", "prepare"): provider.prepare,
                ("provide", "refer"): provider.refer,
                ("provide", "deliver"): provider.deliver,
                ("provide", "learn"): provider.learn,
                ("acquire", "request"): acquirer.request,
                ("acquire", "fetch"): acquirer.fetch,
                ("acquire", "check"): acquirer.check,
                ("acquire", "hand"): acquirer.hand,
                ("acquire", "answer"): acquirer.answer,
                ("acquire", "erase"): acquirer.erase,
                ("acquire", "attest"): acquirer.attest,
            },
            wakes={
                ("provide", "offered"): lambda job: hold(job, "outbox-expired", ""),
                ("provide", "settled"): _forget,
                ("provide", "held"): _forget,
                ("acquire", "kept"): lambda job: advance(job, "erase"),
                ("acquire", "held"): _end_retention,
            },
            enter=self._tidy,
            on_failure=lambda code: self._metrics.failures.update((code,)),
            in_flight_max=place.in_flight_max,
        )

    def _tidy(self, job: Job) -> None:
        """Remove the sealed copies that nobody needs any more."""
        if job.stage in _BEFORE_FILES and not job.correction:
            return
        needed = _needed_files(job)
        folder = self._place.outbox if job.side == "provide" else self._place.inbox
        for name in job.file_names:
            if name not in needed:
                (folder / name).unlink(missing_ok=True)
        if job.side == "provide" and not needed:
            partial_path(folder / job.file_name).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what a crash left between a durable change and its tidying."""
        sides: tuple[tuple[Side, Path], ...] = (
            ("provide", self._place.outbox), ("acquire", self._place.inbox)
        )  # fmt: skip
        for side, folder in sides:
            for path in folder.iterdir():
                job = self._store.find(_exchange_of(path), side)
                if job is None or path.name not in _needed_files(job):
                    path.unlink()

    async def run(self, on_started: Callable[[str, str], None]) -> None:
        """Serve until cancelled; raises what made a part fail."""
        self._sweep()
        await self._directory.refresh()
        status = await self._chain.get("/v1/status", dict[str, Any])
        # Not that of the last block seen here: events signed now must outlive the way to there.
        self._signing.height = int(status["height"])
        await self._bootstrap(self._signing.height)
        for proposal in await self._chain.pages("/v1/proposals"):
            self._note_due(proposal["activate_height"], self._signing.height)
        asking = Asking(self._parts, self._desk)
        local = Local(self._parts, asking, store=self._store, desk=self._desk)
        serving = Serving(self._store, self._desk, self._directory, self._place.outbox)
        offering = Offering(self._chain, self._signing, self._schedules)
        async with AsyncExitStack() as stack:
            stack.callback(self._store.close)
            stack.push_async_callback(self._pool.close)
            stack.push_async_callback(self._directory.close)
            tls = self._directory.server_tls
            partners = Runner(serving.app(), shutdown_timeout=SHUTDOWN_S)
            address = await _listen(stack, partners, self._place.listen, tls)
            metrics = web.AppRunner(
                self._metrics.app(), access_log=None, shutdown_timeout=SHUTDOWN_S
            )
            figures = await _listen(stack, metrics, self._place.metrics, None)
            await self._listen_locally(stack, local.app())
            on_started(address, figures)
            running = [
                self._desk.run(),
                self._chain.run(),
                self._directory.keep_fresh(),
                self._follow(),
                offering.run(),
            ]
            if self._place.drop is not None:
                running.append(Drop(self._place.drop, asking, self._desk).run())
            await _all_of(*running)

    async def _listen_locally(self, stack: AsyncExitStack, app: web.Application) -> None:
        path = self._place.socket
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # After the server that listens on it.
        stack.callback(line.close)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        path.unlink(missing_ok=True)
        try:
            _bind(line, path)
            await web.SockSite(runner, line).start()
        except OSError as error:
            raise StartRefused("start-gateway-socket", path=path, reason=error) from None
        path.chmod(0o600)

    async def _bootstrap(self, height: int) -> None:
        """A gateway without a past takes up the exchanges as they are now."""
        if self._store.mark(HEIGHT_MARK) is not None:
            return
        for item in await self._chain.pages(f"/v1/requests?member={self._signing.member}"):
            await self._take_up(item["exchange"])
        await self._store.save((), **{HEIGHT_MARK: height})

    async def _take_up(self, exchange: str) -> None:
        """The job of one exchange, from its records so far."""
        document = await self._chain.get(f"/v1/requests/{exchange}", History)
        job: Job | None = None
        for record in document.history:
            job = open_job(record, self._signing.member) if job is None else job
            if job is not None:
                job = observe(job, record, document.state.changed_ms)
        if job is None:
            return
        ends = [each.until_ms for each in document.matters.holders if each.holder == job.requester]
        if job.until_ms and ends:
            # Records do not tell the times of their blocks; what is held, the ledger tells.
            wake_ms = ends[0] if job.wake_ms == job.until_ms else job.wake_ms
            job = change(job, until_ms=ends[0], wake_ms=wake_ms)
        await self._store.save([job])

    async def _follow(self) -> None:
        after = self._store.mark(HEIGHT_MARK)
        assert after is not None, "bootstrapping leaves a height"
        saved = after
        async for block in self._chain.blocks(after):
            self._signing.height = max(self._signing.height, block.height)
            self._note_governance(block)
            changed = self._changed_by(block)
            if changed or block.height >= saved + HEIGHT_SAVED_EVERY:
                saved = block.height
                await self._desk.put(changed, **{HEIGHT_MARK: saved})
            self._chain.reached(block.height)

    def _note_governance(self, block: Block) -> None:
        """What members decide is in force from the next block on, or from its own height on."""
        for record in block.records:
            if record.event.kind.startswith("governance."):
                self._note_due(record.event.body.get("activate_height", 0), block.height)
                self._directory.expire()
        while self._due and self._due[0] <= block.height + 1:
            heapq.heappop(self._due)
            self._directory.expire()

    def _note_due(self, activate_height: int, height: int) -> None:
        if activate_height > height:
            heapq.heappush(self._due, activate_height)

    def _changed_by(self, block: Block) -> list[Job]:
        changed: dict[bytes, Job] = {}
        for record in block.records:
            opened = open_job(record, self._signing.member)
            exchange = bytes.fromhex(record.event.exchange)
            job = changed.get(exchange) or self._desk.find_own(exchange) or opened
            if job is not None:
                changed[exchange] = observe(job, record, block.time_ms)
        return list(changed.values())


def _bind(line: socket.socket, path: Path) -> None:
    """Bind by the open folder: the system takes paths of about a hundred bytes only."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        line.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


async def _listen(
    stack: AsyncExitStack, runner: web.AppRunner, listen: Address, tls: ssl.SSLContext | None
) -> str:
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        site = web.TCPSite if tls is None else Site
        await site(runner, listen.host, listen.port, ssl_context=tls).start()
    except OSError as error:
        raise StartRefused("start-gateway-address", address=str(listen), reason=error) from None
    host, port = runner.addresses[0][:2]
    return str(Address(host, port))


def _forget(job: Job) -> Job:
    """The end of retention on the provider's side: blinds and question go."""
    return advance(job, "closed", question=b"", payload=None, answered=None)


def _end_retention(job: Job) -> Job:
    """What waits for a person is erased in time all the same; who is at that already, goes on."""
    is_ending = job.resume in ("erase", "attest")
    return change(job, wake_ms=0) if is_ending else advance(job, "erase")


# Stages in which a sealed copy is needed, or still being made.
_WITH_FILE: dict[Side, tuple[Stage, ...]] = {
    "provide": ("prepare", "refer", "deliver", "offered"),
    "acquire": ("fetch", "check", "hand"),
}


_BEFORE_FILES: tuple[Stage, ...] = ("request", "review", "ask", "open")


def _needed_files(job: Job) -> tuple[str, ...]:
    stage = job.resume if job.stage == "held" else job.stage
    is_void = job.fault == "outbox-expired" or (job.stage == "held" and stage == "prepare")
    if stage not in _WITH_FILE[job.side] or is_void:
        return ()
    if stage in ("prepare", "refer"):
        return job.file_name, job.references_name
    return (job.file_name,)


def _exchange_of(path: Path) -> bytes:
    try:
        return bytes.fromhex(path.name.split(".")[0])
    except ValueError:
        return b""


async def _all_of(*parts: Coroutine[Any, Any, None]) -> None:
    """Run parts that never end by themselves; the first failure ends all, and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(part)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
