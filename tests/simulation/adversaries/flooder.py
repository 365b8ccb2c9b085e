"""Sends more of everything than anyone can use, and looks whether honest nodes stay small."""

from collections.abc import Callable

import msgspec

from ledger.blocks import hash_header
from node.peers.wire import (
    EntriesWanted,
    EventList,
    FrameType,
    PairsWanted,
    RangeWanted,
    SnapshotWanted,
    encode_frame,
)
from node.simplex.messages import signed_status
from node.simplex.types import Certificate, Frontier, Kind, Proposal, Status
from tests.simulation.adversaries.bounds import check_bounds
from tests.simulation.adversaries.insider import Insider

EACH_TIME = 30
GIANT_BYTES = 2 * 1024 * 1024
FAR = (5, 6, 100, 2**32, 2**63, 2**64 - 1)


class Flooder(Insider):
    """Honest in between, so that nobody can do without it."""

    NAME = "flooder"

    def act(self) -> None:
        floods: tuple[Callable[[], None], ...] = (
            self._votes,
            self._certificates,
            self._proposals,
            self._frontiers,
            self._statuses,
            self._tips,
            self._lines,
            self._blocks,
            self._ranges,
            self._snapshots,
            self._entries,
            self._events,
            self._giant,
        )
        flood = self.random.choice(floods)
        if self.can_vote:
            flood()
            self.done[flood.__name__.removeprefix("_")] += 1
        for site in self.world.running:
            check_bounds(site)
            self.done["checked"] += 1

    def _view(self) -> int:
        """A view near or far."""
        near = range(max(self.view - 3, 1), self.view + 5)
        return self.random.choice((*near, *(min(self.view + far, 2**64 - 1) for far in FAR)))

    def _votes(self) -> None:
        for _ in range(EACH_TIME):
            self.cast(None, self.subject(self.random.choice(list(Kind)), self._view()))

    def _certificates(self) -> None:
        count = len(self.core.config.validators)
        for _ in range(EACH_TIME):
            certificate = Certificate(
                subject=self.subject(self.random.choice(list(Kind)), self._view()),
                committee=count,
                signers=tuple(range(count)),
                signatures=tuple(self.random.randbytes(64) for _ in range(count)),
            )
            self.send_message(None, certificate)

    def _proposals(self) -> None:
        """For the next views, of which it leads some: as many as it likes."""
        for ahead in range(EACH_TIME):
            header = self.random.randbytes(500)
            invented = self.subject(Kind.NOTARIZE, self.view + ahead % 8)
            subject = msgspec.structs.replace(invented, block_hash=hash_header(header))
            vote = self.vote(subject, self.epoch)
            proposal = Proposal(header=header, refs=(), justification=(), vote=vote)
            self.send_message(None, proposal)

    def _frontiers(self) -> None:
        votes = tuple(
            self.vote(self.subject(Kind.NOTARIZE, self._view()), self.epoch) for _ in range(300)
        )
        self.send_message(None, Frontier(epoch=self.epoch, certificates=(), votes=votes))

    def _statuses(self) -> None:
        """The past, again and again: each asks for a frontier."""
        mine = self.core.config.me
        assert mine is not None, "only validators flood"
        for _ in range(EACH_TIME):
            past = Status(
                epoch=self.epoch,
                view=1,
                final_view=0,
                final_height=0,
                time_ms=self.random.randrange(2**63),
                signer=mine,
                signature=b"",
            )
            signature = self.identity.consensus.sign_raw(
                signed_status(self.world.ground.network, past)
            )
            self.send_message(None, msgspec.structs.replace(past, signature=signature))

    def _tips(self) -> None:
        for height in (2**64 - 1, 2**63 - 1, 10**6, self.chain.log.tip.height + 9):
            self.send(None, encode_frame(FrameType.TIP, height.to_bytes(8, "big")))

    def _lines(self) -> None:
        own = self.node.driver.cosigner.own_lines
        for line in own:
            for ahead in range(EACH_TIME):
                size = (line.size + ahead).to_bytes(8, "big")
                frame = bytes(8) + size + line.encode()[8:]
                self.send(None, encode_frame(FrameType.COSIGNATURE, frame))

    def _blocks(self) -> None:
        for _ in range(EACH_TIME):
            wanted = self.random.randbytes(32)
            self.send(None, encode_frame(FrameType.BLOCK_WANTED, wanted))
        tip = self.chain.log.tip.block_hash
        for _ in range(EACH_TIME):
            self.send(None, encode_frame(FrameType.BLOCK_WANTED, tip))

    def _ranges(self) -> None:
        for _ in range(EACH_TIME):
            self.send(None, encode_frame(FrameType.RANGE_WANTED, RangeWanted(from_height=0)))
            self.send(None, encode_frame(FrameType.EPOCH_WANTED, self.random.randbytes(8)))

    def _snapshots(self) -> None:
        for _ in range(EACH_TIME):
            wanted = SnapshotWanted(tree_size=0, epoch=self.epoch)
            self.send(None, encode_frame(FrameType.SNAPSHOT_WANTED, wanted))
            pairs = PairsWanted(height=self.chain.log.tip.height, after=b"")
            self.send(None, encode_frame(FrameType.PAIRS_WANTED, pairs))

    def _entries(self) -> None:
        for _ in range(EACH_TIME):
            wanted = EntriesWanted(tree_size=self.chain.log.tree_size, first=0, count=1_024)
            self.send(None, encode_frame(FrameType.ENTRIES_WANTED, wanted))

    def _events(self) -> None:
        for _ in range(EACH_TIME):
            events = tuple(self.random.randbytes(200) for _ in range(20))
            self.send(None, encode_frame(FrameType.EVENTS, EventList(events=events)))

    def _giant(self) -> None:
        kind = self.random.choice(list(FrameType))
        self.send(self.random.choice(self.peers), bytes([kind]) + bytes(GIANT_BYTES))
