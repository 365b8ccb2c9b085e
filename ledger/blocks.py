"""Entries of the log: block headers and event records.

The log is a sequence of entries (leaves of the RFC 6962 tree). A block is one `Header` entry and
then its `Record` entries, in order. The hash of a block is SHA-256 of its header's bytes; the
header names its parent's hash, so one block hash fixes the whole history.

The first field tells them apart: `entry: 1` is a header, `entry: 2` a record. Canonical encoding
as in `ledger.codec`; an entry has at most 65,535 bytes (C2SP tlog-tiles).

`Header.tree_size` and `tree_root` describe the log before the block; `records_root` is the RFC 6962
root over the block's record bytes; `state_digest` is the state after the block (`ledger.state`).
`validators_hash` is that of the epoch's consensus keys. `next_validators` is empty but in a seal
block, the last of its epoch: there it is the hash of the whole next list (`ledger.quorum.lists`).
"""

import hashlib
from typing import Annotated, Literal

from msgspec import Meta

from ledger.codec import Codec, Value
from ledger.errors import InvalidEncoding
from ledger.scalars import Hash32, Uint

ENTRY_SIZE_BYTES_MAX = 65_535
BLOCK_EVENTS_MAX = 1_000
VALIDATORS_MAX = 30

Decided = Literal["", "permit", "review", "deny"]
OptionalHash = Annotated[bytes, Meta(max_length=32)]


class Header(Value, frozen=True, kw_only=True):
    """First entry of a block. `proposer` is an index into the epoch's validators."""

    entry: Literal[1]
    version: Literal[1]
    network: Hash32
    epoch: Uint
    height: Uint
    view: Uint
    parent_view: Uint
    proposer: Annotated[int, Meta(ge=0, lt=VALIDATORS_MAX)]
    time_ms: Uint
    parent_hash: Hash32
    tree_size: Uint
    tree_root: Hash32
    record_count: Annotated[int, Meta(ge=0, le=BLOCK_EVENTS_MAX)]
    records_root: Hash32
    state_digest: Hash32
    engine: Annotated[str, Meta(max_length=64)]
    validators_hash: Hash32
    next_validators: OptionalHash


class Obligations(Value, frozen=True, kw_only=True):
    """Duties that a permit carries, taken from the determining contracts."""

    redact: tuple[str, ...]
    deadline_hours: Uint
    retention_days: Uint


class Outcome(Value, frozen=True, kw_only=True):
    """What executing an event did.

    `applied` tells whether the state changed; if not, `code` is the stable reason. `decision`,
    `policies` (ids of the determining contracts, sorted) and `policy_set` (its hash) are filled
    where contracts were asked.
    """

    applied: bool
    code: Annotated[str, Meta(max_length=64)]
    decision: Decided
    policies: Annotated[tuple[str, ...], Meta(max_length=64)]
    policy_set: OptionalHash
    obligations: Obligations | None


class Record(Value, frozen=True, kw_only=True):
    """An event's exact signed bytes and the outcome of executing it."""

    entry: Literal[2]
    event: bytes
    outcome: Outcome


HEADERS = Codec(Header, size_bytes_max=2_048)
RECORDS = Codec(Record, size_bytes_max=ENTRY_SIZE_BYTES_MAX)

# First bytes of each kind: a map of 18 or of 3 whose first key is "entry".
_HEADER_START = b"\xde\x00\x12\xa5entry\x01"
_RECORD_START = b"\x83\xa5entry\x02"


def hash_header(header_bytes: bytes) -> bytes:
    """Block hash: SHA-256 of the header's canonical bytes."""
    return hashlib.sha256(header_bytes).digest()


def hash_validators(keys: tuple[bytes, ...]) -> bytes:
    """Hash of an ordered validator list (33-byte public keys)."""
    return hashlib.sha256(b"tallystick/validators/v1\0" + b"".join(keys)).digest()


def decode_entry(data: bytes) -> Header | Record:
    """Header or record of an entry's bytes. Raises `InvalidEncoding`."""
    if data.startswith(_RECORD_START):
        return RECORDS.decode(data)
    if data.startswith(_HEADER_START):
        return HEADERS.decode(data)
    raise InvalidEncoding("entry is neither a header nor a record")


def is_header(data: bytes) -> bool:
    """Whether an entry claims to be a block header (its bytes may still be invalid)."""
    return data.startswith(_HEADER_START)


def quorum_of(validators: int) -> int:
    """Votes that make a certificate: n - floor((n - 1) / 3), never `2f + 1` (CONSENSUS 1.0)."""
    return validators - (validators - 1) // 3
