"""Write-ahead log: what must be on disk before it may be said (CONSENSUS 1.4).

A log is a directory of segments `00000001.wal`, `00000002.wal`, ...; each begins with the 8 bytes
`TSWAL001`, then records

    len u32 | crc32 u32 | type u8 | payload        big-endian; len counts type and payload,
                                                   the CRC-32 covers len, type and payload

    type 1  own vote      vote (see `messages`)
    type 2  peer vote     vote
    type 3  block         hash 32 | header (u16 length) | refs (u16 count, 32 each)
                          | events (u32 count, each with u32 length)
    type 4  certificate   certificate
    type 5  floor         epoch u64 | view u64 | height u64 | hash 32

Opening reads the newest segment, whose beginning holds what was live when it was made. A bad record
is a torn write, and cut off, only if no valid record follows; anything else is `CorruptWal`, and no
node starts.
A failed write or sync is final: after `WalFailed` the object refuses everything, because the kernel
may have dropped the pages (an fsync that is tried again can report success for lost data).
"""

import os
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from node.simplex.errors import CorruptWal, InvalidMessage, WalFailed
from node.simplex.messages import Reader, encode_certificate, encode_vote
from node.simplex.types import (
    BlockRecord,
    CertificateRecord,
    FloorRecord,
    OwnVote,
    PeerVote,
    WalRecord,
)

MAGIC = b"TSWAL001"
RECORD_BYTES_MAX = 64 * 1024 * 1024
_HEAD_BYTES = 8
_OWN, _PEER, _BLOCK, _CERTIFICATE, _FLOOR = 1, 2, 3, 4, 5


def encode_record(record: WalRecord) -> bytes:
    """The framed bytes of a record."""
    kind: int
    payload: bytes
    match record:
        case OwnVote():
            kind, payload = _OWN, encode_vote(record.vote)
        case PeerVote():
            kind, payload = _PEER, encode_vote(record.vote)
        case BlockRecord():
            kind, payload = _BLOCK, _encode_block(record)
        case CertificateRecord():
            kind, payload = _CERTIFICATE, encode_certificate(record.certificate)
        case FloorRecord():
            numbers = (record.epoch, record.view, record.height)
            payload = b"".join(each.to_bytes(8, "big") for each in numbers) + record.block_hash
            kind = _FLOOR
    body = bytes([kind]) + payload
    assert len(body) <= RECORD_BYTES_MAX, "a record exceeds what opening would accept"
    length = len(body).to_bytes(4, "big")
    return length + zlib.crc32(length + body).to_bytes(4, "big") + body


def decode_segment(data: bytes) -> tuple[list[WalRecord], int]:
    """Records of a segment and its valid length in bytes. Raises `CorruptWal`."""
    if not data.startswith(MAGIC):
        if len(data) < len(MAGIC) and MAGIC.startswith(data):
            return [], 0
        raise CorruptWal("a segment does not begin with its magic bytes")
    records: list[WalRecord] = []
    at = len(MAGIC)
    while at < len(data):
        body = _read_frame(data, at)
        if body is None:
            if _has_frame_after(data, at + 1):
                raise CorruptWal(f"a record at byte {at} is damaged", offset_bytes=at)
            break
        try:
            records.append(_decode_body(body))
        except InvalidMessage as error:
            raise CorruptWal(f"a record at byte {at}: {error}", offset_bytes=at) from None
        at += _HEAD_BYTES + len(body)
    return records, at


