"""Votes of a view: tallies up to a quorum, evidence (R12), and what this node itself signed."""

from node.simplex.certificates import Verifier
from node.simplex.errors import InvalidEvidence, InvalidMessage
from node.simplex.messages import encode_vote
from node.simplex.types import Certificate, Evidence, Kind, Subject, Vote


class Tally:
    """The first verified vote of every (kind, view, signer), counted by subject.

    A later vote never replaces an earlier one, so memory is at most 3 n votes a view (I13).
    """

    def __init__(self, *, committee: int, quorum: int) -> None:
        self._committee = committee
        self._quorum = quorum
        self._first: dict[int, dict[tuple[Kind, int], Vote]] = {}
        self._counts: dict[int, dict[Subject, dict[int, bytes]]] = {}
        self._reported: dict[int, set[int]] = {}

    def is_known(self, vote: Vote) -> bool:
        """Was exactly this vote counted before? Then it is dropped without verification."""
        subject = vote.subject
        return self._first.get(subject.view, {}).get((subject.kind, vote.signer)) == vote

    def has_voted(self, kind: Kind, view: int, signer: int) -> bool:
        """True if a vote of this kind by this signer was seen in the view."""
        return (kind, signer) in self._first.get(view, {})

    def count_nullify(self, view: int, epoch: int) -> int:
        """Number of validators whose nullify of the view was seen."""
        subject = Subject(kind=Kind.NULLIFY, epoch=epoch, view=view)
        return len(self._counts.get(view, {}).get(subject, ()))

    def add(self, vote: Vote) -> tuple[bool, Evidence | None]:
        """Count a verified vote. Returns (first of its kind, evidence against its signer)."""
        subject = vote.subject
        first = self._first.setdefault(subject.view, {})
        evidence = self._accuse(vote, first)
        key = (subject.kind, vote.signer)
        if key in first:
            return False, evidence
        first[key] = vote
        counts = self._counts.setdefault(subject.view, {})
        counts.setdefault(subject, {})[vote.signer] = vote.signature
        return True, evidence

    def certificate(self, subject: Subject) -> Certificate | None:
        """The certificate of the counted votes, if they are a quorum."""
        signatures = self._counts.get(subject.view, {}).get(subject, {})
        if len(signatures) < self._quorum:
            return None
        signers = tuple(sorted(signatures))
        return Certificate(
            subject=subject,
            committee=self._committee,
            signers=signers,
            signatures=tuple(signatures[signer] for signer in signers),
        )

    def votes_by_others(self, me: int | None) -> list[Vote]:
        """Every first vote of another validator, by view."""
        ordered = (self._first[view] for view in sorted(self._first))
        return [vote for first in ordered for vote in first.values() if vote.signer != me]

    def prune(self, final_view: int) -> None:
        """Forget the views at or below the final one."""
        for table in (self._first, self._counts, self._reported):
            for view in [view for view in table if view <= final_view]:
                del table[view]

    def _accuse(self, vote: Vote, first: dict[tuple[Kind, int], Vote]) -> Evidence | None:
        view = vote.subject.view
        if vote.signer in self._reported.get(view, ()):
            return None
        for kind in Kind:
            earlier = first.get((kind, vote.signer))
            if earlier is not None and is_contradiction(earlier.subject, vote.subject):
                self._reported.setdefault(view, set()).add(vote.signer)
                return Evidence(first=earlier, second=vote)
        return None


def is_contradiction(one: Subject, other: Subject) -> bool:
    """R12: no honest validator signs both. A notarize and a nullify of one view are legal."""
    if (one.epoch, one.view) != (other.epoch, other.view):
        return False
    if one.kind is other.kind:
        return one != other
    kinds = {one.kind, other.kind}
    if kinds == {Kind.NULLIFY, Kind.FINALIZE}:
        return True
    return kinds == {Kind.NOTARIZE, Kind.FINALIZE} and _body(one) != _body(other)


def verify_evidence(evidence: Evidence, verifier: Verifier) -> None:
    """Both votes are by one validator, contradict each other and verify, or `InvalidEvidence`."""
    first, second = evidence.first, evidence.second
    if first.signer != second.signer:
        raise InvalidEvidence("two signers")
    if not is_contradiction(first.subject, second.subject):
        raise InvalidEvidence("an honest validator may sign both votes")
    try:
        verifier.verify_vote(first)
        verifier.verify_vote(second)
    except InvalidMessage as error:
        raise InvalidEvidence(str(error)) from None


class OwnVotes:
    """What this node signed above the floor: myN, myX, myF and the votes to send again (R10)."""

    def __init__(self) -> None:
        self._votes: dict[int, dict[Kind, Vote]] = {}

    def record(self, vote: Vote) -> None:
        """Remember an own vote. A contradiction here is our bug: I1, I2, I3."""
        votes = self._votes.setdefault(vote.subject.view, {})
        held = votes.get(vote.subject.kind)
        assert held is None or held == vote, "I1/I3: a second vote of one kind in one view"
        for other in votes.values():
            assert not is_contradiction(other.subject, vote.subject), "I2/I3: contradicting votes"
        votes[vote.subject.kind] = vote

    def has(self, kind: Kind, view: int) -> bool:
        """True if this node signed that kind in that view."""
        return kind in self._votes.get(view, {})

    def vote(self, kind: Kind, view: int) -> Vote | None:
        """The vote it signed."""
        return self._votes.get(view, {}).get(kind)

    def notarized_hash(self, view: int) -> bytes | None:
        """Block hash of the own notarize vote (myN)."""
        vote = self.vote(Kind.NOTARIZE, view)
        return None if vote is None else vote.subject.block_hash

    def in_view(self, view: int) -> list[Vote]:
        """Own votes of a view, by kind."""
        votes = self._votes.get(view, {})
        return [votes[kind] for kind in sorted(votes)]

    def views(self) -> list[int]:
        """Views with own votes, ascending."""
        return sorted(self._votes)

    def prune(self, final_view: int) -> None:
        """Forget votes at or below the final view; the guard's floor covers them."""
        for view in [view for view in self._votes if view <= final_view]:
            del self._votes[view]


def size_vote(vote: Vote) -> int:
    """Number of bytes of `encode_vote`."""
    return len(encode_vote(vote))


def _body(subject: Subject) -> tuple[int, int, bytes]:
    return subject.height, subject.parent_view, subject.block_hash
