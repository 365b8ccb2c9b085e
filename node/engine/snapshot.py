"""Catching up by snapshot: proven entries and a proven state instead of executing every block.

Executing costs the more the longer a node was away. Where that is much, it takes instead

1. an offer      the header of a peer's tip, proven under a quorum checkpoint;
2. entries       in windows from all peers at once, each proven under the same checkpoint; they are
                 written with their indexes behind the tip as they come (`ledger.log`);
3. the state     after that header from the peer that made the offer, in key order, written as a new
                 generation and summed up; the sum must be the state digest in the header;
4. the switch    one small batch makes the header's block the tip and the new state the state.

A crash or a failure before the switch leaves the node where it was, with the proven entries. What a
peer gives is checked before it is written or, for the state, before it is read. A peer that lies
is distrusted for a while, one that is silent is left out, and another one is asked; where all fail
the node executes. Memory is bounded by the windows on their way (`AHEAD_ENTRIES`).

Trust: outcomes and state of that span were executed by a quorum of the validators, that is, by at
least one honest one, before they cosigned. Executing them again is left to auditors.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import structlog

from ledger.blocks import HEADERS, Header, hash_header
from ledger.catchup.proofs import Assembly, StateSum, verify_window
from ledger.catchup.staging import ProvenBlock, Staging
from ledger.errors import InvalidEncoding, InvalidProof, LedgerError, StagingEnded
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import Hash, hash_leaf, verify_inclusion
from node.chain import Chain
from node.engine.epochs import Epochs
from node.engine.fetch import Catchup
from node.engine.ports import Transport, Workers
from node.engine.proofs import EpochWalk
from node.engine.summing import encode_part
from node.errors import InvalidMessage
from node.peers.links import Channel
from node.peers.wire import (
    WINDOW_ENTRIES_MAX,
    Entries,
    EntriesWanted,
    FrameType,
    Pairs,
    PairsWanted,
    SnapshotOffer,
    SnapshotWanted,
    decode_content,
    encode_frame,
)
from node.service import FinalBlock
from node.simplex.types import Block, Input

LOG = structlog.get_logger("snapshot")

# A snapshot pays where executing takes longer than moving the state. Executing does about 5,000
# entries a second; proving does 30,000 and moves about two pairs of state for each entry that the
# log has, also for those that are here already. So: a second of executing at least, and an eighth
# of the whole log.
GAP_ENTRIES_MIN = 5_000
GAP_SHARE = 8

ANSWER_TIMEOUT_S = 5.0
# After all peers failed blocks are executed at least this long before they are asked again.
PAUSE_MS = 60_000
FLIGHTS_PER_PEER = 2
AHEAD_ENTRIES = 16 * WINDOW_ENTRIES_MAX
# Written at once, each time with a sync of the disk.
BATCH_ENTRIES = 8 * WINDOW_ENTRIES_MAX
BATCH_BYTES = 8 * 1024 * 1024
# What a peer may send as the state of a log: more has no log. Ten times what exchanges need.
STATE_BYTES_PER_ENTRY = 4_096
STATE_BYTES_BASE = 64 * 1024 * 1024

CLEAN_ROWS = 2_000
CLEAN_PAUSE_S = 0.05

T = TypeVar("T")


class Host(Protocol):
    """What catching up by snapshot needs of the driver."""

    chain: Chain
    epochs: Epochs

    @property
    def peers(self) -> tuple[str, ...]:
        """Members of the other validators, whom to ask."""

    def put(self, item: Input | Callable[[], None]) -> None:
        """Queue an input of the core, or a job for the driver's own task."""

    def spawn(self, coroutine: Coroutine[object, object, None]) -> None:
        """Run beside the driver's task; a failure stops the driver."""

    def commit_synced(
        self,
        last: Block,
        commit: Callable[[dict[bytes, bytes]], tuple[FinalBlock, ...]],
        note: bytes | None,
    ) -> None:
        """Move the tip to `last`, a proven block that did not come through the core; tell the core.

        `commit` writes, with the given meta values; `note` is the quorum checkpoint of exactly the
        tree after it, if there is one.
        """


