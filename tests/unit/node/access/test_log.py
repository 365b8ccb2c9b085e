"""The queue and the thread of the access log: order, back pressure, failure, end."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from ledger.access.lines import parse_line
from ledger.errors import StoreFailed
from node.access.files import Files, Reading
from node.access.log import AccessLog
from tests.unit.node.access.test_files import check_chain, lines_of, reading


class Gated(Files):
    """Files whose writing waits at a gate, or fails."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.gate = threading.Event()
        self.gate.set()
        self.error: OSError | None = None

    def append(self, readings: Sequence[Reading]) -> None:
        self.gate.wait()
        if self.error is not None:
            raise self.error
        super().append(readings)


def play(
    folder: Path, story: Callable[[AccessLog, Gated], Awaitable[None]], **options: int
) -> None:
    async def main() -> None:
        files = Gated(folder)
        log = AccessLog(files, **options)
        log.start()
        try:
            async with asyncio.timeout(20):
                await story(log, files)
        finally:
            files.gate.set()
            log.close()

    asyncio.run(main())


def test_every_noted_line_is_written_in_order(tmp_path: Path) -> None:
    async def story(log: AccessLog, files: Gated) -> None:
        for each in range(3_000):
            await log.note(reading(name=str(each)))
        assert (await log.mark()).n == 3_000

    play(tmp_path, story)
    check_chain(tmp_path)
    found = [parse_line(line).ids["index"] for line in lines_of(tmp_path)]
    assert found == [str(each) for each in range(3_000)]


def test_closing_writes_what_waits(tmp_path: Path) -> None:
    async def story(log: AccessLog, files: Gated) -> None:
        files.gate.clear()
        for _ in range(50):
            await log.note(reading())

    play(tmp_path, story)
    assert len(lines_of(tmp_path)) == 50


def test_a_full_queue_makes_readers_wait_and_drops_nothing(tmp_path: Path) -> None:
    async def story(log: AccessLog, files: Gated) -> None:
        files.gate.clear()
        noted = asyncio.create_task(_note(log, 500))
        others = asyncio.create_task(_note(log, 500))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not noted.done()
        assert log.noted < 64
        files.gate.set()
        await asyncio.gather(noted, others)
        assert (await log.mark()).n == 1_000

    play(tmp_path, story, queue_lines_max=16)
    check_chain(tmp_path)


async def _note(log: AccessLog, count: int) -> None:
    for _ in range(count):
        await log.note(reading())


def test_what_cannot_be_written_is_told_and_nobody_waits_for_ever(tmp_path: Path) -> None:
    async def story(log: AccessLog, files: Gated) -> None:
        told: list[Exception] = []
        log.on_failed = told.append
        files.gate.clear()
        files.error = OSError(28, "No space left on device")
        waiting = asyncio.create_task(_note(log, 100))
        marking = asyncio.create_task(log.mark())
        for _ in range(20):
            await asyncio.sleep(0)
        files.gate.set()
        for task in (waiting, marking):
            with pytest.raises(StoreFailed, match="No space left"):
                await task
        for call in (log.note(reading()), log.mark()):
            with pytest.raises(StoreFailed):
                await call
        assert len(told) == 1
        assert isinstance(told[0], StoreFailed)

    play(tmp_path, story, queue_lines_max=8)


def test_a_line_is_found_after_those_noted_before(tmp_path: Path) -> None:
    async def story(log: AccessLog, files: Gated) -> None:
        await _note(log, 3)
        tail = await log.mark()
        assert await log.find(tail.digest) == 3
        assert await log.find(b"\x02" * 32) is None
        assert await log.trim(before_ms=0, size_bytes_max=10**9, anchored=3) == 0

    play(tmp_path, story)
