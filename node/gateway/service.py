"""The gateway put together: its parts, the files of its folders, and following the chain."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from ledger.keys import Signer
from node.config import Address
from node.errors import StartRefused
from node.gateway.acquire import Acquirer
from node.gateway.chain import Block, Chain, History
from node.gateway.desk import Desk
from node.gateway.follow import observe, open_job
from node.gateway.jobs import Failed, Job, Side, advance, hold
from node.gateway.local import Local
from node.gateway.partners import Directory
from node.gateway.provide import Parts, Provider
from node.gateway.schedule import Schedule, last_period, make_offer, next_due, offer_nonce
from node.gateway.serving import Serving
from node.gateway.signing import Signing
from node.gateway.store import Store
from node.gateway.work.pool import Pool
from node.gateway.work.tasks import Plug, Setup

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
    data_dir: Path
    socket: Path
    base: Path
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
        )
        self._pool = Pool(setup, size=place.processes, stall_s=place.stall_s)
        self._parts = Parts(
            chain=chain, directory=self._directory, pool=self._pool, signing=signing
        )
        self._desk = self._make_desk()

    def _make_desk(self) -> Desk:
        place = self._place
        provider = Provider(self._parts, outbox=place.outbox, outbox_days=place.outbox_days)
        acquirer = Acquirer(self._parts, inbox=place.inbox)
        return Desk(
            self._store,
            steps={
                ("provide", "ask"): provider.ask,
                ("provide", "prepare"): provider.prepare,
                ("provide", "deliver"): provider.deliver,
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
                ("acquire", "kept"): lambda job: advance(job, "erase"),
            },
            enter=self._tidy,
            in_flight_max=place.in_flight_max,
        )

    def _tidy(self, job: Job) -> None:
        """Remove the sealed copy that nobody needs any more."""
        if job.side == "provide" and job.stage in ("settled", "closed", "held"):
            (self._place.outbox / job.file_name).unlink(missing_ok=True)
        if job.side == "acquire" and job.stage in ("kept", "closed", "attest"):
            (self._place.inbox / job.file_name).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what a crash left between a durable change and its tidying."""
        sides: tuple[tuple[Side, Path, tuple[str, ...]], ...] = (
            ("provide", self._place.outbox, ("deliver", "offered")),
            ("acquire", self._place.inbox, ("fetch", "check", "hand", "held")),
        )
        for side, folder, stages in sides:
            for path in folder.iterdir():
                job = self._store.find(_exchange_of(path), side)
                needed = job is not None and job.stage in stages and job.file_name == path.name
                if not needed:
                    path.unlink()

    async def run(self, on_started: Callable[[str], None]) -> None:
        """Serve until cancelled; raises what made a part fail."""
        self._sweep()
        await self._directory.refresh()
        await self._bootstrap()
        local = Local(self._parts, store=self._store, desk=self._desk)
        serving = Serving(self._store, self._directory, self._place.outbox)
        async with AsyncExitStack() as stack:
            stack.callback(self._store.close)
            stack.push_async_callback(self._pool.close)
            stack.push_async_callback(self._directory.close)
            address = await self._listen(stack, serving.app())
            await self._listen_locally(stack, local.app())
            on_started(address)
            await _all_of(
                self._desk.run(),
                self._chain.run(),
                self._directory.keep_fresh(),
                self._follow(),
                self._keep_schedules(),
            )

    async def _listen(self, stack: AsyncExitStack, app: web.Application) -> str:
        listen = self._place.listen
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        tls = self._directory.server_tls
        try:
            await web.TCPSite(runner, listen.host, listen.port, ssl_context=tls).start()
        except OSError as error:
            raise StartRefused(
                f"the address {listen} cannot be used: {error}",
                "Stop the program that holds the port, or set another [gateway] listen",
            ) from None
        host, port = runner.addresses[0][:2]
        return str(Address(host, port))

    async def _listen_locally(self, stack: AsyncExitStack, app: web.Application) -> None:
        path = self._place.socket
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        path.unlink(missing_ok=True)
        try:
            await web.UnixSite(runner, path).start()
        except OSError as error:
            raise StartRefused(
                f"the socket {path} cannot be made: {error}", "Correct [gateway] socket"
            ) from None
        path.chmod(0o600)

    async def _bootstrap(self) -> None:
        """A gateway without a past takes up the exchanges that are open now."""
        if self._store.mark(HEIGHT_MARK) is not None:
            return
        status = await self._chain.get("/v1/status", dict[str, Any])
        member, height = self._signing.member, int(status["height"])
        for item in await self._chain.pages(f"/v1/requests?member={member}"):
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
        if job is not None:
            await self._store.save([job])

    async def _follow(self) -> None:
        after = self._store.mark(HEIGHT_MARK)
        assert after is not None, "bootstrapping leaves a height"
        self._signing.height = saved = after
        async for block in self._chain.blocks(after):
            self._signing.height = block.height
            changed = self._changed_by(block)
            if changed or block.height >= saved + HEIGHT_SAVED_EVERY:
                saved = block.height
                await self._desk.put(changed, **{HEIGHT_MARK: saved})
            self._chain.reached(block.height)

    def _changed_by(self, block: Block) -> list[Job]:
        changed: dict[tuple[bytes, Side], Job] = {}
        for record in block.records:
            opened = open_job(record, self._signing.member)
            if record.event.kind.startswith("governance."):
                self._directory.expire()
            exchange = bytes.fromhex(record.event.exchange)
            sides: tuple[Side, ...] = ("provide", "acquire")
            for side in sides:
                key = (exchange, side)
                job = changed.get(key) or self._desk.find(*key)
                if job is None and opened is not None and opened.side == side:
                    job = opened
                if job is not None:
                    changed[key] = observe(job, record, block.time_ms)
        return list(changed.values())

    async def _keep_schedules(self) -> None:
        """Offer what is due, now and on every later day on which something is."""
        while True:
            today = datetime.now(UTC).date()
            for name, schedule in sorted(self._schedules.items()):
                await self._offer(name, schedule)
            days = [next_due(schedule, today) for schedule in self._schedules.values()]
            if not days:
                await asyncio.get_running_loop().create_future()
            tomorrow = datetime(*min(days).timetuple()[:3], tzinfo=UTC)
            left = tomorrow - datetime.now(UTC)
            await asyncio.sleep(max(left, timedelta()).total_seconds() + 1)

    async def _offer(self, name: str, schedule: Schedule) -> None:
        first, last = last_period(schedule, datetime.now(UTC).date())
        nonce = offer_nonce(self._signing.network, name, schedule, first)
        path = f"/v1/members/{self._signing.member}/events/{nonce.hex()}"
        try:
            await self._chain.get(path, dict[str, Any])
            return
        except Failed as error:
            if error.code != "node-not-found":
                LOG.warning("schedule cannot be looked up", schedule=name, error=str(error))
                return
        answer = await self._chain.submit(
            self._signing.sign(make_offer(schedule, first, last), nonce)
        )
        LOG.info("offered by schedule", schedule=name, state=answer.state, code=answer.code)


def _forget(job: Job) -> Job:
    """The end of retention on the provider's side: blinds and question go."""
    return advance(job, "closed", question=b"", payload=None)


def _exchange_of(path: Path) -> bytes:
    try:
        return bytes.fromhex(path.name.split(".")[0])
    except ValueError:
        return b""


async def _all_of(*parts: Coroutine[Any, Any, None]) -> None:
    """Run parts that never end by themselves; the first failure ends all."""
    async with asyncio.TaskGroup() as group:
        for part in parts:
            group.create_task(part)
