"""The node's view of the chain: the final log plus executed blocks that are not final yet.

This is the `Application` that the consensus core asks. It builds and validates blocks with the one
`contracts.execute`, on overlays over the parent's state, so a header already carries the state
digest after its block. `commit` turns final blocks into one atomic, durable write.

    pool -> build / validate -> candidates (overlay each) -> commit -> log

Epoch, validators and limits of a block come from the state after its parent, never from elsewhere,
so the child of a seal block is of the next epoch without anyone telling. A seal block that is
proposed again keeps its header, so nothing here knows of that.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from contracts.admission import check_event
from contracts.engine import ENGINE_VERSION, Contracts
from contracts.errors import ContractError, RefusedEvent
from contracts.execute import BlockInput, Execution, execute, select
from contracts.governance.validators import is_seal_due
from contracts.lookup import read_epoch, read_parameters
from ledger.blocks import (
    BLOCK_EVENTS_MAX,
    HEADERS,
    Header,
    hash_header,
)
from ledger.catchup.staging import Staging
from ledger.errors import InvalidEncoding
from ledger.events import Event, NodeBody
from ledger.genesis import Genesis, hash_genesis
from ledger.log import FinalizedBlock, Log
from ledger.lthash.digest import StateDigest, apply_changes
from ledger.quorum.lists import hash_consensus_keys, hash_validator_list
from ledger.registry import EpochRecord, Parameters, Validator
from ledger.state import StateReader, nonce_key
from ledger.tlog.merkle import CompactRange, hash_leaf, root_of
from node.errors import InvalidHeader
from node.history import read_final_block
from node.pool import Pool
from node.service import FinalBlock, FinalRecord
from node.simplex.types import Block, Verdict

UNSOUND_MAX = 4_096
# So many events in the parent came from several submitters: others are on their way.
BUSY_EVENTS = 4
# So many that wait make a block that is full enough.
ENOUGH_EVENTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An executed block that is not final yet."""

    block: Block
    header: Header
    events: tuple[Event, ...]
    execution: Execution
    leaf_hashes: tuple[bytes, ...]
    range: CompactRange
    accumulator: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """What a child block needs of its parent. `view` is 0 where the child opens an epoch."""

    height: int
    view: int
    hash: bytes
    time_ms: int
    range: CompactRange
    accumulator: bytes
    state: StateReader

    @property
    def epoch(self) -> EpochRecord:
        """The child's epoch."""
        return read_epoch(self.state)

    @property
    def parameters(self) -> Parameters:
        """Numbers that bound the child; members may have changed them since genesis."""
        return read_parameters(self.state)


