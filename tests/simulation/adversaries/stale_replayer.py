"""Sends old frames again: its own and others', of former views and epochs, to anyone."""

from node.peers.links import Channel
from tests.simulation.adversaries.insider import Insider

KEPT_MAX = 400
EACH_TIME = 6


class StaleReplayer(Insider):
    """Honest otherwise."""

    NAME = "stale_replayer"

    def prepare(self) -> None:
        self._kept: list[bytes] = []

    def act(self) -> None:
        if not self._kept:
            return
        for _ in range(EACH_TIME):
            frame = self._kept[self.random.randrange(len(self._kept))]
            self.send(self.random.choice((None, *self.peers)), frame)
            self.done["replayed"] += 1

    def say(self, to: str | None, frame: bytes) -> None:
        self._keep(frame)
        self.send(to, frame)

    def on_frame(self, sender: str, channel: Channel, frame: bytes) -> None:
        self._keep(frame)
        super().on_frame(sender, channel, frame)

    def _keep(self, frame: bytes) -> None:
        """Keep a random part of all that ever was, the oldest as likely as the newest."""
        self.done["seen"] += 1
        if len(self._kept) < KEPT_MAX:
            self._kept.append(frame)
        else:
            place = self.random.randrange(self.done["seen"])
            if place < KEPT_MAX:
                self._kept[place] = frame
