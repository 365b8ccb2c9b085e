"""Gateways of members on loopback TLS: honest ones, and ones that answer whatever a test says."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from node.gateway.chain import Chain
from node.gateway.desk import Desk
from node.gateway.partners import Directory, pinned_tls
from node.gateway.serving import Runner, Serving, Site
from node.gateway.store import Store
from tests.builders import ASKER, OWNER
from tools.founding import make_certificate

NOW = dt.datetime.now(dt.UTC)
Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Identity:
    """A certificate with its key, as files."""

    def __init__(self, folder: Path, name: str) -> None:
        key, certificate = make_certificate(name, NOW, host="127.0.0.1")
        self.key, self.certificate = folder / f"{name}.key", folder / f"{name}.crt"
        self.key.write_bytes(key)
        self.certificate.write_bytes(certificate)
        self.der = x509.load_pem_x509_certificate(certificate).public_bytes(Encoding.DER)

    @property
    def files(self) -> tuple[str, str]:
        """Certificate and key."""
        return str(self.certificate), str(self.key)


@dataclass
class Ledger:
    """What the own nodes say of gateways, and how often they were asked; `is_down`: nothing."""

    gateways: dict[str, tuple[str, tuple[bytes, ...]]] = field(default_factory=dict)
    asked: int = 0
    is_down: bool = False
    left: set[str] = field(default_factory=set)

    async def list_members(self, _: web.Request) -> web.Response:
        """Answer GET /v1/members: all that have a gateway; suspended are those that `left`."""
        items = [
            {"id": member, "status": "suspended" if member in self.left else "active"}
            for member in sorted(self.gateways)
        ]
        return web.json_response({"items": items, "next": None})

    async def list_gateways(self, _: web.Request) -> web.Response:
        """Answer GET /v1/gateways."""
        self.asked += 1
        if self.is_down:
            raise web.HTTPServiceUnavailable
        items: list[dict[str, Any]] = [
            {
                "member": member,
                "address": address,
                "certificates": [{"der": each.hex(), "sha256": ""} for each in certificates],
            }
            for member, (address, certificates) in sorted(self.gateways.items())
        ]
        return web.json_response({"items": items, "next": None})


@dataclass
class Line:
    """The asker's view of the owner's gateway."""

    ledger: Ledger
    asker: Directory
    owner: Directory
    identities: dict[str, Identity]
    store: Store
    desk: Desk
    folder: Path
    stack: AsyncExitStack

    @property
    def outbox(self) -> Path:
        """Of the owner."""
        return self.folder / "outbox"

    def expire(self) -> None:
        """Have both gateways read the ledger again."""
        self.asker.expire()
        self.owner.expire()

    def directory(self, name: str, chain: Chain) -> Directory:
        """Another gateway's view."""
        return Directory(chain, *self.identities[name].files)

    async def answer(self, answering: Answering, *, name: str = OWNER) -> None:
        """Put a server in the owner's place that shows `name`'s certificate."""
        tls = pinned_tls(
            ssl.PROTOCOL_TLS_SERVER,
            *self.identities[name].files,
            [each.der for each in self.identities.values()],
        )

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await answering(reader, writer)
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        self.stack.callback(server.close)
        port = server.sockets[0].getsockname()[1]
        certificates = self.ledger.gateways[OWNER][1]
        self.ledger.gateways[OWNER] = f"127.0.0.1:{port}", certificates
        self.expire()


async def _listen(
    stack: AsyncExitStack, runner: web.AppRunner, site: type[web.TCPSite], **options: Any
) -> str:
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await site(runner, "127.0.0.1", 0, **options).start()
    return f"127.0.0.1:{runner.addresses[0][1]}"


@asynccontextmanager
async def line(folder: Path) -> AsyncIterator[Line]:
    """An owner's gateway that serves a store, an asker's directory, and both on the ledger."""
    (folder / "outbox").mkdir()
    names = (ASKER, OWNER, "owner-next", "cn-3205-tax", "nobody")
    identities = {name: Identity(folder, name) for name in names}
    ledger = Ledger()
    async with AsyncExitStack() as stack:
        app = web.Application()
        app.router.add_get("/v1/gateways", ledger.list_gateways)
        app.router.add_get("/v1/members", ledger.list_members)
        node_runner = web.AppRunner(app, shutdown_timeout=0.1)
        node = f"http://{await _listen(stack, node_runner, web.TCPSite)}"
        chain = await stack.enter_async_context(Chain(node, ASKER))
        directories = [Directory(chain, *identities[name].files) for name in (ASKER, OWNER)]
        for each in directories:
            stack.push_async_callback(each.close)
        store = Store(folder / "jobs.sqlite")
        stack.callback(store.close)
        desk = Desk(store, steps={}, wakes={}, enter=lambda _: None, in_flight_max=1)
        serving = Serving(store, desk, directories[1], folder / "outbox")
        runner = Runner(serving.app(), shutdown_timeout=0.1)
        address = await _listen(stack, runner, Site, ssl_context=directories[1].server_tls)
        ledger.gateways = {
            ASKER: ("127.0.0.1:1", (identities[ASKER].der,)),
            OWNER: (address, (identities[OWNER].der,)),
            "cn-3205-tax": ("127.0.0.1:1", (identities["cn-3205-tax"].der,)),
        }
        for each in directories:
            await each.refresh()
        yield Line(
            ledger=ledger,
            asker=directories[0],
            owner=directories[1],
            identities=identities,
            store=store,
            desk=desk,
            folder=folder,
            stack=stack,
        )
