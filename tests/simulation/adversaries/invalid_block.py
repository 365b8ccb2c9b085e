"""Proposes blocks with one thing wrong, whatever a block can have wrong."""

from collections.abc import Callable
from typing import Any

import msgspec

from ledger.blocks import HEADERS, Header
from node.simplex.types import Block, Proposal
from tests.simulation.adversaries.insider import Insider, header_of, message_of

Forged = tuple[bytes, tuple[bytes, ...]]

# What is put in the place of a header's field.
WRONG: dict[str, Callable[[Header], Any]] = {
    "network": lambda header: bytes(32),
    "epoch": lambda header: header.epoch + 1,
    "height": lambda header: header.height + 1,
    "view": lambda header: header.view + 1,
    "parent_view": lambda header: header.parent_view + 1,
    "proposer": lambda header: header.proposer + 1,
    "parent_hash": lambda header: bytes(32),
    "tree_size": lambda header: header.tree_size + 1,
    "tree_root": lambda header: bytes(32),
    "record_count": lambda header: header.record_count + 1,
    "records_root": lambda header: bytes(32),
    "state_digest": lambda header: bytes(32),
    "engine": lambda header: header.engine + 1,
    "validators_hash": lambda header: bytes(32),
    "next_validators": lambda header: bytes(32),
}
# Such fields are in the leader's vote too.
VOTED = ("epoch", "height", "view", "parent_view")
OTHERS = ("garbage", "gap", "twice", "huge", "references", "consistent height")


class InvalidBlock(Insider):
    """Honest as a voter. Its own blocks are bad, for all or for a part of the others."""

    NAME = "invalid_block"

    def prepare(self) -> None:
        self._sent: dict[tuple[int, int], Callable[[str], None]] = {}

    def say(self, to: str | None, frame: bytes) -> None:
        message = message_of(frame)
        if not isinstance(message, Proposal):
            self.send(to, frame)
            return
        subject = message.vote.subject
        place = (subject.epoch, subject.view)
        if place not in self._sent:
            self._sent[place] = self._choose(message)
        for peer in self.peers if to is None else (to,):
            self._sent[place](peer)

    def _choose(self, proposal: Proposal) -> Callable[[str], None]:
        """How each peer is served in this view."""
        what = self.random.choice((*WRONG, *OTHERS, *OTHERS))
        parent = self.chain.block(header_of(proposal).parent_hash)
        can_leave_out = parent is not None and parent.hash != self.chain.log.tip.block_hash
        if can_leave_out and self.random.random() < 0.8:
            what = "gap"
        good = (proposal.header, proposal.refs)
        bad, changed = self._forge(what, proposal)
        spared = self.halves()[0] if self.random.random() < 0.5 else ()
        if what == "references":
            # The header is right: enough of the others get it right to notarize it.
            spared = tuple(self.random.sample(self.peers, len(self.peers) - 1))
        self.done[what] += 1

        def serve(peer: str) -> None:
            if peer in spared:
                self.propose((peer,), good, proposal)
            else:
                self.propose((peer,), bad, proposal, **changed)

        return serve

    def _forge(self, what: str, proposal: Proposal) -> tuple[Forged, dict[str, int]]:
        header, refs = header_of(proposal), proposal.refs
        match what:
            case "garbage":
                return (self.random.randbytes(self.random.randrange(4_000)), refs), {}
            case "gap":
                return self._leave_out(proposal)
            case "twice":
                count = min(2 * len(refs), 1_000)
                again = msgspec.structs.replace(header, record_count=count)
                return (HEADERS.encode(again), (refs + refs)[:count]), {}
            case "huge":
                return (proposal.header, tuple(self.random.randbytes(32) for _ in range(2_000))), {}
            case "references":
                return (proposal.header, self._other_refs(refs)), {}
            case "consistent height":
                height = header.height + self.random.choice((-1, 1, 2**40))
                higher = msgspec.structs.replace(header, height=max(height, 0))
                return (HEADERS.encode(higher), refs), {"height": max(height, 0)}
        value = WRONG[what](header)
        changed = {what: value} if what in VOTED and self.random.random() < 0.5 else {}
        data = HEADERS.encode(msgspec.structs.replace(header, **{what: value}))
        return (data, refs), changed

    def _other_refs(self, refs: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """As many references, of events that the others have, but not those of the header."""
        if len(refs) > 1:
            return refs[::-1]
        known = [event.digest for event in self.world.ground.events]
        pending = [event.digest for event in self.chain.pool]
        return tuple(self.random.choice([*pending, *known]) for _ in refs)

    def _leave_out(self, proposal: Proposal) -> tuple[Forged, dict[str, int]]:
        """A valid block on our final tip, or on the parent's parent, over a view that counts."""
        tip = self.chain.log.tip
        parent = self.chain.block(header_of(proposal).parent_hash)
        block: Block | None = None
        view = tip.view if tip.epoch == self.epoch and tip.height else 0
        if parent is not None and parent.hash != tip.block_hash:
            view = tip.view if parent.parent_hash == tip.block_hash else parent.parent_view
            view = view if tip.height or parent.parent_hash != tip.block_hash else 0
            block = self.chain.build(
                parent.parent_hash,
                epoch=self.epoch,
                view=proposal.vote.subject.view,
                parent_view=view,
                wall_ms=header_of(proposal).time_ms,
            )
        if block is None:
            return (proposal.header, proposal.refs), {}
        self.done["gaps"] += 1
        return (block.header, block.refs), {"height": block.height, "parent_view": view}
