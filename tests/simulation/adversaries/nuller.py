"""Nullifies every view, before, while and after it votes for the blocks of others."""

from node.simplex.types import Kind, Message
from tests.simulation.adversaries.insider import Insider, votes_of

AHEAD = 4


class Nuller(Insider):
    """Wants no view to come to anything, not even those that it finalized itself."""

    NAME = "nuller"

    def prepare(self) -> None:
        self._done: set[tuple[int, int]] = set()

    def act(self) -> None:
        for view in range(self.view, self.view + AHEAD + 1):
            self._nullify(view)

    def hear(self, sender: str, message: Message) -> None:
        for vote in votes_of(message):
            if vote.subject.kind is not Kind.NULLIFY and vote.subject.epoch == self.epoch:
                if self.can_vote and self.random.random() < 0.5:
                    # After all that an honest node may say: notarize, finalize, then nullify.
                    self.cast(None, self.subject(Kind.FINALIZE, vote.subject.view, vote.subject))
                    self.done["finalized"] += 1
                self._nullify(vote.subject.view)

    def _nullify(self, view: int) -> None:
        if (self.epoch, view) not in self._done and self.can_vote:
            self._done.add((self.epoch, view))
            self.cast(None, self.subject(Kind.NULLIFY, view))
            self.done["nullified"] += 1
