"""A bench: one production core, hand-driven, and the keys of its peers."""

import hashlib

from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from ledger.keys import SecretKey
from node.simplex import rules
from node.simplex.core import Simplex
from node.simplex.guard import GuardedSigner
from node.simplex.messages import decode_message, encode_message, signed_vote
from node.simplex.types import (
    Block,
    BlockRecord,
    Certificate,
    Config,
    Connected,
    DataArrived,
    Effects,
    Frontier,
    Input,
    Kind,
    Message,
    Now,
    OwnVote,
    PendingChanged,
    Proposal,
    Received,
    Subject,
    Tick,
    Vote,
    WalRecord,
)
from tests.simulation.toy import GENESIS, GENESIS_TIME_MS, ToyApplication, make_block

NETWORK_ID = bytes(range(32))
EVENT = b"an event"

__all__ = ["EVENT", "GENESIS", "NETWORK_ID", "Bench", "DataArrived", "Frontier", "make_block"]


def seed_of(index: int) -> bytes:
    return hashlib.sha256(b"key %d" % index).digest()


def keys_of(count: int) -> tuple[bytes, ...]:
    return tuple(crypto_sign_seed_keypair(seed_of(index))[0] for index in range(count))


def subject_of(
    kind: Kind,
    block: Block | None = None,
    *,
    view: int | None = None,
    parent_view: int | None = None,
    epoch: int = 1,
) -> Subject:
    if block is None:
        assert view is not None
        return Subject(kind=kind, epoch=epoch, view=view)
    return Subject(
        kind=kind,
        epoch=block.epoch,
        view=block.view if view is None else view,
        height=block.height,
        parent_view=block.parent_view if parent_view is None else parent_view,
        block_hash=block.hash,
    )


def sign(subject: Subject, signer: int, *, network_id: bytes = NETWORK_ID) -> Vote:
    _, secret = crypto_sign_seed_keypair(seed_of(signer))
    signature = crypto_sign(signed_vote(network_id, subject), secret)[:64]
    return Vote(subject=subject, signer=signer, signature=signature)


def certify(subject: Subject, signers: tuple[int, ...] = (1, 2, 3), count: int = 4) -> Certificate:
    votes = [sign(subject, signer) for signer in signers]
    return Certificate(
        subject=subject,
        committee=count,
        signers=signers,
        signatures=tuple(vote.signature for vote in votes),
    )


class Bench:
    """Validator `me` of `count`; the leader of view v is (v - 1) mod count."""

    def __init__(
        self,
        *,
        me: int | None = 0,
        count: int = 4,
        records: list[WalRecord] | None = None,
        blocks: list[Block] | None = None,
        epoch: int = 1,
        genesis: Block = GENESIS,
        tip: Block | None = None,
        application: ToyApplication | None = None,
        time_ms: int = 0,
    ) -> None:
        self.me = me
        self.count = count
        self.time_ms = time_ms
        self.records: list[WalRecord] = list(records or [])
        self.application = application or ToyApplication(me=me or 0, committed=[genesis])
        for block in blocks or []:
            self.application.blocks[block.hash] = block
        self.signer = (
            None if me is None else GuardedSigner(key=SecretKey(seed_of(me)), network_id=NETWORK_ID)
        )
        if self.signer is not None:
            self.signer.restore(self.records)
        config = Config(
            network_id=NETWORK_ID,
            epoch=epoch,
            validators=keys_of(count),
            me=me,
            genesis_hash=genesis.hash,
            final_height=(tip or genesis).height,
            final_view=0 if tip is None else tip.view,
            final_hash=b"" if tip is None else tip.hash,
        )
        assert rules.count_quorum(4) == 3
        self.core = Simplex(config=config, application=self.application, signer=self.signer)
        self.effects = self.core.restore(list(self.records), self.now())
        self.records += self.effects.persist
        for block in self.effects.commit:
            self.application.commit(block)

    @classmethod
    def restarted(cls, old: "Bench", *, time_ms: int | None = None) -> "Bench":
        """The process ends; another one starts from the log and the durable blocks."""
        application = ToyApplication(me=old.me or 0, committed=old.application.committed)
        application.events = dict(old.application.events)  # the log keeps events of its blocks
        for event in old.application.events.values():
            application.submit(event)
        parsed = [
            application.parse(record.header, record.refs)
            for record in old.records
            if isinstance(record, BlockRecord)
        ]
        for block in sorted(parsed, key=lambda block: block.height):
            application.validate(block)
        tip = application.committed[-1]
        return cls(
            me=old.me,
            count=old.count,
            records=old.records,
            tip=None if tip.hash == GENESIS.hash else tip,
            application=application,
            time_ms=old.time_ms if time_ms is None else time_ms,
        )

    def now(self) -> Now:
        return Now(mono_ms=self.time_ms, wall_ms=GENESIS_TIME_MS + 10 + self.time_ms)

    def step(self, input_: Input) -> Effects:
        self.effects = self.core.step(input_, self.now())
        self.records += self.effects.persist
        for block in self.effects.commit:
            self.application.commit(block)
        return self.effects

    def receive(self, message: Message, sender: int | None = None) -> Effects:
        if sender is None:
            sender = message.vote.signer if isinstance(message, Proposal) else 1
        return self.step(Received(sender=sender, message=encode_message(message)))

    def tick(self, time_ms: int) -> Effects:
        self.time_ms = time_ms
        return self.step(Tick())

    def submit(self, event: bytes = EVENT) -> Effects:
        self.application.submit(event)
        return self.step(PendingChanged())

    def connect(self, peer: int = 1) -> Effects:
        return self.step(Connected(peer=peer))

    def propose(
        self, block: Block, *justification: Certificate, again: Subject | None = None
    ) -> Proposal:
        """A proposal by the leader of its view; `again` re-proposes the block in another view."""
        subject = again or subject_of(Kind.NOTARIZE, block)
        leader = rules.leader_of(
            subject.view, validators=len(self.core.config.validators), rotation=0
        )
        vote = sign(subject, leader)
        return Proposal(
            header=block.header, refs=block.refs, justification=justification, vote=vote
        )

    def sent(self) -> list[Message]:
        return [decode_message(send.message) for send in self.effects.send]

    def own_votes(self) -> list[tuple[Kind, int]]:
        """Kinds and views of all own votes ever logged."""
        return [
            (record.vote.subject.kind, record.vote.subject.view)
            for record in self.records
            if isinstance(record, OwnVote)
        ]
