"""What the final log says about the past: whole blocks, and receipts of entries."""

from ledger.blocks import HEADERS, RECORDS
from ledger.events import parse_event
from ledger.log import Log
from ledger.tlog.merkle import prove_inclusion
from ledger.tlog.note import SignedNote
from ledger.tlog.receipt import Receipt
from node.service import FinalBlock, FinalRecord


def read_final_block(log: Log, height: int) -> FinalBlock:
    """The final block at `height` (from 1), from storage."""
    header_bytes, records = log.read_block(height)
    header = HEADERS.decode(header_bytes)
    first_index = header.tree_size + 1
    return FinalBlock(
        header=header,
        block_hash=log.block_hash_at(height),
        first_index=first_index,
        records=tuple(
            FinalRecord(index=index, event=parse_event(record.event), outcome=record.outcome)
            for index, record in enumerate(map(RECORDS.decode, records), start=first_index)
        ),
    )


def make_receipt(log: Log, index: int, size: int, note: bytes) -> bytes:
    """tlog-proof file of entry `index` under the checkpoint `note` of the tree of `size`."""
    proof = prove_inclusion(log, index, size)
    return Receipt(index=index, proof=proof, note=SignedNote.parse(note)).format()
