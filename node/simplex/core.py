"""The Simplex core of one epoch: `step(input, now) -> Effects`, no clock, socket, disk or thread.

The rules of CONSENSUS section 1.3 and where they are:

    R1 enter            `Voter._enter`, the only place where the current view changes
    R2 certificates     `Voter._learn`: store, log, forward once
    R3 parent           `rules.choose_parent`
    R4 propose          `Voter._propose`
    R5 notarize         `_receive_proposal`, `Voter._notarize`
    R6 finalize         `Voter._finalize`
    R7 nullify          `Voter._nullify`
    R8, R9 time         `pacemaker`: computed from the state at every step, so never stale
    R10 frontier        `_retransmit`, `_greet`; built in `catchup`, which cannot sign
    R11 finalization    `Voter._forget`, `_deliver`
    R12 evidence        `Voter._count`, `votes`

An own vote is: guard, log record, count; the driver syncs the log before anything is sent (I4).
A step that raises is a stop: a broken invariant, the guard, or more than f faulty validators.
"""

from collections import deque

import msgspec

from node.simplex import rules
from node.simplex.catchup import collect_live_records
from node.simplex.errors import CorruptChain, CorruptWal, InvalidEvidence, InvalidMessage
from node.simplex.messages import (
    decode_epoch,
    decode_message,
    encode_message,
    signed_status,
)
from node.simplex.proposals import (
    Candidate,
    check_origin,
    make_proposal,
    parse_block,
)
from node.simplex.types import (
    Block,
    BlockRecord,
    Certificate,
    CertificateRecord,
    Connected,
    DataArrived,
    Effects,
    Evidence,
    FloorRecord,
    Frontier,
    Input,
    Kind,
    Now,
    OwnVote,
    PeerVote,
    PendingChanged,
    Proposal,
    Received,
    Records,
    Rejected,
    Sealed,
    Snapshot,
    Status,
    Synced,
    Tick,
    Vote,
    WalRecord,
    epochs_of,
)
from node.simplex.voter import Outbox, Voter
from node.simplex.votes import Tally, split_certificate, verify_evidence

CLOCK_SAMPLES_MIN = 3  # of one validator, before its clock is judged
CLOCK_SAMPLES_MAX = 8  # 40 s of statuses


