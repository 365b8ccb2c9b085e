"""The HTTP side of a witness."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from tools.audit.witnessing.witness import REQUEST_BYTES_MAX, Witness

SHUTDOWN_S = 5


@asynccontextmanager
async def listening(witness: Witness, address: tuple[str, int]) -> AsyncIterator[str]:
    """The URL prefix at which the witness answers while this is open. Raises `OSError`."""

    async def add_checkpoint(request: web.Request) -> web.Response:
        answer = await witness.add_checkpoint(await request.read())
        return web.Response(
            status=answer.status,
            body=answer.text.encode(),
            headers={"Content-Type": answer.content_type},
        )

    app = web.Application(client_max_size=REQUEST_BYTES_MAX)
    app.router.add_post("/add-checkpoint", add_checkpoint)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, *address).start()
        host, port = runner.addresses[0][:2]
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        await runner.cleanup()
