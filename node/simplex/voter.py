"""Certificates and own votes of one validator: rules R1, R2, R4 to R7.

`Voter` is the lower half of `core.Simplex`: it knows no message and no input, only verified votes
and certificates. Each method that casts a vote returns True if it did; the caller repeats them
until none does.
"""

from collections import deque
from dataclasses import dataclass, field

import msgspec

from node.simplex import rules
from node.simplex.catchup import (
    Delivery,
    FrontierBuilder,
    Retransmission,
    Wanted,
    record_block,
)
from node.simplex.messages import (
    encode_message,
    signed_vote,
)
from node.simplex.pacemaker import Pacemaker
from node.simplex.proposals import (
    Candidate,
    ProposalBook,
    judge_place,
    make_proposal,
)
from node.simplex.types import (
    Application,
    Block,
    Certificate,
    CertificateRecord,
    Config,
    Evidence,
    Kind,
    Message,
    OwnVote,
    PeerVote,
    Rejected,
    Send,
    Signer,
    Subject,
    Verdict,
    Vote,
    WalRecord,
)
from node.simplex.votes import (
    CertificateStore,
    OwnVotes,
    Tally,
    Verifier,
    body_of,
    nullify_subject,
    split_certificate,
)

FINALIZE_FETCHES_MAX = 16


@dataclass(slots=True)
class Outbox:
    """Effects of the running step, in the order they came up."""

    persist: list[WalRecord] = field(default_factory=list)
    send: list[Send] = field(default_factory=list)
    commit: list[Block] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    has_signed: bool = False

    def send_message(self, message: Message, to: int | None = None) -> None:
        """To one validator, or to all others."""
        self.send.append(Send(to=to, message=encode_message(message)))


