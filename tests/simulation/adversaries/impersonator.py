"""Speaks in the name of others: wrong keys, wrong indexes, wrong networks, stolen messages."""

import msgspec

from ledger.quorum.votes import Subject, signed_vote
from node.peers.wire import FrameType, encode_frame
from node.simplex.messages import signed_status
from node.simplex.types import (
    Certificate,
    Frontier,
    Kind,
    Message,
    Proposal,
    Status,
    Vote,
)
from tests.simulation.adversaries.insider import Insider, header_of


class Impersonator(Insider):
    """Honest in its own name."""

    NAME = "impersonator"

    def hear(self, sender: str, message: Message) -> None:
        if message.__class__ is Vote and self.random.random() < 0.5:
            self._impersonate(message)
        elif isinstance(message, Proposal):
            self._steal(message)
        elif isinstance(message, Status):
            self._lie_about(message)

    def act(self) -> None:
        view = self.view
        for kind in (Kind.NULLIFY, Kind.FINALIZE, Kind.NOTARIZE):
            self._forge_quorum(self.subject(kind, view))
        line = self.node.driver.cosigner.own_lines
        if line:
            # A line of ours, as if for another tree.
            other = (line[0].size + 1).to_bytes(8, "big") + line[0].encode()[8:]
            self.send(None, encode_frame(FrameType.COSIGNATURE, bytes(8) + other))
            self.done["lines"] += 1

    def _sign(self, message: bytes) -> bytes:
        return self.identity.consensus.sign_raw(message)

    def _foreign(self, subject: Subject, signer: int, *, network: bytes | None = None) -> Vote:
        """A vote in the name of a signer, by our key."""
        network = self.world.ground.network if network is None else network
        signature = self._sign(signed_vote(network, subject))
        return Vote(subject=subject, signer=signer, signature=signature)

    def _impersonate(self, vote: Vote) -> None:
        """Others' votes: with our signature, for other subjects, by impossible signers."""
        subject = vote.subject
        other = self.subject(self.random.choice(list(Kind)), subject.view)
        count = len(self.core.config.validators)
        forged = [
            self._foreign(subject, vote.signer),
            self._foreign(other, self.random.randrange(count)),
            self._foreign(other, self.random.choice((count, count + 1, 65_535))),
            msgspec.structs.replace(vote, subject=other),
            msgspec.structs.replace(vote, signer=(vote.signer + 1) % count),
            self._foreign(subject, self.core.config.me or 0, network=bytes(32)),
        ]
        for each in forged:
            self.send_message(self.random.choice((None, *self.peers)), each)
        frontier = Frontier(epoch=self.epoch, certificates=(), votes=tuple(forged))
        self.send_message(None, frontier)
        self.done["votes"] += len(forged)

    def _steal(self, proposal: Proposal) -> None:
        """The proposal of a leader: as it is, signed by us, and with ourselves as the proposer."""
        subject = proposal.vote.subject
        mine = self.core.config.me or 0
        self.send_message(None, proposal)
        as_leader = self._foreign(subject, proposal.vote.signer)
        self.send_message(None, msgspec.structs.replace(proposal, vote=as_leader))
        as_myself = self._foreign(subject, mine)
        self.send_message(None, msgspec.structs.replace(proposal, vote=as_myself))
        header = msgspec.structs.replace(header_of(proposal), proposer=mine)
        self.done["proposals"] += 3
        if header.epoch == self.epoch and self.can_vote:
            block = self.chain.build(
                header.parent_hash,
                epoch=header.epoch,
                view=header.view,
                parent_view=header.parent_view,
                wall_ms=header.time_ms + 1,
            )
            if block is not None:
                self.propose(self.peers, (block.header, block.refs), proposal)
                self.done["usurped"] += 1

    def _lie_about(self, status: Status) -> None:
        """Where another is, signed by us; and where we are, said by another's signature."""
        self.send_message(None, status)
        lie = msgspec.structs.replace(status, final_height=2**63, view=2**63, final_view=2**63)
        signature = self._sign(signed_status(self.world.ground.network, lie))
        self.send_message(None, msgspec.structs.replace(lie, signature=signature))
        self.send_message(None, msgspec.structs.replace(status, signer=self.core.config.me or 0))
        self.done["statuses"] += 3

    def _forge_quorum(self, subject: Subject) -> None:
        """A certificate in which all signatures are ours."""
        count = len(self.core.config.validators)
        signature = self._sign(signed_vote(self.world.ground.network, subject))
        everyone = Certificate(
            subject=subject,
            committee=count,
            signers=tuple(range(count)),
            signatures=(signature,) * count,
        )
        alone = Certificate(
            subject=subject,
            committee=count,
            signers=(self.core.config.me or 0,),
            signatures=(signature,),
        )
        for certificate in (everyone, alone):
            self.send_message(self.random.choice(self.peers), certificate)
        self.done["certificates"] += 2
