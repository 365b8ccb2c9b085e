"""A whole gateway in this process, beside a real node of one, asked over its socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from ledger.events import Event
from node.config import Address
from node.gateway.chain import Chain
from node.gateway.jobs import Job, Side
from node.gateway.service import Keys, Place, Service
from node.gateway.signing import Signing
from node.gateway.store import Store
from node.gateway.work.tasks import Plug
from tests.builders import ASKER, hash32, key_of
from tests.unit.node.api.harness import Served, run
from tests.unit.node.gateway.lines import Identity

FOLDER = Plug(name="folder", options={"path": "records", "files": "{dataset}.csv", "format": "csv"})


@dataclass
class House:
    """A running gateway."""

    node: Served
    folder: Path
    service: Service
    socket: aiohttp.ClientSession

    @property
    def outbox(self) -> Path:
        """Sealed payloads for others."""
        return self.folder / "data" / "outbox"

    @property
    def inbox(self) -> Path:
        """Sealed payloads of others."""
        return self.folder / "data" / "inbox"

    def job(self, exchange: bytes, side: Side) -> Job:
        """A job that must be there."""
        found = self.service._desk.find(exchange, side)
        assert found is not None
        return found

    async def settled(self, exchange: bytes, side: Side, *stages: str) -> Job:
        """The job as soon as it is in one of the stages."""
        await self.service._desk.wait(exchange, side, stages, 20)
        found = self.job(exchange, side)
        assert found.stage in stages, found
        return found

    async def call(
        self, method: str, path: str, document: object = None, *, data: bytes | None = None
    ) -> tuple[int, Any]:
        """Ask the gateway's socket."""
        options = {"json": document} if data is None else {"data": data}
        async with self.socket.request(method, f"http://gateway{path}", **options) as response:
            return response.status, await response.json(content_type=None)


def _place(folder: Path) -> Place:
    return Place(
        listen=Address("127.0.0.1", 0),
        metrics=Address("127.0.0.1", 0),
        data_dir=folder / "data",
        socket=folder / "gateway.sock",
        base=folder,
        drop=None,
        outbox_days=30,
        in_flight_max=8,
        processes=1,
        stall_s=60,
        memory_bytes_max=1_000_000_000,
    )


def save_before(folder: Path, jobs: Iterable[Job], **marks: int) -> None:
    """Jobs that a gateway has from an earlier life."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    store = Store(data / "jobs.sqlite")
    asyncio.run(store.save(jobs, **marks))
    store.close()


@asynccontextmanager
async def house(
    node: Served, folder: Path, *, member: str = ASKER, role: str = "requester", **changed: Any
) -> AsyncIterator[House]:
    """Run a gateway until the story is over; it must end in order.

    `changed` is what is different about its place.
    """
    identity = Identity(folder, member)
    host, port = node.address
    async with Chain(f"http://{host}:{port}", member) as chain:
        officer = key_of(member, role)
        signing = Signing(officer, member, await chain.network(), chain)
        service = Service(
            chain=chain,
            signing=signing,
            keys=Keys(
                officer=officer,
                seeds=(hash32(f"{member}/seed"),),
                certificate_file=str(identity.certificate),
                key_file=str(identity.key),
            ),
            place=replace(_place(folder), **changed),
            connectors={"registration": FOLDER},
            receiver=Plug(name="folder", options={"path": "received"}),
            schedules={},
            messages={},
        )
        started = asyncio.Event()
        running = asyncio.create_task(service.run(lambda *_: started.set()))
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            waiting.cancel()
            running.result()
        connector = aiohttp.UnixConnector(str(folder / "gateway.sock"))
        try:
            async with aiohttp.ClientSession(connector=connector) as socket:
                yield House(node=node, folder=folder, service=service, socket=socket)
        finally:
            running.cancel()
            ended = await asyncio.gather(running, return_exceptions=True)
        if not isinstance(ended[0], asyncio.CancelledError):
            raise AssertionError(ended[0])


def live(
    folder: Path,
    story: Callable[[House], Awaitable[None]],
    *events: Event,
    member: str = ASKER,
    role: str = "requester",
    **changed: Any,
) -> None:
    """Run a story in a house beside a node that has `events` on its ledger already."""

    (folder / "house" / "records").mkdir(parents=True, exist_ok=True)

    async def beside(node: Served) -> None:
        for event in events:
            status = await node.submit(event.data)
            assert status["code"] == "", status
        async with house(node, folder / "house", member=member, role=role, **changed) as made:
            await story(made)

    run(folder, beside)