class Voter:
    """State of CONSENSUS 1.2 and the rules that sign."""

    def __init__(
        self,
        *,
        config: Config,
        application: Application,
        signer: Signer | None,
        verifier: Verifier | None = None,
    ) -> None:
        count = len(config.validators)
        assert (config.me is None) == (signer is None), "a validator has a signer, no one else"
        self.config = config
        self._application = application
        self._signer = signer
        self._verifier = verifier or Verifier(
            network_id=config.network_id, validators=config.validators
        )
        final_hash = config.final_hash or config.genesis_hash
        self._store = CertificateStore(
            final_view=config.final_view,
            final_height=config.final_height,
            final_hash=final_hash,
        )
        self._tally = Tally(committee=count, quorum=rules.count_quorum(count))
        self._own = OwnVotes()
        self._proposals = ProposalBook()
        self._delivery = Delivery(height=config.final_height, block_hash=final_hash)
        self._frontiers = FrontierBuilder(epoch=config.epoch, store=self._store, own=self._own)
        self._retransmission = Retransmission(config=config)
        self._wanted = Wanted(me=config.me)
        self._unvoted: set[int] = set()  # notarized views that may still get an own finalize
        self._durable: dict[bytes, int] = {}  # blocks in the log, with the last view voted on
        self._clock_offsets_ms: dict[int, deque[int]] = {}  # of the latest statuses, by signer
        self._pace = Pacemaker(
            config=config,
            application=application,
            store=self._store,
            tally=self._tally,
            own=self._own,
            proposals=self._proposals,
        )
        self._has_started = False
        self._outbox = Outbox()

    @property
    def final_view(self) -> int:
        """vf, the highest finalized view."""
        return self._store.final_view

    def _count(self, vote: Vote) -> None:
        is_first, evidence = self._tally.add(vote)
        self._report(evidence)
        if vote.signer != self.config.me and (is_first or evidence is not None):
            self._outbox.persist.append(PeerVote(vote=vote))
        certificate = self._tally.certificate(vote.subject)
        if certificate is not None and self._store.is_news(certificate):
            self._accept(certificate)

    def _report(self, evidence: Evidence | None) -> None:
        """R12."""
        if evidence is not None:
            self._outbox.evidence.append(evidence)

    def _learn(self, certificate: Certificate) -> None:
        """R2: duplicates are dropped before their signatures are looked at."""
        if certificate.subject.epoch == self.config.epoch and self._store.is_news(certificate):
            self._verifier.verify_certificate(certificate)
            self._accept(certificate)

    def _accept(self, certificate: Certificate) -> None:
        self._store.add(certificate)
        for vote in split_certificate(certificate):  # it may have told us otherwise (R12)
            self._report(self._tally.add(vote)[1])
        self._outbox.persist.append(CertificateRecord(certificate=certificate))
        if self.config.me is not None:
            self._outbox.send_message(certificate)
        self._proposals.retry()
        view = certificate.subject.view
        if certificate.subject.kind is not Kind.NULLIFY:
            self._obtain(view, certificate.subject.block_hash)  # while its proposal is kept
        if certificate.subject.kind is Kind.NOTARIZE:
            self._unvoted.add(view)
        elif certificate.subject.kind is Kind.FINALIZE:
            self._retransmission.progress(self._pace.now)
            self._forget()
        if view >= self._pace.view:
            self._enter(view + 1)

    def _enter(self, view: int) -> None:
        """R1: every change of the current view happens here."""
        self._pace.enter(view)
        self._proposals.prune(current=view, final_view=self.final_view)

    def _forget(self) -> None:
        """R11: prune below the final view; the guard will not sign there again (I8)."""
        final_view = self.final_view
        self._tally.prune(final_view)
        self._own.prune(final_view)
        self._proposals.prune(current=self._pace.view, final_view=final_view)
        self._unvoted = {view for view in self._unvoted if view > final_view}
        if self._signer is not None:
            self._signer.advance_floor(epoch=self.config.epoch, view=final_view)

    def _cast(self, subject: Subject) -> Vote:
        """Guard, sign, log. The caller sends, then counts."""
        assert self.config.me is not None, "observers do not vote"
        assert self._signer is not None, "a validator has a signer"
        assert subject.view > self.final_view, "I5: own votes are above the final view"
        assert self._pace.may_vote(), "I5: the epoch is not over"
        signature = self._signer.sign_vote(signed_vote(self.config.network_id, subject))
        vote = Vote(subject=subject, signer=self.config.me, signature=signature)
        self._own.record(vote)
        self._verifier.remember_own(vote)
        self._outbox.persist.append(OwnVote(vote=vote))
        self._outbox.has_signed = True
        return vote

    def _vote(self, subject: Subject) -> bool:
        vote = self._cast(subject)
        self._outbox.send_message(vote)
        self._count(vote)
        return True

    def _log_block(self, block: Block, view: int) -> None:
        """The block is in the log before a vote on it, in whatever view.

        As it is held: a proposal of it may have come with references that are not its own.
        """
        if block.hash not in self._durable:
            held = self._application.block(block.hash)
            assert held is not None, "a block is executed before it is voted on"
            self._outbox.persist.append(record_block(held))
        self._durable[block.hash] = max(view, self._durable.get(block.hash, view))

    def _propose(self) -> bool:
        """R4. A leader with nothing to propose joins those who give its view up (R7)."""
        view, pace = self._pace.view, self._pace
        if not (pace.is_leader() and pace.may_notarize() and pace.wants_block()):
            return False
        parent_view = self._pace.parent_view()
        if parent_view is None:
            return False
        parent_hash = self._store.notarized[parent_view]
        parent, _ = self._obtain_chain(parent_view, parent_hash)
        if parent is None:
            return False
        if self._pace.is_seal(parent):
            return self._offer(parent, parent_view)
        if self._pace.waits_for_clock(parent) or self._pace.gathers(parent):
            return False
        block = self._application.build(
            parent_hash,
            epoch=self.config.epoch,
            view=view,
            parent_view=parent_view,
            wall_ms=self._pace.now.wall_ms,
        )
        if block is None:
            return self._nullify()
        assert (block.view, block.parent_view) == (view, parent_view), "built for another place"
        return self._offer(block, parent_view)

    def _offer(self, block: Block, parent_view: int) -> bool:
        """Propose a built block, or a notarized seal block again, in the current view."""
        view = self._pace.view
        self._log_block(block, view)
        subject = Subject(
            kind=Kind.NOTARIZE,
            epoch=self.config.epoch,
            view=view,
            height=block.height,
            parent_view=parent_view,
            block_hash=block.hash,
        )
        vote = self._cast(subject)
        self._outbox.send_message(make_proposal(block, vote, self._store))
        self._count(vote)
        return True

    def _notarize(self) -> bool:
        """R5, second half."""
        candidate = self._proposals.first(self._pace.view)
        if candidate is None or not self._pace.may_notarize():
            return False
        accepts_time = self._pace.accepts_time(candidate)
        if not candidate.is_invalid and accepts_time and not candidate.is_waiting:
            self._judge(candidate)
        if candidate.is_invalid:
            return self._nullify()
        if candidate.is_waiting:
            if candidate.missing_hash is not None:
                self._wanted.need(candidate.missing_hash, candidate.missing_at)
            return False
        block = candidate.block
        if block is None or not accepts_time:
            return False
        self._log_block(block, candidate.subject.view)
        return self._vote(candidate.subject)

    def _judge(self, candidate: Candidate) -> None:
        """Make it invalid (objectively), or waiting (certificates or data missing), or neither."""
        block = candidate.block
        assert block is not None, "an unreadable header is invalid from the start"
        parent_view = candidate.subject.parent_view
        place = judge_place(candidate, self._store)
        if place is not rules.Place.JUSTIFIED:
            candidate.is_invalid = place is rules.Place.NEVER
            candidate.wait()
            return
        parent, missing = self._obtain_chain(parent_view, candidate.parent_hash)
        if parent is None:
            candidate.wait(missing, self._store.signers_of(parent_view))
            return
        is_reproposal = candidate.is_reproposal
        is_parent_seal = self._pace.is_seal(parent)
        if not rules.may_follow(is_parent_seal=is_parent_seal, is_reproposal=is_reproposal):
            candidate.is_invalid = True
            return
        if is_reproposal:
            return  # the parent is this block, executed when it was obtained
        if block.height != parent.height + 1 or block.time_ms <= parent.time_ms:
            candidate.is_invalid = True
            return
        verdict = self._application.validate(block)
        candidate.is_invalid = verdict is Verdict.INVALID
        if verdict is Verdict.MISSING:
            candidate.wait(block.hash, (candidate.leader,))

    def _finalize(self) -> bool:
        """R6: for any notarized view, also late; the block is held and logged before the vote.

        The newest first: its finality makes all below it final too.
        """
        missing = 0
        for view in sorted(self._unvoted, reverse=True):
            if missing == FINALIZE_FETCHES_MAX:
                break
            proof = self._store.notarizations[view].subject
            is_allowed = rules.may_finalize(
                view=view,
                current=self._pace.view,
                final_view=self.final_view,
                notarized_hash=body_of(proof),
                own_notarized_hash=self._own.notarized_body(view),
                has_nullified=self._own.has(Kind.NULLIFY, view),
                has_finalized=self._own.has(Kind.FINALIZE, view),
            )
            if not is_allowed:
                self._unvoted.discard(view)
                continue
            block = self._obtain(view, proof.block_hash)
            if block is not None:
                self._unvoted.discard(view)
                self._log_block(block, view)
                return self._vote(msgspec.structs.replace(proof, kind=Kind.FINALIZE))
            missing += 1
        return False

    def _expire(self) -> bool:
        """R7: the current view is over for this node."""
        has_nullified = self._own.has(Kind.NULLIFY, self._pace.view)
        if has_nullified or not self._pace.has_expired():
            return False
        self._pace.note_timeout()
        return self._nullify()

    def _nullify(self) -> bool:
        """R7."""
        view = self._pace.view
        has_finalized = self._own.has(Kind.FINALIZE, view)
        assert not has_finalized, "I10: a notarization moves the current view past its view"
        is_allowed = rules.may_nullify(
            view=view,
            current=view,
            has_nullified=self._own.has(Kind.NULLIFY, view),
            has_finalized=has_finalized,
        )
        return is_allowed and self._vote(nullify_subject(self.config.epoch, view))

    def _obtain_chain(self, view: int, block_hash: bytes) -> tuple[Block | None, bytes]:
        """A parent that can be executed: held with all ancestors; else the hash that is fetched."""
        block = self._obtain(view, block_hash)
        if block is None:
            return None, block_hash
        _, missing = self._delivery.path_to(block_hash, self._application)
        if missing is None:
            return block, b""
        self._wanted.need(missing, self._store.signers_of(view))
        return None, missing

    def _obtain(self, view: int, block_hash: bytes) -> Block | None:
        """The notarized block, from the application or a kept proposal; else it is fetched."""
        if self._application.holds(block_hash):
            return self._application.block(block_hash)
        candidate = self._proposals.find(block_hash)
        if candidate is not None and candidate.block is not None and not candidate.is_waiting:
            verdict = self._application.validate(candidate.block)
            if verdict is Verdict.VALID:
                return candidate.block
            if verdict is Verdict.MISSING:
                candidate.wait(block_hash, (candidate.leader,))
            else:
                # Its leader signed the header, not the references: they may be the lie.
                candidate.block, candidate.is_invalid = None, True
        self._wanted.need(block_hash, self._store.signers_of(view))
        return None
