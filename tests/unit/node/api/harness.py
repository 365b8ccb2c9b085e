"""A served `MemoryService` on loopback sockets and a client of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from ledger.quorum.founding import encode_signatures, merge_signatures, sign_genesis
from node.access.log import AccessLog
from node.api.context import Limits
from node.api.server import build_app, listening
from node.hooks.delivery import HookStates
from node.metrics import Metrics
from tests import builders
from tests.unit.node.api.memory_service import MemoryService

MSGPACK = {"Content-Type": "application/msgpack"}
ENGLISH = {"Accept-Language": "en"}
FOUNDERS = encode_signatures(
    merge_signatures(
        [
            sign_genesis(
                builders.key_of(member, "admin"),
                builders.genesis(),
                member=member,
                address=f"{member}.example:7001",
            )
            for member in builders.VALIDATORS
        ]
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The node, its client session and its addresses."""

    service: MemoryService
    metrics: Metrics
    app: web.Application
    client: aiohttp.ClientSession
    address: tuple[str, int]
    metrics_address: tuple[str, int]

    async def get_json(self, path: str, *, status: int = 200, **options: Any) -> Any:
        async with self.client.get(path, **options) as response:
            body = await response.json(content_type=None)
            assert response.status == status, body
            return body

    async def submit(self, data: bytes, *, status: int = 200, **headers: str) -> Any:
        """Submit one event as MessagePack and wait for its outcome."""
        sent = {**MSGPACK, **ENGLISH, "Prefer": "wait=5", **headers}
        async with self.client.post("/v1/events", data=data, headers=sent) as response:
            body = await response.json(content_type=None)
            assert response.status == status, body
            return body

    async def raw(self, data: bytes) -> bytes:
        """What the server answers to raw bytes until it closes the connection."""
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(data)
        try:
            async with asyncio.timeout(10):
                return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def served(folder: Path, **changed: Any) -> AsyncIterator[Served]:
    """Serve a fresh node; keyword arguments change limits, `events_max` the pool.

    `access` is an access log that was started, `hooks` tells how webhooks stand.
    """
    events_max = changed.pop("events_max", 100_000)
    metrics = Metrics()
    service = MemoryService(folder, metrics, events_max=events_max)
    access: AccessLog | None = changed.pop("access", None)
    hooks: HookStates | None = changed.pop("hooks", None)
    app = build_app(
        service, Limits(**changed), metrics, founders=FOUNDERS, access=access, hooks=hooks
    )
    try:
        async with listening(app, api=("127.0.0.1", 0)) as addresses:
            host, port = addresses.api
            async with aiohttp.ClientSession(f"http://{host}:{port}") as client:
                yield Served(
                    service=service,
                    metrics=metrics,
                    app=app,
                    client=client,
                    address=addresses.api,
                    metrics_address=addresses.metrics,
                )
    finally:
        service.close()


def run(folder: Path, story: Callable[[Served], Awaitable[None]], **changed: Any) -> None:
    """Run a story against a served node, within a minute."""

    async def main() -> None:
        async with asyncio.timeout(60), served(folder, **changed) as node:
            await story(node)

    asyncio.run(main())
