"""The Simplex core of one epoch: `step(input, now) -> Effects`, no clock, socket, disk or thread.

CONSENSUS section 1.3 in this file, one method for each rule:

    R1 enter            `_enter`, the only place where the current view changes
    R2 certificates     `_learn`: store, log, forward once
    R3 parent           `rules.choose_parent`
    R4 propose          `_propose`
    R5 notarize         `_receive_proposal`, `_notarize`
    R6 finalize         `_finalize`
    R7 nullify          `_nullify`
    R8, R9 time         `pacemaker`: computed from the state at every step, so never stale
    R10 frontier        `_retransmit`, `_reply`; built in `catchup`, which cannot sign
    R11 finalization    `_raise_floor`, `_deliver`
    R12 evidence        `_count`

An own vote is: guard, log record, count; the driver syncs the log before anything is sent (I4).
A step that raises is a stop: a broken invariant, the guard, or more than f faulty validators.
"""

from dataclasses import dataclass, field

import msgspec

from node.simplex import rules
from node.simplex.catchup import (
    Delivery,
    FrontierBuilder,
    Retransmission,
    Wanted,
    collect_live_records,
    record_block,
)
from node.simplex.certificates import CertificateStore, Verifier, nullify_subject
from node.simplex.errors import CorruptChain, CorruptWal, InvalidMessage
from node.simplex.messages import (
    decode_epoch,
    decode_message,
    encode_message,
    signed_status,
    signed_vote,
)
from node.simplex.pacemaker import Pacemaker
from node.simplex.proposals import (
    Candidate,
    ProposalBook,
    check_origin,
    judge_place,
    make_proposal,
    parse_block,
)
from node.simplex.types import (
    Application,
    Block,
    BlockRecord,
    Certificate,
    CertificateRecord,
    Config,
    Connected,
    DataArrived,
    Effects,
    Evidence,
    FloorRecord,
    Frontier,
    Input,
    Kind,
    Message,
    Now,
    OwnVote,
    PeerVote,
    PendingChanged,
    Proposal,
    Received,
    Records,
    Rejected,
    Send,
    Signer,
    Status,
    Subject,
    Synced,
    Tick,
    Verdict,
    Vote,
    WalRecord,
)
from node.simplex.votes import OwnVotes, Tally


@dataclass(slots=True)
class _Outbox:
    """Effects of the running step, in the order they came up."""

    persist: list[WalRecord] = field(default_factory=list)
    send: list[Send] = field(default_factory=list)
    commit: list[Block] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    has_signed: bool = False

    def send_message(self, message: Message, to: int | None = None) -> None:
        self.send.append(Send(to=to, message=encode_message(message)))


