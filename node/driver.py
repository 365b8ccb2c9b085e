"""The driver: feeds the consensus core and performs its effects, in their order.

One task owns the core, the write-ahead log and the chain. Each round takes the inputs that wait,
steps the core for each, appends what must be durable, makes one fdatasync, and only then sends,
commits and fetches. A commit is one durable batch; after it the checkpoint of the new tip is
cosigned and subscribers are told. Whatever raises here stops the node: an error in this loop is
either a broken invariant or a disk that failed.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from typing import Protocol

import structlog

from ledger.blocks import hash_header
from ledger.errors import InvalidEvent, LedgerError
from ledger.events import Event, hash_event, parse_event, verify_event
from ledger.tlog.merkle import verify_consistency
from node.chain import Chain
from node.cosign import CHECKPOINT_META, Cosigner, Line
from node.errors import InvalidHeader, InvalidMessage
from node.peers.fetch import Catchup, Orphan, Orphans
from node.peers.links import Channel
from node.peers.ranges import build_range
from node.peers.wire import BlockData, FrameType, Range, RangeWanted, decode_content, encode_frame
from node.service import FinalBlock
from node.simplex.core import Simplex
from node.simplex.errors import CorruptWal
from node.simplex.guard import GuardedSigner
from node.simplex.types import (
    Block,
    BlockRecord,
    Connected,
    DataArrived,
    Effects,
    Fetch,
    Input,
    Now,
    Received,
    Synced,
    Tick,
    Verdict,
    WalRecord,
)
from node.simplex.wal import Wal

LOG = structlog.get_logger("driver")

INPUTS_PER_ROUND_MAX = 64
INPUTS_MAX = 20_000
STATUS_INTERVAL_MS = 5_000
WAKE_MIN_MS = 200
FETCH_DELAY_S = 0.08
WANTED_MAX = 256
WAL_ROTATE_BYTES = 64 * 1024 * 1024

Job = Callable[[], None]


class Transport(Protocol):
    """Sends frames; `node.peers.links.Links` in a node."""

    def send(self, peer: int | None, channel: Channel, frame: bytes) -> None:
        """Queue a frame for one peer or for all."""

    def is_connected(self, peer: int) -> bool:
        """Whether the peer can be reached."""


class Clock(Protocol):
    """The two clocks."""

    def now(self) -> Now:
        """Monotonic and wall time in milliseconds."""


def verify_events(datas: Sequence[bytes]) -> list[Event]:
    """Events of signed bytes, every signature checked. Raises `InvalidEvent`."""
    events = [parse_event(data) for data in datas]
    for event in events:
        verify_event(event)
    return events


class Driver:
    """Runs consensus for one node until it is cancelled or something fails."""

    def __init__(
        self,
        *,
        core: Simplex,
        chain: Chain,
        wal: Wal,
        guard: GuardedSigner,
        cosigner: Cosigner,
        transport: Transport,
        clock: Clock,
        workers: Executor,
        on_final: Callable[[tuple[FinalBlock, ...]], None],
        on_checkpoint: Callable[[], None],
        peers: Sequence[int],
    ) -> None:
        self.core = core
        self.chain = chain
        self.cosigner = cosigner
        self.evidence_count = 0
        self.dropped_messages = 0
        self._wal = wal
        self._guard = guard
        self._transport = transport
        self._clock = clock
        self._workers = workers
        self._on_final = on_final
        self._on_checkpoint = on_checkpoint
        self._peers = tuple(peers)
        self._inputs: deque[Input | Job] = deque()
        self._woken = asyncio.Event()
        self._orphans = Orphans()
        self.catchup = Catchup(height=chain.log.tip.height, faulty_max=len(self._peers) // 3)
        self._wake_ms: int | None = None
        self._status_due_ms = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._fetching: set[bytes] = set()
        self._wanted: OrderedDict[bytes, set[int]] = OrderedDict()

    # --- from outside, in the event loop ------------------------------------------------------

    def put(self, item: Input | Job) -> None:
        """Queue an input of the core, or a job for the driver's own task."""
        self._inputs.append(item)
        self._woken.set()

    def on_connected(self, peer: int) -> None:
        """A link came up: exchange where we stand."""
        self.put(Connected(peer=peer))
        self._send_tip(peer)
        if self.cosigner.own_line is not None:
            self._send_line(peer, self.cosigner.own_line)

    def on_frame(self, peer: int, frame: bytes) -> None:
        """A frame of a peer. Malformed ones are logged with the peer and dropped."""
        try:
            self._dispatch(peer, frame)
        except (InvalidMessage, LedgerError, ValueError) as error:
            LOG.warning("bad frame", peer=peer, error=str(error))

    async def run(self, records: Sequence[WalRecord]) -> None:
        """Restore from the write-ahead log, then work until cancelled."""
        self._revive(records)
        await self._perform([self.core.restore(records, self._clock.now())])
        self._cosign_tip()
        try:
            while True:
                await self._wait()
                await self._round()
        finally:
            for task in self._tasks:
                task.cancel()

    def close(self) -> None:
        """Release the write-ahead log, after `run` has ended."""
        self._wal.close()

    # --- the loop -----------------------------------------------------------------------------

    async def _wait(self) -> None:
        now_ms = self._clock.now().mono_ms
        wakes = [self._status_due_ms]
        if self._wake_ms is not None:
            wakes.append(self._wake_ms)
        catchup_ms = self.catchup.wake_ms()
        if catchup_ms is not None:
            wakes.append(max(catchup_ms, now_ms + WAKE_MIN_MS))
        if not self._inputs:
            self._woken.clear()
            try:
                async with asyncio.timeout(max(min(wakes) - now_ms, 0) / 1000):
                    await self._woken.wait()
            except TimeoutError:
                return

    async def _round(self) -> None:
        effects: list[Effects] = []
        for _ in range(min(len(self._inputs), INPUTS_PER_ROUND_MAX)):
            item = self._inputs.popleft()
            if callable(item):
                # A job may move the tip: what earlier steps decided comes first.
                await self._perform(effects)
                effects = []
                item()
            else:
                effects.append(self.core.step(item, self._clock.now()))
        now = self._clock.now()
        if self._wake_ms is not None and now.mono_ms >= self._wake_ms:
            effects.append(self.core.step(Tick(), now))
        await self._perform(effects)
        self._send_status(now)
        self._ask_range(now)

    async def _perform(self, effects: Sequence[Effects]) -> None:
        """Persist, sync, send, commit, fetch: in this order, for all steps of a round."""
        if not effects:
            return
        for effect in effects:
            self._wal.append([self._with_events(record) for record in effect.persist])
        if any(effect.sync for effect in effects):
            # Not on the workers: a vote never waits behind signatures of events.
            await asyncio.to_thread(self._wal.sync)
        for effect in effects:
            for send in effect.send:
                frame = encode_frame(FrameType.CONSENSUS, send.message)
                self._transport.send(send.to, Channel.CONSENSUS, frame)
        blocks = [block for effect in effects for block in effect.commit]
        if blocks:
            self._commit(blocks)
        for effect in effects:
            for fetch in effect.fetch:
                self._start_fetch(fetch)
            for evidence in effect.evidence:
                self.evidence_count += 1
                LOG.error("two contradictory votes", signer=evidence.first.signer)
            for rejected in effect.rejected:
                LOG.debug("refused", peer=rejected.sender, reason=rejected.reason)
        self._wake_ms = effects[-1].wake_ms

    def _with_events(self, record: WalRecord) -> WalRecord:
        if not isinstance(record, BlockRecord) or record.events:
            return record
        events = self.chain.block_events(record.hash)
        assert events is not None, "a block is executed before it is voted on"
        return BlockRecord(hash=record.hash, header=record.header, refs=record.refs, events=events)

    # --- final blocks -------------------------------------------------------------------------

    def _commit(self, blocks: Sequence[Block]) -> None:
        now = self._clock.now()
        extra = self.cosigner.prepare(now.wall_ms // 1000)
        if self.cosigner.checkpoint is not None:
            extra[CHECKPOINT_META] = self.cosigner.checkpoint
        final = self.chain.commit(blocks, extra)
        self._after_final(final, now)
        if self._wal.size_bytes > WAL_ROTATE_BYTES:
            live = [self._with_events(record) for record in self.core.live_records()]
            self._guard.check_rotation(live)
            self._wal.rotate(live)

    def _after_final(self, final: tuple[FinalBlock, ...], now: Now) -> None:
        height = self.chain.log.tip.height
        self.catchup.note_progress(height, now.mono_ms)
        self._orphans.forget_below(height)
        self._on_final(final)
        self._cosign_tip()

    def _cosign_tip(self) -> None:
        log = self.chain.log
        if log.tree_size == 0 or log.tree_size <= self.cosigner.checkpoint_size:
            return
        line = self.cosigner.sign(log.tree_size, log.range.root())
        self._send_line(None, line)
        self._on_checkpoint()

    # --- frames -------------------------------------------------------------------------------

    def _dispatch(self, peer: int, frame: bytes) -> None:
        if not frame:
            raise InvalidMessage("empty frame")
        content = frame[1:]
        match frame[0]:
            case FrameType.CONSENSUS:
                self._receive(peer, content)
            case FrameType.COSIGNATURE:
                self._note_peer(peer, content[:8])
                self.cosigner.receive(peer, Line.decode(content[8:]))
                self._on_checkpoint()
            case FrameType.TIP:
                self._note_peer(peer, content)
            case FrameType.BLOCK_WANTED:
                self._answer_block(peer, content)
            case FrameType.BLOCK:
                data = decode_content(content, BlockData)
                asked = self._wanted.get(hash_header(data.header), set())
                if peer not in asked:
                    raise InvalidMessage("nobody asked for this block")
                asked.discard(peer)
                self._spawn(self._take_block(data))
            case FrameType.RANGE_WANTED:
                self._answer_range(peer, decode_content(content, RangeWanted))
            case FrameType.RANGE:
                answer = decode_content(content, Range)
                if not self.catchup.take_answer(peer):
                    raise InvalidMessage("nobody asked for this range")
                self._spawn(self._take_range(peer, answer))
            case _:
                raise InvalidMessage(f"unknown frame type {frame[0]}")

    def _receive(self, peer: int, message: bytes) -> None:
        """Queue a consensus message. What does not fit is repeated by its sender (R10)."""
        if len(self._inputs) < INPUTS_MAX:
            self.put(Received(sender=peer, message=message))
            return
        if self.dropped_messages == 0:
            LOG.warning("more consensus messages than this node can take", peer=peer)
        self.dropped_messages += 1

    def _note_peer(self, peer: int, height: bytes) -> None:
        if len(height) != 8:
            raise InvalidMessage("a height has 8 bytes")
        self.catchup.note_peer(peer, int.from_bytes(height, "big"))
        if self.catchup.is_behind:
            self._woken.set()

    def _send_tip(self, peer: int | None) -> None:
        height = self.chain.log.tip.height.to_bytes(8, "big")
        self._transport.send(peer, Channel.CONSENSUS, encode_frame(FrameType.TIP, height))

    def _send_line(self, peer: int | None, line: Line) -> None:
        height = self.chain.log.tip.height.to_bytes(8, "big")
        frame = encode_frame(FrameType.COSIGNATURE, height + line.encode())
        self._transport.send(peer, Channel.CONSENSUS, frame)

    def _send_status(self, now: Now) -> None:
        if now.mono_ms < self._status_due_ms:
            return
        self._status_due_ms = now.mono_ms + STATUS_INTERVAL_MS
        frame = encode_frame(FrameType.CONSENSUS, self.core.status(now))
        self._transport.send(None, Channel.CONSENSUS, frame)
        self._send_tip(None)

    # --- single blocks ------------------------------------------------------------------------

    def _start_fetch(self, fetch: Fetch) -> None:
        if fetch.block_hash not in self._fetching and not self.catchup.is_behind:
            self._fetching.add(fetch.block_hash)
            self._spawn(self._fetch(fetch))

    async def _fetch(self, fetch: Fetch) -> None:
        """Ask for a block; events on their way usually arrive within the delay by themselves."""
        await asyncio.sleep(FETCH_DELAY_S)
        self._fetching.discard(fetch.block_hash)
        if self.chain.holds(fetch.block_hash):
            return
        reachable = [
            peer for peer in fetch.ask or self._peers if self._transport.is_connected(peer)
        ]
        frame = encode_frame(FrameType.BLOCK_WANTED, fetch.block_hash)
        self._wanted[fetch.block_hash] = set(reachable[:2])
        if len(self._wanted) > WANTED_MAX:
            self._wanted.popitem(last=False)
        for peer in reachable[:2]:
            self._transport.send(peer, Channel.BULK, frame)

    def _answer_block(self, peer: int, block_hash: bytes) -> None:
        block = self.chain.block(block_hash)
        events = self.chain.block_events(block_hash)
        if block is None or events is None:
            self._send_tip(peer)
            return
        data = BlockData(header=block.header, events=events)
        self._transport.send(peer, Channel.BULK, encode_frame(FrameType.BLOCK, data))

    async def _take_block(self, data: BlockData) -> None:
        try:
            events = await self._verified(data.events)
            block = self.chain.parse(data.header, tuple(event.digest for event in events))
        except (InvalidEvent, InvalidHeader) as error:
            LOG.warning("bad block", error=str(error))
            return
        self.put(lambda: self._adopt(Orphan(block=block, events=events)))

    async def _verified(self, datas: Sequence[bytes]) -> tuple[Event, ...]:
        """Events of signed bytes; those in the pool were verified when they came."""
        known = {data: self.chain.pool.get(hash_event(data)) for data in datas}
        fresh = [data for data, event in known.items() if event is None]
        loop = asyncio.get_running_loop()
        verified = await loop.run_in_executor(self._workers, verify_events, fresh)
        fresh_events = dict(zip(fresh, verified, strict=True))
        return tuple(known[data] or fresh_events[data] for data in datas)

    def _adopt(self, orphan: Orphan) -> None:
        """Execute a received block, or let it wait for its parent; then those that wait for it."""
        block = orphan.block
        if block.height <= self.chain.log.tip.height:
            return
        verdict = self.chain.validate(block, orphan.events)
        if verdict is Verdict.MISSING:
            self._orphans.add(orphan)
            self._start_fetch(Fetch(block_hash=block.parent_hash, ask=()))
        elif verdict is Verdict.VALID:
            for event in orphan.events:
                self.chain.pool.hold(event)
            self.put(DataArrived(block_hash=block.hash))
            for child in self._orphans.take_children(block.hash):
                self._adopt(child)

    # --- final ranges -------------------------------------------------------------------------

    def _ask_range(self, now: Now) -> None:
        connected = [peer for peer in self._peers if self._transport.is_connected(peer)]
        peer = self.catchup.choose(now.mono_ms, connected)
        if peer is not None:
            wanted = RangeWanted(from_height=self.chain.log.tip.height + 1)
            frame = encode_frame(FrameType.RANGE_WANTED, wanted)
            self._transport.send(peer, Channel.BULK, frame)

    def _answer_range(self, peer: int, wanted: RangeWanted) -> None:
        answer = build_range(self.chain.log, self.cosigner, wanted.from_height)
        self._transport.send(peer, Channel.BULK, encode_frame(FrameType.RANGE, answer))

    async def _take_range(self, peer: int, answer: Range) -> None:
        try:
            loop = asyncio.get_running_loop()
            events = [
                tuple(await loop.run_in_executor(self._workers, verify_events, block.events))
                for block in answer.blocks
            ]
        except InvalidEvent as error:
            LOG.warning("bad range", peer=peer, error=str(error))
            self.catchup.answered(peer, is_good=False)
            return
        self.put(lambda: self._apply_range(peer, answer, events))

    def _apply_range(self, peer: int, answer: Range, events: list[tuple[Event, ...]]) -> None:
        """Execute final blocks from a peer, prove them under its checkpoint, then write them."""
        if not answer.blocks or answer.from_height != self.chain.log.tip.height + 1:
            self.catchup.gave_nothing(peer, answer.final_height)
            return
        blocks: list[Block] = []
        fresh: list[bytes] = []
        head = self.chain.log.range
        try:
            for data, block_events in zip(answer.blocks, events, strict=True):
                is_held = self.chain.holds(hash_header(data.header))
                candidate = self.chain.append_synced(data.header, block_events)
                if not is_held:
                    fresh.append(candidate.block.hash)
                blocks.append(candidate.block)
                head = candidate.range
            checkpoint = self.cosigner.verify(answer.checkpoint)
            verify_consistency(
                head.size,
                head.root(),
                checkpoint.size,
                checkpoint.root,
                answer.consistency,
            )
        except (InvalidHeader, LedgerError) as error:
            LOG.warning("range refused", peer=peer, error=str(error))
            self.chain.drop(fresh)
            self.catchup.answered(peer, is_good=False)
            return
        self.catchup.answered(peer, is_good=True)
        now = self._clock.now()
        final = self.chain.commit(blocks, self.cosigner.prepare(now.wall_ms // 1000))
        tip = self.chain.log.tip
        if checkpoint.size == self.chain.log.tree_size:
            self.cosigner.adopt(answer.checkpoint, checkpoint.size, checkpoint.root)
        # Before any other input: the core must not decide below the new tip.
        self._inputs.appendleft(Synced(view=tip.view, height=tip.height, block_hash=tip.block_hash))
        self._after_final(final, now)

    # --- start --------------------------------------------------------------------------------

    def _revive(self, records: Sequence[WalRecord]) -> None:
        """Execute again the blocks of the write-ahead log that are not final yet."""
        waiting: list[Orphan] = []
        for record in records:
            if isinstance(record, BlockRecord):
                block = self.chain.parse(record.header, record.refs)
                if block.height > self.chain.log.tip.height:
                    events = tuple(parse_event(data) for data in record.events)
                    waiting.append(Orphan(block=block, events=events))
        for orphan in sorted(waiting, key=lambda each: each.block.height):
            for event in orphan.events:
                self.chain.pool.hold(event)
            if self.chain.validate(orphan.block) is Verdict.INVALID:
                raise CorruptWal(f"block {orphan.block.height} does not execute any more")

    def _spawn(self, coroutine: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        """No death is swallowed: a failed helper task stops the driver."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:

            def fail() -> None:
                raise error

            self.put(fail)
