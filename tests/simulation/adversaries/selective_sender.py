"""Withholds its blocks, votes, certificates or answers from the next leader, or from some peers."""

from node.peers.wire import FrameType
from node.simplex.types import Certificate, Frontier, Proposal, Vote
from tests.simulation.adversaries.insider import Insider, message_of

CHANGE_MS = 1_200
KINDS = ("proposal", "vote", "certificate", "answer", "events", "cosignature")


def kind_of(frame: bytes) -> str:
    """Which of `KINDS` a frame is, or something else."""
    match message_of(frame):
        case Proposal():
            return "proposal"
        case Vote():
            return "vote"
        case Certificate() | Frontier():
            return "certificate"
    names = {
        FrameType.COSIGNATURE: "cosignature",
        FrameType.EVENTS: "events",
        FrameType.BLOCK: "answer",
        FrameType.RANGE: "answer",
        FrameType.SNAPSHOT: "answer",
    }
    return names.get(FrameType(frame[0]), "")


class SelectiveSender(Insider):
    """Honest towards most."""

    NAME = "selective_sender"

    def prepare(self) -> None:
        self._kinds: tuple[str, ...] = ()
        self._victims: tuple[str, ...] = ()
        self._spares_leader = True
        self._change()

    def say(self, to: str | None, frame: bytes) -> None:
        kind = kind_of(frame)
        kept_from = self._kept_from() if kind in self._kinds else ()
        for peer in self.peers if to is None else (to,):
            if peer in kept_from:
                self.done[kind] += 1
            else:
                self.send(peer, frame)

    def _kept_from(self) -> tuple[str, ...]:
        if self._spares_leader:
            return self._victims
        seats = self.node.driver.epochs.current.members
        core = self.core
        leader = (core.leader + self.random.choice((0, 1))) % len(core.config.validators)
        return (*self._victims, seats[leader])

    def _change(self) -> None:
        count = self.random.choice((1, 2, len(KINDS)))
        # Who hides its block gives it to nobody who asks for it either.
        self._kinds = (*self.random.sample(KINDS, count), "answer")
        faulty_max = (len(self.peers) + 1 - 1) // 3
        self._victims = tuple(self.random.sample(self.peers, self.random.randint(1, faulty_max)))
        self._spares_leader = self.random.random() < 0.5
        self.at(CHANGE_MS, self._change)