class Chain:
    """Final log, candidates and pool of one node.

    `me` is the node's index in the list of the present epoch, None while it does not vote; whoever
    starts an epoch sets it.
    """

    def __init__(
        self, *, genesis: Genesis, log: Log, pool: Pool, contracts: Contracts, me: int | None
    ) -> None:
        self.genesis = genesis
        self.network = hash_genesis(genesis)
        self.me = me
        self.log = log
        self.pool = pool
        self.contracts = contracts
        self._candidates: dict[bytes, Candidate] = {}
        self._lost: list[tuple[Event, str]] = []
        self._unsound: dict[bytes, None] = {}

    # --- what the core asks -------------------------------------------------------------------

    def parse(self, header: bytes, refs: tuple[bytes, ...]) -> Block:
        """Block of header bytes and event digests. Raises `InvalidHeader`."""
        try:
            value = HEADERS.decode(header)
        except InvalidEncoding as error:
            raise InvalidHeader(str(error)) from None
        if len(refs) != value.record_count or len(refs) > BLOCK_EVENTS_MAX:
            raise InvalidHeader(f"{len(refs)} event digests for {value.record_count} records")
        if len(frozenset(refs)) != len(refs):
            raise InvalidHeader("an event digest stands twice")
        return _block(header, value, refs)

    def has_pending(self, parent_hash: bytes) -> bool:
        """CONSENSUS R9(a): whether events wait that the chain up to the parent does not hold.

        Or whether the next block ends the epoch, which it does without any event.
        """
        parent = self._parent(parent_hash)
        if parent is not None and is_seal_due(parent.state, parent.height + 1):
            return True
        ancestry = list(self._ancestry(parent_hash))
        if len(self.pool) > sum(len(ancestor.events) for ancestor in ancestry):
            return True
        taken = (event for ancestor in ancestry for event in ancestor.events)
        return len(self.pool) > sum(event.digest in self.pool for event in taken)

    def expects_more(self, parent_hash: bytes) -> bool:
        """Whether events came in numbers lately, and few of them wait."""
        log, parent = self.log, self._candidates.get(parent_hash)
        if parent is not None:
            count = len(parent.events)
        else:
            count = log.tree_size - log.header_index(log.tip.height) - 1 if log.tip.height else 0
        taken = sum(len(ancestor.events) for ancestor in self._ancestry(parent_hash))
        return count >= BUSY_EVENTS and len(self.pool) - taken < ENOUGH_EVENTS

    def holds(self, block_hash: bytes) -> bool:
        """Whether the block is final or executed here."""
        return block_hash == self.log.tip.block_hash or block_hash in self._candidates

    def block(self, block_hash: bytes) -> Block | None:
        """A candidate block or the final tip, else None."""
        candidate = self._candidates.get(block_hash)
        if candidate is not None:
            return candidate.block
        return self._tip_block() if block_hash == self.log.tip.block_hash else None

    def build(
        self, parent_hash: bytes, *, epoch: int, view: int, parent_view: int, wall_ms: int
    ) -> Block | None:
        """A new block on the parent with as many pending events as fit, already executed.

        None: the parent is not here, this node does not vote, or the epoch has ended.
        """
        parent = self._parent(parent_hash)
        if parent is None or self.me is None or parent.epoch.epoch != epoch:
            return None
        height, time_ms = parent.height + 1, max(wall_ms, parent.time_ms + 1)
        parameters = parent.parameters
        execution, events, evicted = select(
            parent.state,
            self._untaken(parent_hash),
            network=self.network,
            height=height,
            time_ms=time_ms,
            first_index=parent.range.size + 1,
            contracts=self.contracts,
            events_max=parameters.block_events_max,
            bytes_max=parameters.block_bytes_max,
        )
        for event, refused in evicted:
            self.pool.remove((event.digest,))
            self._lost.append((event, refused.code))
        derived = _derive(parent, execution)
        header = Header(
            entry=1,
            version=1,
            network=self.network,
            epoch=epoch,
            height=height,
            view=view,
            parent_view=parent_view,
            proposer=self.me,
            time_ms=time_ms,
            parent_hash=parent.hash,
            tree_size=parent.range.size,
            tree_root=parent.range.root(),
            record_count=len(events),
            records_root=derived.records_root,
            state_digest=derived.state.digest(),
            engine=ENGINE_VERSION,
            validators_hash=hash_consensus_keys(parent.epoch.validators),
            next_validators=_hash_next(execution),
        )
        header_bytes = HEADERS.encode(header)
        block = _block(header_bytes, header, tuple(event.digest for event in events))
        self._keep(block, header, events, execution, parent, derived)
        return block

    def validate(self, block: Block, supplied: Sequence[Event] = ()) -> Verdict:
        """Execute a proposed block on its parent and compare every derived header field.

        Its events are taken from those `supplied` with it, then from the pool.
        """
        if self.holds(block.hash):
            return Verdict.VALID
        if any(ref in self._unsound for ref in block.refs):
            return Verdict.INVALID
        parent = self._parent(block.parent_hash)
        held = {event.digest: event for event in supplied}
        found = (held.get(ref) or self.pool.get(ref) for ref in block.refs)
        events = tuple(event for event in found if event is not None)
        if parent is None or len(events) < len(block.refs):
            return Verdict.MISSING
        try:
            self._replay(block, events, parent)
        except InvalidHeader:
            return Verdict.INVALID
        return Verdict.VALID

    def epoch_after(self, block_hash: bytes) -> int:
        """Epoch of the blocks on this one, which is held. Raises `KeyError` if it is not."""
        return self._epoch_after(block_hash).epoch

    def validators_after(self, block_hash: bytes) -> tuple[Validator, ...]:
        """Validators of the epoch after a held block. Raises `KeyError` if it is not held."""
        return self._epoch_after(block_hash).validators

    def note_unsound(self, digests: Iterable[bytes]) -> None:
        """Bytes with these digests are no events: blocks that refer to them are invalid."""
        for digest in digests:
            self._unsound[digest] = None
            if len(self._unsound) > UNSOUND_MAX:
                del self._unsound[next(iter(self._unsound))]

    # --- data of blocks -----------------------------------------------------------------------

    def block_events(self, block_hash: bytes) -> tuple[bytes, ...] | None:
        """Signed bytes of a candidate's events, or None."""
        candidate = self._candidates.get(block_hash)
        return tuple(event.data for event in candidate.events) if candidate else None

    def commit(self, blocks: Sequence[Block], extra: dict[bytes, bytes]) -> tuple[FinalBlock, ...]:
        """Write final blocks, oldest first, with `extra` meta values, in one durable batch."""
        candidates = [self._candidates[block.hash] for block in blocks]
        self.log.append([_finalized(candidate) for candidate in candidates], extra)
        return self._settle(candidates)

    def jump(
        self, staging: Staging, generation: int, accumulator: bytes, extra: dict[bytes, bytes]
    ) -> tuple[FinalBlock, ...]:
        """Make the last staged block the tip, with a state that was not executed here.

        Raises `StagingEnded`. What waited in the pool and stands in the blocks jumped over is
        settled; those blocks are returned, oldest first.
        """
        self.log.switch(staging, generation, accumulator, extra)
        self._prune()
        log, heights = self.log, set[int]()
        for event in tuple(self.pool):
            index = log.index_of_event(event.digest)
            if index is not None:
                heights.add(log.height_of_index(index))
                self.pool.remove((event.digest,))
            elif log.get(nonce_key(event.member, event.nonce)) is not None:
                self._lost.append((event, "nonce-reused"))
                self.pool.remove((event.digest,))
        self._lost += self.pool.settle((), log.tip.height)
        self._drop_late()
        return tuple(read_final_block(log, height) for height in sorted(heights))

    def proven_block(self, header_bytes: bytes) -> Block:
        """A final block by its header, without its events. Raises `InvalidEncoding`."""
        return _block(header_bytes, HEADERS.decode(header_bytes), ())

    def append_synced(self, header_bytes: bytes, events: tuple[Event, ...]) -> Candidate:
        """Execute a block received in catch-up on its parent. Raises `InvalidHeader`.

        Nothing is written: the caller proves the result under a quorum checkpoint first and then
        calls `commit`.
        """
        block = self.parse(header_bytes, tuple(event.digest for event in events))
        parent = self._parent(block.parent_hash)
        if parent is None:
            raise InvalidHeader(f"block {block.height} does not follow the chain held here")
        return self._replay(block, events, parent)

    def drop(self, block_hashes: Iterable[bytes]) -> None:
        """Forget candidates that turned out not to be provable."""
        for block_hash in block_hashes:
            self._candidates.pop(block_hash, None)

    def take_lost(self) -> list[tuple[Event, str]]:
        """Pending events that can never be final any more, with their code; each told once."""
        lost, self._lost = self._lost, []
        return lost

    # --- inside -------------------------------------------------------------------------------

    def _epoch_after(self, block_hash: bytes) -> EpochRecord:
        parent = self._parent(block_hash)
        if parent is None:
            raise KeyError(block_hash.hex())
        return parent.epoch

    def _parent(self, block_hash: bytes) -> Parent | None:
        tip = self.log.tip
        if block_hash == tip.block_hash:
            return Parent(
                height=tip.height,
                view=tip.view if read_epoch(self.log).epoch == tip.epoch else 0,
                hash=tip.block_hash,
                time_ms=tip.time_ms,
                range=self.log.range,
                accumulator=self.log.accumulator,
                state=self.log,
            )
        candidate = self._candidates.get(block_hash)
        if candidate is None:
            return None
        return Parent(
            height=candidate.header.height,
            view=0 if candidate.block.is_seal else candidate.header.view,
            hash=block_hash,
            time_ms=candidate.header.time_ms,
            range=candidate.range,
            accumulator=candidate.accumulator,
            state=candidate.execution.overlay,
        )

    def _tip_block(self) -> Block:
        tip = self.log.tip
        if tip.height > 0:
            header_bytes = self.log.read_entry(self.log.header_index(tip.height))
            return _block(header_bytes, HEADERS.decode(header_bytes), ())
        return Block(
            hash=tip.block_hash,
            header=b"",
            refs=(),
            epoch=0,
            view=0,
            parent_view=0,
            height=0,
            parent_hash=bytes(32),
            time_ms=tip.time_ms,
            proposer=0,
        )

    def _ancestry(self, block_hash: bytes) -> Iterable[Candidate]:
        while (candidate := self._candidates.get(block_hash)) is not None:
            yield candidate
            block_hash = candidate.header.parent_hash

    def _untaken(self, parent_hash: bytes) -> Iterable[Event]:
        taken = frozenset(
            event.digest for ancestor in self._ancestry(parent_hash) for event in ancestor.events
        )
        return [event for event in self.pool if event.digest not in taken]

    def _replay(self, block: Block, events: tuple[Event, ...], parent: Parent) -> Candidate:
        """Execute a block made elsewhere. Raises `InvalidHeader` when its header says otherwise."""
        header = HEADERS.decode(block.header)
        self._check_header(header, parent)
        try:
            execution = self._execute(parent, header, events)
        except ContractError as error:
            raise InvalidHeader(str(error)) from None
        return self._accept(block, header, events, execution, parent)

    def _check_header(self, header: Header, parent: Parent) -> None:
        epoch = parent.epoch
        expected = (
            ("network", header.network, self.network),
            ("epoch", header.epoch, epoch.epoch),
            ("height", header.height, parent.height + 1),
            ("parent_view", header.parent_view, parent.view),
            ("parent_hash", header.parent_hash, parent.hash),
            ("tree_size", header.tree_size, parent.range.size),
            ("tree_root", header.tree_root, parent.range.root()),
            ("engine", header.engine, ENGINE_VERSION),
            ("validators_hash", header.validators_hash, hash_consensus_keys(epoch.validators)),
        )
        for name, found, wanted in expected:
            if found != wanted:
                raise InvalidHeader(f"{name} is {found!r}, expected {wanted!r}")
        if header.view <= header.parent_view:
            raise InvalidHeader(f"view {header.view} is not above {header.parent_view}")
        if header.proposer >= len(epoch.validators):
            raise InvalidHeader(f"proposer {header.proposer} of {len(epoch.validators)} validators")
        if header.time_ms <= parent.time_ms:
            raise InvalidHeader(f"time_ms {header.time_ms} is not after {parent.time_ms}")
        if header.record_count > parent.parameters.block_events_max:
            raise InvalidHeader(f"{header.record_count} records are more than allowed")

    def _execute(self, parent: Parent, header: Header, events: tuple[Event, ...]) -> Execution:
        if sum(len(event.data) for event in events) > parent.parameters.block_bytes_max:
            raise InvalidHeader("the block's events are larger than allowed")
        block = BlockInput(
            network=self.network,
            height=header.height,
            time_ms=header.time_ms,
            first_index=parent.range.size + 1,
            events=events,
        )
        return execute(parent.state, block, self.contracts)

    def _accept(
        self,
        block: Block,
        header: Header,
        events: tuple[Event, ...],
        execution: Execution,
        parent: Parent,
    ) -> Candidate:
        """Candidate of a block made elsewhere. Raises `InvalidHeader` when its results differ."""
        derived = _derive(parent, execution)
        if derived.records_root != header.records_root:
            raise InvalidHeader("records_root differs from the executed records")
        if derived.state.digest() != header.state_digest:
            raise InvalidHeader("state_digest differs from the executed state")
        if header.next_validators != _hash_next(execution):
            raise InvalidHeader("next_validators differs from the executed change of the list")
        return self._keep(block, header, events, execution, parent, derived)

    def _keep(
        self,
        block: Block,
        header: Header,
        events: tuple[Event, ...],
        execution: Execution,
        parent: Parent,
        derived: "_Derived",
    ) -> Candidate:
        leaves = (hash_leaf(block.header), *derived.leaves)
        candidate = Candidate(
            block=block,
            header=header,
            events=events,
            execution=execution,
            leaf_hashes=leaves,
            range=parent.range.extend(leaves),
            accumulator=derived.state.encode(),
        )
        self._candidates[block.hash] = candidate
        return candidate

    def _settle(self, committed: Sequence[Candidate]) -> tuple[FinalBlock, ...]:
        """After the write: prune what lost, re-root what builds on the tip, empty the pool."""
        self._prune()
        for candidate in committed:
            self._lost += self.pool.settle(candidate.events, candidate.header.height)
        self._drop_late()
        return tuple(final_block(candidate) for candidate in committed)

    def _drop_late(self) -> None:
        """Forget words of nodes that came too late: no block may hold them, none would be made.

        They would be a reason to make a block until they expire, at the nodes that hold them.
        """
        tip = self.log.tip
        for event in [event for event in self.pool if isinstance(event.body, NodeBody)]:
            try:
                check_event(
                    self.log,
                    event,
                    network=self.network,
                    height=tip.height + 1,
                    time_ms=tip.time_ms,
                )
            except RefusedEvent as refused:
                if not refused.recordable:
                    self.pool.remove((event.digest,))
                    self._lost.append((event, refused.code))

    def _prune(self) -> None:
        """Keep only candidates that build on the tip; they read the state through the log."""
        tip = self.log.tip
        kept: dict[bytes, Candidate] = {}
        for block_hash, candidate in sorted(
            self._candidates.items(), key=lambda pair: pair[1].header.height
        ):
            parent_hash = candidate.header.parent_hash
            if parent_hash == tip.block_hash:
                candidate.execution.overlay.rebase(self.log)
            elif parent_hash not in kept:
                continue
            kept[block_hash] = candidate
        self._candidates = kept


