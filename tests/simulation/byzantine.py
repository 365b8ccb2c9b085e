"""Adversaries: what stands in the place of an honest node, and what it can do.

An adversary is a subclass of `Adversary` in a module of `tests.simulation.adversaries`; `NAME` puts
it into the plans. It has the secret keys of its member, sees every frame that is delivered to it,
and sends any frame to any peer at any time. It can make signed votes of any content, and run whole
honest nodes with its keys inside itself (`embed`): two with different peers are twins.

    class Mine(Adversary):
        NAME = "mine"

        def start(self) -> None:                            # at the beginning of the run
            self.node = self.embed()                        # an honest node with the same keys

        def on_frame(self, sender, channel, frame) -> None: # a frame has arrived
            self.node.receive(sender, channel, frame)

        def outgoing(self, twin, to, channel, frame) -> None:  # that node sends (to None: all)
            if frame[0] != FrameType.COSIGNATURE:
                self.send(to, frame)

An adversary is not restarted and its embedded nodes do not crash. It must be deterministic: draw
from `self.random`, iterate over tuples and dictionaries, never over sets.
"""

import asyncio
from collections.abc import Callable, Iterable
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, ClassVar

from contracts.lookup import read_epoch
from ledger.genesis import Genesis
from ledger.quorum.votes import Subject, Vote, signed_vote
from ledger.registry import Validator
from node.engine.driver import Driver
from node.node import Node
from node.peers.links import Channel
from node.peers.wire import FrameType, encode_frame
from node.service import FinalBlock
from node.simplex.messages import encode_message
from node.simplex.types import Message
from node.startup import Identity
from tests.simulation.workload import identity

if TYPE_CHECKING:
    from tests.simulation.world import World


