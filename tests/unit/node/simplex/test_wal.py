"""The log: round trip of every record type, cuts at every byte, a flip in every record."""

from pathlib import Path

import pytest

from node.simplex.errors import CorruptWal, WalFailed
from node.simplex.types import (
    BlockRecord,
    CertificateRecord,
    FloorRecord,
    Kind,
    OwnVote,
    PeerVote,
    WalRecord,
)
from node.simplex.wal import MAGIC, Wal, decode_segment, encode_record
from tests.unit.node.simplex.builders import certify, make_block, sign, subject_of

BLOCK = make_block(refs=(bytes(32),))
RECORDS: list[WalRecord] = [
    FloorRecord(epoch=1, view=2, height=3, block_hash=b"h" * 32),
    BlockRecord(hash=BLOCK.hash, header=BLOCK.header, refs=BLOCK.refs, events=(b"raw", b"")),
    OwnVote(vote=sign(subject_of(Kind.NOTARIZE, BLOCK), 0)),
    OwnVote(vote=sign(subject_of(Kind.NULLIFY, view=9), 0)),
    PeerVote(vote=sign(subject_of(Kind.FINALIZE, BLOCK), 3)),
    CertificateRecord(certificate=certify(subject_of(Kind.NULLIFY, view=8))),
    CertificateRecord(certificate=certify(subject_of(Kind.NOTARIZE, BLOCK))),
]
DATA = MAGIC + b"".join(encode_record(record) for record in RECORDS)
ENDS = [len(MAGIC)]
for _record in RECORDS:
    ENDS.append(ENDS[-1] + len(encode_record(_record)))


def test_every_record_type_is_read_back_from_disk(tmp_path: Path) -> None:
    wal, records = Wal.open(tmp_path / "wal")
    assert records == []
    wal.append(RECORDS)
    assert wal.is_dirty
    wal.sync()
    assert not wal.is_dirty
    wal.close()
    wal, records = Wal.open(tmp_path / "wal")
    assert records == RECORDS
    assert wal.size_bytes == len(DATA)
    wal.close()


def test_a_cut_at_every_byte_keeps_the_whole_records_before_it() -> None:
    for length in range(len(DATA) + 1):
        records, valid = decode_segment(DATA[:length])
        whole = sum(1 for end in ENDS[1:] if end <= length)
        assert records == RECORDS[:whole]
        assert valid == (ENDS[whole] if length >= len(MAGIC) else 0)


@pytest.mark.parametrize("index", range(len(RECORDS) - 1))
def test_a_flipped_bit_in_the_middle_is_refused(index: int) -> None:
    for at in range(ENDS[index], ENDS[index + 1]):
        damaged = bytearray(DATA)
        damaged[at] ^= 1 << at % 8
        with pytest.raises(CorruptWal):
            decode_segment(bytes(damaged))


def test_a_flipped_bit_in_the_last_record_is_a_torn_tail() -> None:
    for at in range(ENDS[-2], ENDS[-1]):
        damaged = bytearray(DATA)
        damaged[at] ^= 1 << at % 8
        assert decode_segment(bytes(damaged)) == (RECORDS[:-1], ENDS[-2])


def test_appending_after_a_torn_tail_continues_at_the_cut(tmp_path: Path) -> None:
    wal, _ = Wal.open(tmp_path)
    wal.append(RECORDS)
    wal.close()
    path = tmp_path / "00000001.wal"
    path.write_bytes(path.read_bytes()[:-5])
    wal, records = Wal.open(tmp_path)
    assert records == RECORDS[:-1]
    wal.append(RECORDS[-1:])
    wal.close()
    assert Wal.open(tmp_path)[1] == RECORDS


def test_rotation_leaves_one_segment_with_the_live_records(tmp_path: Path) -> None:
    wal, _ = Wal.open(tmp_path)
    wal.append(RECORDS)
    wal.rotate(RECORDS[:2])
    wal.append(RECORDS[2:3])
    wal.close()
    assert [path.name for path in tmp_path.iterdir()] == ["00000002.wal"]
    assert Wal.open(tmp_path)[1] == RECORDS[:3]


@pytest.mark.parametrize("cut_bytes", [0, 1, 40])
def test_after_a_crash_in_a_rotation_only_the_new_segment_counts(
    tmp_path: Path, cut_bytes: int
) -> None:
    """The old segment's end was never synced: it may be torn although it is not the last one."""
    wal, _ = Wal.open(tmp_path)
    wal.append(RECORDS)
    wal.sync()
    old = tmp_path / "00000001.wal"
    content = old.read_bytes()
    wal.rotate(RECORDS[:2])
    wal.close()
    old.write_bytes(content[: len(content) - cut_bytes])
    wal, records = Wal.open(tmp_path)
    wal.close()
    assert records == RECORDS[:2]
    assert [path.name for path in tmp_path.iterdir()] == ["00000002.wal"]


def test_a_failed_write_is_final(tmp_path: Path) -> None:
    wal, _ = Wal.open(tmp_path)
    wal.close()
    with pytest.raises(WalFailed):
        wal.append(RECORDS[:1])
    with pytest.raises(WalFailed, match="failed before"):
        wal.sync()
