"""Verification of a whole copy of a log.

A copy is a set of named files: `genesis.json` (or the genesis given by the caller), `epochs/0` and
so on, one for each epoch that has ended, `checkpoint` and `tile/...` (C2SP tlog-tiles). Nothing
else is trusted, and nothing is trusted before it is proven; the steps, whose numbers the code
carries:

1. genesis     The document obeys its rules and has the network id that the caller pins, if any.
2. epochs      Each proof leads from the validators of one epoch, the first those in genesis, to the
               next (`ledger.quorum.epochs`), and the log has the proven seal block in that place.
3. checkpoint  The log signed it, and a quorum of the validators of the epoch of the tree's last
               block cosigned it.
4. tiles       The hash tiles at the right edge make the checkpoint's root; every full tile has the
               hash that the tile above names.
5. entries     Each entry hashes to its leaf in the level-0 tile.
6. headers     Blocks follow each other: height, parent hash, epoch, views, block time, validators,
               tree size and root before the block.
7. records     Each block has as many records as its header says, under its records root.
8. events      Each record is canonical and holds an event of this network, signed by its officer.

Re-execution (steps 9 and 10) is `contracts.replay`. The copy is read once, in order, in bounded
memory, from the genesis or from the end of a block whose header is proven (`read_start`): what
stands before is left to whoever walks that part. The first fault ends the walk as `Divergence`.
Step 8, which costs the most, is a pure function over a run of records: the caller may pass the
`map` of a process pool for it. Steps 4 to 7 are a window of entries ahead of it, or some with a
pool, so their faults are found first.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol

from ledger.blocks import HEADERS, RECORDS, Header, Outcome, hash_header, is_header
from ledger.copies.steps import Step, diverge
from ledger.copies.tree import ProvenTree, Read, read_bundles
from ledger.errors import (
    InvalidEncoding,
    InvalidEvent,
    InvalidGenesis,
    InvalidProof,
    LedgerError,
)
from ledger.events import Event, parse_event, parse_events, verify_payload
from ledger.genesis import Genesis, decode_genesis_json, hash_genesis
from ledger.quorum.epochs import EPOCH_PROOFS, EpochChain, epoch_path
from ledger.quorum.lists import hash_consensus_keys
from ledger.tlog.checkpoint import Checkpoint, verify_cosignatures
from ledger.tlog.merkle import Hash, root_of
from ledger.tlog.note import SignedNote

__all__ = ["Read", "Step", "diverge"]

# One task of step 8, and how much of the log is held until its events are verified.
TASK_RECORDS = 128
WINDOW_ENTRIES = 1_024
WINDOW_BYTES = 4 * 1024 * 1024
WINDOWS_MAX = 4

_SIGNED = "a canonical event signed by its officer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Entries done of all entries."""

    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTask:
    """Signatures for step 8: index of the record, officer, payload and signature of its event."""

    signed: tuple[tuple[int, bytes, bytes, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFault:
    """A record that is not as it should be."""

    index: int
    expected: str
    found: str


class MapEvents(Protocol):
    """`map`, or that of a process pool: results in the order of the tasks."""

    def __call__(
        self, function: Callable[[EventTask], EventFault | None], tasks: Iterable[EventTask], /
    ) -> Iterable[EventFault | None]:
        """Apply `function` to each task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCopy:
    """A copy whose genesis, epochs and checkpoint are verified (steps 1 to 3)."""

    read: Read
    genesis: Genesis
    network: bytes
    epochs: EpochChain
    checkpoint: Checkpoint
    cosigners: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockEntries:
    """One block as it stands in the log; its header is entry `index`."""

    index: int
    header_bytes: bytes
    header: Header
    block_hash: bytes
    records: tuple[bytes, ...]
    events: tuple[Event, ...]
    outcomes: tuple[Outcome, ...]
    """Events and outcomes are those in the records."""

    @property
    def end(self) -> int:
        """Index of the entry after the block."""
        return self.index + 1 + len(self.records)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The end of a block whose header is proven to be entry `header.tree_size`."""

    header: Header
    block_hash: bytes

    @property
    def index(self) -> int:
        """Index of the entry after the block."""
        return self.header.tree_size + 1 + self.header.record_count


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What steps 1 to 8 have proven. `epoch` is that of the last block."""

    network: bytes
    epoch: int
    checkpoint: Checkpoint
    cosigners: tuple[str, ...]
    blocks: int
    events: int
    last_time_ms: int


def no_progress(progress: Progress) -> None:
    """Tell nobody."""
    del progress


def verify_log(
    read: Read,
    *,
    genesis: Genesis | None = None,
    network: bytes | None = None,
    map_events: MapEvents = map,
    on_progress: Callable[[Progress], None] = no_progress,
) -> Verified:
    """Steps 1 to 8 over a whole copy. Raises `Divergence`."""
    copy = open_copy(read, genesis=genesis, network=network)
    blocks = events = 0
    last_time_ms = copy.genesis.time_ms
    for block in read_blocks(copy, map_events):
        blocks += 1
        events += len(block.records)
        last_time_ms = block.header.time_ms
        on_progress(Progress(done=block.end, total=copy.checkpoint.size))
    return Verified(
        network=copy.network,
        epoch=copy.epochs.epoch_of(copy.checkpoint.size),
        checkpoint=copy.checkpoint,
        cosigners=copy.cosigners,
        blocks=blocks,
        events=events,
        last_time_ms=last_time_ms,
    )


def open_copy(
    read: Read, *, genesis: Genesis | None = None, network: bytes | None = None
) -> LogCopy:
    """Steps 1 to 3. Raises `Divergence`."""
    genesis = _verify_genesis(read("genesis.json"), genesis, network)  # 1
    epochs = _verify_epochs(read, genesis)  # 2
    note, checkpoint = _verify_checkpoint(read("checkpoint"), epochs)  # 3
    keys = epochs.cosigner_keys_for(checkpoint.size)
    return LogCopy(
        read=read,
        genesis=genesis,
        network=hash_genesis(genesis),
        epochs=epochs,
        checkpoint=checkpoint,
        cosigners=tuple(key.name for key in verify_cosignatures(note, keys)),
    )


def read_start(copy: LogCopy, index: int) -> Start:
    """The end of the block whose header is entry `index`, proven by steps 4 and 5.

    Raises `InvalidProof` where no block begins, or one does that the copy does not hold whole, and
    `Divergence`.
    """
    size = copy.checkpoint.size
    if not 0 <= index < size:
        raise InvalidProof(f"no entry {index} in a log of {size} entries")
    tree = ProvenTree(copy.read, copy.checkpoint)  # 4
    _, (entry, *_), _ = next(read_bundles(tree, index))  # 5
    try:
        start = Start(header=HEADERS.decode(entry), block_hash=hash_header(entry))
    except InvalidEncoding as error:
        raise InvalidProof(f"entry {index} is no block header: {error}") from None
    if start.header.tree_size != index or start.index > size:
        raise InvalidProof(f"the block of entry {index} does not stand there")
    return start


def read_blocks(
    copy: LogCopy,
    map_events: MapEvents = map,
    *,
    start: Start | None = None,
    height_max: int | None = None,
) -> Iterator[BlockEntries]:
    """Steps 4 to 8: the blocks of the log, each yielded when it and its events are verified.

    From `start`, or the genesis, up to the block of `height_max`, or the end.
    """
    ahead: deque[tuple[list[BlockEntries], Iterable[EventFault | None]]] = deque()
    # A pool works on these signatures while the caller is busy with the blocks before.
    windows_max = 1 if map_events is map else WINDOWS_MAX
    for blocks, fault in _read_windows(copy, start, height_max):  # 4, 5, 6, 7
        faults = map_events(find_event_fault, _event_tasks(blocks))
        ahead.append((blocks, chain(faults, (fault,))))
        if len(ahead) == windows_max:
            yield from _verified(*ahead.popleft())  # 8
    while ahead:
        yield from _verified(*ahead.popleft())  # 8


def _read_windows(
    copy: LogCopy, start: Start | None, height_max: int | None
) -> Iterator[tuple[list[BlockEntries], EventFault | None]]:
    """Steps 4 to 7, and 8 without signatures: the blocks of the log, in runs of bounded size.

    A run ends with the block before the first fault of step 8, if there is one.
    """
    window: list[BlockEntries] = []
    entries = size_bytes = 0
    for bare in _read_chain(copy, start, height_max):
        block, fault = _read_events(copy, bare)
        window.append(block)
        entries += 1 + len(block.records)
        size_bytes += sum(map(len, block.records))
        if fault is not None or entries >= WINDOW_ENTRIES or size_bytes >= WINDOW_BYTES:
            yield window, fault
            window, entries, size_bytes = [], 0, 0
    yield window, None


def _read_events(copy: LogCopy, block: BlockEntries) -> tuple[BlockEntries, EventFault | None]:
    """A block with its events before the first fault of step 8, and that fault, if any."""
    try:
        records = RECORDS.decode_all(block.records)
        found = parse_events([record.event for record in records])
    except (InvalidEncoding, InvalidEvent):
        return _find_record_fault(copy, block)
    if any(event.network != copy.network for event in found):
        return _find_record_fault(copy, block)
    outcomes = tuple([record.outcome for record in records])
    return replace(block, events=tuple(found), outcomes=outcomes), None


def _find_record_fault(
    copy: LogCopy, block: BlockEntries
) -> tuple[BlockEntries, EventFault | None]:
    """The same, record by record."""
    events: list[Event] = []
    outcomes: list[Outcome] = []
    fault = None
    for index, data in enumerate(block.records, start=block.index + 1):
        expected = "a canonical record"
        try:
            record = RECORDS.decode(data)
            expected = _SIGNED
            event = parse_event(record.event)
        except (InvalidEncoding, InvalidEvent) as error:
            fault = EventFault(index=index, expected=expected, found=str(error))
            break
        if event.network != copy.network:
            expected = f"an event for network {copy.network.hex()}"
            found = f"one for {event.network.hex()}"
            fault = EventFault(index=index, expected=expected, found=found)
            break
        events.append(event)
        outcomes.append(record.outcome)
    return replace(block, events=tuple(events), outcomes=tuple(outcomes)), fault


def find_event_fault(task: EventTask) -> EventFault | None:
    """The first event whose signature is not its officer's, or None. Pure, for process pools."""
    for index, officer, payload, signature in task.signed:
        try:
            verify_payload(officer, payload, signature)
        except InvalidEvent as error:
            return EventFault(index=index, expected=_SIGNED, found=str(error))
    return None


def _verify_genesis(data: bytes | None, genesis: Genesis | None, network: bytes | None) -> Genesis:
    try:
        held = None if data is None else decode_genesis_json(data)
    except InvalidGenesis as error:
        diverge(Step.GENESIS, -1, "a valid genesis.json", str(error))
    chosen = genesis or held
    if chosen is None:
        diverge(Step.GENESIS, -1, "genesis.json", "no such file")
    for other in (hash_genesis(held) if held else None, network):
        if other is not None and hash_genesis(chosen) != other:
            diverge(
                Step.GENESIS, -1, f"network {other.hex()}", f"network {hash_genesis(chosen).hex()}"
            )
    return chosen


def _verify_epochs(read: Read, genesis: Genesis) -> EpochChain:
    epochs = EpochChain(genesis)
    while True:
        path = epoch_path(epochs.epoch)
        data = read(path)
        if data is None:
            return epochs
        try:
            epochs.add(EPOCH_PROOFS.decode(data))
        except LedgerError as error:
            diverge(Step.EPOCHS, -1, f"in {path} the end of epoch {epochs.epoch}", str(error))


def _verify_checkpoint(data: bytes | None, epochs: EpochChain) -> tuple[SignedNote, Checkpoint]:
    expected = f"a checkpoint of {epochs.genesis.origin} cosigned by a quorum"
    if data is None:
        diverge(Step.CHECKPOINT, -1, expected, "no such file")
    try:
        note = SignedNote.parse(data)
        size = Checkpoint.parse(note.text).size
        expected += f" of the validators of epoch {epochs.epoch_of(size)}"
        return note, epochs.policy_for(size).verify(note)
    except LedgerError as error:
        diverge(Step.CHECKPOINT, -1, expected, str(error))


def _read_chain(
    copy: LogCopy, start: Start | None, height_max: int | None
) -> Iterator[BlockEntries]:
    """Steps 4 to 7: the blocks of the log."""
    tree = ProvenTree(copy.read, copy.checkpoint)  # 4
    chain = _Chain(copy, tree, start)
    for first, entries, leaves in read_bundles(tree, chain.size):  # 4, 5
        rows = zip(entries, leaves, strict=True)
        for index, (entry, leaf) in enumerate(rows, start=first):
            block = chain.add(index, entry, leaf)  # 6, 7
            if block is not None:
                yield block
                if block.header.height == height_max:
                    return
    chain.finish()  # 7


class _Chain:
    """Steps 6 and 7: fed with entries in order, gives back whole blocks.

    From `start` on, or from the genesis.
    """

    def __init__(self, copy: LogCopy, tree: ProvenTree, start: Start | None) -> None:
        self._tree = tree
        self._network = copy.network
        self._size = copy.checkpoint.size
        self._epochs = copy.epochs
        self._epoch = 0 if start is None else start.header.epoch
        self._parent = None if start is None else start.header
        self._parent_hash = copy.network if start is None else start.block_hash
        self._parent_time_ms = copy.genesis.time_ms if start is None else start.header.time_ms
        self._end = 0 if start is None else start.index
        self._start = 0 if start is None else start.header.tree_size
        self._entries: list[bytes] = []
        self._leaves: list[Hash] = []

    @property
    def size(self) -> int:
        """Index of the entry after the last whole block."""
        return self._end

    def add(self, index: int, entry: bytes, leaf: Hash) -> BlockEntries | None:
        """The block that this entry completes, or None."""
        if self._entries:
            if is_header(entry):
                diverge(Step.RECORDS, index, self._awaited(), "a block header")
        else:
            self._begin(index, entry)
        self._entries.append(entry)
        self._leaves.append(leaf)
        assert self._parent is not None
        is_whole = len(self._entries) == 1 + self._parent.record_count
        return self._complete(self._parent) if is_whole else None

    def finish(self) -> None:
        """Check that the log ends with a whole block."""
        if self._entries:
            diverge(Step.RECORDS, self._size, self._awaited(), "the end of the log")

    def _awaited(self) -> str:
        assert self._parent is not None
        at, count = len(self._entries), self._parent.record_count
        return f"record {at} of {count} of block {self._parent.height}"

    def _begin(self, index: int, entry: bytes) -> None:
        try:
            header = HEADERS.decode(entry)
        except InvalidEncoding as error:
            diverge(Step.HEADERS, index, "a canonical block header", str(error))
        parent_view = self._enter()  # 2
        for name, expected, found in self._compare(index, header, parent_view):
            if expected != found:
                diverge(Step.HEADERS, index, f"{name} {_show(expected)}", _show(found))
        if header.view <= header.parent_view:
            diverge(Step.HEADERS, index, f"view above {header.parent_view}", str(header.view))
        if header.time_ms <= self._parent_time_ms:
            diverge(
                Step.HEADERS, index, f"time_ms above {self._parent_time_ms}", str(header.time_ms)
            )
        count = len(self._epochs.validators_of(self._epoch))
        if header.proposer >= count:
            diverge(Step.HEADERS, index, f"proposer below {count}", str(header.proposer))
        if len(header.next_validators) not in (0, 32):
            diverge(Step.HEADERS, index, "next_validators of 0 or 32 bytes", "another length")
        self._verify_seal(index, entry, header)  # 2
        self._start = index
        self._parent = header
        self._parent_hash = hash_header(entry)
        self._parent_time_ms = header.time_ms

    def _enter(self) -> int:
        """Parent view of the next block, which opens an epoch if the last one was a seal block."""
        parent = self._parent
        if parent is None:
            return 0
        if not parent.next_validators:
            return parent.view
        if self._epochs.epoch == self._epoch:
            expected = f"{epoch_path(self._epoch)}, since the block here is the last of its epoch"
            diverge(Step.EPOCHS, self._start, expected, "no such file")
        self._epoch += 1
        return 0

    def _verify_seal(self, index: int, entry: bytes, header: Header) -> None:
        """If a proof says where the epoch ends, it ends there, with that block."""
        if self._epoch == self._epochs.epoch:
            return
        proof = self._epochs.proofs[self._epoch]
        expected = f"the end of epoch {self._epoch} in entry {proof.index}, the proven seal block"
        if index > proof.index or (index == proof.index and entry != proof.header):
            diverge(Step.EPOCHS, proof.index, expected, f"another block in entry {index}")
        if index < proof.index and header.next_validators:
            diverge(Step.EPOCHS, index, expected, f"a seal block in entry {index}")

    def _compare(
        self, index: int, header: Header, parent_view: int
    ) -> Sequence[tuple[str, object, object]]:
        """Name, expected and found value of each field that the blocks before determine."""
        parent = self._parent
        validators_hash = hash_consensus_keys(self._epochs.validators_of(self._epoch))
        return (
            ("network", self._network, header.network),
            ("height", 1 if parent is None else parent.height + 1, header.height),
            ("parent_hash", self._parent_hash, header.parent_hash),
            ("epoch", self._epoch, header.epoch),
            ("parent_view", parent_view, header.parent_view),
            ("validators_hash", validators_hash, header.validators_hash),
            ("tree_size", index, header.tree_size),
            ("tree_root", self._tree.head(index).root(), header.tree_root),
        )

    def _complete(self, header: Header) -> BlockEntries:
        root = root_of(self._leaves[1:])
        if root != header.records_root:
            diverge(
                Step.RECORDS,
                self._start,
                f"records under records_root {header.records_root.hex()}",
                f"records under {root.hex()}",
            )
        block = BlockEntries(
            index=self._start,
            header_bytes=self._entries[0],
            header=header,
            block_hash=self._parent_hash,
            records=tuple(self._entries[1:]),
            events=(),
            outcomes=(),
        )
        self._end = block.end
        self._entries, self._leaves = [], []
        return block


def _event_tasks(window: Sequence[BlockEntries]) -> list[EventTask]:
    signed = [
        (index, event.officer, event.payload, event.signature)
        for block in window
        for index, event in enumerate(block.events, start=block.index + 1)
    ]
    return [
        EventTask(signed=tuple(signed[start : start + TASK_RECORDS]))
        for start in range(0, len(signed), TASK_RECORDS)
    ]


def _verified(
    window: list[BlockEntries], faults: Iterable[EventFault | None]
) -> list[BlockEntries]:
    for fault in faults:
        if fault is not None:
            diverge(Step.EVENTS, fault.index, fault.expected, fault.found)
    return window


def _show(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