@dataclass(frozen=True, slots=True, kw_only=True)
class _Derived:
    leaves: list[bytes]
    records_root: bytes
    state: StateDigest


def _derive(parent: Parent, execution: Execution) -> _Derived:
    leaves = [hash_leaf(record) for record in execution.records]
    state = apply_changes(parent.accumulator, execution.overlay)
    return _Derived(leaves=leaves, records_root=root_of(leaves), state=state)


def _hash_next(execution: Execution) -> bytes:
    """`next_validators` of a header: empty but in a seal block."""
    validators = execution.next_validators
    return b"" if validators is None else hash_validator_list(validators)


def final_block(candidate: Candidate) -> FinalBlock:
    """What subscribers are told of a committed candidate."""
    first_index = candidate.header.tree_size + 1
    return FinalBlock(
        header=candidate.header,
        block_hash=candidate.block.hash,
        first_index=first_index,
        records=tuple(
            FinalRecord(index=first_index + position, event=event, outcome=outcome)
            for position, (event, outcome) in enumerate(
                zip(candidate.events, candidate.execution.outcomes, strict=True)
            )
        ),
    )


def _block(header_bytes: bytes, header: Header, refs: tuple[bytes, ...]) -> Block:
    return Block(
        hash=hash_header(header_bytes),
        header=header_bytes,
        refs=refs,
        epoch=header.epoch,
        view=header.view,
        parent_view=header.parent_view,
        height=header.height,
        parent_hash=header.parent_hash,
        time_ms=header.time_ms,
        proposer=header.proposer,
        is_seal=bool(header.next_validators),
    )


def _finalized(candidate: Candidate) -> FinalizedBlock:
    return FinalizedBlock(
        header_bytes=candidate.block.header,
        header=candidate.header,
        block_hash=candidate.block.hash,
        records=candidate.execution.records,
        leaf_hashes=candidate.leaf_hashes,
        digests=tuple(event.digest for event in candidate.events),
        exchanges=tuple(event.subject for event in candidate.events),
        changes=candidate.execution.overlay.changes,
        accumulator=candidate.accumulator,
        range=candidate.range,
    )
