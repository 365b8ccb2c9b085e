"""A bad line for measurements and tests: TCP forwarding with delay, jitter, a rate, cuts, resets.

`python -m tools.wan DELAY_MS LISTEN_PORT=TARGET_PORT ...` forwards on the loopback until SIGTERM.
Delayed bytes are not slowed: any number of them may be under way, except where `bytes_per_s` says.

A cut loses nothing, as TCP loses nothing: bytes wait. After the cut they go on when the sender's
TCP would try again: its pauses double from `RETRY_FIRST_S`, those of a new connection from
`CONNECT_RETRY_FIRST_S` (RFC 6298). So a connection that waited long heals late, and a program that
wants to be back soon must give up old connections and dial again.
"""

import asyncio
import random
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

READ_BYTES = 65_536
UNDER_WAY_MAX = 1_024
RETRY_FIRST_S = 0.2
CONNECT_RETRY_FIRST_S = 1.0
PIECES_PER_S = 20
# A slow line must not be a deep one as well.
BUFFER_BYTES = 65_536


@dataclass(slots=True)
class Way:
    """One direction of a line; may be changed while bytes flow. `bytes_per_s` 0 is no limit."""

    delay_ms: int = 0
    jitter_ms: int = 0
    bytes_per_s: int = 0
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._open.set()

    @property
    def is_cut(self) -> bool:
        """Whether nothing passes now."""
        return not self._open.is_set()

    def cut(self) -> None:
        """Let nothing pass from now on."""
        self._open.clear()

    def heal(self) -> None:
        """Let bytes pass again."""
        self._open.set()

    async def wait_open(self, first_s: float) -> None:
        """Return at the first new attempt of a sender that finds the way open."""
        loop = asyncio.get_running_loop()
        started_s, pause_s = loop.time(), first_s
        next_s = started_s + pause_s
        while self.is_cut:
            await self._open.wait()
            while next_s < loop.time():
                pause_s *= 2
                next_s += pause_s
            # The pause of TCP between two attempts.
            await asyncio.sleep(next_s - loop.time())


class Line:
    """Forwards connections from a port of its own to `target_port`, both on the loopback."""

    def __init__(self, target_port: int, *, there: Way, back: Way, seed: int = 0) -> None:
        self._target_port = target_port
        self._ways = (there, back)
        self._random = random.Random(seed)  # noqa: S311 - jitter, not a secret
        self._server: asyncio.Server | None = None
        self._transports: set[asyncio.WriteTransport] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, port: int = 0) -> int:
        """Start to forward; returns the port. Raises `OSError` if it is taken."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        listener.bind(("127.0.0.1", port))
        self._server = await asyncio.start_server(self._accept, sock=listener)
        return int(listener.getsockname()[1])

    def reset(self) -> None:
        """Break every connection at once."""
        for transport in tuple(self._transports):
            transport.abort()

    async def close(self) -> None:
        """Stop listening and break every connection."""
        if self._server is not None:
            self._server.close()
        self.reset()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._forward(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._transports.add(writer.transport)
        there, back = self._ways
        out_writer: asyncio.StreamWriter | None = None
        try:
            for way in (there, back):
                await way.wait_open(CONNECT_RETRY_FIRST_S)
            out_reader, out_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            self._transports.add(out_writer.transport)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, out_writer, there))
                group.create_task(self._pump(out_reader, writer, back))
        except* OSError:
            pass  # one side is gone: below, the other notices it too
        finally:
            for transport in (writer.transport, out_writer.transport if out_writer else None):
                if transport is not None:
                    transport.abort()
                    self._transports.discard(transport)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way
    ) -> None:
        loop = asyncio.get_running_loop()
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(UNDER_WAY_MAX)

        async def deliver() -> None:
            while True:
                due_s, data = await under_way.get()
                # The delay is what this program is for.
                await asyncio.sleep(max(0.0, due_s - loop.time()))
                await way.wait_open(RETRY_FIRST_S)
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()

        async with asyncio.TaskGroup() as group:
            group.create_task(deliver())
            due_s = 0.0
            data = b"-"
            while data:
                rate = way.bytes_per_s
                data = await reader.read(rate // PIECES_PER_S if rate else READ_BYTES)
                if rate:
                    await asyncio.sleep(len(data) / rate)
                delay_ms = way.delay_ms + self._random.uniform(0, way.jitter_ms)
                # Bytes never overtake each other.
                due_s = max(due_s, loop.time() + delay_ms / 1_000)
                await under_way.put((due_s, data))


async def serve(delay_ms: int, pairs: Iterable[tuple[int, int]]) -> None:
    """Forward from each port to its target until cancelled."""
    lines = []
    for port, target in pairs:
        way = Way(delay_ms=delay_ms)
        line = Line(target, there=way, back=way)
        await line.listen(port)
        lines.append(line)
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        for line in lines:
            await line.close()


if __name__ == "__main__":
    arguments = (argument.split("=") for argument in sys.argv[2:])
    asyncio.run(serve(int(sys.argv[1]), [(int(port), int(to)) for port, to in arguments]))
