"""Answers to catching-up peers: blocks to execute, snapshots, and entries with their proofs.

Everything is given out of one queue, one part after the other and no faster than
`SERVE_BYTES_PER_S`, so that a peer that catches up, however fast it asks, does not slow down the
votes of this node. A peer has few questions waiting; what is more is dropped and asked again.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Protocol

import structlog

from contracts.lookup import read_epoch
from ledger.blocks import HEADERS, RECORDS
from ledger.catchup.proofs import prove_window, window_size
from ledger.catchup.staging import StateSnapshot
from ledger.errors import SnapshotGone
from ledger.log import Log
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import prove_consistency, prove_inclusion
from ledger.tlog.note import SignedNote
from node.chain import Chain
from node.engine.cosign import Cosigner
from node.engine.ports import Transport
from node.engine.proofs import Archive
from node.errors import InvalidMessage
from node.peers.links import Channel
from node.peers.wire import (
    EPOCH_PROOFS_MAX,
    PART_BYTES_MAX,
    RANGE_BLOCKS_MAX,
    RANGE_BYTES_MAX,
    BlockData,
    Entries,
    EntriesWanted,
    FrameType,
    Pairs,
    PairsWanted,
    Range,
    RangeWanted,
    SnapshotOffer,
    SnapshotWanted,
    decode_content,
    encode_frame,
)

LOG = structlog.get_logger("ranges")

# Three of four nodes give a fourth together more than it can verify; each spends about a tenth of
# a processor core on it.
SERVE_BYTES_PER_S = 16 * 1024 * 1024
QUESTIONS_PER_PEER_MAX = 8
# A snapshot keeps what the log overwrites meanwhile.
SNAPSHOTS_MAX = 4
SNAPSHOT_IDLE_MS = 20_000
SNAPSHOT_AGE_MS = 30 * 60_000

NO_OFFER = SnapshotOffer(header=b"", checkpoint=b"", proof=(), epoch_proofs=())


class Host(Protocol):
    """What answers need of the driver."""

    chain: Chain
    cosigner: Cosigner
    archive: Archive

    def spawn(self, coroutine: Coroutine[object, object, None]) -> None:
        """Run beside the driver's task; a failure stops the driver."""


@dataclass(slots=True, kw_only=True)
class _Open:
    """A snapshot kept for one peer; `is_offered` once a quorum checkpoint covers it."""

    state: StateSnapshot
    epoch: int
    opened_ms: int
    used_ms: int
    is_offered: bool = False


