"""Two valid blocks for one view, one for each half of the others, sometimes both in turn."""

from node.simplex.types import Kind, Proposal, Vote
from tests.simulation.adversaries.insider import Insider, message_of


class EquivocatingLeader(Insider):
    """Builds a second block in the place of its own, and votes for both."""

    NAME = "equivocating_leader"

    def prepare(self) -> None:
        self._sent: dict[tuple[int, int], dict[str, list[tuple[bytes, tuple[bytes, ...]]]]] = {}

    def say(self, to: str | None, frame: bytes) -> None:
        message = message_of(frame)
        match message:
            case Proposal():
                self._split(to, message)
            case Vote() if message.subject.kind is not Kind.NULLIFY and to is None:
                # Our own finalize would say which of the two blocks we stand by.
                self.done["withheld"] += 1
            case _:
                self.send(to, frame)

    def _split(self, to: str | None, proposal: Proposal) -> None:
        subject = proposal.vote.subject
        place = (subject.epoch, subject.view)
        if place not in self._sent:
            self._sent[place] = self._choose(proposal)
        for peer in self.peers if to is None else (to,):
            for block in self._sent[place][peer]:
                self.propose((peer,), block, proposal)

    def _choose(self, proposal: Proposal) -> dict[str, list[tuple[bytes, tuple[bytes, ...]]]]:
        """Which blocks each peer gets, in which order."""
        first = (proposal.header, proposal.refs)
        again = proposal.vote.subject.view
        wall_ms = self.chain.block(proposal.vote.subject.block_hash)
        assert wall_ms is not None, "the honest node holds what it proposes"
        other = None if wall_ms.view != again else self.rebuild(proposal, wall_ms.time_ms + 1)
        if other is None:
            return {peer: [first] for peer in self.peers}
        self.done["equivocations"] += 1
        second = (other.header, other.refs)
        one_half, _ = self.halves()
        is_both = self.random.random() < 0.3
        chosen = {}
        for peer in self.peers:
            order = [first, second] if peer in one_half else [second, first]
            chosen[peer] = order if is_both else order[:1]
        return chosen
