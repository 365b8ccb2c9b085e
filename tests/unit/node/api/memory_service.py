"""A node of one for tests: admits, executes and stores with the production code, without peers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from contracts.admission import check_event
from contracts.engine import Contracts
from contracts.errors import RefusedEvent
from contracts.lookup import read_epoch
from ledger.blocks import RECORDS
from ledger.errors import InvalidEvent
from ledger.events import hash_event, parse_event, verify_event
from ledger.genesis import hash_genesis
from ledger.log import Log
from ledger.registry import EpochRecord
from ledger.state import nonce_key
from ledger.storage import open_store
from ledger.tlog.checkpoint import Checkpoint, cosign, sign_checkpoint
from ledger.tlog.note import COSIGNATURE_ED25519, ED25519, SignedNote, SigningKey
from node.chain import Chain
from node.diagnosis.facts import Facts
from node.history import make_receipt, read_final_block
from node.metrics import Metrics
from node.oversight.duties import DutyBook
from node.oversight.overseer import Overseer, Oversight
from node.pool import Pool, PoolFull, PoolLimits
from node.service import (
    EventState,
    EventStatus,
    FinalBlock,
    NodeStatus,
    PeerStatus,
    Reason,
)
from tests import builders
from tests.unit.node.diagnosis.test_rules import HEALTHY


class MemoryService:
    """The `Service` port over one log; `hold` keeps events pending until `finalize`."""

    def __init__(self, folder: Path, metrics: Metrics, *, events_max: int = 100_000) -> None:
        self._metrics = metrics
        self.genesis = builders.genesis()
        self.network = hash_genesis(self.genesis)
        self.hold = False
        self.reasons: tuple[Reason, ...] = ()
        self.seen = HEALTHY
        self.proofs: dict[int, bytes] = {}
        self.failure: Exception | None = None
        self.fatal: Exception | None = None
        self.clients: list[str] = []
        self._store = open_store(folder / "store")
        self.log = Log(self._store, self.genesis)
        self.contracts = Contracts()
        limits = PoolLimits(events_max=events_max, events_per_member_max=events_max)
        self.pool = Pool(limits)
        self.chain = Chain(
            genesis=self.genesis, log=self.log, pool=self.pool, contracts=self.contracts, me=0
        )
        self.wall_ms = builders.TIME_MS
        self.book = DutyBook(self.log)
        self.overseer = Overseer(
            log=self.log,
            member="cn-3301-tax",
            certificate_ends_ms=builders.TIME_MS + 45 * 86_400_000,
        )
        self._lost: dict[bytes, str] = {}
        self._checkpoint: tuple[int, bytes] | None = None
        self._changed = asyncio.Event()
        self._is_scheduled = False

    def close(self) -> None:
        self._store.close()

    async def submit(self, events: Sequence[bytes], *, client: str) -> list[EventStatus]:
        if self.failure is not None:
            raise self.failure
        self.clients.append(client)
        statuses = [self._admit(data) for data in events]
        self._metrics.on_submit(statuses)
        self._wake()
        if not self.hold and len(self.pool) and not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self.finalize)
        return statuses

    def _admit(self, data: bytes) -> EventStatus:
        digest = hash_event(data)
        known = self.event_status(digest)
        if known.state in (EventState.PENDING, EventState.FINAL):
            return known
        try:
            event = parse_event(data)
            verify_event(event)
            check_event(
                self.log,
                event,
                network=self.network,
                height=self.log.tip.height + 1,
                time_ms=self.log.tip.time_ms,
            )
            if self.pool.digest_of_nonce(event.member, event.nonce) is not None:
                raise RefusedEvent("nonce-reused", "pending", recordable=False)
            self.pool.add(event)
        except InvalidEvent as error:
            return _refused(digest, error.code, str(error))
        except RefusedEvent as error:
            return _refused(digest, error.code, error.detail)
        except PoolFull as error:
            return _refused(digest, "pool-full", str(error), retry_after_s=2)
        return EventStatus(digest=digest, state=EventState.PENDING)

    def finalize(self) -> None:
        """Make one final block of what is pending."""
        self._is_scheduled = False
        tip = self.log.tip
        block = self.chain.build(
            tip.block_hash,
            epoch=0,
            view=tip.height + 1,
            parent_view=tip.height,
            wall_ms=builders.TIME_MS + tip.height,
        )
        assert block is not None
        final = self.chain.commit([block], {})
        self.book.note_final(record.event for each in final for record in each.records)
        self._lost |= {event.digest: code for event, code in self.chain.take_lost()}
        self._wake()

    async def wait_pending(self, count: int) -> None:
        """Wait until at least `count` events are pending."""
        while len(self.pool) < count:
            await self._changed.wait()

    def sign_checkpoint(self) -> None:
        """Let every validator cosign the present tree."""
        origin, size = self.genesis.origin, self.log.tree_size
        checkpoint = Checkpoint(origin=origin, size=size, root=self.log.range.root())
        key = SigningKey(name=origin, kind=ED25519, seed=builders.hash32("log"))
        note = sign_checkpoint(checkpoint, key)
        cosignatures = tuple(
            cosign(
                checkpoint,
                SigningKey(
                    name=f"{origin}/{validator.member}",
                    kind=COSIGNATURE_ED25519,
                    seed=builders.hash32(f"{validator.member}/cosigning"),
                ),
                1_767_225_600,
            )
            for validator in self.genesis.validators
        )
        note = SignedNote(text=note.text, signatures=(*note.signatures, *cosignatures))
        self._checkpoint = (size, note.format())
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def event_status(self, digest: bytes) -> EventStatus:
        index = self.log.index_of_event(digest)
        if index is not None:
            outcome = RECORDS.decode(self.log.read_entry(index)).outcome
            return EventStatus(
                digest=digest,
                state=EventState.FINAL,
                code=outcome.code,
                index=index,
                height=self.log.height_of_index(index),
                outcome=outcome,
            )
        if digest in self.pool:
            return EventStatus(digest=digest, state=EventState.PENDING)
        if digest in self._lost:
            return _refused(digest, self._lost[digest], "")
        return EventStatus(digest=digest, state=EventState.UNKNOWN)

    def event_by_nonce(self, member: str, nonce: bytes) -> EventStatus:
        digest = self.pool.digest_of_nonce(member, nonce) or self.log.get(nonce_key(member, nonce))
        if digest is None:
            return EventStatus(digest=b"", state=EventState.UNKNOWN)
        return self.event_status(digest)

    async def wait_final(self, digest: bytes, timeout_s: float) -> EventStatus:
        try:
            async with asyncio.timeout(timeout_s):
                while self.event_status(digest).state is EventState.PENDING:
                    await self._changed.wait()
        except TimeoutError:
            pass
        return self.event_status(digest)

    def state(self) -> Log:
        return self.log

    def scan_state(self, prefix: bytes, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        return self.log.scan_state(prefix, start, limit)

    def tree_size(self) -> int:
        return self.log.tree_size

    def final_time_ms(self) -> int:
        return self.log.tip.time_ms

    def read_entries(self, start: int, count: int) -> list[bytes]:
        return self.log.read_entries(start, count)

    def block_height_of(self, index: int) -> int:
        return self.log.height_of_index(index)

    def exchange_indexes(self, exchange: bytes, first: int, limit: int) -> list[int]:
        return self.log.exchange_indexes(exchange, first=first, limit=limit)

    def checkpoint(self) -> bytes | None:
        return None if self._checkpoint is None else self._checkpoint[1]

    def receipt(self, index: int) -> bytes | None:
        if self._checkpoint is None or index >= self._checkpoint[0]:
            return None
        return make_receipt(self.log, index, *self._checkpoint)

    async def wait_receipt(self, index: int, timeout_s: float) -> bytes | None:
        try:
            async with asyncio.timeout(timeout_s):
                while self.receipt(index) is None:
                    await self._changed.wait()
        except TimeoutError:
            pass
        return self.receipt(index)

    def tile(self, path: str) -> bytes | None:
        return self.log.tile(path)

    async def subscribe(self, from_height: int) -> AsyncIterator[FinalBlock]:
        height = from_height
        while True:
            while height > self.log.tip.height:
                await self._changed.wait()
            yield read_final_block(self.log, height)
            height += 1

    def status(self) -> NodeStatus:
        peer = PeerStatus(member="cn-3302-tax", connected=True, final_height=0, last_seen_ms_ago=5)
        return NodeStatus(
            member="cn-3301-tax",
            network=self.network,
            height=self.log.tip.height,
            view=self.log.tip.height + 1,
            leader="cn-3301-tax",
            tree_size=self.log.tree_size,
            checkpoint_size=0 if self._checkpoint is None else self._checkpoint[0],
            pending=len(self.pool),
            syncing=False,
            peers=(peer,),
        )

    def validators(self) -> EpochRecord:
        return read_epoch(self.log)

    def epoch_proof(self, epoch: int) -> bytes | None:
        return self.proofs.get(epoch)

    def duties(self) -> DutyBook:
        return self.book

    def oversight(self) -> Oversight:
        return self.overseer.look(self.wall_ms)

    async def facts(self) -> Facts:
        return self.seen

    def fail(self, error: Exception) -> None:
        self.fatal = error

    def not_ready(self) -> tuple[Reason, ...]:
        return self.reasons

    async def wait_change(self) -> None:
        await self._changed.wait()

    def set_reasons(self, *reasons: Reason) -> None:
        self.reasons = reasons
        self._wake()


def _refused(digest: bytes, code: str, detail: str, *, retry_after_s: int = 0) -> EventStatus:
    return EventStatus(
        digest=digest,
        state=EventState.REFUSED,
        code=code,
        detail=detail,
        retry_after_s=retry_after_s,
    )
