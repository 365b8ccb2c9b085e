"""Answers to catching-up peers: final blocks and the proof that a quorum checkpoint covers them."""

from ledger.blocks import RECORDS
from ledger.log import Log
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import prove_consistency
from ledger.tlog.note import SignedNote
from node.engine.cosign import Cosigner
from node.peers.wire import RANGE_BLOCKS_MAX, RANGE_BYTES_MAX, BlockData, Range


def build_range(log: Log, cosigner: Cosigner, from_height: int) -> Range:
    """As many blocks from `from_height` on as fit and are under the newest quorum checkpoint.

    Empty when there are none; the requester learns our final height in any case.
    """
    note = cosigner.checkpoint
    blocks: list[BlockData] = []
    end, size_bytes = 0, 0
    covered = Checkpoint.parse(SignedNote.parse(note).text).size if note is not None else 0
    first = max(from_height, 1)
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
