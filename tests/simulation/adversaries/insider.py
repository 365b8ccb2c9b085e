"""What most adversaries share: an honest node inside them, whose every frame passes their hands.

`Insider` follows the protocol with the keys of its member and hands each frame that this node sends
to `say`, which passes it on, changes it, or keeps it back. `act` is called again and again. What an
adversary really did is counted in `done`, by name.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec

from ledger.blocks import HEADERS, Header, hash_header
from node.chain import Chain
from node.errors import InvalidMessage
from node.peers.links import Channel
from node.peers.wire import FrameType, encode_frame
from node.simplex.core import Simplex
from node.simplex.errors import InvalidMessage as InvalidConsensusMessage
from node.simplex.messages import decode_message, encode_message
from node.simplex.types import Block, Frontier, Kind, Message, Proposal, Subject, Vote
from tests.simulation.byzantine import Adversary, Twin

ACT_MS = 150


class Insider(Adversary):
    """Behaves, but for what a subclass does."""

    def start(self) -> None:
        self.done: Counter[str] = Counter()
        self.prepare()
        self.node = self.embed()
        self._again()

    # --- to be overridden ---------------------------------------------------------------------

    def prepare(self) -> None:
        """The run begins; the honest node is made right after this."""

    def act(self) -> None:
        """Called every `ACT_MS`."""

    def hear(self, sender: str, message: Message) -> None:
        """A consensus message of an honest peer has arrived; our honest node gets it next."""

    def say(self, to: str | None, frame: bytes) -> None:
        """The honest node sends a frame, to one peer or to all."""
        self.send(to, frame)

    # --- the present --------------------------------------------------------------------------

    @property
    def core(self) -> Simplex:
        """Core of the honest node."""
        return self.node.driver.core

    @property
    def chain(self) -> Chain:
        """Chain of the honest node."""
        return self.node.driver.chain

    @property
    def epoch(self) -> int:
        """Epoch of the honest node."""
        return self.core.config.epoch

    @property
    def view(self) -> int:
        """View of the honest node."""
        return self.core.current_view

    @property
    def can_vote(self) -> bool:
        """Whether our member is in the list of the present epoch."""
        return self.core.config.me is not None

    def halves(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """All others in two parts, drawn anew each time."""
        mixed = list(self.peers)
        self.random.shuffle(mixed)
        middle = len(mixed) // 2
        return tuple(mixed[:middle]), tuple(mixed[middle:])

    # --- what it can make ---------------------------------------------------------------------

    def subject(self, kind: Kind, view: int, of: Subject | None = None) -> Subject:
        """A subject of the present epoch; `of` gives the block, None: one that does not exist."""
        if kind is Kind.NULLIFY:
            return Subject(kind=kind, epoch=self.epoch, view=view)
        if of is None:
            invented = self.random.randbytes(32)
            return Subject(
                kind=kind,
                epoch=self.epoch,
                view=view,
                height=self.random.randrange(1, 9),
                parent_view=max(view - 1, 0),
                block_hash=invented,
            )
        return msgspec.structs.replace(of, kind=kind, view=view)

    def cast(self, to: str | None, *subjects: Subject) -> None:
        """Send our signed votes."""
        for subject in subjects:
            self.send_message(to, self.vote(subject, self.epoch))

    def propose(
        self,
        to: Sequence[str],
        block: tuple[bytes, tuple[bytes, ...]],
        like: Proposal,
        **changed: int,
    ) -> None:
        """Send header and references in the place of a proposal, with our vote on them."""
        header, refs = block
        subject = msgspec.structs.replace(
            like.vote.subject, block_hash=hash_header(header), **changed
        )
        proposal = Proposal(
            header=header,
            refs=refs,
            justification=like.justification,
            vote=self.vote(subject, subject.epoch),
        )
        for peer in to:
            self.send_message(peer, proposal)

    def rebuild(self, like: Proposal, wall_ms: int) -> Block | None:
        """Another valid block in the same place, made at another time."""
        header = header_of(like)
        return self.chain.build(
            header.parent_hash,
            epoch=header.epoch,
            view=header.view,
            parent_view=header.parent_view,
            wall_ms=wall_ms,
        )

    # --- what the simulation calls ------------------------------------------------------------

    def on_frame(self, sender: str, channel: Channel, frame: bytes) -> None:
        # Adversaries that answer each other would do nothing else.
        message = None if sender in self.world.adversaries else message_of(frame)
        if message is not None:
            self.hear(sender, message)
        self.node.receive(sender, channel, frame)

    def on_connected(self, peer: str) -> None:
        self.node.connected(peer)

    def outgoing(self, twin: Twin, to: str | None, channel: Channel, frame: bytes) -> None:
        self.say(to, frame)

    def _again(self) -> None:
        self.act()
        self.at(ACT_MS, self._again)


def message_of(frame: bytes) -> Message | None:
    """The consensus message in a frame, or None."""
    if frame[:1] != bytes([FrameType.CONSENSUS]):
        return None
    try:
        return decode_message(frame[1:])
    except (InvalidConsensusMessage, InvalidMessage):
        return None


def frame_of(message: Message) -> bytes:
    """The frame of a consensus message."""
    return encode_frame(FrameType.CONSENSUS, encode_message(message))


def header_of(proposal: Proposal) -> Header:
    """The header in a proposal of an honest node."""
    return HEADERS.decode(proposal.header)


def votes_of(message: Message) -> tuple[Vote, ...]:
    """The votes of single validators in a message, but for those in certificates."""
    match message:
        case Vote():
            return (message,)
        case Proposal():
            return (message.vote,)
        case Frontier():
            return message.votes
    return ()
