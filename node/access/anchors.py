"""When the access log is anchored, and with what: every period, at many lines, and after a start.

The anchor is made again until the state shows it. Nothing about it is stored: the state names the
line that the last anchor covered, and the files know that line's number. A folder that was lost, or
restored from a backup, does not have that line; the next anchor then covers what the folder has.
"""

import asyncio
from collections.abc import Callable

import structlog

from ledger.access.anchors import NO_ANCHOR, AccessAnchor, AccessLogged
from ledger.errors import StoreFailed
from node.access.files import DAY_MS, Tail
from node.access.log import AccessLog

LOG = structlog.get_logger("access")

HOUR_MS = 3_600_000
_KNOWN_MAX = 64


class Anchors:
    """Decides for one log. `read_last` reads this node's last anchor in the state."""

    def __init__(
        self,
        log: AccessLog,
        *,
        read_last: Callable[[], AccessAnchor | None],
        wall_ms: Callable[[], int],
        period_ms: int,
        lines_max: int,
        kept_days: int,
        size_bytes_max: int,
    ) -> None:
        self._log = log
        self._read_last = read_last
        self._wall_ms = wall_ms
        self._period_ms = period_ms
        self._lines_max = lines_max
        self._kept_days = kept_days
        self._size_bytes_max = size_bytes_max
        self._mark: Tail | None = None
        self._known: dict[bytes, int] = {}  # numbers of lines that were anchored, or nearly
        self._searched: asyncio.Task[None] | None = None
        self._full = asyncio.Event()
        log.on_noted = self._count

    def due(self, last: AccessAnchor | None) -> AccessLogged | None:
        """What this node should say about its log now, after `last` in the state."""
        mark = self._mark
        previous = NO_ANCHOR if last is None else last.digest
        if mark is None or mark.n == 0 or mark.digest == previous:
            return None
        if last is None:
            base = self._start()
        elif last.digest in self._known:
            base = self._known[last.digest]
        else:
            self._search(last.digest)
            return None
        if mark.n <= base:
            return None
        first = self._log.first
        assert first is not None, "there is a last line"
        start_ms = first.at_ms if last is None else last.period_to_ms
        return AccessLogged(
            period_from_ms=start_ms,
            period_to_ms=max(mark.at_ms, start_ms),
            entries=mark.n - base,
            digest=mark.digest,
            previous=previous,
        )

    async def run(self) -> None:
        """Mark the end of each period until cancelled. Raises `StoreFailed`."""
        since_ms = self._since_ms()
        while True:
            # A clock that was ahead once must not keep the log from being anchored until then.
            left_ms = min(since_ms + self._period_ms - self._wall_ms(), self._period_ms)
            if left_ms > 0:
                try:
                    async with asyncio.timeout(left_ms / 1000):
                        await self._full.wait()
                except TimeoutError:
                    pass  # the period has ended
            self._full.clear()
            since_ms = self._wall_ms()
            await self._mark_end()
            await self._trim()

    def _since_ms(self) -> int:
        """When the period began that is open at the start."""
        last, first = self._read_last(), self._log.first
        if last is not None:
            return last.period_to_ms
        return self._wall_ms() if first is None else first.at_ms

    async def _mark_end(self) -> None:
        mark = await self._log.mark()
        if self._mark is not None and mark.n == self._mark.n:
            return
        self._mark = mark
        self._learn(mark.digest, mark.n)
        LOG.info("access log: period ended", lines=mark.n)

    async def _trim(self) -> None:
        last = self._read_last()
        if last is None or last.digest not in self._known:
            return
        removed = await self._log.trim(
            before_ms=self._wall_ms() - self._kept_days * DAY_MS,
            size_bytes_max=self._size_bytes_max,
            anchored=self._known[last.digest],
        )
        if removed:
            LOG.info("access log: old files removed", files=removed)

    def _count(self, noted: int) -> None:
        before = 0 if self._mark is None else self._mark.n
        if noted - before >= self._lines_max:
            self._full.set()

    def _start(self) -> int:
        """Number of the line before the first kept one."""
        first = self._log.first
        return 0 if first is None else first.n - 1

    def _learn(self, digest: bytes, number: int) -> None:
        self._known[digest] = number
        while len(self._known) > _KNOWN_MAX:
            self._known.pop(next(iter(self._known)))

    def _search(self, digest: bytes) -> None:
        if self._searched is None or self._searched.done():
            self._searched = asyncio.get_running_loop().create_task(self._look_up(digest))

    async def _look_up(self, digest: bytes) -> None:
        try:
            number = await self._log.find(digest)
        except StoreFailed:
            return  # the node stops
        if number is None:
            LOG.warning("the lines of the last anchor are not in this access log")
            number = self._start()
        self._learn(digest, number)
