"""A few cores on a network of one delay and chosen losses: how long until an event is final.

For rules that only save time: without them the frontier (R10) repairs everything a second later.
"""

import heapq
from collections.abc import Callable

from node.simplex.messages import decode_message
from node.simplex.types import (
    DataArrived,
    Effects,
    Input,
    Message,
    PendingChanged,
    Received,
    Tick,
)
from tests.unit.node.simplex.builders import EVENT, Bench

DELAY_MS = 20

Loss = Callable[[int, int, Message], bool]  # sender, receiver, message


def _no_loss(sender: int, to: int, message: Message) -> bool:
    return False


class SlowNetwork:
    """Validators by index; those that are `down` never start."""

    def __init__(self, *, down: tuple[int, ...] = (), loses: Loss = _no_loss) -> None:
        self.time_ms = 0
        self.nodes = {index: Bench(me=index) for index in range(4) if index not in down}
        self._loses = loses
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0

    def submit(self, at: tuple[int, ...], event: bytes = EVENT) -> None:
        """An event comes into the pools of these nodes."""
        for index in at:
            self.nodes[index].application.submit(event)
            self._step(index, PendingChanged())

    def run(self, until: Callable[[], bool], limit_ms: int = 30_000) -> int:
        """Virtual milliseconds until it is so, or the limit."""
        while not until() and self._queue and self.time_ms < limit_ms:
            self.time_ms, _, action = heapq.heappop(self._queue)
            action()
        return self.time_ms if until() else limit_ms

    def height(self, index: int) -> int:
        """Height of a node's final tip."""
        return self.nodes[index].application.committed[-1].height

    def _at(self, time_ms: int, action: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._queue, (time_ms, self._sequence, action))

    def _step(self, index: int, input_: Input) -> None:
        node = self.nodes[index]
        node.time_ms = self.time_ms
        self._carry_out(index, node.step(input_))

    def _carry_out(self, index: int, effects: Effects) -> None:
        for send in effects.send:
            for to in self.nodes if send.to is None else (send.to,):
                message = decode_message(send.message)
                if to != index and to in self.nodes and not self._loses(index, to, message):
                    received = Received(sender=index, message=send.message)
                    self._at(self.time_ms + DELAY_MS, self._delivery(to, received))
        for fetch in effects.fetch:
            peers = [peer for peer in fetch.ask if peer in self.nodes]
            if peers:
                arrival = self._arrival(index, peers[0], fetch.block_hash)
                self._at(self.time_ms + 2 * DELAY_MS, arrival)
        if effects.wake_ms is not None:
            self._at(max(effects.wake_ms, self.time_ms), self._wake(index, effects.wake_ms))

    def _delivery(self, to: int, received: Received) -> Callable[[], None]:
        return lambda: self._step(to, received)

    def _arrival(self, to: int, peer: int, block_hash: bytes) -> Callable[[], None]:
        def arrive() -> None:
            source = self.nodes[peer].application
            block = source.block(block_hash)
            if block is not None:
                self.nodes[to].application.absorb(block, source.events_of(block))
                self._step(to, DataArrived(block_hash=block_hash))

        return arrive

    def _wake(self, index: int, wake_ms: int) -> Callable[[], None]:
        def wake() -> None:
            if self.nodes[index].effects.wake_ms == wake_ms:
                self._step(index, Tick())

        return wake
