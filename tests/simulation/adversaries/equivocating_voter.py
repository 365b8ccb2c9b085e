"""Notarizes whatever is proposed, finalizes and nullifies it too, to each peer something else."""

from node.simplex.types import Kind, Message, Subject, Vote
from tests.simulation.adversaries.insider import Insider, message_of, votes_of

CHOICES_MAX = 6


class EquivocatingVoter(Insider):
    """Has no vote of its own: all that it says contradicts something else that it says."""

    NAME = "equivocating_voter"

    def prepare(self) -> None:
        self._seen: dict[Subject, None] = {}

    def hear(self, sender: str, message: Message) -> None:
        for vote in votes_of(message):
            subject = vote.subject
            if subject.kind is Kind.FINALIZE or subject.epoch != self.epoch or not self.can_vote:
                continue
            if subject not in self._seen and subject.view + 4 > self.view:
                self._seen[subject] = None
                self._answer(subject)

    def say(self, to: str | None, frame: bytes) -> None:
        if not isinstance(message_of(frame), Vote):
            self.send(to, frame)

    def _answer(self, of: Subject) -> None:
        view = of.view
        about = None if of.kind is Kind.NULLIFY else of
        choices = [
            self.subject(Kind.NOTARIZE, view, about),
            self.subject(Kind.FINALIZE, view, about),
            self.subject(Kind.NULLIFY, view),
            self.subject(Kind.NOTARIZE, view),
            self.subject(Kind.FINALIZE, view),
        ]
        for peer in self.peers:
            said = self.random.sample(choices, self.random.randint(1, len(choices)))
            self.cast(peer, *said)
        self.done["answered"] += 1
