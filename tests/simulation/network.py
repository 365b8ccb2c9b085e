"""The network between sites: links that break, and frames that are late, lost, doubled, overtaken.

Two sites have a link while both run, each pins the other, and nobody has cut them. When a link
comes up both are told, as by the production links. A direction of a link can also swallow frames
while the link stays up (`mute`). Frames of a link that breaks are lost with it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from node.peers.links import Channel
from tests.simulation.loop import US_PER_MS, VirtualLoop

QUEUE_MAX = 4_000  # frames under way in one direction
CONNECT_MS_MAX = 120


@dataclass(slots=True, kw_only=True)
class Weather:
    """How a network treats frames now. Rates are shares of 1."""

    loss: float = 0.0
    doubled: float = 0.0
    delay_ms: int = 5
    tail_ms: int = 15
    # The higher, the rarer are delays near `tail_ms`.
    tail_power: int = 3
    # Events and blocks come through: a lost frame of votes alone does not make a link anew.
    spares_bulk: bool = False


class Site(Protocol):
    """An end of links: an honest node, or an adversary in its place."""

    member: str
    is_up: bool
    pinned: tuple[str, ...]

    def receive(self, sender: str, channel: Channel, frame: bytes) -> None:
        """A frame has arrived."""

    def connected(self, peer: str) -> None:
        """A link came up."""


Pair = tuple[str, str]


class Network:
    """All links of a world."""

    def __init__(self, loop: VirtualLoop, random: Random, weather: Weather) -> None:
        self.weather = weather
        self.sites: dict[str, Site] = {}
        self.slow_ms: dict[str, int] = {}
        self.frames = 0
        self.dropped = 0
        # Sees every frame that is sent: sender, receivers, frame.
        self.on_send: Callable[[str, tuple[str, ...], bytes], None] = lambda *_: None
        self._loop = loop
        self._random = random
        self._cut: set[Pair] = set()
        self._mute: set[Pair] = set()  # sender, receiver
        self._links: dict[Pair, int] = {}  # generation of a link that is up
        self._made = 0
        self._under_way: dict[Pair, int] = {}
        self._lossy: dict[Pair, None] = {}

    # --- faults -------------------------------------------------------------------------------

    def cut(self, pairs: Iterable[Pair]) -> None:
        """Break the links of these pairs until `heal`."""
        self._cut.update(_pair(*pair) for pair in pairs)
        self.refresh()

    def mute(self, pairs: Iterable[Pair]) -> None:
        """What the first sends to the second is swallowed until `heal`."""
        self._mute.update(pairs)

    def heal(self, among: Iterable[str]) -> None:
        """No faults between these sites; links that have lost frames are made anew."""
        names = set(among)
        self._cut = {pair for pair in self._cut if not names.issuperset(pair)}
        self._mute = {pair for pair in self._mute if not names.issuperset(pair)}
        for pair in list(self._lossy):
            if names.issuperset(pair):
                del self._lossy[pair]
                self._links.pop(pair, None)
        self.refresh()

    def refresh(self) -> None:
        """Bring links in line with who runs, who pins whom, and what is cut."""
        names = list(self.sites)
        for at, one in enumerate(names):
            for other in names[at + 1 :]:
                pair = _pair(one, other)
                may = self._may_link(one, other)
                if may and pair not in self._links:
                    self._made += 1
                    self._links[pair] = self._made
                    delay_ms = self._random.randrange(1, CONNECT_MS_MAX)
                    self._loop.after(delay_ms, self._connection(pair, self._made))
                elif not may:
                    self._links.pop(pair, None)

    def _connection(self, pair: Pair, generation: int) -> Callable[[], None]:
        def connect() -> None:
            for one, other in (pair, pair[::-1]):
                if self._links.get(pair) == generation:
                    self.sites[one].connected(other)

        return connect

    def _may_link(self, one: str, other: str) -> bool:
        first, second = self.sites[one], self.sites[other]
        return (
            first.is_up
            and second.is_up
            and other in first.pinned
            and one in second.pinned
            and _pair(one, other) not in self._cut
        )

    # --- frames -------------------------------------------------------------------------------

    def is_linked(self, one: str, other: str) -> bool:
        """Whether a link between the two is up."""
        return _pair(one, other) in self._links

    def linked(self, one: str) -> tuple[str, ...]:
        """Whom a site has links with."""
        return tuple(name for name in self.sites if name != one and self.is_linked(one, name))

    def send(self, sender: str, to: str | None, channel: Channel, frame: bytes) -> None:
        """Queue a frame for one site, or for all that the sender has links with."""
        if to is None:
            receivers = self.linked(sender)
        else:
            receivers = (to,) if to != sender and self.is_linked(sender, to) else ()
        self.on_send(sender, receivers, frame)
        for receiver in receivers:
            self._carry(sender, receiver, channel, frame)

    def _carry(self, sender: str, receiver: str, channel: Channel, frame: bytes) -> None:
        weather, random = self.weather, self._random
        way, pair = (sender, receiver), _pair(sender, receiver)
        under_way = self._under_way.get(way, 0)
        may_lose = channel is Channel.CONSENSUS or not weather.spares_bulk
        lost = may_lose and weather.loss and random.random() < weather.loss
        if way in self._mute or lost or under_way >= QUEUE_MAX:
            self.dropped += 1
            if not (lost and weather.spares_bulk):
                self._lossy[pair] = None
            return
        slow_ms = max(self.slow_ms.get(sender, 0), self.slow_ms.get(receiver, 0))
        copies = 2 if weather.doubled and random.random() < weather.doubled else 1
        generation = self._links[pair]
        for _ in range(copies):
            tail_us = weather.tail_ms * US_PER_MS
            delay_us = weather.delay_ms * US_PER_MS
            delay_us += int(tail_us * random.random() ** weather.tail_power)
            if slow_ms:
                delay_us += int(slow_ms * US_PER_MS * (0.5 + random.random()))
            self._under_way[way] = self._under_way.get(way, 0) + 1
            self.frames += 1

            def arrive() -> None:
                self._under_way[way] -= 1
                if self._links.get(pair) == generation:
                    self.sites[receiver].receive(sender, channel, frame)

            self._loop.at(self._loop.now_us + delay_us, arrive)


def _pair(one: str, other: str) -> Pair:
    return (one, other) if one < other else (other, one)