class Simplex:
    """One validator (or observer, `config.me` None) in one epoch."""

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
        self._durable: dict[bytes, int] = {}  # blocks in the log, with their view
        self._clock_offsets_ms: dict[int, int] = {}
        self._pace = Pacemaker(
            config=config,
            application=application,
            store=self._store,
            tally=self._tally,
            own=self._own,
            proposals=self._proposals,
        )
        self._has_started = False
        self._outbox = _Outbox()

    # Reading

    @property
    def current_view(self) -> int:
        """cur, the view this node is in."""
        return self._pace.view

    @property
    def final_view(self) -> int:
        """vf, the highest finalized view."""
        return self._store.final_view

    @property
    def finalization(self) -> Certificate | None:
        """Certificate of the final view; None at the genesis or right after a state sync."""
        return self._store.finalization

    def status(self, now: Now) -> bytes:
        """A signed status message, for the driver to send every 5 s and on connect."""
        assert self.config.me is not None, "observers have no status"
        assert self._signer is not None, "a validator has a signer"
        status = Status(
            epoch=self.config.epoch,
            view=self.current_view,
            final_view=self.final_view,
            final_height=self._delivery.height,
            time_ms=now.wall_ms,
            signer=self.config.me,
            signature=b"",
        )
        signature = self._signer.sign_status(signed_status(self.config.network_id, status))
        return encode_message(msgspec.structs.replace(status, signature=signature))

    def clock_skew_ms(self) -> int | None:
        """Median of the validators' clocks minus ours, or None when none was heard."""
        offsets = sorted(self._clock_offsets_ms.values())
        return offsets[len(offsets) // 2] if offsets else None

    def live_records(self) -> list[WalRecord]:
        """What a new log segment must begin with; all else may be dropped (`Wal.rotate`)."""
        blocks = [self._application.block(block_hash) for block_hash in self._durable]
        return collect_live_records(
            epoch=self.config.epoch,
            me=self.config.me,
            store=self._store,
            tally=self._tally,
            own=self._own,
            blocks=[
                block
                for block in blocks
                if block is not None and block.height > self._delivery.height
            ],
        )

    # Steps

    def restore(self, records: Records, now: Now) -> Effects:
        """Start: replay the log in any order, count own votes again, send the frontier.

        Called once, before `step`, also with an empty log. The application already holds the
        blocks of the log and its own final tip stands in `config`. Raises `CorruptWal`.
        """
        assert not self._has_started, "restore comes first and once"
        self._begin(now)
        try:
            self._replay(list(records))
        except InvalidMessage as error:
            raise CorruptWal(f"a logged record does not verify: {error}") from None
        self._outbox = _Outbox()  # what replay stored is in the log already, and known to peers
        self._enter(max(self._pace.view, self._store.view_max + 1))
        if self.config.me is not None:
            self._outbox.send_message(self._frontiers.build())
        self._recount()
        return self._finish()

    def step(self, input_: Input, now: Now) -> Effects:
        """Take one input. Raises only when the node must stop (see the module's docstring)."""
        assert self._has_started, "restore comes first"
        self._begin(now)
        match input_:
            case Received():
                self._receive(input_)
            case Connected():
                self._greet(input_.peer, is_new=True)
            case Synced():
                self._sync(input_)
            case DataArrived() | PendingChanged():
                self._proposals.retry()
            case Tick():
                pass
        return self._finish()

    def _begin(self, now: Now) -> None:
        self._outbox = _Outbox()
        self._pace.now = now
        if not self._has_started:
            self._has_started = True
            self._pace.start(now)
            self._retransmission.progress(now)

    def _finish(self) -> Effects:
        while True:
            self._pace.update_demand()
            if not (self._finalize() or self._propose() or self._notarize() or self._expire()):
                break
        self._deliver()
        self._retransmit()
        outbox = self._outbox
        fetch = self._wanted.take(self._pace.now)
        return Effects(
            persist=tuple(outbox.persist),
            sync=outbox.has_signed or bool(outbox.commit),
            send=tuple(outbox.send),
            commit=tuple(outbox.commit),
            fetch=fetch,
            evidence=tuple(outbox.evidence),
            rejected=tuple(outbox.rejected),
            wake_ms=self._wake_ms(),
        )

    # Replay (CONSENSUS 1.4)

    def _replay(self, records: list[WalRecord]) -> None:
        epoch = self.config.epoch
        floors = [each for each in records if isinstance(each, FloorRecord) and each.epoch == epoch]
        for floor in floors:
            self._store.sync(view=floor.view, height=floor.height, block_hash=floor.block_hash)
        for record in records:
            if isinstance(record, BlockRecord):
                block = self._application.block(record.hash)
                if block is not None and block.epoch == epoch:
                    self._durable[record.hash] = block.view
            elif isinstance(record, CertificateRecord):
                self._learn(record.certificate)
        for record in records:
            if isinstance(record, PeerVote | OwnVote):
                subject = record.vote.subject
                if subject.epoch == epoch and subject.view > self.final_view:
                    self._verifier.verify_vote(record.vote)
                    if isinstance(record, OwnVote):
                        self._own.record(record.vote)
                    self._tally.add(record.vote)
        self._forget()

    def _recount(self) -> None:
        """Votes found in the log may complete a certificate (all crashed after voting)."""
        for vote in self._tally.votes_by_others(None):
            certificate = self._tally.certificate(vote.subject)
            if certificate is not None:
                self._learn(certificate)

    # Messages

    def _receive(self, received: Received) -> None:
        try:
            epoch = decode_epoch(received.message)
            if epoch != self.config.epoch:
                self._reject(received.sender, f"epoch {epoch}", is_fault=False)
                return
            message = decode_message(received.message)
            self._pace.hear(received.sender)
            match message:
                case Vote():
                    self._receive_vote(message)
                case Certificate():
                    self._learn(message)
                case Proposal():
                    self._receive_proposal(message, received.sender)
                case Frontier():
                    self._receive_frontier(message, received.sender)
                case Status():
                    self._receive_status(message, received.sender)
        except InvalidMessage as error:
            self._reject(received.sender, str(error), is_fault=True)

    def _reject(self, sender: int, reason: str, *, is_fault: bool) -> None:
        self._outbox.rejected.append(Rejected(sender=sender, reason=reason, is_fault=is_fault))

    def _receive_vote(self, vote: Vote) -> None:
        if not self._pace.is_in_window(vote.subject.view) or self._tally.is_known(vote):
            return
        if vote.signer == self.config.me:
            return  # own votes are counted when they are cast, or found in the log
        self._verifier.verify_vote(vote)
        self._count(vote)

    def _count(self, vote: Vote) -> None:
        is_first, evidence = self._tally.add(vote)
        if evidence is not None:
            self._outbox.evidence.append(evidence)
        if is_first and vote.signer != self.config.me:
            self._outbox.persist.append(PeerVote(vote=vote))
        certificate = self._tally.certificate(vote.subject)
        if certificate is not None and self._store.is_news(certificate):
            self._accept(certificate)

    def _learn(self, certificate: Certificate) -> None:
        """R2: duplicates are dropped before their signatures are looked at."""
        if certificate.subject.epoch == self.config.epoch and self._store.is_news(certificate):
            self._verifier.verify_certificate(certificate)
            self._accept(certificate)

    def _accept(self, certificate: Certificate) -> None:
        self._store.add(certificate)
        self._outbox.persist.append(CertificateRecord(certificate=certificate))
        if self.config.me is not None:
            self._outbox.send_message(certificate)
        self._retransmission.progress(self._pace.now)
        self._proposals.retry()
        view = certificate.subject.view
        if certificate.subject.kind is not Kind.NULLIFY:
            self._obtain(view, certificate.subject.block_hash)  # while its proposal is kept
        if certificate.subject.kind is Kind.NOTARIZE:
            self._unvoted.add(view)
        elif certificate.subject.kind is Kind.FINALIZE:
            self._forget()
        if view >= self._pace.view:
            self._enter(view + 1)

    def _enter(self, view: int) -> None:
        """R1: every change of the current view happens here."""
        self._pace.enter(view)
        self._retransmission.progress(self._pace.now)
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

    def _receive_proposal(self, proposal: Proposal, sender: int) -> None:
        """R5, first half: justification first, then keep the proposal and judge its time once."""
        vote = proposal.vote
        view = vote.subject.view
        leader = self._pace.leader(view)
        check_origin(proposal, sender=sender, leader=leader)
        if view <= self.final_view or leader == self.config.me:
            return
        self._verifier.verify_vote(vote)
        for certificate in proposal.justification:
            self._learn(certificate)
        if not self._pace.is_in_window(view):
            return
        block = parse_block(proposal, self._application)
        candidate = Candidate(
            block_hash=vote.subject.block_hash,
            block=block,
            leader=leader,
            is_timely=block is not None and self._pace.is_timely(block),
            is_invalid=block is None,
        )
        self._proposals.add(view, candidate)
        if not self._tally.is_known(vote):
            self._count(vote)

    def _receive_frontier(self, frontier: Frontier, sender: int) -> None:
        """Each item stands for itself. A sender that is behind gets ours."""
        final_view = 0
        for certificate in frontier.certificates:
            if certificate.subject.kind is Kind.FINALIZE:
                final_view = max(final_view, certificate.subject.view)
            self._learn(certificate)
        for vote in frontier.votes:
            self._receive_vote(vote)
        if final_view < self.final_view and self._store.finalization is not None:
            self._reply(sender)

    def _receive_status(self, status: Status, sender: int) -> None:
        if status.signer != sender:
            raise InvalidMessage("a status does not come from its signer")
        self._verifier.verify_status(status)
        self._clock_offsets_ms[sender] = status.time_ms - self._pace.now.wall_ms
        if status.final_view < self.final_view or status.view < self._pace.view:
            self._reply(sender)
        if self.config.me is None and status.final_view > self.final_view:
            self._greet(sender)  # an observer has no status: its frontier asks for the other's

    def _sync(self, synced: Synced) -> None:
        self._delivery.sync(height=synced.height, block_hash=synced.block_hash)
        if synced.view > self.final_view:
            self._store.sync(view=synced.view, height=synced.height, block_hash=synced.block_hash)
            self._outbox.persist.append(
                FloorRecord(
                    epoch=self.config.epoch,
                    view=synced.view,
                    height=synced.height,
                    block_hash=synced.block_hash,
                )
            )
            self._forget()
            if self._pace.view <= synced.view:
                self._enter(synced.view + 1)
        self._proposals.retry()

    # Own votes

    def _cast(self, subject: Subject) -> Vote:
        """Guard, sign, log. The caller sends, then counts."""
        assert self.config.me is not None, "observers do not vote"
        assert self._signer is not None, "a validator has a signer"
        assert subject.view > self.final_view, "I5: own votes are above the final view"
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

    def _log_block(self, block: Block) -> None:
        if block.hash not in self._durable:
            self._outbox.persist.append(record_block(block))
            self._durable[block.hash] = block.view

    def _propose(self) -> bool:
        """R4. Nothing to propose although others want the view: nullify at once."""
        view = self._pace.view
        if not (self._pace.is_leader() and self._pace.has_demand and self._pace.may_notarize()):
            return False
        if not self._pace.wants_block():
            return self._nullify()
        parent_view = self._pace.parent_view()
        if parent_view is None:
            return False
        parent_hash = self._store.notarized[parent_view]
        parent, _ = self._obtain_chain(parent_view, parent_hash)
        if parent is None or self._pace.waits_for_clock(parent):
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
        self._log_block(block)
        vote = self._cast(_body_subject(Kind.NOTARIZE, block, parent_view))
        self._outbox.send_message(make_proposal(block, vote, self._store))
        self._count(vote)
        return True

    def _notarize(self) -> bool:
        """R5, second half."""
        candidate = self._proposals.first(self._pace.view)
        if candidate is None or self.config.me is None or not self._pace.may_notarize():
            return False
        if not candidate.is_invalid and candidate.is_timely and not candidate.is_waiting:
            self._judge(candidate)
        if candidate.is_invalid:
            return self._nullify()
        if candidate.is_waiting:
            if candidate.missing_hash is not None:
                self._wanted.need(candidate.missing_hash, candidate.missing_at)
            return False
        block = candidate.block
        if block is None or not candidate.is_timely:
            return False
        self._log_block(block)
        return self._vote(_body_subject(Kind.NOTARIZE, block, block.parent_view))

    def _judge(self, candidate: Candidate) -> None:
        """Make it invalid (objectively), or waiting (certificates or data missing), or neither."""
        block = candidate.block
        assert block is not None, "an unreadable header is invalid from the start"
        place = judge_place(block, self._store)
        if place is not rules.Place.JUSTIFIED:
            candidate.is_invalid = place is rules.Place.NEVER
            candidate.wait()
            return
        parent, missing = self._obtain_chain(block.parent_view, block.parent_hash)
        if parent is None:
            candidate.wait(missing, self._store.signers_of(block.parent_view))
            return
        if block.height != parent.height + 1 or block.time_ms <= parent.time_ms:
            candidate.is_invalid = True
            return
        verdict = self._application.validate(block)
        candidate.is_invalid = verdict is Verdict.INVALID
        if verdict is Verdict.MISSING:
            candidate.wait(block.hash, (candidate.leader,))

    def _finalize(self) -> bool:
        """R6: for any notarized view, also late; the block is held and logged before the vote."""
        if self.config.me is None:
            return False
        for view in sorted(self._unvoted):
            block_hash = self._store.notarized[view]
            is_allowed = rules.may_finalize(
                view=view,
                current=self._pace.view,
                final_view=self.final_view,
                notarized_hash=block_hash,
                own_notarized_hash=self._own.notarized_hash(view),
                has_nullified=self._own.has(Kind.NULLIFY, view),
                has_finalized=self._own.has(Kind.FINALIZE, view),
            )
            if not is_allowed:
                self._unvoted.discard(view)
                continue
            block = self._obtain(view, block_hash)
            if block is not None:
                self._unvoted.discard(view)
                self._log_block(block)
                proof = self._store.notarizations[view].subject
                return self._vote(_body_subject(Kind.FINALIZE, block, proof.parent_view))
        return False

    def _expire(self) -> bool:
        """R7: the current view is over for this node."""
        has_nullified = self._own.has(Kind.NULLIFY, self._pace.view)
        if self.config.me is None or has_nullified or not self._pace.has_expired():
            return False
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

    def _wake_ms(self) -> int | None:
        times = [self._wanted.wake_ms]
        if self.config.me is not None:
            times += self._pace.wake_times_ms()
            if self._pace.is_unsettled():
                times.append(self._retransmission.due_ms)
        return min((each for each in times if each is not None), default=None)

    # Healing (R10, R11)

    def _retransmit(self) -> None:
        is_due = self._pace.now.mono_ms >= self._retransmission.due_ms
        if self.config.me is not None and self._pace.is_unsettled() and is_due:
            self._retransmission.progress(self._pace.now)
            self._send_frontier(None)

    def _reply(self, peer: int, *, is_new: bool = False) -> None:
        if self.config.me is not None:
            self._greet(peer, is_new=is_new)

    def _greet(self, peer: int, *, is_new: bool = False) -> None:
        may_reply = self._retransmission.may_reply(peer, self._pace.now)
        if peer != self.config.me and (may_reply or is_new):
            self._send_frontier(peer)

    def _send_frontier(self, to: int | None) -> None:
        self._outbox.send_message(self._frontiers.build(), to)
        vote = self._own.vote(Kind.NOTARIZE, self._pace.view)
        if vote is not None and self._pace.is_leader():
            block = self._application.block(vote.subject.block_hash)
            if block is not None:
                self._outbox.send_message(make_proposal(block, vote, self._store), to)

    def _deliver(self) -> None:
        """R11: ancestors of a final block are final too; missing ones are fetched by hash."""
        path, missing = self._delivery.path_to(self._store.final_hash, self._application)
        if missing is not None:
            self._wanted.need(missing, self._store.signers_of(self.final_view))
            return
        self._outbox.commit += self._delivery.deliver(path)
        if path:
            for block in path:
                self._durable.pop(block.hash, None)
            final_view = self.final_view
            self._durable = {
                block_hash: view for block_hash, view in self._durable.items() if view > final_view
            }

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
        candidate = self._proposals.find(view, block_hash)
        if candidate is not None and candidate.block is not None and not candidate.is_waiting:
            verdict = self._application.validate(candidate.block)
            if verdict is Verdict.VALID:
                return candidate.block
            if verdict is Verdict.INVALID:
                raise CorruptChain(f"a quorum notarized a block in view {view} we find invalid")
            candidate.wait(block_hash, (candidate.leader,))
        self._wanted.need(block_hash, self._store.signers_of(view))
        return None


def _body_subject(kind: Kind, block: Block, parent_view: int) -> Subject:
    return Subject(
        kind=kind,
        epoch=block.epoch,
        view=block.view,
        height=block.height,
        parent_view=parent_view,
        block_hash=block.hash,
    )
