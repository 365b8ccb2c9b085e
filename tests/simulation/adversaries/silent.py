"""Takes part like an honest node for a while, and is silent from then on, with its links up."""

from node.peers.links import Channel
from tests.simulation.byzantine import Adversary


class Silent(Adversary):
    """Worse than a crash: others wait for it, because its links stay."""

    NAME = "silent"

    def start(self) -> None:
        self.node = self.embed()
        self.at(self.random.randrange(0, 6_000), self.node.stop)

    def on_frame(self, sender: str, channel: Channel, frame: bytes) -> None:
        self.node.receive(sender, channel, frame)

    def on_connected(self, peer: str) -> None:
        self.node.connected(peer)
