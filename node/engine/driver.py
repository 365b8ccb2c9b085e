"""The driver: feeds the consensus core and performs its effects, in their order.

One task owns the core, the write-ahead log and the chain. Each round takes the inputs that wait,
steps the core for each, appends what must be durable, makes one fdatasync, and only then sends,
commits and fetches. A commit is one durable batch; after it the checkpoint of the new tip is
cosigned and subscribers are told. Whatever raises here stops the node: an error in this loop is
either a broken invariant or a disk that failed.

A seal block ends the epoch (CONSENSUS 3). Its commit is the one durable step: from then on the log
says which epoch is next, and whatever of the rest a crash leaves undone (the floor of the guard,
the new write-ahead log, the new core) is done again at the next start.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import structlog

from contracts.admission import check_event
from contracts.errors import RefusedEvent
from ledger.errors import CorruptStore, LedgerError, StoreFailed
from ledger.events import Event, parse_event
from node.api.quota import RateQuota
from node.chain import Chain
from node.engine.cosign import CHECKPOINT_META, STATE_META, Committee, Cosigner, Line
from node.engine.duties import Duties
from node.engine.epochs import Epochs, sealed_meta
from node.engine.fetch import Orphan
from node.engine.ports import Clock, Transport, Workers
from node.engine.proofs import Archive, seal_time_meta
from node.engine.sync import Job, Sync
from node.errors import InvalidMessage
from node.peers.links import Channel
from node.peers.wire import EventList, FrameType, encode_frame
from node.pool import PoolFull
from node.service import FinalBlock
from node.simplex.errors import CorruptWal
from node.simplex.errors import InvalidMessage as InvalidConsensusMessage
from node.simplex.guard import GuardedSigner
from node.simplex.messages import decode_epoch, encode_message, is_frontier
from node.simplex.types import (
    Block,
    BlockRecord,
    Connected,
    Effects,
    Frontier,
    Input,
    Now,
    PendingChanged,
    Received,
    Send,
    Synced,
    Tick,
    Verdict,
    WalRecord,
    epochs_of,
    final_height_of,
)
from node.simplex.wal import Wal

LOG = structlog.get_logger("driver")

INPUTS_PER_ROUND_MAX = 64
INPUTS_PER_PEER_MAX = 2_000  # a flood of one leaves room for the others
STATUS_INTERVAL_MS = 5_000
WAKE_MIN_MS = 200
WAL_ROTATE_BYTES = 64 * 1024 * 1024
OTHER_EPOCH_REPLY_MS = 500
SHARED_EVENTS_MAX = 50
PROOFS_PER_S = 50
REVIVED_MAX = 64  # blocks that are final in the write-ahead log and not in the store


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A consensus message of a peer. Its epoch is looked at when its turn comes."""

    peer: str
    message: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """A link to this peer came up."""

    peer: str


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
        duties: Duties,
        archive: Archive,
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
        self.archive = archive
        self.evidence_count = 0
        self.contradicting: set[str] = set()
        self.dropped_messages = 0
        self.last_drop_ms = 0
        self.sync_took_ms: int | None = None
        self.duties = duties
        self._wal = wal
        self._guard = guard
        self._transport = transport
        self._clock = clock
        self._disk = disk
        self._on_final = on_final
        self._on_checkpoint = on_checkpoint
        self._inputs: deque[Input | Job | Heard | Met] = deque()
        self._waiting: Counter[str] = Counter()  # consensus messages of each peer in the queue
        self._woken = asyncio.Event()
        self._ahead: Sequence[WalRecord] = ()
        self._wake_ms: int | None = None
        self._status_due_ms = 0
        self._tasks: dict[asyncio.Task[None], None] = {}  # in order of their start
        self._replied_ms: dict[str, int] = {}
        self._asked_proof = 0
        self._proof_answers = RateQuota(rate_per_s=PROOFS_PER_S, burst=2 * PROOFS_PER_S)
        self.sync = Sync(host=self, transport=transport, clock=clock, workers=workers)

    @property
    def peers(self) -> tuple[str, ...]:
        """Members of the other validators, whom to ask for blocks."""
        return self.epochs.others

    # --- from outside, in the event loop ------------------------------------------------------

    def put(self, item: Input | Job | Heard | Met) -> None:
        """Queue an input of the core, or a job for the driver's own task."""
        if isinstance(item, PendingChanged) and self._inputs and self._inputs[-1] == item:
            return  # what changed last is seen together with what changed before
        self._inputs.append(item)
        self._woken.set()

    def on_connected(self, peer: str) -> None:
        """A link came up: exchange where we stand."""
        self.put(Met(peer=peer))
        self.sync.catchup.relinked(peer)
        self.send_tip(peer)
        for line in self.cosigner.own_lines:
            self._send_line(peer, line)

    def on_frame(self, peer: str, frame: bytes) -> None:
        """A frame of a peer. Malformed ones are logged with the peer and dropped."""
        try:
            self._dispatch(peer, frame)
        except (StoreFailed, CorruptStore) as error:
            self._stop(error)  # our own disk: no peer is to blame
        except (InvalidMessage, LedgerError, ValueError) as error:
            LOG.warning("bad frame", peer=peer, error=str(error))

    async def run(self, records: Sequence[WalRecord]) -> None:
        """Restore from the write-ahead log, then work until cancelled."""
        await self._perform([self.restore(records)])
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
                await self._follow_epoch()
                continue
            effect = self._step(item)
            if effect is not None:
                effects.append(effect)
                if any(block.is_seal for block in effect.commit):
                    await self._perform(effects)  # what comes now is for the next epoch's core
                    effects = []
        now = self._clock.now()
        is_due = self._wake_ms is not None and now.mono_ms >= self._wake_ms
        # Not while the core has yet to hear of a tip that a job moved: it would commit it again.
        if is_due and not (self._inputs and isinstance(self._inputs[0], Synced)):
            effects.append(self.core.step(Tick(), now))
        await self._perform(effects)
        self._send_status(now)
        self.sync.ask(now)

    def _step(self, item: Input | Heard | Met) -> Effects | None:
        """Step the core, unless the input is a message of another epoch."""
        now = self._clock.now()
        match item:
            case Heard():
                self._waiting[item.peer] -= 1
                if self._answer_other_epoch(item, now):
                    return None
                sender = self.epochs.seats.index_of(item.peer)
                return self.core.step(Received(sender=sender, message=item.message), now)
            case Met():
                return self.core.step(Connected(peer=self.epochs.seats.index_of(item.peer)), now)
        return self.core.step(item, now)

    async def _perform(self, effects: Sequence[Effects]) -> None:
        """Keep evidence, persist, sync, send, commit, fetch: in this order, for all steps."""
        if not effects:
            return
        seats = self.epochs.seats
        for effect in effects:
            for evidence in effect.evidence:
                self.evidence_count += 1
                member = seats.member_at(evidence.first.signer)
                self.contradicting.add(member)
                LOG.error("two contradictory votes", member=member)
                self.duties.note_evidence(evidence)
            self._wal.append([self._with_events(record) for record in effect.persist])
        if any(effect.sync for effect in effects):
            await self._disk.run(self._wal.sync)
        for effect in effects:
            self._send(effect.send)
        blocks = [block for effect in effects for block in effect.commit]
        if blocks:
            self._commit(blocks)
        for effect in effects:
            for fetch in effect.fetch:
                ask = [seats.member_at(index) for index in fetch.ask]
                self.sync.fetch(fetch.block_hash, ask)
            for rejected in effect.rejected:
                peer = seats.member_at(rejected.sender)
                LOG.debug("refused", peer=peer, reason=rejected.reason)
        if any(effect.evidence for effect in effects):
            self._offer_duties()
        self._wake_ms = effects[-1].wake_ms
        await self._follow_epoch()

    def _send(self, sends: Iterable[Send]) -> None:
        for send in sends:
            to = None if send.to is None else self.epochs.seats.member_at(send.to)
            frame = encode_frame(FrameType.CONSENSUS, send.message)
            self._transport.send(to, Channel.CONSENSUS, frame)
            if to is None and is_frontier(send.message):
                self._share_pool()

    def _with_events(self, record: WalRecord) -> WalRecord:
        if not isinstance(record, BlockRecord) or record.events:
            return record
        events = self.chain.block_events(record.hash)
        assert events is not None, "a block is executed before it is voted on"
        return BlockRecord(hash=record.hash, header=record.header, refs=record.refs, events=events)

    # --- final blocks -------------------------------------------------------------------------

    def _commit(self, blocks: Sequence[Block]) -> None:
        now = self._clock.now()
        extra = self._prepare(blocks[-1], now)
        if self.cosigner.checkpoint is not None:
            extra[CHECKPOINT_META] = self.cosigner.checkpoint
        final = self.chain.commit(blocks, extra)
        self._after_final(final, now)
        if self._wal.size_bytes > WAL_ROTATE_BYTES and not self._ahead:
            self._rotate()

    def commit_synced(
        self,
        last: Block,
        commit: Callable[[dict[bytes, bytes]], tuple[FinalBlock, ...]],
        note: bytes | None,
    ) -> None:
        """Write proven final blocks that did not come through the core; `note`: their tip's."""
        now = self._clock.now()
        final = commit(self._prepare(last, now))
        tip, log = self.chain.log.tip, self.chain.log
        if note is not None:
            self.cosigner.adopt(note, log.tree_size, log.range.root())
        if not self.epochs.is_over():
            # Before any other input: the core must not decide below the new tip.
            synced = Synced(view=tip.view, height=tip.height, block_hash=tip.block_hash)
            self._inputs.appendleft(synced)
        self._after_final(final, now)

    def _prepare(self, last: Block, now: Now) -> dict[bytes, bytes]:
        """Meta values that must be durable with blocks: of the next line, and of a seal block."""
        extra = self.cosigner.prepare(now.wall_ms // 1000)
        if last.is_seal:
            extra[seal_time_meta(last.epoch)] = extra[STATE_META]
            finalization = self.core.finalization
            if finalization is not None and finalization.subject.block_hash == last.hash:
                extra[sealed_meta(last.epoch)] = encode_message(finalization)
        return extra

    def _rotate(self) -> None:
        live = [self._with_events(record) for record in self.core.live_records()]
        self._guard.check_rotation(live)
        self._wal.rotate(live)

    def _after_final(self, final: tuple[FinalBlock, ...], now: Now) -> None:
        self.sync.note_final(final, now)
        self._on_final(final)
        self._cosign_tip()
        self._offer_duties()

    def _cosign_tip(self) -> None:
        log = self.chain.log
        if log.tree_size == 0 or log.tree_size <= self.cosigner.checkpoint_size:
            return
        line = self.cosigner.sign(log.tree_size, log.range.root())
        if line is not None:
            self._send_line(None, line)
        self._on_checkpoint()

    # --- epochs -------------------------------------------------------------------------------

    async def _follow_epoch(self) -> None:
        """If the tip is a seal block, begin the next epoch (CONSENSUS 3, point 5)."""
        if not self.epochs.is_over():
            return
        self._guard.advance_floor(epoch=self.epochs.current.number + 1, view=0)
        self.epochs.enter()
        self.core = self.epochs.make_core()
        if self.epochs.current.number < max(epochs_of(self._ahead), default=0):
            effects = self.core.restore((), self._clock.now())
        else:
            records, self._ahead = self._ahead, ()
            self._revive(records)
            effects = self.core.restore(records, self._clock.now())
            self._rotate()
        self._enter_epoch()
        LOG.info("epoch begins", epoch=self.epochs.current.number, index=self.epochs.me)
        await self._perform([effects])

    def _enter_epoch(self) -> None:
        """What follows from the present epoch, at start and at each switch."""
        epoch = self.epochs.current
        self.cosigner.enter(Committee.of(self.chain.genesis, epoch.validators))
        self.archive.open(epoch.number)
        self.sync.enter(epoch)

    def _answer_other_epoch(self, heard: Heard, now: Now) -> bool:
        """Whether a message is of another epoch: who is behind gets what it needs to follow."""
        try:
            epoch = decode_epoch(heard.message)
        except InvalidConsensusMessage:
            return False  # the core refuses it, and says whom to blame
        current = self.epochs.current.number
        if epoch == current:
            return False
        replied_ms = self._replied_ms.get(heard.peer)
        if replied_ms is not None and now.mono_ms < replied_ms + OTHER_EPOCH_REPLY_MS:
            return True
        self._replied_ms[heard.peer] = now.mono_ms
        message = self._own_place(now)
        if epoch < current:
            message = self.chain.log.get_meta(sealed_meta(epoch)) or message
        frame = encode_frame(FrameType.CONSENSUS, message)
        self._transport.send(heard.peer, Channel.CONSENSUS, frame)
        self.send_tip(heard.peer)
        return True

    def _own_place(self, now: Now) -> bytes:
        """A message that shows in which epoch this node is."""
        if self.core.config.me is not None:
            return self.core.status(now)
        epoch = self.epochs.current.number
        return encode_message(Frontier(epoch=epoch, certificates=(), votes=()))

    def _mind_proofs(self) -> None:
        """Send lines of seal trees again, and ask a peer for a proof that this node lacks."""
        for line in self.cosigner.seal_lines:
            self._send_line(None, line)
        reachable = [peer for peer in self.peers if self._transport.is_connected(peer)]
        if self.archive.missing and reachable:
            self._asked_proof += 1
            peer = reachable[self._asked_proof % len(reachable)]
            content = self.archive.missing[0].to_bytes(8, "big")
            frame = encode_frame(FrameType.EPOCH_WANTED, content)
            self._transport.send(peer, Channel.BULK, frame)

    def _answer_proof(self, peer: str, content: bytes) -> None:
        if len(content) != 8:
            raise InvalidMessage("an epoch has 8 bytes")
        is_too_fast = self._proof_answers.take(peer, 1, self._clock.now().mono_ms) > 0
        proof = None if is_too_fast else self.archive.proof(int.from_bytes(content, "big"))
        if proof is None:
            self.send_tip(peer)
        else:
            self._transport.send(peer, Channel.BULK, encode_frame(FrameType.EPOCH, proof))

    # --- events -------------------------------------------------------------------------------

    def _share_pool(self) -> None:
        """Nothing moves although events wait: perhaps the others do not know them (R9, R10).

        Who was asked to order an event tells all, but may be gone before all have heard. The oldest
        are enough: who knows of one event wants a block as well.
        """
        events = tuple(event.data for event in islice(self.chain.pool, SHARED_EVENTS_MAX))
        if events:
            frame = encode_frame(FrameType.EVENTS, EventList(events=events))
            self._transport.send(None, Channel.BULK, frame)

    def _offer_duties(self, *, is_reminder: bool = False) -> None:
        """Put what this node has to say into the pool, and before the others; then remind them."""
        is_synced = self.sync.is_synced
        is_validator = self.epochs.me is not None
        for event in self.duties.due(is_validator=is_validator, is_synced=is_synced):
            is_held = event.digest in self.chain.pool
            if is_reminder if is_held else self._admit_own(event):
                frame = encode_frame(FrameType.EVENTS, EventList(events=(event.data,)))
                self._transport.send(None, Channel.BULK, frame)

    def _admit_own(self, event: Event) -> bool:
        log = self.chain.log
        try:
            check_event(
                log,
                event,
                network=log.network,
                height=log.tip.height + 1,
                time_ms=log.tip.time_ms,
            )
            self.chain.pool.add(event)
        except RefusedEvent as refused:
            LOG.info("own event refused", kind=event.kind, code=refused.code)
            return False
        except PoolFull as full:
            LOG.warning("own event waits", kind=event.kind, reason=str(full))
            return False
        LOG.info("own event", kind=event.kind, digest=event.digest.hex())
        self.put(PendingChanged())
        return True

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
                if self.archive.missing:
                    self.put(self.archive.collect)
                self._on_checkpoint()
            case FrameType.TIP:
                self._note_peer(peer, content)
            case FrameType.EPOCH_WANTED:
                self._answer_proof(peer, content)
            case FrameType.EPOCH:
                self.archive.take(content)
            case frame_type:
                self.sync.receive(peer, frame_type, content)

    def _receive(self, peer: str, message: bytes) -> None:
        """Queue a consensus message. What does not fit is repeated by its sender (R10)."""
        if self._waiting[peer] < INPUTS_PER_PEER_MAX:
            self._waiting[peer] += 1
            self.put(Heard(peer=peer, message=message))
            return
        if self.dropped_messages == 0:
            LOG.warning("more consensus messages than this node can take", peer=peer)
        self.dropped_messages += 1
        self.last_drop_ms = self._clock.now().mono_ms

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
        self._mind_proofs()
        self._offer_duties(is_reminder=True)

    # --- start --------------------------------------------------------------------------------

    def restore(self, records: Sequence[WalRecord]) -> Effects:
        """Go on where the log and the write-ahead log end. Raises `CorruptWal`."""
        epoch = self.epochs.current.number
        if (voted := max(epochs_of(records), default=0)) > epoch:
            # The store was lost and the votes were not: get the log again, and vote only then.
            LOG.warning("votes are ahead of the log", epoch=epoch, voted=voted)
            self._ahead, records = records, ()
            self.epochs.observe_until(voted)
            self.core = self.epochs.make_core()
        self._revive(records)
        self._guard.advance_floor(epoch=epoch, view=0)
        effects = self.core.restore(records, self._clock.now())
        if any(each < epoch for each in epochs_of(records)):
            self._rotate()  # the switch of epochs was not completed
        self._enter_epoch()
        if self.chain.log.tip.epoch == epoch:
            self._cosign_tip()
        return effects

    def _revive(self, records: Sequence[WalRecord]) -> None:
        """Execute again the blocks of the write-ahead log that are not final yet.

        A log that lacks many final ones was lost. The peers bring those, proven and without
        executing them here and now, which would block the node for a minute.
        """
        tip = self.chain.log.tip.height
        if (final := final_height_of(records)) > tip + REVIVED_MAX:
            LOG.warning("final blocks are left to the peers", height=tip, final=final)
            return
        waiting: list[Orphan] = []
        for record in records:
            if isinstance(record, BlockRecord):
                block = self.chain.parse(record.header, record.refs)
                is_next = block.epoch == self.epochs.current.number
                if is_next and block.height > tip:
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
            self._stop(error)

    def _stop(self, error: BaseException) -> None:
        """Raise in the driver's own task."""

        def fail() -> None:
            raise error

        self.put(fail)
