"""New checkpoints of nodes as they come: a node's stream of final blocks wakes us, nothing polls.

For the newest final entry the node is asked for a receipt, which it gives once a quorum checkpoint
covers the entry. A stream that breaks is opened again, ever more slowly, and what was missed
meanwhile is asked for first.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec

from tools.exits import InvalidAnswer, InvalidUsage, ToolError, Unreachable
from tools.mirror.sources import Source, Sources
from tools.output import note, printable
from tools.words import describe_error, say, tell_detail

PAUSE_S_MIN = 0.5
PAUSE_S_MAX = 30.0
# Notes that wait to be looked at; a source whose notes wait is not asked for more.
WAITING_MAX = 16


def tell_loss(source: Source, fault: ToolError) -> str:
    """Why a node does not answer: what was found, or what that is called."""
    if fault.detail == source.url:
        return describe_error(fault.code)[0]
    return tell_detail(fault.code, fault.detail)


def note_lost(source: Source, fault: ToolError) -> None:
    """Tell people that a node does not answer, or answers what is of no use."""
    text = say("audit.source_fails", url=source.url, fault=tell_loss(source, fault))
    note(printable(text))


def note_back(source: Source) -> None:
    """Tell people that a node answers again."""
    note(say("audit.source_back", url=source.url))


class Live:
    """The nodes among some sources, each followed by itself; who breaks off and returns is told."""

    def __init__(
        self,
        sources: Sources,
        *,
        on_lost: Callable[[Source, ToolError], None] = note_lost,
        on_back: Callable[[Source], None] = note_back,
    ) -> None:
        self._sources = sources
        self._on_lost = on_lost
        self._on_back = on_back
        self._queue: asyncio.Queue[tuple[Source, bytes]] = asyncio.Queue(WAITING_MAX)

    async def notes(self) -> AsyncGenerator[tuple[Source, bytes], None]:
        """Signed checkpoints, unverified, each with its node; the present ones first; for ever.

        Raises `InvalidUsage` if there is no node among the sources.
        """
        nodes = [source for source in self._sources.usable if source.is_node]
        if not nodes:
            raise InvalidUsage("no-stream", ", ".join(each.url for each in self._sources.all))
        tasks = [asyncio.create_task(self._follow(source)) for source in nodes]
        try:
            while True:
                yield await self._queue.get()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, source: Source) -> None:
        pause_s = PAUSE_S_MIN
        is_lost = False
        while source in self._sources.usable:
            try:
                async with aclosing(_attend(source)) as notes:
                    async for data in notes:
                        if is_lost:
                            self._on_back(source)
                        pause_s, is_lost = PAUSE_S_MIN, False
                        await self._queue.put((source, data))
            except ToolError as error:
                if not is_lost:
                    self._on_lost(source, error)
                is_lost = True
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)


async def _attend(source: Source) -> AsyncGenerator[bytes, None]:
    """Notes over one connection of the stream, which raises when it ends."""
    newest = -1
    woken = asyncio.Event()

    async def read() -> None:
        nonlocal newest
        async with aclosing(source.client.watch_blocks()) as blocks:
            async for index in blocks:
                # The first says that the stream is open: from here on nothing is missed.
                newest = max(newest, index, await _last_entry(source) if index < 0 else -1)
                woken.set()

    reader = asyncio.create_task(read())
    reader.add_done_callback(lambda _: woken.set())
    try:
        while True:
            await woken.wait()
            woken.clear()
            if reader.done():
                await reader
                raise Unreachable("stream-closed", source.url)
            if newest >= 0:
                yield await source.client.wait_note(newest)
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


async def _last_entry(source: Source) -> int:
    """Index of the last final entry; -1: there is none yet."""
    document = await source.client.get_json("/v1/status")
    try:
        return msgspec.convert(document["tree_size"], int) - 1
    except (KeyError, msgspec.ValidationError) as error:
        raise InvalidAnswer("answer-malformed", f"{source.url}: {error}") from None
