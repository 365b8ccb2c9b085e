"""Blocks from peers: single ones that the core wants, and final ranges when this node is behind.

The driver hands over the frames and does what must be done in its own task (`Host`): received
blocks are verified on workers, then executed in a job between two steps of the core. A final range
counts only under a quorum checkpoint; its blocks are executed, proven, and then written. Where much
is missing, `node.engine.snapshot` takes over. Questions of peers are answered in
`node.engine.ranges`.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from ledger.blocks import RECORDS, hash_header
from ledger.errors import InvalidEvent, LedgerError
from ledger.events import Event, hash_event, parse_event, verify_event
from ledger.tlog.merkle import verify_consistency
from node.engine.cosign import Cosigner
from node.engine.epochs import Epoch
from node.engine.fetch import Catchup, Orphan, Orphans, take_turn
from node.engine.ports import Clock, Transport, Workers
from node.engine.proofs import Archive
from node.engine.ranges import Answers
from node.engine.snapshot import Host as SnapshotHost
from node.engine.snapshot import Progress, SnapshotSync
from node.errors import InvalidHeader, InvalidMessage
from node.peers.links import Channel
from node.peers.wire import BlockData, FrameType, Range, RangeWanted, decode_content, encode_frame
from node.service import FinalBlock
from node.simplex.types import Block, DataArrived, Now, Verdict

LOG = structlog.get_logger("sync")

FETCH_DELAY_S = 0.08
WANTED_MAX = 256
RECENT_BLOCKS_MAX = 256

Job = Callable[[], None]


class Host(SnapshotHost, Protocol):
    """What fetching needs of the driver."""

    cosigner: Cosigner
    archive: Archive

    def send_tip(self, peer: str | None) -> None:
        """Tell where our final tip is."""


def parse_events(datas: Sequence[bytes]) -> list[Event]:
    """Events of signed bytes. Raises `InvalidEvent`."""
    return [parse_event(data) for data in datas]


def verify_events(datas: Sequence[bytes]) -> list[Event]:
    """Events of signed bytes, every signature checked. Raises `InvalidEvent`."""
    events = [parse_event(data) for data in datas]
    for event in events:
        verify_event(event)
    return events


def find_unsound(datas: Sequence[bytes]) -> list[bytes]:
    """Digests of those that are no events, or have a wrong signature."""
    unsound = []
    for data in datas:
        try:
            verify_event(parse_event(data))
        except InvalidEvent:
            unsound.append(hash_event(data))
    return unsound


class Sync:
    """Asks peers for blocks, answers theirs, and executes what comes."""

    def __init__(self, *, host: Host, transport: Transport, clock: Clock, workers: Workers) -> None:
        self._host = host
        self._chain = host.chain
        self._transport = transport
        self._clock = clock
        self._workers = workers
        # Heights of the newest final blocks by hash, also of those from before this start: while no
        # quorum has cosigned them, single blocks are the only way in which a peer can get them.
        self._recent: OrderedDict[bytes, int] = OrderedDict()
        log = self._chain.log
        for height in range(max(1, log.tip.height - RECENT_BLOCKS_MAX + 1), log.tip.height + 1):
            self._recent[log.block_hash_at(height)] = height
        self._orphans = Orphans()
        self._fetching: set[bytes] = set()
        self._wanted: OrderedDict[bytes, list[str]] = OrderedDict()
        self._attempts: OrderedDict[bytes, int] = OrderedDict()
        epoch = host.epochs.current
        self.catchup = Catchup(
            height=host.chain.log.tip.height,
            members=host.epochs.others,
            faulty_max=epoch.faulty_max,
        )
        self._executing: Progress | None = None
        self._answers = Answers(host=host, transport=transport)
        self.snapshot = SnapshotSync(
            host=host, transport=transport, workers=workers, catchup=self.catchup
        )

    # --- from the driver ----------------------------------------------------------------------

    def receive(self, peer: str, frame_type: int, content: bytes) -> None:
        """A frame about blocks. Raises `InvalidMessage` when it is malformed or unasked."""
        match frame_type:
            case FrameType.BLOCK_WANTED:
                self._answer_block(peer, content)
            case FrameType.BLOCK:
                data = decode_content(content, BlockData)
                asked = self._wanted.get(hash_header(data.header), [])
                if peer not in asked:
                    raise InvalidMessage("nobody asked for this block")
                asked.remove(peer)
                self._host.spawn(self._take_block(data))
            case FrameType.RANGE:
                answer = decode_content(content, Range)
                if not self.catchup.take_answer(peer):
                    raise InvalidMessage("nobody asked for this range")
                self._host.spawn(self._take_range(peer, answer))
            case FrameType.SNAPSHOT | FrameType.PAIRS | FrameType.ENTRIES:
                self.snapshot.receive(peer, frame_type, content)
            case _:
                self._answers.receive(peer, frame_type, content)

    def enter(self, epoch: Epoch) -> None:
        """An epoch begins: ask its validators."""
        self.catchup.enter(self._host.epochs.others, epoch.faulty_max)

    def note_final(self, blocks: Sequence[FinalBlock], now: Now) -> None:
        """Our final tip moved."""
        for block in blocks:
            self._recent[block.block_hash] = block.header.height
            if len(self._recent) > RECENT_BLOCKS_MAX:
                self._recent.popitem(last=False)
        height = self._chain.log.tip.height
        self.catchup.note_progress(height, now.mono_ms)
        if not self.catchup.is_behind:
            self._executing = None
        elif self._executing is not None:
            self._note_goal(self._executing.total)
        self._orphans.forget_below(height)

    @property
    def is_synced(self) -> bool:
        """Whether validators have told where they are, and this node is not behind them."""
        return bool(self.catchup.heights) and not self.catchup.is_behind

    @property
    def progress(self) -> Progress | None:
        """How far catching up is; None when this node is level."""
        return self.snapshot.progress or self._executing

    def _note_goal(self, size: int) -> None:
        """Blocks are executed to get to a log of so many entries."""
        done = self._chain.log.tree_size
        if self._executing is None:
            now_ms = self._clock.now().mono_ms
            self._executing = Progress(first=done, done=done, total=size, started_ms=now_ms)
        else:
            self._executing = replace(self._executing, done=done, total=max(size, done))

    # --- single blocks ------------------------------------------------------------------------

    def fetch(self, block_hash: bytes, ask: Sequence[str] = ()) -> None:
        """Get a block that the core wants, unless ranges will bring it anyway."""
        if block_hash not in self._fetching and not self._is_far_behind:
            self._fetching.add(block_hash)
            self._host.spawn(self._fetch(block_hash, ask))

    async def _fetch(self, block_hash: bytes, ask: Sequence[str]) -> None:
        """Ask for a block; events on their way usually arrive within the delay by themselves."""
        await asyncio.sleep(FETCH_DELAY_S)
        self._fetching.discard(block_hash)
        if self._chain.holds(block_hash):
            return
        candidates = ask or self._host.peers
        reachable = [peer for peer in candidates if self._transport.is_connected(peer)]
        attempt = self._attempts.pop(block_hash, 0)
        asked = take_turn(reachable, attempt)
        frame = encode_frame(FrameType.BLOCK_WANTED, block_hash)
        # Who was asked before may still answer: the pause between attempts is short.
        earlier = self._wanted.get(block_hash, [])
        self._wanted[block_hash] = list(dict.fromkeys([*earlier, *asked]))
        self._attempts[block_hash] = attempt + 1
        if len(self._wanted) > WANTED_MAX:
            self._wanted.popitem(last=False)
        if len(self._attempts) > WANTED_MAX:
            self._attempts.popitem(last=False)
        for peer in asked:
            self._transport.send(peer, Channel.BULK, frame)

    def _answer_block(self, peer: str, block_hash: bytes) -> None:
        block = self._chain.block(block_hash)
        events = self._chain.block_events(block_hash)
        height = self._recent.get(block_hash)
        if block is not None and events is not None:
            data = BlockData(header=block.header, events=events)
        elif height is not None:
            header, records = self._chain.log.read_block(height)
            data = BlockData(
                header=header, events=tuple(RECORDS.decode(record).event for record in records)
            )
        else:
            self._host.send_tip(peer)
            return
        self._transport.send(peer, Channel.BULK, encode_frame(FrameType.BLOCK, data))

    @property
    def _is_far_behind(self) -> bool:
        """Whether ranges or a snapshot bring all blocks: single ones would be work done twice."""
        return self.catchup.is_behind or self.snapshot.is_running

    async def _take_block(self, data: BlockData) -> None:
        if self._is_far_behind:
            return
        try:
            events = await self._verified(data.events)
            block = self._chain.parse(data.header, tuple(event.digest for event in events))
        except InvalidEvent as error:
            LOG.warning("bad event in a block", error=str(error))
            # If its leader has it in the block, nobody can vote for that: no need to wait longer.
            self._chain.note_unsound(await self._workers.run(find_unsound, data.events))
            self._host.put(DataArrived(block_hash=hash_header(data.header)))
            return
        except InvalidHeader as error:
            LOG.warning("bad block", error=str(error))
            return
        self._host.put(lambda: self._adopt(Orphan(block=block, events=events)))

    async def _verified(self, datas: Sequence[bytes]) -> tuple[Event, ...]:
        """Events of signed bytes; those in the pool were verified when they came."""
        known = {data: self._chain.pool.get(hash_event(data)) for data in datas}
        fresh = [data for data, event in known.items() if event is None]
        verified = await self._workers.run(verify_events, fresh)
        fresh_events = dict(zip(fresh, verified, strict=True))
        return tuple(known[data] or fresh_events[data] for data in datas)

    def _adopt(self, orphan: Orphan) -> None:
        """Execute a received block, or let it wait for its parent; then those that wait for it."""
        block = orphan.block
        if block.height <= self._chain.log.tip.height:
            return
        verdict = self._chain.validate(block, orphan.events)
        if verdict is Verdict.MISSING:
            self._orphans.add(orphan)
            self.fetch(block.parent_hash)
        elif verdict is Verdict.VALID:
            for event in orphan.events:
                self._chain.pool.hold(event)
            self._host.put(DataArrived(block_hash=block.hash))
            for child in self._orphans.take_children(block.hash):
                self._adopt(child)
        else:
            # Its sender lies about the events, or this node executes otherwise than a quorum.
            LOG.error("fetched block refused", height=block.height, hash=block.hash.hex())

    # --- final ranges -------------------------------------------------------------------------

    def ask(self, now: Now) -> None:
        """Ask a peer for final blocks, if this node is behind and awaits none."""
        self._answers.tick(now.mono_ms)
        self.snapshot.tick(now.mono_ms)
        if self.snapshot.is_running:
            return
        connected = [peer for peer in self._host.peers if self._transport.is_connected(peer)]
        peer = self.catchup.choose(now.mono_ms, connected)
        if peer is not None:
            wanted = RangeWanted(from_height=self._chain.log.tip.height + 1)
            frame = encode_frame(FrameType.RANGE_WANTED, wanted)
            self._transport.send(peer, Channel.BULK, frame)

    async def _take_range(self, peer: str, answer: Range) -> None:
        """Signatures are not checked: a range counts under a checkpoint of those who checked."""
        try:
            size = self._host.cosigner.verify(answer.checkpoint).size if answer.blocks else 0
            if self.snapshot.is_worth_it(size):
                self.catchup.answered(peer)
                self.snapshot.start(size)
                return
            if answer.blocks and self.catchup.is_behind:
                self._note_goal(size)
            events = [
                tuple(await self._workers.run(parse_events, block.events))
                for block in answer.blocks
            ]
        except LedgerError as error:
            LOG.warning("bad range", peer=peer, error=str(error))
            self.catchup.refused(peer, self._clock.now().mono_ms)
            return
        self._host.put(lambda: self._apply_range(peer, answer, events))

    def _apply_range(self, peer: str, answer: Range, events: list[tuple[Event, ...]]) -> None:
        """Execute final blocks from a peer, prove them under its checkpoint, then write them."""
        if not answer.blocks or answer.from_height != self._chain.log.tip.height + 1:
            self.catchup.gave_nothing(peer, answer.final_height)
            return
        cosigner = self._host.cosigner
        blocks: list[Block] = []
        fresh: list[bytes] = []
        head = self._chain.log.range
        try:
            for data, block_events in zip(answer.blocks, events, strict=True):
                is_held = self._chain.holds(hash_header(data.header))
                candidate = self._chain.append_synced(data.header, block_events)
                if candidate.header.epoch != self._host.epochs.current.number:
                    raise InvalidHeader("a range does not go over the end of an epoch")
                if not is_held:
                    fresh.append(candidate.block.hash)
                blocks.append(candidate.block)
                head = candidate.range
            checkpoint = cosigner.verify(answer.checkpoint)
            verify_consistency(
                head.size,
                head.root(),
                checkpoint.size,
                checkpoint.root,
                answer.consistency,
            )
        except (InvalidHeader, LedgerError) as error:
            LOG.warning("range refused", peer=peer, error=str(error))
            self._chain.drop(fresh)
            self.catchup.refused(peer, self._clock.now().mono_ms)
            return
        self.catchup.answered(peer)
        is_tip = checkpoint.size == head.size
        self._host.commit_synced(
            blocks[-1],
            lambda extra: self._chain.commit(blocks, extra),
            answer.checkpoint if is_tip else None,
        )