class Wal:
    """The log of one node. Open with `Wal.open`; one process at a time (the caller locks)."""

    def __init__(self, directory: Path, *, number: int, descriptor: int) -> None:
        self._directory = directory
        self._number = number
        self._descriptor = descriptor
        self._has_failed = False
        self.is_dirty = False
        self.size_bytes = os.fstat(descriptor).st_size

    @classmethod
    def open(cls, directory: Path) -> "tuple[Wal, list[WalRecord]]":
        """The log and its records; creates it. Raises `CorruptWal`, `WalFailed`."""
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for stray in directory.glob("*.tmp"):
                stray.unlink()
            paths = sorted(directory.glob("*.wal"))
            if not paths:
                return cls._create(directory, 1, b""), []
            records, valid_bytes = decode_segment(paths[-1].read_bytes())
            # A crash in a rotation leaves the segment before, whose end may be torn. Its successor
            # appeared complete, with everything that was live.
            for path in paths[:-1]:
                path.unlink()
            descriptor = os.open(paths[-1], os.O_RDWR | os.O_APPEND)
            os.ftruncate(descriptor, valid_bytes)
            if valid_bytes == 0:
                _write_all(descriptor, MAGIC)
            os.fsync(descriptor)
            _sync_directory(directory)
            number = int(paths[-1].stem)
        except OSError as error:
            raise WalFailed(f"{directory}: {error}") from error
        return cls(directory, number=number, descriptor=descriptor), records

    def append(self, records: Iterable[WalRecord]) -> None:
        """Write records; not durable before `sync`. Raises `WalFailed`."""
        data = b"".join(encode_record(record) for record in records)
        if not data:
            return
        self.is_dirty = True
        self._guard(lambda: _write_all(self._descriptor, data))
        self.size_bytes += len(data)

    def sync(self) -> None:
        """One fdatasync. Raises `WalFailed`: the process must end."""
        self._guard(lambda: os.fdatasync(self._descriptor))
        self.is_dirty = False

    def rotate(self, live_records: Iterable[WalRecord]) -> None:
        """Continue in a new segment that begins with `live_records`; the old ones go."""
        data = b"".join(encode_record(record) for record in live_records)
        self._guard(lambda: self._replace(data))
        self.is_dirty = False

    def close(self) -> None:
        """Release the file."""
        os.close(self._descriptor)

    def _replace(self, data: bytes) -> None:
        successor = Wal._create(self._directory, self._number + 1, data)
        os.close(self._descriptor)
        self._descriptor = successor._descriptor
        self._number += 1
        self.size_bytes = successor.size_bytes
        for path in self._directory.glob("*.wal"):
            if int(path.stem) < self._number:
                path.unlink()
        _sync_directory(self._directory)

    @classmethod
    def _create(cls, directory: Path, number: int, data: bytes) -> "Wal":
        """A complete, synced segment appears under its name at once, or not at all."""
        path = directory / f"{number:08d}.wal"
        temporary = path.with_suffix(".tmp")
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL
        descriptor = os.open(temporary, flags, 0o600)
        _write_all(descriptor, MAGIC + data)
        os.fsync(descriptor)
        temporary.rename(path)
        _sync_directory(directory)
        return cls(directory, number=number, descriptor=descriptor)

    def _guard(self, write: Callable[[], None]) -> None:
        if self._has_failed:
            raise WalFailed("the log failed before: end the process")
        try:
            write()
        except OSError as error:
            self._has_failed = True
            raise WalFailed(f"{self._directory}: {error}") from error


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_frame(data: bytes, at: int) -> bytes | None:
    """Type and payload of the record at `at`, or None if it is damaged or cut."""
    head = data[at : at + _HEAD_BYTES]
    if len(head) < _HEAD_BYTES:
        return None
    length = int.from_bytes(head[:4], "big")
    if not 1 <= length <= RECORD_BYTES_MAX or at + _HEAD_BYTES + length > len(data):
        return None
    body = data[at + _HEAD_BYTES : at + _HEAD_BYTES + length]
    is_whole = zlib.crc32(head[:4] + body) == int.from_bytes(head[4:], "big")
    return body if is_whole else None


def _has_frame_after(data: bytes, at: int) -> bool:
    """Does any valid record begin at or after `at`? The length may be damaged: try every byte."""
    return any(_read_frame(data, start) is not None for start in range(at, len(data)))


def _encode_block(record: BlockRecord) -> bytes:
    parts = [record.hash, len(record.header).to_bytes(2, "big"), record.header]
    parts += [len(record.refs).to_bytes(2, "big"), *record.refs]
    parts.append(len(record.events).to_bytes(4, "big"))
    for event in record.events:
        parts += [len(event).to_bytes(4, "big"), event]
    return b"".join(parts)


def _decode_body(body: bytes) -> WalRecord:
    reader = Reader(body, start=1)
    record: WalRecord
    match body[0]:
        case 1:
            record = OwnVote(vote=reader.vote())
        case 2:
            record = PeerVote(vote=reader.vote())
        case 3:
            block_hash = reader.take(32)
            header = reader.take(reader.number(2))
            refs = tuple(reader.take(32) for _ in range(reader.number(2)))
            count = reader.number(4)
            events = tuple(reader.take(reader.number(4)) for _ in range(count))
            record = BlockRecord(hash=block_hash, header=header, refs=refs, events=events)
        case 4:
            record = CertificateRecord(certificate=reader.certificate())
        case 5:
            epoch, view, height = (reader.number(8) for _ in range(3))
            record = FloorRecord(epoch=epoch, view=view, height=height, block_hash=reader.take(32))
        case unknown:
            raise InvalidMessage(f"record type {unknown} is unknown")
    reader.finish()
    return record
