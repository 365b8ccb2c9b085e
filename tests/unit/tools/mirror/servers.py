"""Servers of a log on loopback that may lie, cut connections, be slow, or rewrite what they had."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import prove_inclusion
from ledger.tlog.note import SignedNote
from ledger.tlog.receipt import Receipt
from tests.unit.ledger.builders import ChainBuilder, LeafReader, make_event


class LogServer:
    """Serves the files of a copy, as a node does or (`is_static`) as a web server does.

    `files` may be replaced at any time; `lies` answer in place of them. A request for a name in
    `cut` ends in the middle that many times; one that begins with `stalled` waits for ever.
    """

    def __init__(self, files: dict[str, bytes], *, is_static: bool = False) -> None:
        self.files = files
        self.lies: dict[str, bytes] = {}
        self.cut: dict[str, int] = {}
        self.stalled: str | None = None
        self.is_static = is_static
        self.asked: list[str] = []
        self.url = ""
        self._entries: Sequence[bytes] = ()
        self._streams: list[asyncio.Queue[bytes | None]] = []
        self.is_followed = asyncio.Event()

    def show(self, chain: ChainBuilder) -> None:
        """Serve this log from now on, and tell those who listen that a block is final."""
        self.files, self._entries = chain.copy(), list(chain.entries)
        block = chain.blocks[-1]
        first = block.header.tree_size + 1
        places = [{"index": first + at} for at in range(len(block.records))]
        data = msgspec.json.encode({"first_index": first, "records": places})
        for queue in self._streams:
            queue.put_nowait(b"event: block\ndata: " + data + b"\n\n")

    def break_streams(self, *, is_killed: bool = False) -> None:
        """End all open streams, or break them off as a process does that is killed."""
        for queue in self._streams:
            queue.put_nowait(b"" if is_killed else None)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.asked.append(path)
        if not self.is_static and path == "/v1/stream":
            return await self._stream(request)
        if not self.is_static and path == "/v1/status":
            return web.json_response({"tree_size": len(self._entries)})
        if not self.is_static and path.endswith("/receipt"):
            return web.Response(body=self._receipt(int(path.split("/")[3])))
        name = path[1:] if self.is_static else self._name(path)
        if self.stalled is not None and name.startswith(self.stalled):
            await asyncio.Event().wait()
        data = self.lies.get(name, self.files.get(name))
        if data is None:
            raise web.HTTPNotFound
        if self.cut.get(name, 0) > 0:
            self.cut[name] -= 1
            response = web.StreamResponse(headers={"Content-Length": str(len(data))})
            await response.prepare(request)
            await response.write(data[: len(data) // 2])
            assert request.transport is not None
            request.transport.close()
            return response
        return web.Response(body=data)

    def _name(self, path: str) -> str:
        fixed = {
            "/v1/genesis": "genesis.json",
            "/v1/genesis/signatures": "genesis.signatures.json",
        }
        for prefix in ("/v1/log/", "/log/"):
            path = path.removeprefix(prefix)
        return fixed.get(path, path)

    def _receipt(self, index: int) -> bytes:
        note = SignedNote.parse(self.files["checkpoint"])
        size = Checkpoint.parse(note.text).size
        proof = prove_inclusion(LeafReader(self._entries), index, size)
        return Receipt(index=index, proof=proof, note=note).format()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"retry: 1000\n\n")
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._streams.append(queue)
        self.is_followed.set()
        try:
            while message := await queue.get():
                await response.write(message)
            if message is not None:
                assert request.transport is not None
                request.transport.abort()
        finally:
            self._streams.remove(queue)
            self.is_followed.clear()
        return response


def log_server(chain: ChainBuilder, *, is_static: bool = False) -> LogServer:
    """An honest one."""
    server = LogServer(chain.copy(), is_static=is_static)
    server._entries = list(chain.entries)
    return server


@asynccontextmanager
async def listening(*servers: LogServer) -> AsyncIterator[list[str]]:
    """The addresses of the servers while they run."""
    runners = []
    try:
        for server in servers:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", server.answer)
            runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
            await runner.setup()
            runners.append(runner)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            server.url = f"http://{host}:{port}"
        yield [server.url for server in servers]
    finally:
        for server in servers:
            server.break_streams()
        for runner in runners:
            await runner.cleanup()


def grow(chain: ChainBuilder, count: int, *, first: int) -> None:
    """One more block with so many requests, numbered from `first`."""
    numbers = range(first, first + count)
    chain.add([make_event(number, network=chain.network) for number in numbers])
