"""A slow line for measurements: TCP forwarding that delays every byte by the same time.

`python -m tools.wan DELAY_MS LISTEN_PORT=TARGET_PORT ...` forwards on the loopback until SIGTERM.
Bytes are delayed, not slowed: any number of them may be under way.
"""

import asyncio
import sys
from functools import partial

READ_BYTES = 65_536


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1_024)

    async def deliver() -> None:
        while True:
            due_s, data = await under_way.get()
            # The delay is what this program is for.
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            if not data:
                return
            writer.write(data)
            await writer.drain()

    async with asyncio.TaskGroup() as group:
        group.create_task(deliver())
        while data := await reader.read(READ_BYTES):
            await under_way.put((loop.time() + delay_s, data))
        await under_way.put((loop.time() + delay_s, b""))
    writer.close()


async def serve(delay_s: float, ports: dict[int, int]) -> None:
    """Forward from each port to its target until cancelled."""

    async def forward(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int
    ) -> None:
        try:
            out_reader, out_writer = await asyncio.open_connection("127.0.0.1", target)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, out_writer, delay_s))
                group.create_task(_pump(out_reader, writer, delay_s))
        except* OSError:
            # One side is gone: the other must notice it too.
            writer.transport.abort()

    servers = [
        await asyncio.start_server(partial(forward, target=target), "127.0.0.1", port)
        for port, target in ports.items()
    ]
    async with asyncio.TaskGroup() as group:
        for server in servers:
            group.create_task(server.serve_forever())


if __name__ == "__main__":
    pairs = (argument.split("=") for argument in sys.argv[2:])
    asyncio.run(serve(int(sys.argv[1]) / 1_000, {int(a): int(b) for a, b in pairs}))
