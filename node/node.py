"""A node: the parts put together, and the `Service` that its interfaces consume.

Parts, in the order data flows:

    api        takes signed events over HTTP, answers reads, streams final blocks
    admission  parses, verifies signatures on worker threads, asks `contracts.check_event`
    pool       keeps what waits; new events go to all validators over the bulk links
    driver     consensus core, write-ahead log, commit, cosigning, catch-up
    chain      executes, builds, validates; writes final blocks to the log
    log        entries, tiles, state, indexes on disk
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TypeVar

import structlog

from contracts.admission import check_event
from contracts.errors import RefusedEvent
from contracts.lookup import read_epoch
from ledger.blocks import RECORDS
from ledger.errors import InvalidEvent
from ledger.events import Event, hash_event, parse_event, verify_event
from ledger.genesis import Genesis
from ledger.log import Log
from ledger.registry import EpochRecord
from ledger.state import EPOCH_KEY, PENDING_KEY, VALIDATORS_KEY, StateReader, nonce_key
from node.api.quota import RateQuota
from node.chain import Chain
from node.config import Address
from node.diagnosis.facts import Facts
from node.diagnosis.gather import Gatherer
from node.engine.driver import Driver
from node.engine.epochs import pinned_peers
from node.engine.ports import Clock, Workers
from node.errors import InvalidMessage
from node.history import make_receipt, read_final_block
from node.metrics import Metrics
from node.oversight.duties import DutyBook
from node.oversight.overseer import Overseer, Oversight
from node.peers.links import Channel, Links
from node.peers.wire import EventList, FrameType, decode_content, encode_frame
from node.pool import PoolFull
from node.service import (
    EventState,
    EventStatus,
    FinalBlock,
    NodeStatus,
    PeerStatus,
    Reason,
)
from node.simplex.types import PendingChanged

LOG = structlog.get_logger("node")
T = TypeVar("T")

LOST_EVENTS_MAX = 20_000
DISSEMINATE_MAX = 200
RECENT_RECORDS_MAX = 2_000
JUDGING_BYTES_MAX = 64 * 1024 * 1024
# As many signatures are verified in less time than it takes to hand them to a worker.
JUDGED_HERE_MAX = 4


class Node:
    """One region's node. Everything here runs in the event loop; reads see final state only."""

    def __init__(
        self,
        *,
        genesis: Genesis,
        chain: Chain,
        driver: Driver,
        links: Links,
        addresses: Mapping[str, Address],
        metrics: Metrics,
        workers: Workers,
        clock: Clock,
        events_per_second_per_member: int,
        gatherer: Gatherer,
        overseer: Overseer,
    ) -> None:
        self.genesis = genesis
        self.network = chain.network
        self._chain = chain
        self._log: Log = chain.log
        self._driver = driver
        self._links = links
        self._addresses = addresses
        self._pinned: tuple[bytes | None, ...] = ()
        self._metrics = metrics
        self._workers = workers
        self._rates = RateQuota(
            rate_per_s=events_per_second_per_member, burst=2 * events_per_second_per_member
        )
        self._lost: OrderedDict[bytes, EventStatus] = OrderedDict()
        self._waiters: dict[bytes, list[asyncio.Future[None]]] = {}
        self._recent: OrderedDict[int, FinalBlock] = OrderedDict()
        self._recent_records = 0
        self._block_arrived = asyncio.Event()
        self._checkpoint_arrived = asyncio.Event()
        self._changed = asyncio.Event()
        self._to_send: list[bytes] = []
        self._judging_bytes: Counter[str] = Counter()
        self._clock = clock
        self._gatherer = gatherer
        self._overseer = overseer
        self._duties = DutyBook(chain.log)
        chain.pool.on_displaced = self._on_displaced
        self._follow_peers()

    # --- submission ---------------------------------------------------------------------------

    async def submit(self, events: Sequence[bytes], *, client: str) -> list[EventStatus]:
        """Admit signed events, in order. Each answer is pending, final (seen before) or refused."""
        judged = await self._judge(list(events))
        statuses = [
            item if isinstance(item, EventStatus) else self._admit(item, client) for item in judged
        ]
        self._metrics.on_submit(statuses)
        return statuses

    async def _judge(self, datas: list[bytes]) -> list[Event | EventStatus]:
        """Events whose signature is good; what is wrong with the others."""
        if len(datas) <= JUDGED_HERE_MAX:
            return _judge_many(datas)
        return await self._workers.run(_judge_many, datas)

    def _admit(self, event: Event, client: str | None) -> EventStatus:
        """Check against the final state and keep. `client` None: disseminated by a peer."""
        pool, tip = self._chain.pool, self._log.tip
        if event.digest in pool:
            return EventStatus(digest=event.digest, state=EventState.PENDING)
        try:
            check_event(
                self._log,
                event,
                network=self.network,
                height=tip.height + 1,
                time_ms=tip.time_ms,
            )
        except RefusedEvent as refused:
            if refused.code == "duplicate":
                return self.event_status(event.digest)
            # A peer may be a block ahead: what a block may include is for the proposer to judge.
            if client is not None or not refused.recordable:
                return _refused(event.digest, refused.code, refused.detail)
        rival = pool.digest_of_nonce(event.member, event.nonce)
        if rival is not None:
            return _refused(event.digest, "nonce-reused", f"the nonce names event {rival.hex()}")
        if client is not None:
            wait_ms = self._rates.take(event.member, 1, self._clock.now().mono_ms)
            if wait_ms:
                return _refused(
                    event.digest, "rate-limited", event.member, retry_after_s=1 + wait_ms // 1000
                )
        try:
            pool.add(event)
        except PoolFull as full:
            code = "quota-pending" if full.scope == "member" else "pool-full"
            return _refused(event.digest, code, str(full), retry_after_s=1)
        self._driver.put(PendingChanged())
        if client is not None:
            self._disseminate(event)
        return EventStatus(digest=event.digest, state=EventState.PENDING)

    def _disseminate(self, event: Event) -> None:
        """Send to all validators; events of one loop turn travel together."""
        if not self._to_send:
            asyncio.get_running_loop().call_soon(self._flush_events)
        self._to_send.append(event.data)

    def _flush_events(self) -> None:
        datas, self._to_send = self._to_send, []
        self._send_events(None, datas)

    def _send_events(self, peer: str | None, datas: Sequence[bytes]) -> None:
        for start in range(0, len(datas), DISSEMINATE_MAX):
            content = EventList(events=tuple(datas[start : start + DISSEMINATE_MAX]))
            self._links.send(peer, Channel.BULK, encode_frame(FrameType.EVENTS, content))

    # --- from peers ---------------------------------------------------------------------------

    def on_frame(self, peer: str, channel: Channel, frame: bytes) -> None:
        """A frame of a peer: events are admitted here, the rest is the driver's."""
        if channel is Channel.BULK and frame[:1] == bytes([FrameType.EVENTS]):
            try:
                content = decode_content(frame[1:], EventList)
            except InvalidMessage as error:
                LOG.warning("bad frame", peer=peer, error=str(error))
                return
            self._judge_from_peer(peer, [data for data in content.events if not self._knows(data)])
            return
        heard = self._driver.sync.catchup.heard
        count = len(heard)
        self._driver.on_frame(peer, frame)
        if len(heard) != count:
            self._tell_change()

    def _knows(self, data: bytes) -> bool:
        return hash_event(data) in self._chain.pool

    def _judge_from_peer(self, peer: str, datas: list[bytes]) -> None:
        """Have events verified on a worker, unless the peer keeps the workers too busy already."""
        size_bytes = sum(map(len, datas))
        if not datas or self._judging_bytes[peer] + size_bytes > JUDGING_BYTES_MAX:
            if datas:
                # Not lost: the node that was asked keeps them, and blocks are fetched whole.
                LOG.warning("peer sends events too fast", peer=peer, dropped=len(datas))
            return
        self._judging_bytes[peer] += size_bytes

        self._driver.spawn(self._admit_from_peer(peer, datas, size_bytes))

    async def _admit_from_peer(self, peer: str, datas: list[bytes], size_bytes: int) -> None:
        judged = await self._judge(datas)
        self._judging_bytes[peer] -= size_bytes
        for item in judged:
            if isinstance(item, EventStatus):
                LOG.warning("peer sent a bad event", peer=peer, code=item.code)
            else:
                self._admit(item, None)

    def on_connected(self, peer: str) -> None:
        """A peer came (back): it may have missed what waits here."""
        self._send_events(peer, [event.data for event in self._chain.pool])
        self._driver.on_connected(peer)
        self._tell_change()

    # --- from the driver ----------------------------------------------------------------------

    def on_final(self, blocks: tuple[FinalBlock, ...]) -> None:
        """Final blocks: wake those who wait for their events, and the streams."""
        for block in blocks:
            self._recent[block.header.height] = block
            self._recent_records += 1 + len(block.records)
            while self._recent_records > RECENT_RECORDS_MAX and len(self._recent) > 1:
                _, oldest = self._recent.popitem(last=False)
                self._recent_records -= 1 + len(oldest.records)
            for record in block.records:
                self._release(record.event.digest)
            self._metrics.on_block(block)
        for event, code in self._chain.take_lost():
            self._lose(event, code)
        self._follow_peers()
        self._gatherer.note_final()
        self._duties.note_final(record.event for block in blocks for record in block.records)
        self._overseer.note_final(self._clock.now().wall_ms)
        self._block_arrived.set()
        self._block_arrived = asyncio.Event()
        self._tell_change()

    def _lose(self, event: Event, code: str) -> None:
        """The event can not become final any more, as far as this node knows."""
        self._lost[event.digest] = _refused(event.digest, code, "")
        if len(self._lost) > LOST_EVENTS_MAX:
            self._lost.popitem(last=False)
        self._release(event.digest)

    def _on_displaced(self, event: Event) -> None:
        """A block proposes another event of this one's nonce."""
        self._lose(event, "nonce-reused")

    def _follow_peers(self) -> None:
        """Speak with the validators that the final state names."""
        log = self._log
        named = (log.get(VALIDATORS_KEY), log.get(PENDING_KEY), log.get(EPOCH_KEY))
        if named == self._pinned:
            return
        self._pinned = named
        peers = pinned_peers(log, self._driver.epochs.member, self._addresses)
        for peer in peers:
            if peer.address is None:
                LOG.warning("no address is known, it has to dial this node", peer=peer.member)
        self._links.set_peers(peers)

    def on_checkpoint(self) -> None:
        """A checkpoint may have got its quorum."""
        self._gatherer.note_checkpoint()
        self._checkpoint_arrived.set()
        self._checkpoint_arrived = asyncio.Event()

    def _tell_change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _release(self, digest: bytes) -> None:
        for future in self._waiters.pop(digest, ()):
            if not future.done():
                future.set_result(None)

    # --- reads: events ------------------------------------------------------------------------

    def event_status(self, digest: bytes) -> EventStatus:
        """Status of an event by its digest."""
        if digest in self._chain.pool:
            return EventStatus(digest=digest, state=EventState.PENDING)
        index = self._log.index_of_event(digest)
        if index is None:
            return self._lost.get(digest) or EventStatus(digest=digest, state=EventState.UNKNOWN)
        outcome = RECORDS.decode(self._log.read_entry(index)).outcome
        return EventStatus(
            digest=digest,
            state=EventState.FINAL,
            code=outcome.code,
            index=index,
            height=self._log.height_of_index(index),
            outcome=outcome,
        )

    def event_by_nonce(self, member: str, nonce: bytes) -> EventStatus:
        """Status of the event that a member's nonce names."""
        digest = self._log.get(nonce_key(member, nonce)) or self._chain.pool.digest_of_nonce(
            member, nonce
        )
        if digest is None:
            return EventStatus(digest=b"", state=EventState.UNKNOWN)
        return self.event_status(digest)

    async def wait_final(self, digest: bytes, timeout_s: float) -> EventStatus:
        """Status as soon as it is not pending any more, or after `timeout_s`."""
        if digest not in self._chain.pool:
            return self.event_status(digest)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(digest, []).append(future)
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            waiting = self._waiters.get(digest, [])
            if future in waiting:
                waiting.remove(future)
            if not waiting:
                self._waiters.pop(digest, None)
        return self.event_status(digest)

    # --- reads: log and state -----------------------------------------------------------------

    def state(self) -> StateReader:
        """The final state."""
        return self._log

    def scan_state(self, prefix: bytes, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Up to `limit` pairs under `prefix` with keys >= `start`, in key order."""
        return self._log.scan_state(prefix, start, limit)

    def tree_size(self) -> int:
        """Number of final entries."""
        return self._log.tree_size

    def final_time_ms(self) -> int:
        """Time of the newest final block; that of the genesis before the first."""
        return self._log.tip.time_ms

    def read_entries(self, start: int, count: int) -> list[bytes]:
        """Entries `start` to `start + count`, as many as exist."""
        return self._log.read_entries(start, count)

    def block_height_of(self, index: int) -> int:
        """Height of the block that holds entry `index`."""
        return self._log.height_of_index(index)

    def exchange_indexes(self, exchange: bytes, first: int, limit: int) -> list[int]:
        """Up to `limit` indexes, from `first` on, of the records of an exchange or proposal."""
        return self._log.exchange_indexes(exchange, first=first, limit=limit)

    def checkpoint(self) -> bytes | None:
        """Newest checkpoint note that has a quorum of cosignatures."""
        return self._driver.cosigner.checkpoint

    def receipt(self, index: int) -> bytes | None:
        """tlog-proof file of an entry under the newest quorum checkpoint, or None yet."""
        cosigner = self._driver.cosigner
        if cosigner.checkpoint is None or not 0 <= index < cosigner.checkpoint_size:
            return None
        return make_receipt(self._log, index, cosigner.checkpoint_size, cosigner.checkpoint)

    async def wait_receipt(self, index: int, timeout_s: float) -> bytes | None:
        """Receipt as soon as a quorum checkpoint covers the entry, or None after `timeout_s`."""
        return await self._wait_for(
            lambda: self.receipt(index), lambda: self._checkpoint_arrived, timeout_s
        )

    def tile(self, path: str) -> bytes | None:
        """C2SP tlog-tiles file or None."""
        return self._log.tile(path)

    async def subscribe(self, from_height: int) -> AsyncIterator[FinalBlock]:
        """Final blocks from `from_height` on, then live. A slow reader re-reads from storage."""
        height = max(from_height, 1)
        while True:
            arrived = self._block_arrived
            while height <= self._log.tip.height:
                recent = self._recent.get(height)
                if recent is None:
                    # One after the other: after a long absence there are thousands.
                    await asyncio.sleep(0)
                yield recent or read_final_block(self._log, height)
                height += 1
            if height > self._log.tip.height:
                await arrived.wait()

    async def _wait_for(
        self, read: Callable[[], T | None], event: Callable[[], asyncio.Event], timeout_s: float
    ) -> T | None:
        try:
            async with asyncio.timeout(timeout_s):
                while (value := read()) is None:
                    await event().wait()
                return value
        except TimeoutError:
            return read()

    # --- reads: health ------------------------------------------------------------------------

    def status(self) -> NodeStatus:
        """Present state of the node."""
        tip, catchup = self._log.tip, self._driver.sync.catchup
        return NodeStatus(
            member=self._driver.epochs.member,
            network=self.network,
            height=tip.height,
            view=self._driver.core.current_view,
            leader=self._driver.epochs.current.members[self._driver.core.leader],
            tree_size=self._log.tree_size,
            checkpoint_size=self._driver.cosigner.checkpoint_size,
            pending=len(self._chain.pool),
            syncing=catchup.is_behind,
            epoch=self._driver.epochs.current.number,
            is_validator=self._driver.epochs.me is not None,
            dropped_frames=self._links.dropped_frames(),
            dropped_messages=self._driver.dropped_messages,
            evidence=self._driver.evidence_count,
            peers=tuple(
                PeerStatus(
                    member=member,
                    connected=self._links.is_connected(member),
                    final_height=catchup.heights.get(member, 0),
                    last_seen_ms_ago=self._links.silent_ms(member),
                )
                for member in self._links.members
            ),
        )

    def validators(self) -> EpochRecord:
        """The present epoch and its validators."""
        return read_epoch(self._log)

    def epoch_proof(self, epoch: int) -> bytes | None:
        """Canonical `EpochProof` that ends an epoch; None: it has not ended, or not yet here."""
        return self._driver.archive.proof(epoch)

    def duties(self) -> DutyBook:
        """What members owe by when."""
        return self._duties

    def oversight(self) -> Oversight:
        """What administrators must not overlook: open proposals, freezes, what ends soon."""
        return self._overseer.look(self._clock.now().wall_ms)

    async def facts(self) -> Facts:
        """What a diagnosis of the node looks at."""
        return await self._gatherer.facts()

    def fail(self, error: Exception) -> None:
        """Stop the node because of what a read found: nothing goes on half-dead."""

        def stop() -> None:
            raise error

        self._driver.put(stop)

    def not_ready(self) -> tuple[Reason, ...]:
        """Empty when the node can take events and make progress."""
        height, epochs = self._log.tip.height, self._driver.epochs
        catchup, others = self._driver.sync.catchup, frozenset(epochs.others)
        faulty_max = epochs.current.faulty_max
        missing = [member for member in epochs.others if not self._links.is_connected(member)]
        reasons: list[Reason] = []
        values: dict[str, str | int]
        if epochs.me is None and len(missing) == len(others):
            values = {"epoch": epochs.current.number, "height": height}
            reasons.append(Reason(code="not-receiving", values=values))
        elif len(missing) > faulty_max:
            values = {"members": ", ".join(missing)}
            reasons.append(Reason(code="quorum-unreachable", values=values))
        elif (heard := len(catchup.heard & others)) < (needed := len(others) - faulty_max):
            values = {"heard": heard, "others": len(others), "needed": needed}
            reasons.append(Reason(code="quorum-unheard", values=values))
        # A gap that is normal while blocks flow is not, where there is no block yet.
        if catchup.is_behind or (height == 0 and catchup.believed_height > 0):
            highest = max(catchup.heights.values(), default=0)
            values = {"height": height, "highest": highest}
            reasons.append(Reason(code="catching-up", values=values))
        return tuple(reasons)

    async def wait_change(self) -> None:
        """Return when the answer of `not_ready` may have changed.

        A peer came, or was heard for the first time, or a block is final.
        """
        await self._changed.wait()


def _judge_many(datas: list[bytes]) -> list[Event | EventStatus]:
    """On a worker thread: events whose signature verifies, or the refusal of each that does not."""
    judged: list[Event | EventStatus] = []
    for data in datas:
        try:
            event = parse_event(data)
            verify_event(event)
        except InvalidEvent as error:
            judged.append(_refused(hash_event(data), error.code, str(error)))
        else:
            judged.append(event)
    return judged


def _refused(digest: bytes, code: str, detail: str, *, retry_after_s: int = 0) -> EventStatus:
    return EventStatus(
        digest=digest,
        state=EventState.REFUSED,
        code=code,
        detail=detail,
        retry_after_s=retry_after_s,
    )