class Answers:
    """The questions of catching-up peers, and the snapshots that are open for them."""

    def __init__(self, *, host: Host, transport: Transport) -> None:
        self._host = host
        self._log = host.chain.log
        self._transport = transport
        self._questions: deque[tuple[str, Callable[[], bytes]]] = deque()
        self._waiting: Counter[str] = Counter()
        self._is_serving = False
        self._open: dict[str, _Open] = {}
        self._now_ms = 0

    def receive(self, peer: str, frame_type: int, content: bytes) -> None:
        """A question. Raises `InvalidMessage` when it is malformed, or one too many."""
        match frame_type:
            case FrameType.RANGE_WANTED:
                self._queue(peer, self._range, decode_content(content, RangeWanted))
            case FrameType.SNAPSHOT_WANTED:
                self._open_snapshot(peer, decode_content(content, SnapshotWanted))
            case FrameType.PAIRS_WANTED:
                self._queue(peer, self._pairs, peer, decode_content(content, PairsWanted))
            case FrameType.ENTRIES_WANTED:
                self._queue(peer, self._entries, decode_content(content, EntriesWanted))
            case _:
                raise InvalidMessage(f"unknown frame type {frame_type}")

    def tick(self, now_ms: int) -> None:
        """Offer the snapshots that a checkpoint covers by now; close those that nobody reads."""
        self._now_ms = now_ms
        for peer, held in list(self._open.items()):
            is_idle = now_ms - held.used_ms > SNAPSHOT_IDLE_MS
            if is_idle or now_ms - held.opened_ms > SNAPSHOT_AGE_MS:
                self._close(peer)
            elif not held.is_offered:
                self._offer(peer, held)

    def _queue(self, peer: str, answer: Callable[..., bytes], *arguments: object) -> None:
        if self._waiting[peer] >= QUESTIONS_PER_PEER_MAX:
            raise InvalidMessage(f"more than {QUESTIONS_PER_PEER_MAX} questions at once")
        self._waiting[peer] += 1
        self._questions.append((peer, lambda: answer(*arguments)))
        if not self._is_serving:
            self._is_serving = True
            self._host.spawn(self._serve())

    async def _serve(self) -> None:
        while self._questions:
            peer, answer = self._questions.popleft()
            self._waiting[peer] -= 1
            frame = answer()
            self._transport.send(peer, Channel.BULK, frame)
            await asyncio.sleep(len(frame) / SERVE_BYTES_PER_S)
        self._is_serving = False

    # --- answers ------------------------------------------------------------------------------

    def _range(self, wanted: RangeWanted) -> bytes:
        answer = build_range(self._log, self._host.cosigner, self._host.archive, wanted.from_height)
        return encode_frame(FrameType.RANGE, answer)

    def _open_snapshot(self, peer: str, wanted: SnapshotWanted) -> None:
        self._close(peer)
        log = self._log
        is_useful = log.tip.height > 0 and log.tree_size >= wanted.tree_size
        if not is_useful or len(self._open) >= SNAPSHOTS_MAX:
            self._transport.send(peer, Channel.BULK, encode_frame(FrameType.SNAPSHOT, NO_OFFER))
            return
        held = _Open(
            state=log.snapshot(),
            epoch=wanted.epoch,
            opened_ms=self._now_ms,
            used_ms=self._now_ms,
        )
        self._open[peer] = held
        self._offer(peer, held)

    def _offer(self, peer: str, held: _Open) -> None:
        """Tell the peer of its snapshot, unless no quorum checkpoint covers it yet."""
        log, cosigner = self._log, self._host.cosigner
        size, note = cosigner.checkpoint_size, cosigner.checkpoint
        found = [
            self._host.archive.proof(epoch)
            for epoch in range(held.epoch, read_epoch(log).epoch)[:EPOCH_PROOFS_MAX]
        ]
        epoch_proofs = tuple(proof for proof in found if proof is not None)
        is_covered = held.state.tree_size <= size <= log.tree_size
        if note is None or not is_covered or len(epoch_proofs) < len(found):
            return
        held.is_offered = True
        at = log.header_index(held.state.height)
        offer = SnapshotOffer(
            header=log.read_entry(at),
            checkpoint=note,
            proof=prove_inclusion(log, at, size),
            epoch_proofs=epoch_proofs,
        )
        self._transport.send(peer, Channel.BULK, encode_frame(FrameType.SNAPSHOT, offer))

    def _close(self, peer: str) -> None:
        held = self._open.pop(peer, None)
        if held is not None:
            held.state.close()

    def _pairs(self, peer: str, wanted: PairsWanted) -> bytes:
        held = self._open.get(peer)
        pairs: list[tuple[bytes, bytes]] = []
        is_last = False
        if held is not None and held.state.height == wanted.height:
            held.used_ms = self._now_ms
            try:
                pairs, is_last = held.state.read(wanted.after, PART_BYTES_MAX)
            except SnapshotGone:
                LOG.info("the store had to grow, a snapshot is gone", peer=peer)
                self._close(peer)
        answer = Pairs(
            height=wanted.height, after=wanted.after, pairs=tuple(pairs), is_last=is_last
        )
        return encode_frame(FrameType.PAIRS, answer)

    def _entries(self, wanted: EntriesWanted) -> bytes:
        entries, proof = read_window(self._log, wanted)
        answer = Entries(
            tree_size=wanted.tree_size, first=wanted.first, entries=entries, proof=proof
        )
        return encode_frame(FrameType.ENTRIES, answer)


def read_window(log: Log, wanted: EntriesWanted) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Entries and proof of the largest window that was asked for and fits into a part.

    Both are empty when this log does not have that tree.
    """
    if not wanted.first < wanted.tree_size <= log.tree_size:
        return (), ()
    count = window_size(wanted.first, wanted.count, wanted.tree_size)
    entries = log.read_entries(wanted.first, count)
    while count > 1 and sum(map(len, entries)) > PART_BYTES_MAX:
        count = window_size(wanted.first, count // 2, wanted.tree_size)
        entries = entries[:count]
    return tuple(entries), prove_window(log, wanted.first, count, wanted.tree_size)


def build_range(log: Log, cosigner: Cosigner, archive: Archive, from_height: int) -> Range:
    """As many blocks from `from_height` on as fit and are under a quorum checkpoint of their epoch.

    That is the newest one, or for an ended epoch the one in its proof: whoever asks knows the
    validators up to the epoch of the first block only. So no range goes over the end of an epoch.
    Empty when there are none; the requester learns our final height in any case.
    """
    first = max(from_height, 1)
    epoch = _epoch_at(log, first) if first <= log.tip.height else read_epoch(log).epoch
    is_ended = epoch < read_epoch(log).epoch
    note = archive.checkpoint_of(epoch) if is_ended else cosigner.checkpoint
    blocks: list[BlockData] = []
    end, size_bytes = 0, 0
    covered = Checkpoint.parse(SignedNote.parse(note).text).size if note is not None else 0
    for height in range(first, min(log.tip.height, first + RANGE_BLOCKS_MAX - 1) + 1):
        header, records = log.read_block(height)
        block_end = log.header_index(height) + 1 + len(records)
        events = tuple(RECORDS.decode(record).event for record in records)
        size_bytes += len(header) + sum(len(event) for event in events)
        if block_end > covered or (blocks and size_bytes > RANGE_BYTES_MAX):
            break
        blocks.append(BlockData(header=header, events=events))
        end = block_end
    return Range(
        from_height=from_height,
        final_height=log.tip.height,
        blocks=tuple(blocks),
        checkpoint=note or b"",
        consistency=prove_consistency(log, end, covered) if blocks else (),
    )


def _epoch_at(log: Log, height: int) -> int:
    return HEADERS.decode(log.read_entry(log.header_index(height))).epoch
