"""Bad lines: bytes come late, in order and whole, or not at all while a line is cut."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tools.wan import Line, Way

WAIT_S = 20


class Ends:
    """A connection through a line: what the near end writes, and what the far end reads."""

    def __init__(self, line: Line, there: Way, back: Way) -> None:
        self.line, self.there, self.back = line, there, back
        self.accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        self.accepted = asyncio.Queue()
        self.port = 0

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


@asynccontextmanager
async def ends(**spoilt: int) -> AsyncIterator[Ends]:
    there, back = Way(**spoilt), Way()
    made: list[Ends] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made[0].accepted.put_nowait((reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    line = Line(server.sockets[0].getsockname()[1], there=there, back=back)
    made.append(Ends(line, there, back))
    made[0].port = await line.listen()
    try:
        yield made[0]
    finally:
        await line.close()
        server.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(WAIT_S):
            await test()

    asyncio.run(limited())


@pytest.mark.parametrize(
    "spoilt", [{}, {"delay_ms": 50}, {"jitter_ms": 20}, {"bytes_per_s": 400_000}], ids=str
)
def test_bytes_come_in_order_and_whole(spoilt: dict[str, int]) -> None:
    async def test() -> None:
        async with ends(**spoilt) as line:
            reader, writer = await line.connect()
            far_reader, far_writer = await line.accepted.get()
            data = bytes(range(256)) * 400
            for start in range(0, len(data), 1_000):
                writer.write(data[start : start + 1_000])
                await asyncio.sleep(0)
            writer.write_eof()
            assert await far_reader.read(-1) == data
            far_writer.write(b"answer")
            assert await reader.readexactly(6) == b"answer"
            for each in (writer, far_writer):
                each.close()

    run(test)


def test_a_delay_delays() -> None:
    async def test() -> None:
        async with ends(delay_ms=150) as line:
            _, writer = await line.connect()
            reader, far = await line.accepted.get()
            before_s = asyncio.get_running_loop().time()
            writer.write(b"x")
            await reader.readexactly(1)
            # The lower bound is what the line is for; there is no upper one.
            assert asyncio.get_running_loop().time() - before_s >= 0.149
            for each in (writer, far):
                each.close()

    run(test)


def test_a_cut_holds_one_direction_until_it_heals() -> None:
    async def test() -> None:
        async with ends() as line:
            near, writer = await line.connect()
            far, far_writer = await line.accepted.get()
            line.there.cut()
            writer.write(b"held")
            far_writer.write(b"free")
            assert await near.readexactly(4) == b"free"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await far.read(1)
            line.there.heal()
            assert await far.readexactly(4) == b"held"
            for each in (writer, far_writer):
                each.close()

    run(test)


def test_no_new_connection_passes_a_cut() -> None:
    async def test() -> None:
        async with ends() as line:
            line.back.cut()
            _, writer = await line.connect()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await line.accepted.get()
            line.back.heal()
            _, far = await line.accepted.get()
            for each in (writer, far):
                each.close()

    run(test)


def test_a_reset_breaks_both_ends() -> None:
    async def test() -> None:
        async with ends() as line:
            reader, writer = await line.connect()
            far_reader, far_writer = await line.accepted.get()
            line.line.reset()
            for each in (reader, far_reader):
                try:
                    assert await each.read(1) == b""
                except ConnectionResetError:
                    continue
            for end in (writer, far_writer):
                end.close()

    run(test)
