"""A toy application: events are byte strings, a block's data is the digest of its references."""

import hashlib
import struct

from node.simplex.types import Block, BlockRecord, Verdict

_HEADER = struct.Struct(">5Q32sH?32s")
GENESIS_TIME_MS = 1_700_000_000_000


def make_block(
    *,
    epoch: int = 1,
    view: int = 1,
    parent_view: int = 0,
    height: int = 1,
    parent_hash: bytes = b"",
    time_ms: int = GENESIS_TIME_MS + 1,
    proposer: int = 0,
    refs: tuple[bytes, ...] = (),
    data_root: bytes | None = None,
    is_seal: bool = False,
) -> Block:
    """A block of consistent bytes; lie about one field by naming it."""
    root = hashlib.sha256(b"".join(refs)).digest() if data_root is None else data_root
    numbers = (epoch, view, parent_view, height, time_ms)
    header = _HEADER.pack(*numbers, parent_hash or GENESIS.hash, proposer, is_seal, root)
    return parse_header(header, refs)


def parse_header(header: bytes, refs: tuple[bytes, ...]) -> Block:
    """The block of a header. Raises `ValueError`."""
    if len(header) != _HEADER.size:
        raise ValueError("a toy header has a fixed size")
    *numbers, parent_hash, proposer, is_seal, _ = _HEADER.unpack(header)
    epoch, view, parent_view, height, time_ms = numbers
    return Block(
        hash=hashlib.sha256(header).digest(),
        header=header,
        refs=refs,
        epoch=epoch,
        view=view,
        parent_view=parent_view,
        height=height,
        parent_hash=parent_hash,
        time_ms=time_ms,
        proposer=proposer,
        is_seal=is_seal,
    )


GENESIS = parse_header(_HEADER.pack(0, 0, 0, 0, GENESIS_TIME_MS, bytes(32), 0, True, bytes(32)), ())


class ToyApplication:
    """Implements `node.simplex.types.Application`; `committed` is its durable storage."""

    def __init__(self, *, me: int, committed: list[Block] | None = None) -> None:
        self.me = me
        self.committed = [GENESIS] if committed is None else committed
        self.blocks = {block.hash: block for block in self.committed}
        self.events: dict[bytes, bytes] = {}
        self.pool: dict[bytes, None] = {}
        self.final_refs = {ref for block in self.committed for ref in block.refs}
        self.builds = True
        self.seal_height: int | None = None  # the block of this height ends its epoch
        self.missing_events: set[bytes] = set()

    def parse(self, header: bytes, refs: tuple[bytes, ...]) -> Block:
        return parse_header(header, refs)

    def has_pending(self, parent_hash: bytes) -> bool:
        return bool(self._pending(parent_hash))

    def expects_more(self, parent_hash: bytes) -> bool:
        return len(self.blocks[parent_hash].refs) >= 2 and len(self._pending(parent_hash)) < 4

    def build(
        self, parent_hash: bytes, *, epoch: int, view: int, parent_view: int, wall_ms: int
    ) -> Block | None:
        if not self.builds:
            return None
        parent = self.blocks[parent_hash]
        block = make_block(
            epoch=epoch,
            view=view,
            parent_view=parent_view,
            height=parent.height + 1,
            parent_hash=parent_hash,
            time_ms=max(wall_ms, parent.time_ms + 1),
            proposer=self.me,
            refs=tuple(self._pending(parent_hash)[:8]),
            is_seal=parent.height + 1 == self.seal_height,
        )
        self.blocks[block.hash] = block
        return block

    def validate(self, block: Block) -> Verdict:
        if not self.holds(block.parent_hash):
            return Verdict.MISSING
        if any(ref not in self.events for ref in block.refs):
            return Verdict.MISSING
        if hashlib.sha256(b"".join(block.refs)).digest() != block.header[-32:]:
            return Verdict.INVALID
        self.blocks[block.hash] = block
        return Verdict.VALID

    def holds(self, block_hash: bytes) -> bool:
        return block_hash in self.blocks

    def block(self, block_hash: bytes) -> Block | None:
        return self.blocks.get(block_hash)

    def submit(self, event: bytes) -> None:
        """An event comes into the pool."""
        digest = hashlib.sha256(event).digest()
        self.events[digest] = event
        if digest not in self.final_refs:
            self.pool[digest] = None

    def absorb(self, block: Block, events: tuple[bytes, ...]) -> None:
        """A fetched or logged block with its events."""
        for event in events:
            self.events[hashlib.sha256(event).digest()] = event
        if all(ref in self.events for ref in block.refs):
            self.blocks[block.hash] = block

    def events_of(self, block: Block | BlockRecord) -> tuple[bytes, ...]:
        """Raw events of a held block."""
        return tuple(self.events[ref] for ref in block.refs)

    def commit(self, block: Block) -> None:
        """A final block goes to durable storage."""
        assert block.parent_hash == self.committed[-1].hash, "I7"
        assert block.height == self.committed[-1].height + 1, "I7"
        self.committed.append(block)
        self.final_refs.update(block.refs)
        for ref in block.refs:
            self.pool.pop(ref, None)

    def _pending(self, parent_hash: bytes) -> list[bytes]:
        included: set[bytes] = set()
        cursor = self.blocks.get(parent_hash)
        while cursor is not None and cursor.height > self.committed[-1].height:
            included.update(cursor.refs)
            cursor = self.blocks.get(cursor.parent_hash)
        return [ref for ref in self.pool if ref not in included and ref not in self.final_refs]