class Simplex(Voter):
    """One validator (or observer, `config.me` None) in one epoch."""

    # Reading

    @property
    def current_view(self) -> int:
        """cur, the view this node is in."""
        return self._pace.view

    @property
    def leader(self) -> int:
        """Index of the validator that leads the current view."""
        return self._pace.leader(self._pace.view)

    @property
    def finalization(self) -> Certificate | None:
        """Certificate of the final view; None at the genesis or right after a state sync."""
        return self._store.finalization

    def snapshot(self) -> Snapshot:
        """What a diagnosis asks of the core."""
        awaited, awaited_view = self._pace.awaited() or (None, self.current_view)
        newest = self._store.newest
        return Snapshot(
            epoch=self.config.epoch,
            view=self.current_view,
            leader=self.leader,
            quorum=rules.count_quorum(len(self.config.validators)),
            final_view=self.final_view,
            final_height=self._store.final_height,
            delivered_height=self._delivery.height,
            is_over=self.is_over,
            has_proposal=self._pace.has_proposal(),
            demand_ms=self._pace.demand_ms,
            timeout_ms=self._pace.timeout_ms(),
            awaited=awaited,
            awaited_view=awaited_view,
            votes=self._tally.voters(awaited_view),
            certified=None if newest is None else newest.subject.kind,
            certified_view=0 if newest is None else newest.subject.view,
            heard_ms=self._pace.last_heard_ms(),
            clock_skew_ms=self.clock_skew_ms(),
        )

    @property
    def is_over(self) -> bool:
        """This epoch's seal block is final and delivered: the driver starts the next epoch."""
        has_delivered = self._delivery.block_hash == self._store.final_hash
        return has_delivered and self._pace.is_final_seal() is True

    @property
    def sealed(self) -> Sealed | None:
        """How this epoch ended, once its seal block is delivered: no vote is cast any more (I5)."""
        if not self.is_over:
            return None
        block = self._application.block(self._store.final_hash)
        assert block is not None, "the application holds the tip that was delivered to it"
        proof = self._store.finalization
        return Sealed(block=block, finalization=b"" if proof is None else encode_message(proof))

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
        """Median of the validators' clocks minus ours, or None when too little was heard."""
        offsets = sorted(self.clock_offsets_ms().values())
        return offsets[len(offsets) // 2] if offsets else None

    def clock_offsets_ms(self) -> dict[int, int]:
        """Clock minus ours of each validator of which enough was heard, by index.

        A status that waited on its way makes its sender's clock look late, never early: of the
        latest ones the one that waited least counts, which is the highest.
        """
        return {
            peer: max(offsets_ms)
            for peer, offsets_ms in self._clock_offsets_ms.items()
            if len(offsets_ms) >= CLOCK_SAMPLES_MIN
        }

    def live_records(self) -> list[WalRecord]:
        """What a new log segment must begin with; all else may be dropped (`Wal.rotate`)."""
        found = [self._application.block(block_hash) for block_hash in self._durable]
        height = self._delivery.height
        blocks = [block for block in found if block is not None and block.height > height]
        # What is not carried over is not in the log any more: a vote on it logs it again.
        self._durable = {block.hash: self._durable[block.hash] for block in blocks}
        return collect_live_records(
            epoch=self.config.epoch,
            me=self.config.me,
            store=self._store,
            tally=self._tally,
            own=self._own,
            blocks=blocks,
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
            held = list(records)
            self._replay(held)
            evidence = self._convict(held)
        except (InvalidMessage, InvalidEvidence) as error:
            raise CorruptWal(f"a logged record does not verify: {error}") from None
        self._outbox = Outbox()  # what replay stored is in the log already, and known to peers
        self._outbox.evidence += evidence
        self._enter(max(self._pace.view, self._store.view_max + 1))
        if self.config.me is not None:
            self._send_frontier(None)
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
                self._wanted.restart()
                self._greet(input_.peer, is_new=True)
            case Synced():
                self._sync(input_)
            case DataArrived() | PendingChanged():
                self._proposals.retry()
            case Tick():
                pass
        return self._finish()

    def _begin(self, now: Now) -> None:
        self._outbox = Outbox()
        self._pace.now = now
        if not self._has_started:
            self._has_started = True
            self._pace.start(now)

    def _finish(self) -> Effects:
        while True:
            self._pace.update_demand()
            if not (self._pace.may_vote() and self._vote_once()):
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

    def _vote_once(self) -> bool:
        return self._finalize() or self._propose() or self._notarize() or self._expire()

    # Replay (CONSENSUS 1.4)

    def _replay(self, records: list[WalRecord]) -> None:
        epoch = self.config.epoch
        epochs = epochs_of(records)
        if max(epochs, default=epoch) > epoch:
            raise CorruptWal(f"the log is of epoch {max(epochs)}, the chain stands in {epoch}")
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
                        if subject.block_hash in self._durable:
                            view = max(subject.view, self._durable[subject.block_hash])
                            self._durable[subject.block_hash] = view
                    self._tally.add(record.vote)
        self._forget()

    def _convict(self, records: list[WalRecord]) -> list[Evidence]:
        """R12: evidence in the log, of final views too: the crash may have come before its use.

        Only the votes of evidence are verified: the log may hold very many.
        """
        witness = Tally(committee=len(self.config.validators), quorum=0)
        found: list[Evidence] = []
        for record in records:
            match record:
                case OwnVote() | PeerVote():
                    votes = [record.vote]
                case CertificateRecord():
                    votes = split_certificate(record.certificate)
                case _:
                    votes = []
            for vote in votes:
                if vote.subject.epoch == self.config.epoch:
                    evidence = witness.add(vote)[1]
                    if evidence is not None:
                        verify_evidence(evidence, self._verifier)
                        found.append(evidence)
        return found

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
                    self._receive_vote(message, received.sender)
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

    def _receive_vote(self, vote: Vote, sender: int) -> None:
        if not self._pace.is_in_window(vote.subject.view) or self._tally.is_known(vote):
            return
        self._verifier.verify_vote(vote)
        if vote.signer == self.config.me:
            # Own votes are counted when they are cast, or found in the log: this one was not cast.
            self._reject(sender, "another host votes with this node's key", is_fault=False)
            self._report(self._tally.accuse(vote))
            return
        self._count(vote)

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
            subject=vote.subject,
            block=block,
            leader=leader,
            is_timely=block is not None and self._is_timely(block, view),
            is_ahead=block is not None and self._pace.is_ahead(block),
            is_invalid=block is None,
        )
        self._proposals.add(candidate)
        if not self._tally.is_known(vote):
            self._count(vote)

    def _is_timely(self, block: Block, view: int) -> bool:
        """A seal block that is proposed again was timely once (CONSENSUS 6.5)."""
        is_again = rules.is_reproposal(view=view, block_view=block.view)
        return is_again or self._pace.is_timely(block)

    def _receive_frontier(self, frontier: Frontier, sender: int) -> None:
        """Each item stands for itself. A sender that is behind gets ours."""
        final_view = 0
        for certificate in frontier.certificates:
            if certificate.subject.kind is Kind.FINALIZE:
                final_view = max(final_view, certificate.subject.view)
            self._learn(certificate)
        for vote in frontier.votes:
            self._receive_vote(vote, sender)
        if final_view < self.final_view and self._store.finalization is not None:
            self._reply(sender)

    def _receive_status(self, status: Status, sender: int) -> None:
        if status.signer != sender:
            raise InvalidMessage("a status does not come from its signer")
        self._verifier.verify_status(status)
        offsets_ms = self._clock_offsets_ms.setdefault(sender, deque(maxlen=CLOCK_SAMPLES_MAX))
        offsets_ms.append(status.time_ms - self._pace.now.wall_ms)
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

    def _wake_ms(self) -> int | None:
        times = [self._wanted.wake_ms]
        if self.config.me is not None:
            times += [*self._pace.wake_times_ms(), self._retransmission.due_ms]
        return min((each for each in times if each is not None), default=None)

    # Healing (R10, R11)

    def _retransmit(self) -> None:
        is_unsettled = self.config.me is not None and self._pace.is_unsettled()
        if self._retransmission.is_due(self._pace.now, is_unsettled=is_unsettled):
            self._send_frontier(None)

    def _reply(self, peer: int, *, is_new: bool = False) -> None:
        if self.config.me is not None:
            self._greet(peer, is_new=is_new)

    def _greet(self, peer: int, *, is_new: bool = False) -> None:
        may_reply = self._retransmission.may_reply(peer, self._pace.now)
        if peer != self.config.me and (may_reply or is_new):
            self._send_frontier(peer)

    def _send_frontier(self, to: int | None) -> None:
        self._outbox.send_message(self._frontiers.build(to), to)
        vote = self._own.vote(Kind.NOTARIZE, self._pace.view)
        if vote is not None and self._pace.is_leader():
            block = self._application.block(vote.subject.block_hash)
            if block is not None:
                self._outbox.send_message(make_proposal(block, vote, self._store), to)

    def _deliver(self) -> None:
        """R11: ancestors of a final block are final too; missing ones are fetched by hash."""
        path, missing = self._delivery.path_to(self._store.final_hash, self._application)
        if missing is not None:
            ask = self._store.signers_of(self.final_view)
            self._wanted.need(missing, ask, is_final=True)
            return
        if path:
            tip = self._application.block(self._delivery.block_hash)
            if any(map(self._pace.is_seal, [*path[1:], tip])):
                raise CorruptChain("a final block follows the seal block of its epoch")
            self._outbox.commit += self._delivery.deliver(path)
            for block in path:
                self._durable.pop(block.hash, None)
            final_view = self.final_view
            self._durable = {
                block_hash: view for block_hash, view in self._durable.items() if view > final_view
            }