class Adversary:
    """A site of the network that obeys no rule but its own."""

    NAME: ClassVar[str] = ""

    def __init__(self, world: "World", member: str) -> None:
        self.world = world
        self.member = member
        self.identity: Identity = identity(member)
        self.random = world.random
        self.is_up = True
        self.pinned: tuple[str, ...] = tuple(world.names)
        self._twins = 0

    # --- to be overridden ---------------------------------------------------------------------

    def start(self) -> None:
        """The run begins."""

    def on_frame(self, sender: str, channel: Channel, frame: bytes) -> None:
        """A frame of a peer has arrived."""

    def on_connected(self, peer: str) -> None:
        """A link came up."""

    def outgoing(self, twin: "Twin", to: str | None, channel: Channel, frame: bytes) -> None:
        """An embedded node sends a frame, to one peer or to all of `twin.peers`."""
        for peer in twin.peers if to is None else (to,):
            self.send(peer, frame)

    # --- what it can do -----------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """Virtual time since the start of the run."""
        return self.world.now_ms

    @property
    def genesis(self) -> Genesis:
        """The genesis of the network."""
        return self.world.ground.genesis

    @property
    def peers(self) -> tuple[str, ...]:
        """Everyone else, in a fixed order."""
        return tuple(name for name in self.world.names if name != self.member)

    def validators(self, epoch: int = 0) -> tuple[Validator, ...]:
        """The list of an epoch that has begun somewhere."""
        return self.world.validators_of(epoch)

    def index(self, epoch: int = 0) -> int | None:
        """Our index in that list."""
        members = [validator.member for validator in self.validators(epoch)]
        return members.index(self.member) if self.member in members else None

    def send(self, to: str | None, frame: bytes) -> None:
        """Send a frame to one peer, or to all."""
        channel = Channel.CONSENSUS if frame[0] < FrameType.EVENTS else Channel.BULK
        self.world.network.send(self.member, to, channel, frame)

    def send_message(self, to: str | None, message: Message) -> None:
        """Send a consensus message."""
        self.send(to, encode_frame(FrameType.CONSENSUS, encode_message(message)))

    def vote(self, subject: Subject, epoch: int = 0) -> Vote:
        """Our signed vote on anything; whether it contradicts an earlier one does not matter."""
        index = self.index(epoch)
        assert index is not None, "not a validator of that epoch"
        message = signed_vote(self.world.ground.network, subject)
        signature = self.identity.consensus.sign_raw(message)
        return Vote(subject=subject, signer=index, signature=signature)

    def at(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Do something after so many virtual milliseconds."""
        self.world.loop.after(delay_ms, action)

    def embed(self, peers: Iterable[str] | None = None) -> "Twin":
        """Start an honest node with our keys, which knows of these peers only (None: all)."""
        self._twins += 1
        name = f"{self.member}.{self._twins}"
        return Twin(self, name, self.peers if peers is None else tuple(peers))

    # --- what the network calls ---------------------------------------------------------------

    def receive(self, sender: str, channel: Channel, frame: bytes) -> None:
        self.on_frame(sender, channel, frame)

    def connected(self, peer: str) -> None:
        self.on_connected(peer)


class Twin:
    """An honest node inside an adversary. Hand it frames with `receive`."""

    def __init__(self, adversary: Adversary, name: str, peers: tuple[str, ...]) -> None:
        world = adversary.world
        self.peers = peers
        self._adversary = adversary
        disk = world.make_disk(name)
        disk.crash_rate = 0.0
        self._process = world.make_process(adversary.identity, disk, _TwinOutside(self))
        self._process.start(world, self._ended)
        for peer in peers:
            self.connected(peer)

    @property
    def driver(self) -> Driver:
        """The engine of the node."""
        return self._process.driver

    @property
    def node(self) -> Node:
        """The node."""
        return self._process.node

    def receive(self, sender: str, channel: Channel, frame: bytes) -> None:
        """A frame for this node; of peers that it does not know none arrives."""
        if sender in self.peers and self._process.outlet.is_open:
            self._process.node.on_frame(sender, channel, frame)

    def connected(self, peer: str) -> None:
        """A link to one of its peers came up."""
        if peer in self.peers and self._process.outlet.is_open:
            self._process.node.on_connected(peer)

    def stop(self) -> None:
        """End the node."""
        self._process.kill()

    def sent(self, to: str | None, channel: Channel, frame: bytes) -> None:
        """The node sends."""
        if to is None or to in self.peers:
            self._adversary.outgoing(self, to, channel, frame)

    def is_connected(self, peer: str) -> bool:
        """Whether the node can reach a peer."""
        world = self._adversary.world
        return peer in self.peers and world.network.is_linked(self._adversary.member, peer)

    def note_epoch(self) -> None:
        """Tell the world of the validators that this node follows now."""
        record = read_epoch(self.driver.chain.log)
        self._adversary.world.early_lists[record.epoch] = record.validators

    def _ended(self, task: "asyncio.Task[None]") -> None:
        # Twins contradict each other; one that learns of it stops, as an honest node must.
        self._process.outlet.is_open = False
        self._process.driver.close()
        if not task.cancelled():
            task.exception()


class _TwinOutside:
    """What an embedded node reaches."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin

    def send(self, peer: str | None, channel: Channel, frame: bytes) -> None:
        self._twin.sent(peer, channel, frame)

    def is_connected(self, peer: str) -> bool:
        return self._twin.is_connected(peer)

    def pin(self, peers: tuple[str, ...]) -> None:
        """Its peers are what the adversary lets it see."""

    def on_final(self, blocks: tuple[FinalBlock, ...]) -> None:
        """An adversary may be the first in an epoch."""
        self._twin.note_epoch()


def known_adversaries() -> dict[str, type[Adversary]]:
    """All adversaries by name, sorted."""
    package = import_module("tests.simulation.adversaries")
    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    found: list[type[Adversary]] = []
    waiting = [Adversary]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.NAME and kind.__module__.startswith(package.__name__):
            found.append(kind)
    return {kind.NAME: kind for kind in sorted(found, key=lambda each: each.NAME)}
