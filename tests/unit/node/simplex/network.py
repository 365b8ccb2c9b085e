"""Several production cores and the wires between them, every message moved by hand."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from node.simplex.messages import decode_message
from node.simplex.types import (
    Block,
    DataArrived,
    Effects,
    Evidence,
    Input,
    Kind,
    Message,
    PendingChanged,
    Received,
    Tick,
)
from tests.unit.node.simplex.builders import EVENT, Bench


@dataclass(frozen=True, slots=True)
class Packet:
    """A message on its way."""

    sender: int
    to: int
    data: bytes

    @property
    def message(self) -> Message:
        return decode_message(self.data)


Choice = Callable[[Packet], bool]


def everything(_: Packet) -> bool:
    return True


class Net:
    """`count` validators. Nothing moves unless it is delivered; what is lost is lost for good."""

    def __init__(self, count: int = 4, *, down: Collection[int] = ()) -> None:
        self.count = count
        self.time_ms = 0
        self.down = set(down)
        self.wire: list[Packet] = []
        self.fetches: list[tuple[int, bytes, tuple[int, ...]]] = []
        self.evidence: list[Evidence] = []
        self.benches = [Bench(me=index, count=count) for index in range(count)]
        for index, bench in enumerate(self.benches):
            self._post(index, bench.effects)

    def views(self) -> list[int]:
        return [bench.core.current_view for bench in self.benches]

    def heights(self, among: Collection[int] | None = None) -> list[int]:
        chosen = range(self.count) if among is None else among
        return [len(self.benches[index].application.committed) - 1 for index in chosen]

    def up(self) -> list[int]:
        return [index for index in range(self.count) if index not in self.down]

    def step(self, index: int, input_: Input) -> Effects:
        bench = self.benches[index]
        bench.time_ms = self.time_ms
        effects = bench.step(input_)
        self._post(index, effects)
        return effects

    def submit(self, event: bytes = EVENT, *, to: Collection[int] | None = None) -> None:
        for index in self.up() if to is None else to:
            self.benches[index].application.submit(event)
            self.step(index, PendingChanged())

    def move(self, choice: Choice = everything) -> int:
        """Deliver the chosen messages on the wire once, in order; the number of them."""
        chosen = [packet for packet in self.wire if choice(packet)]
        self.wire = [packet for packet in self.wire if not choice(packet)]
        for packet in chosen:
            if packet.to not in self.down:
                self.step(packet.to, Received(sender=packet.sender, message=packet.data))
        return len(chosen)

    def settle(self, choice: Choice = everything) -> None:
        """Deliver the chosen messages, and what they cause, until none is left."""
        for _ in range(200):
            self.serve()
            if self.move(choice) == 0 and not self.fetches:
                return
        raise AssertionError("the network does not come to rest")

    def lose(self, choice: Choice = everything) -> None:
        """The chosen messages on the wire never arrive."""
        self.wire = [packet for packet in self.wire if not choice(packet)]

    def serve(self) -> None:
        """Whoever is asked for a block, is up and holds it, gives it with its events."""
        fetches, self.fetches = self.fetches, []
        for index, block_hash, ask in fetches:
            for peer in ask:
                application = self.benches[peer].application
                block = application.block(block_hash)
                if block is not None and peer not in self.down and index not in self.down:
                    self.give(index, block, application.events_of(block))
                    break

    def give(self, index: int, block: Block, events: tuple[bytes, ...]) -> None:
        self.benches[index].application.absorb(block, events)
        self.step(index, DataArrived(block_hash=block.hash))

    def pass_time(self, milliseconds: int, choice: Choice = everything) -> None:
        """Let time pass; every timer that runs out is heard, messages move at once."""
        end_ms = self.time_ms + milliseconds
        self.settle(choice)
        while True:
            wakes = {index: self.benches[index].effects.wake_ms for index in self.up()}
            due = min((wake for wake in wakes.values() if wake is not None), default=end_ms + 1)
            if due > end_ms:
                break
            assert due >= self.time_ms or self.time_ms == 0, "a timer in the past spins"
            self.time_ms = max(due, self.time_ms)
            for index, wake in wakes.items():
                if wake is not None and wake <= self.time_ms:
                    self.step(index, Tick())
            self.settle(choice)
        self.time_ms = end_ms

    def crash(self, *indexes: int) -> None:
        """Processes end; what they sent and nobody got yet is lost."""
        self.down.update(indexes)
        self.wire = [packet for packet in self.wire if packet.sender not in indexes]
        self.fetches = [fetch for fetch in self.fetches if fetch[0] not in indexes]

    def restart(self, *indexes: int) -> None:
        """From the log and the application's durable storage alone."""
        for index in indexes:
            old = self.benches[index]
            bench = Bench.restarted(old, time_ms=self.time_ms)
            self.benches[index] = bench
            self.down.discard(index)
            self._post(index, bench.effects)

    def own_votes(self, kind: Kind, view: int) -> list[int]:
        """Who cast a vote of that kind in that view."""
        return [
            index for index, bench in enumerate(self.benches) if (kind, view) in bench.own_votes()
        ]

    def _post(self, index: int, effects: Effects) -> None:
        for send in effects.send:
            others = [to for to in range(self.count) if to != index]
            for to in others if send.to is None else [send.to]:
                self.wire.append(Packet(index, to, send.message))
        self.fetches += [(index, each.block_hash, each.ask) for each in effects.fetch]
        self.evidence += effects.evidence


def between(*groups: Collection[int]) -> Choice:
    """Messages within one of the groups."""
    return lambda packet: any(packet.sender in group and packet.to in group for group in groups)


def kinds(*types: type) -> Choice:
    """Messages of these types."""
    return lambda packet: isinstance(packet.message, types)


def to(*indexes: int) -> Choice:
    """Messages to one of these."""
    return lambda packet: packet.to in indexes
