"""The driver: feeds the consensus core and performs its effects, in their order.

One task owns the core, the write-ahead log and the chain. Each round takes the inputs that wait,
steps the core for each, appends what must be durable, makes one fdatasync, and only then sends,
commits and fetches. A commit is one durable batch; after it the checkpoint of the new tip is
cosigned and subscribers are told. Whatever raises here stops the node: an error in this loop is
either a broken invariant or a disk that failed.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence

import structlog

from ledger.errors import LedgerError
from ledger.events import parse_event
from node.chain import Chain
from node.engine.cosign import CHECKPOINT_META, Cosigner, Line
from node.engine.epochs import Epochs
from node.engine.fetch import Orphan
from node.engine.ports import Clock, Transport, Workers
from node.engine.sync import Job, Sync
from node.errors import InvalidMessage
from node.peers.links import Channel
from node.peers.wire import FrameType, encode_frame
from node.service import FinalBlock
from node.simplex.errors import CorruptWal
from node.simplex.guard import GuardedSigner
from node.simplex.types import (
    Block,
    BlockRecord,
    Connected,
    Effects,
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
WAL_ROTATE_BYTES = 64 * 1024 * 1024


class Driver:
    """Runs consensus for one node until it is cancelled or something fails."""

    def __init__(
        self,
        *,
        epochs: Epochs,
        chain: Chain,
        wal: Wal,
        guard: GuardedSigner,
        cosigner: Cosigner,
        transport: Transport,
        clock: Clock,
        workers: Workers,
        disk: Workers,
        on_final: Callable[[tuple[FinalBlock, ...]], None],
        on_checkpoint: Callable[[], None],
    ) -> None:
        self.epochs = epochs
        self.core = epochs.make_core()
        self.chain = chain
        self.cosigner = cosigner
        self.evidence_count = 0
        self.dropped_messages = 0
        self._wal = wal
        self._guard = guard
        self._transport = transport
        self._clock = clock
        self._disk = disk
        self._on_final = on_final
        self._on_checkpoint = on_checkpoint
        self._inputs: deque[Input | Job] = deque()
        self._woken = asyncio.Event()
        self._wake_ms: int | None = None
        self._status_due_ms = 0
        self._tasks: dict[asyncio.Task[None], None] = {}  # in order of their start
        self.sync = Sync(host=self, transport=transport, workers=workers)

    @property
    def peers(self) -> tuple[str, ...]:
        """Members of the other validators, whom to ask for blocks."""
        return self.epochs.others

    # --- from outside, in the event loop ------------------------------------------------------

    def put(self, item: Input | Job) -> None:
        """Queue an input of the core, or a job for the driver's own task."""
        self._inputs.append(item)
        self._woken.set()

    def on_connected(self, peer: str) -> None:
        """A link came up: exchange where we stand."""
        self.put(Connected(peer=self.epochs.seats.index_of(peer)))
        self.send_tip(peer)
        if self.cosigner.own_line is not None:
            self._send_line(peer, self.cosigner.own_line)

    def on_frame(self, peer: str, frame: bytes) -> None:
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
            for task in tuple(self._tasks):
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
        catchup_ms = self.sync.catchup.wake_ms()
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
        self.sync.ask(now)

    async def _perform(self, effects: Sequence[Effects]) -> None:
        """Persist, sync, send, commit, fetch: in this order, for all steps of a round."""
        if not effects:
            return
        for effect in effects:
            self._wal.append([self._with_events(record) for record in effect.persist])
        if any(effect.sync for effect in effects):
            await self._disk.run(self._wal.sync)
        for effect in effects:
            for send in effect.send:
                to = None if send.to is None else self.epochs.seats.member_at(send.to)
                frame = encode_frame(FrameType.CONSENSUS, send.message)
                self._transport.send(to, Channel.CONSENSUS, frame)
        blocks = [block for effect in effects for block in effect.commit]
        if blocks:
            self._commit(blocks)
        for effect in effects:
            for fetch in effect.fetch:
                ask = [self.epochs.seats.member_at(index) for index in fetch.ask]
                self.sync.fetch(fetch.block_hash, ask)
            for evidence in effect.evidence:
                self.evidence_count += 1
                member = self.epochs.seats.member_at(evidence.first.signer)
                LOG.error("two contradictory votes", member=member)
            for rejected in effect.rejected:
                peer = self.epochs.seats.member_at(rejected.sender)
                LOG.debug("refused", peer=peer, reason=rejected.reason)
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

    def commit_synced(self, blocks: Sequence[Block], note: bytes | None) -> None:
        """Write proven final blocks that did not come through the core; `note`: their tip's."""
        now = self._clock.now()
        final = self.chain.commit(blocks, self.cosigner.prepare(now.wall_ms // 1000))
        tip, log = self.chain.log.tip, self.chain.log
        if note is not None:
            self.cosigner.adopt(note, log.tree_size, log.range.root())
        # Before any other input: the core must not decide below the new tip.
        self._inputs.appendleft(Synced(view=tip.view, height=tip.height, block_hash=tip.block_hash))
        self._after_final(final, now)

    def _after_final(self, final: tuple[FinalBlock, ...], now: Now) -> None:
        self.sync.note_final(now)
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

    def _dispatch(self, peer: str, frame: bytes) -> None:
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
            case frame_type:
                self.sync.receive(peer, frame_type, content)

    def _receive(self, peer: str, message: bytes) -> None:
        """Queue a consensus message. What does not fit is repeated by its sender (R10)."""
        if len(self._inputs) < INPUTS_MAX:
            self.put(Received(sender=self.epochs.seats.index_of(peer), message=message))
            return
        if self.dropped_messages == 0:
            LOG.warning("more consensus messages than this node can take", peer=peer)
        self.dropped_messages += 1

    def _note_peer(self, peer: str, height: bytes) -> None:
        if len(height) != 8:
            raise InvalidMessage("a height has 8 bytes")
        self.sync.catchup.note_peer(peer, int.from_bytes(height, "big"))
        if self.sync.catchup.is_behind:
            self._woken.set()

    def send_tip(self, peer: str | None) -> None:
        """Tell a peer, or all, where our final tip is."""
        height = self.chain.log.tip.height.to_bytes(8, "big")
        self._transport.send(peer, Channel.CONSENSUS, encode_frame(FrameType.TIP, height))

    def _send_line(self, peer: str | None, line: Line) -> None:
        height = self.chain.log.tip.height.to_bytes(8, "big")
        frame = encode_frame(FrameType.COSIGNATURE, height + line.encode())
        self._transport.send(peer, Channel.CONSENSUS, frame)

    def _send_status(self, now: Now) -> None:
        if now.mono_ms < self._status_due_ms:
            return
        self._status_due_ms = now.mono_ms + STATUS_INTERVAL_MS
        if self.core.config.me is not None:
            frame = encode_frame(FrameType.CONSENSUS, self.core.status(now))
            self._transport.send(None, Channel.CONSENSUS, frame)
        self.send_tip(None)

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

    def spawn(self, coroutine: Coroutine[object, object, None]) -> None:
        """Run beside this task; a failure stops the driver."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks[task] = None
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        """No death is swallowed: a failed helper task stops the driver."""
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:

            def fail() -> None:
                raise error

            self.put(fail)
