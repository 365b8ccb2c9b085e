"""Blocks of another time: far ahead, far behind, and as old as or older than their parent."""

import msgspec

from ledger.blocks import HEADERS
from node.simplex.types import Proposal
from tests.simulation.adversaries.insider import Insider, header_of, message_of

AHEAD_MS = (499, 700, 2_000, 3_600_000, 10**12, 10**14)
BEHIND_MS = (-2_400, -10_000, -3_600_000)


class WrongTime(Insider):
    """Its blocks are valid but for their time, and sometimes even with it."""

    NAME = "wrong_time"

    def prepare(self) -> None:
        self._made: dict[tuple[int, int], tuple[bytes, tuple[bytes, ...]]] = {}

    def say(self, to: str | None, frame: bytes) -> None:
        message = message_of(frame)
        if not isinstance(message, Proposal):
            self.send(to, frame)
            return
        subject = message.vote.subject
        place = (subject.epoch, subject.view)
        if place not in self._made:
            self._made[place] = self._shift(message)
        self.propose(self.peers if to is None else (to,), self._made[place], message)

    def _shift(self, proposal: Proposal) -> tuple[bytes, tuple[bytes, ...]]:
        header = header_of(proposal)
        parent = self.chain.block(header.parent_hash)
        assert parent is not None, "the honest node holds the parent of its block"
        what = self.random.choice(("ahead", "behind", "parent"))
        self.done[what] += 1
        if what == "parent":
            time_ms = parent.time_ms - self.random.choice((0, 0, 1, parent.time_ms))
            data = HEADERS.encode(msgspec.structs.replace(header, time_ms=time_ms))
            return data, proposal.refs
        shift_ms = self.random.choice(AHEAD_MS if what == "ahead" else BEHIND_MS)
        wall_ms = header.time_ms + shift_ms
        if wall_ms > 253_402_300_799_999:  # no calendar date: nobody can execute it
            data = HEADERS.encode(msgspec.structs.replace(header, time_ms=wall_ms))
            return data, proposal.refs
        block = self.rebuild(proposal, wall_ms)
        assert block is not None, "it was built once already"
        return block.header, block.refs
