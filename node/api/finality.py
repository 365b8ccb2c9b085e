"""Who waits for which events: one subscription tells every connection what became final.

A `Watch` belongs to one request or connection. Digests are added before they are submitted, so a
block that becomes final meanwhile is not missed. Events that the node gives up on while they wait
(expired, overtaken by a rival of the same nonce) appear in no block, so after each block the
oldest events of every watch are asked for: order of submission makes sure each gets its turn.
"""

import asyncio
from collections.abc import Iterable

from node.service import EventState, EventStatus, FinalBlock, Service

STALE_CHECKS_PER_BLOCK = 16
# Behind by more, the node has jumped ahead (it caught up): looking up the events that are waited
# for is less work than reading all those blocks.
BLOCKS_BEHIND_MAX = 64


class Watch:
    """Unanswered events of one client, by digest with how often each was submitted."""

    __slots__ = ("_answered", "_changed", "pending", "size")

    def __init__(self) -> None:
        self.pending: dict[bytes, int] = {}
        self.size = 0
        self._answered: list[EventStatus] = []
        self._changed = asyncio.Event()

    def add(self, digest: bytes) -> None:
        """Expect one more answer for `digest`."""
        self.pending[digest] = self.pending.get(digest, 0) + 1
        self.size += 1

    def answer(self, status: EventStatus) -> bool:
        """Answer one submission of an event; returns whether none of it is left."""
        count = self.pending.get(status.digest, 0)
        if count == 0:
            return True
        self._answered.append(status)
        self._changed.set()
        if count == 1:
            del self.pending[status.digest]
            return True
        self.pending[status.digest] = count - 1
        return False

    def answer_all(self, status: EventStatus) -> None:
        """Answer every submission of an event."""
        while status.digest in self.pending:
            self.answer(status)

    async def take(self) -> list[EventStatus]:
        """Wait for answers and take them. They count in `size` until `release`."""
        await self._changed.wait()
        self._changed.clear()
        answered, self._answered = self._answered, []
        return answered

    def release(self, count: int) -> None:
        """`count` answers have reached the client."""
        self.size -= count


class FinalityHub:
    """The one subscriber to final blocks behind all watches."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._watches: dict[bytes, list[Watch]] = {}
        self._open: set[Watch] = set()

    def __len__(self) -> int:
        return len(self._watches)

    def open(self) -> Watch:
        """A new watch; `close` it when its client is gone."""
        watch = Watch()
        self._open.add(watch)
        return watch

    def close(self, watch: Watch) -> None:
        """Forget a watch and whatever it still waits for."""
        self._open.discard(watch)
        for digest in watch.pending:
            self._forget(watch, digest)
        watch.pending.clear()

    def add(self, watch: Watch, digests: Iterable[bytes]) -> None:
        """Expect answers for events that are about to be submitted."""
        for digest in digests:
            if digest not in watch.pending:
                self._watches.setdefault(digest, []).append(watch)
            watch.add(digest)

    def answer(self, watch: Watch, status: EventStatus) -> None:
        """What submitting said: pending waits on, anything else is the answer."""
        if status.state is EventState.PENDING or status.digest not in watch.pending:
            return
        if watch.answer(status):
            self._forget(watch, status.digest)

    async def run(self) -> None:
        """Follow final blocks until cancelled."""
        height = self._service.status().height
        while True:
            async for block in self._service.subscribe(height + 1):
                self.on_block(block)
                height = self._service.status().height
                if height > block.header.height + BLOCKS_BEHIND_MAX:
                    break
            for watch in self._open:
                self._settle(watch, tuple(watch.pending))

    def on_block(self, block: FinalBlock) -> None:
        """Answer the watches of a block's events, then look after the oldest of the others."""
        height = block.header.height
        for record in block.records:
            watches = self._watches.pop(record.event.digest, None)
            if watches is None:
                continue
            status = EventStatus(
                digest=record.event.digest,
                state=EventState.FINAL,
                code=record.outcome.code,
                index=record.index,
                height=height,
                outcome=record.outcome,
            )
            for watch in watches:
                watch.answer_all(status)
        for watch in self._open:
            self._settle_stale(watch)

    def _settle_stale(self, watch: Watch) -> None:
        oldest = [digest for digest, _ in zip(watch.pending, range(STALE_CHECKS_PER_BLOCK))]  # noqa: B905 - the shorter one ends it
        self._settle(watch, oldest)

    def _settle(self, watch: Watch, digests: Iterable[bytes]) -> None:
        for digest in digests:
            status = self._service.event_status(digest)
            # Unknown: not admitted yet (its submission is under way), so its answer will come.
            if status.state in (EventState.FINAL, EventState.REFUSED):
                watch.answer_all(status)
                self._forget(watch, digest)

    def _forget(self, watch: Watch, digest: bytes) -> None:
        watches = self._watches.get(digest)
        if watches is None:
            return
        if watch in watches:
            watches.remove(watch)
        if not watches:
            del self._watches[digest]
