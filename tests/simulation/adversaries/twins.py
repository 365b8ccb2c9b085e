"""Two honest nodes with one key and different peers, which change while they run."""

from collections import Counter

from node.peers.links import Channel
from tests.simulation.byzantine import Adversary, Twin

CHANGE_MS = 1_500


class Twins(Adversary):
    """Each of the two is honest; together they contradict themselves."""

    NAME = "twins"

    def start(self) -> None:
        self.done: Counter[str] = Counter()
        self._said: dict[tuple[int, bytes], int] = {}
        self.nodes = (self.embed(()), self.embed(()))
        self._change()

    def on_frame(self, sender: str, channel: Channel, frame: bytes) -> None:
        for node in self.nodes:
            node.receive(sender, channel, frame)

    def on_connected(self, peer: str) -> None:
        for node in self.nodes:
            node.connected(peer)

    def outgoing(self, twin: Twin, to: str | None, channel: Channel, frame: bytes) -> None:
        self.done[f"frames of {self.nodes.index(twin)}"] += 1
        super().outgoing(twin, to, channel, frame)

    def _change(self) -> None:
        """Deal the peers anew: mostly each to one of the two, some to both."""
        before = [node.peers for node in self.nodes]
        dealt: tuple[list[str], list[str]] = ([], [])
        for peer in self.peers:
            where = self.random.choice((0, 0, 0, 1, 1, 1, 2))
            for at in (0, 1):
                if where in (at, 2):
                    dealt[at].append(peer)
        for node, old, new in zip(self.nodes, before, dealt, strict=True):
            node.peers = tuple(new)
            for peer in new:
                if peer not in old and node.is_connected(peer):
                    node.connected(peer)
        self.done["changes"] += 1
        self.at(CHANGE_MS, self._change)
