"""Proposals: at most two distinct ones of a view are kept (I13), parsed, and judged (R5).

Only the first of a view can get this node's vote; the second is kept because it may be the one that
the others notarize, and because its leader's vote is evidence.
"""

import hashlib
from dataclasses import dataclass

from node.simplex import rules
from node.simplex.errors import InvalidMessage
from node.simplex.messages import (
    JUSTIFICATION_BYTES_MAX,
    JUSTIFICATION_MAX,
    size_certificate,
)
from node.simplex.types import Application, Block, Certificate, Kind, Proposal, Subject, Vote
from node.simplex.votes import CertificateStore

PROPOSALS_PER_VIEW_MAX = 2
VIEWS_KEPT = 8  # below the current view; older blocks are fetched by hash


@dataclass(slots=True, kw_only=True)
class Candidate:
    """A proposal and what this node found out about it. `block` None: unreadable header.

    `subject` is what its leader voted for: a re-proposed seal block has the view of the proposal
    there, and its own in the header.
    """

    subject: Subject
    block: Block | None
    leader: int
    is_timely: bool  # judged once, when it came (CONSENSUS 6.5)
    is_ahead: bool  # of our clock, by more than its precision, when it came
    is_invalid: bool  # objectively: no honest validator can ever vote for it
    is_waiting: bool = False  # something is missing: judge again when anything arrives
    missing_hash: bytes | None = None  # the block whose data is asked for meanwhile
    missing_at: tuple[int, ...] = ()

    @property
    def is_reproposal(self) -> bool:
        """A seal block that was notarized in an earlier view."""
        block_view = self.subject.view if self.block is None else self.block.view
        return rules.is_reproposal(view=self.subject.view, block_view=block_view)

    @property
    def parent_hash(self) -> bytes:
        """Hash that the certificate of the parent view must name (R5)."""
        if self.block is None or self.is_reproposal:
            return self.subject.block_hash
        return self.block.parent_hash

    def wait(self, missing_hash: bytes | None = None, ask: tuple[int, ...] = ()) -> None:
        """Do not judge again before more is here."""
        self.is_waiting = True
        self.missing_hash = missing_hash
        self.missing_at = ask


class ProposalBook:
    """Candidates by view."""

    def __init__(self) -> None:
        self._views: dict[int, list[Candidate]] = {}

    def add(self, candidate: Candidate) -> bool:
        """Keep it unless the same proposal is there or the view is full."""
        candidates = self._views.setdefault(candidate.subject.view, [])
        is_known = any(each.subject == candidate.subject for each in candidates)
        if is_known or len(candidates) >= PROPOSALS_PER_VIEW_MAX:
            return False
        candidates.append(candidate)
        return True

    def first(self, view: int) -> Candidate | None:
        """The proposal to vote on."""
        candidates = self._views.get(view)
        return candidates[0] if candidates else None

    def find(self, block_hash: bytes) -> Candidate | None:
        """A kept proposal of that block, in whatever view."""
        for candidates in self._views.values():
            for candidate in candidates:
                if candidate.subject.block_hash == block_hash:
                    return candidate
        return None

    def retry(self) -> None:
        """More data or certificates are here: everything that waited is judged again."""
        for candidates in self._views.values():
            for candidate in candidates:
                candidate.is_waiting = False

    def prune(self, *, current: int, final_view: int) -> None:
        """Drop final and old views."""
        lowest = max(final_view + 1, current - VIEWS_KEPT)
        for view in [view for view in self._views if view < lowest]:
            del self._views[view]


def check_origin(proposal: Proposal, *, sender: int, leader: int) -> None:
    """The leader sent it, and its vote names this header. Raises `InvalidMessage`."""
    vote = proposal.vote
    if vote.subject.kind is not Kind.NOTARIZE or vote.signer != leader:
        raise InvalidMessage("a proposal is not signed by the leader of its view")
    if sender != leader:
        raise InvalidMessage("a proposal does not come from its leader")
    if hashlib.sha256(proposal.header).digest() != vote.subject.block_hash:
        raise InvalidMessage("a proposal's header is not the one its leader signed")


def parse_block(proposal: Proposal, application: Application) -> Block | None:
    """The block, or None when its header contradicts what its leader signed."""
    subject = proposal.vote.subject
    try:
        block = application.parse(proposal.header, proposal.refs)
    except ValueError:
        return None
    always = (block.epoch, block.height, block.hash)
    if always != (subject.epoch, subject.height, subject.block_hash):
        return None
    if rules.is_reproposal(view=subject.view, block_view=block.view):
        is_consistent = block.is_seal and block.view <= subject.parent_view
    else:
        claimed = (block.view, block.parent_view, block.proposer)
        is_consistent = claimed == (subject.view, subject.parent_view, proposal.vote.signer)
    return block if is_consistent else None


def judge_place(candidate: Candidate, store: CertificateStore) -> rules.Place:
    """R5: the proposal's place, given the certificates held."""
    return rules.judge_place(
        view=candidate.subject.view,
        parent_view=candidate.subject.parent_view,
        parent_hash=candidate.parent_hash,
        final_view=store.final_view,
        notarized=store.notarized,
        nullified=store.nullified,
    )


def make_proposal(block: Block, vote: Vote, store: CertificateStore) -> Proposal:
    """R4: stored bytes only, so that it also serves to send the current proposal again."""
    parent_view = vote.subject.parent_view
    proof = store.proof_of(parent_view)
    certificates = [] if proof is None else [proof]
    between = range(parent_view + 1, vote.subject.view)
    certificates += [store.nullified[each] for each in between if each in store.nullified]
    size_bytes = 0
    justification: list[Certificate] = []
    for certificate in certificates[:JUSTIFICATION_MAX]:
        size_bytes += size_certificate(certificate)
        if size_bytes > JUSTIFICATION_BYTES_MAX:
            break  # an outage of dozens of views: the frontier brings the rest
        justification.append(certificate)
    return Proposal(
        header=block.header, refs=block.refs, justification=tuple(justification), vote=vote
    )