class PeerFailed(Exception):
    """A peer did not give what was asked for; `is_lie`: what it gave is provably wrong."""

    def __init__(self, peer: str, reason: str, *, is_lie: bool) -> None:
        super().__init__(reason)
        self.peer = peer
        self.is_lie = is_lie


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far catching up is, in entries of the log: from `first`, where it began, to `total`."""

    first: int
    done: int
    total: int
    started_ms: int

    def entries_per_s(self, now_ms: int) -> int:
        """Mean rate since it began."""
        return (self.done - self.first) * 1_000 // max(now_ms - self.started_ms, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Where to get: the block of `header`, proven in the tree of `checkpoint`.

    `epoch_proofs` has, by meta name, those of the epochs that end before the checkpoint.
    """

    header: Header
    header_bytes: bytes
    note: bytes
    checkpoint: Checkpoint
    epoch_proofs: dict[bytes, bytes]

    @property
    def size(self) -> int:
        """Number of entries of the log that ends with the block."""
        return self.header.tree_size + 1 + self.header.record_count


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Verified entries and their leaf hashes."""

    entries: tuple[bytes, ...]
    leaves: list[Hash]


class SnapshotSync:
    """Runs one catching-up at a time. `progress` is None while there is none.

    `done` counts those that ended well since the node started.
    """

    def __init__(
        self, *, host: Host, transport: Transport, workers: Workers, catchup: Catchup
    ) -> None:
        self._host = host
        self._log = host.chain.log
        self._transport = transport
        self._workers = workers
        self._catchup = catchup
        self._awaited: dict[tuple[str, int, object], asyncio.Future[Any]] = {}
        self._left_out: set[str] = set()
        self._now_ms = 0
        self._pause_until_ms = 0
        self._has_cleaned = False
        self.progress: Progress | None = None
        self.done = 0

    @property
    def is_running(self) -> bool:
        """Whether a catching-up is under way."""
        return self.progress is not None

    def tick(self, now_ms: int) -> None:
        """The monotonic time, told in every round of the driver."""
        if not self._has_cleaned:
            self._clean()
        self._now_ms = now_ms

    def is_worth_it(self, size: int) -> bool:
        """Whether to start: it is faster than executing up to `size` entries, and may work."""
        gap = size - self._log.tree_size
        is_much = gap >= GAP_ENTRIES_MIN and gap * GAP_SHARE >= size
        return is_much and self.progress is None and self._now_ms >= self._pause_until_ms

    def start(self, size: int) -> None:
        """Catch up with a log that has, by a quorum's word, `size` entries."""
        assert self.progress is None, "one at a time"
        at = self._log.tree_size
        self.progress = Progress(first=at, done=at, total=size, started_ms=self._now_ms)
        self._host.spawn(self._run())

    def receive(self, peer: str, frame_type: int, content: bytes) -> None:
        """An answer. Raises `InvalidMessage` when it is malformed or unasked."""
        answer: object
        about: object = None
        match frame_type:
            case FrameType.SNAPSHOT:
                answer = decode_content(content, SnapshotOffer)
            case FrameType.PAIRS:
                answer = pairs = decode_content(content, Pairs)
                about = (pairs.height, pairs.after)
            case _:
                answer = entries = decode_content(content, Entries)
                about = (entries.tree_size, entries.first)
        future = self._awaited.pop((peer, frame_type, about), None)
        if future is None:
            raise InvalidMessage("nobody asked for this part of a snapshot")
        if not future.done():
            future.set_result(answer)

    # --- one catching-up ----------------------------------------------------------------------

    async def _run(self) -> None:
        self._left_out.clear()
        try:
            while (peer := self._choose()) is not None:
                if await self._try(peer):
                    return
            LOG.warning("no peer gave a snapshot; blocks are executed instead")
            self._pause_until_ms = self._now_ms + PAUSE_MS
        finally:
            self.progress = None
            self._clean()
            await self._workers.rest()

    def _clean(self) -> None:
        """Remove states that nobody reads, also those that an earlier process left."""
        self._has_cleaned = True
        self._host.spawn(self._clean_in_steps())

    async def _clean_in_steps(self) -> None:
        for _ in iter(lambda: self._log.clean(CLEAN_ROWS), False):
            await asyncio.sleep(CLEAN_PAUSE_S)

    def _choose(self) -> str | None:
        """The peer to ask for its state: the highest of those that did not fail."""
        heights = self._catchup.heights
        return min(self._able(), key=lambda peer: (-heights.get(peer, 0), peer), default=None)

    def _able(self) -> list[str]:
        return [
            peer
            for peer in self._host.peers
            if peer not in self._left_out
            and peer not in self._catchup.distrusted
            and self._transport.is_connected(peer)
        ]

    async def _try(self, peer: str) -> bool:
        """Catch up with the state of this peer. False: it failed; another is asked."""
        staging = self._log.stage()
        try:
            goal = await self._get_offer(peer, staging.range.size)
            LOG.info(
                "catching up by snapshot",
                peer=peer,
                height=goal.header.height,
                entries=goal.size - staging.range.size,
            )
            tasks = (
                asyncio.ensure_future(self._fetch_state(peer, goal)),
                asyncio.ensure_future(self._fetch_entries(staging, goal)),
            )
            try:
                (generation, accumulator), _ = await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            await self._switch(staging, generation, accumulator, goal)
        except PeerFailed as failed:
            self._blame(failed)
            return False
        except StagingEnded as error:
            LOG.info("not catching up by snapshot any more", reason=str(error))
        except (InvalidEncoding, InvalidProof) as error:
            LOG.error("a quorum cosigned what is no log", reason=str(error))
            self._left_out.update(self._host.peers)
            return False
        finally:
            self._log.close_generation()
        return True

    def _blame(self, failed: PeerFailed) -> None:
        LOG.warning(
            "a peer failed to give a snapshot",
            peer=failed.peer,
            reason=str(failed),
            is_lie=failed.is_lie,
        )
        self._left_out.add(failed.peer)
        if failed.is_lie:
            self._catchup.refused(failed.peer, self._now_ms)

    async def _ask(
        self, peer: str, asked: FrameType, wanted: object, given: FrameType, about: object
    ) -> Any:
        """The answer of a peer. Raises `PeerFailed` when none comes."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._awaited[peer, given, about] = future
        self._transport.send(peer, Channel.BULK, encode_frame(asked, wanted))
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await future
        except TimeoutError:
            raise PeerFailed(peer, f"no answer for {ANSWER_TIMEOUT_S} s", is_lie=False) from None
        finally:
            if self._awaited.get((peer, given, about)) is future:
                del self._awaited[peer, given, about]

    async def _check(self, peer: str, function: Callable[..., T], *arguments: object) -> T:
        """Run a check on a worker; what a peer gave wrong is its lie."""
        try:
            return await self._workers.run(function, *arguments)
        except LedgerError as error:
            raise PeerFailed(peer, str(error), is_lie=True) from None

    # --- 1: the offer -------------------------------------------------------------------------

    async def _get_offer(self, peer: str, size: int) -> Goal:
        wanted = SnapshotWanted(tree_size=size, epoch=self._host.epochs.current.number)
        offer: SnapshotOffer = await self._ask(
            peer, FrameType.SNAPSHOT_WANTED, wanted, FrameType.SNAPSHOT, None
        )
        if not offer.header:
            raise PeerFailed(peer, "it has no snapshot for us", is_lie=False)
        goal = await self._check(peer, self._verify_offer, offer)
        if goal.size < size:
            raise PeerFailed(peer, f"a snapshot of {goal.size} entries", is_lie=False)
        assert self.progress is not None
        self.progress = replace(self.progress, done=size, total=goal.size)
        return goal

    def _verify_offer(self, offer: SnapshotOffer) -> Goal:
        header = HEADERS.decode(offer.header)
        epoch = self._host.epochs.current
        walk = EpochWalk(self._host.chain.genesis, epoch.number, epoch.validators)
        for data in offer.epoch_proofs:
            walk.add(data)
        checkpoint = walk.verify(offer.checkpoint)
        leaf = hash_leaf(offer.header)
        verify_inclusion(leaf, header.tree_size, checkpoint.size, offer.proof, checkpoint.root)
        goal = Goal(
            header=header,
            header_bytes=offer.header,
            note=offer.checkpoint,
            checkpoint=checkpoint,
            epoch_proofs=walk.proofs,
        )
        if goal.size > checkpoint.size:
            raise InvalidProof("the checkpoint does not cover the whole block")
        return goal

    # --- 2: entries ---------------------------------------------------------------------------

    async def _fetch_entries(self, staging: Staging, goal: Goal) -> None:
        """Stage all entries up to the goal, asking all peers at once."""
        assembly = Assembly(
            network=self._log.network,
            tree=staging.range,
            header=staging.header,
            block_hash=staging.block_hash,
        )
        at = staging.range.size - staging.range.size % WINDOW_ENTRIES_MAX
        plan = deque(range(at, goal.size, WINDOW_ENTRIES_MAX))
        flights: dict[asyncio.Task[Window], tuple[str, int]] = {}
        ready: dict[int, Window] = {}
        blocks: list[ProvenBlock] = []
        try:
            while at < goal.size:
                self._launch(plan, flights, goal, at)
                landed, _ = await asyncio.wait(flights, return_when=asyncio.FIRST_COMPLETED)
                for task in landed:
                    _, first = flights.pop(task)
                    self._land(task, first, goal, plan, ready)
                while (window := ready.pop(at, None)) is not None:
                    blocks += await self._workers.run(_assemble, assembly, window, at, goal.size)
                    at += len(window.entries)
                if _is_batch(blocks):
                    await self._stage(staging, blocks)
                    blocks = []
            await self._stage(staging, blocks)
        finally:
            for task in flights:
                task.cancel()
            await asyncio.gather(*flights, return_exceptions=True)
        if (staging.range.size, staging.block_hash) != (goal.size, hash_header(goal.header_bytes)):
            raise InvalidProof("the entries do not end with the block that was offered")

    def _launch(
        self,
        plan: deque[int],
        flights: dict[asyncio.Task[Window], tuple[str, int]],
        goal: Goal,
        at: int,
    ) -> None:
        """Ask for the next windows, as many as each peer may have on their way."""
        load = dict.fromkeys(self._able(), 0)
        for peer, _ in flights.values():
            load[peer] = load.get(peer, 0) + 1
        for peer in sorted(self._able(), key=lambda each: load[each]):
            while plan and load[peer] < FLIGHTS_PER_PEER and plan[0] < at + AHEAD_ENTRIES:
                first = plan.popleft()
                task = asyncio.ensure_future(self._fetch_window(peer, goal, first))
                flights[task] = (peer, first)
                load[peer] += 1
        if not flights:
            raise PeerFailed("", "no peer is left to give entries", is_lie=False)

    def _land(
        self,
        task: "asyncio.Task[Window]",
        first: int,
        goal: Goal,
        plan: deque[int],
        ready: dict[int, Window],
    ) -> None:
        """Keep a window that came; plan what it lacks, or all of it, once more."""
        try:
            window = task.result()
        except PeerFailed as failed:
            self._blame(failed)
            plan.appendleft(first)
            return
        ready[first] = window
        end = first + len(window.entries)
        if end % WINDOW_ENTRIES_MAX and end < goal.size:
            plan.appendleft(end)

    async def _fetch_window(self, peer: str, goal: Goal, first: int) -> Window:
        size = goal.checkpoint.size
        count = WINDOW_ENTRIES_MAX - first % WINDOW_ENTRIES_MAX
        wanted = EntriesWanted(tree_size=size, first=first, count=count)
        answer: Entries = await self._ask(
            peer, FrameType.ENTRIES_WANTED, wanted, FrameType.ENTRIES, (size, first)
        )
        if not answer.entries:
            raise PeerFailed(peer, "it does not have these entries", is_lie=False)
        leaves = await self._check(
            peer, verify_window, first, answer.entries, answer.proof, size, goal.checkpoint.root
        )
        return Window(entries=answer.entries, leaves=leaves)

    async def _stage(self, staging: Staging, blocks: Sequence[ProvenBlock]) -> None:
        if not blocks:
            return
        rows = await self._workers.run(staging.add, blocks)
        await self._workers.run(self._log.write_staged, staging, rows)
        assert self.progress is not None
        self.progress = replace(self.progress, done=staging.range.size)

    # --- 3: the state -------------------------------------------------------------------------

    async def _fetch_state(self, peer: str, goal: Goal) -> tuple[int, bytes]:
        """Write the state after the goal as a new generation: its number and accumulator."""
        generation = self._log.open_generation()
        total = StateSum(STATE_BYTES_BASE + STATE_BYTES_PER_ENTRY * goal.size)
        batch: list[tuple[bytes, bytes]] = []
        size_bytes = 0
        question = asyncio.ensure_future(self._ask_pairs(peer, goal, b""))
        try:
            while True:
                answer = await question
                if not (answer.pairs or answer.is_last):
                    raise PeerFailed(peer, "its snapshot is gone", is_lie=False)
                if not answer.is_last:
                    question = asyncio.ensure_future(
                        self._ask_pairs(peer, goal, answer.pairs[-1][0])
                    )
                await self._check(peer, total.check, answer.pairs)
                total.count(await self._workers.sum_part(encode_part(answer.pairs)))
                batch += answer.pairs
                size_bytes += sum(len(key) + len(value) for key, value in answer.pairs)
                if size_bytes >= BATCH_BYTES or answer.is_last:
                    await self._workers.run(self._log.write_state, generation, batch)
                    batch, size_bytes = [], 0
                if answer.is_last:
                    break
        finally:
            question.cancel()
            await asyncio.gather(question, return_exceptions=True)
        return generation, await self._check(peer, total.finish, goal.header.state_digest)

    async def _ask_pairs(self, peer: str, goal: Goal, after: bytes) -> Pairs:
        height = goal.header.height
        wanted = PairsWanted(height=height, after=after)
        answer: Pairs = await self._ask(
            peer, FrameType.PAIRS_WANTED, wanted, FrameType.PAIRS, (height, after)
        )
        return answer

    # --- 4: the switch ------------------------------------------------------------------------

    async def _switch(
        self, staging: Staging, generation: int, accumulator: bytes, goal: Goal
    ) -> None:
        """Move the tip, in the driver's own task."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        is_exact = goal.checkpoint.size == goal.size

        def job() -> None:
            try:
                chain = self._host.chain
                self._host.commit_synced(
                    chain.proven_block(goal.header_bytes),
                    lambda extra: chain.jump(
                        staging, generation, accumulator, extra | goal.epoch_proofs
                    ),
                    goal.note if is_exact else None,
                )
            except StagingEnded as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self._host.put(job)
        await done
        self.done += 1
        LOG.info("caught up by snapshot", height=goal.header.height, entries=goal.size)


def _is_batch(blocks: Sequence[ProvenBlock]) -> bool:
    """Whether these are enough to be written at once."""
    entries = sum(1 + len(block.records) for block in blocks)
    size_bytes = sum(len(record) for block in blocks for record in block.records)
    return entries >= BATCH_ENTRIES or size_bytes >= BATCH_BYTES


def _assemble(assembly: Assembly, window: Window, at: int, end: int) -> list[ProvenBlock]:
    """Blocks out of the entries of a window that are missing and belong to the goal."""
    known = max(assembly.size - at, 0)
    return assembly.add(window.entries[known : end - at], window.leaves[known : end - at])
