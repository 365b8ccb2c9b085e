"""Proofs of catching up by snapshot: windows of entries, blocks out of them, and a whole state.

What a node that was away gets from its peers is proven, not executed again:

1. window   Entries `[first, first + count)` are leaves of the tree of a quorum checkpoint. A window
            is a whole subtree (`count` a power of two that divides `first`) or ends with the tree,
            so its own root is a node of the tree, and an inclusion proof leads from it to the root.
2. block    The proven entries are whole blocks that follow each other: network, height, parent
            hash, epoch, time, tree size and root before the block, and records under records root.
3. state    All pairs of a state, each key once, sum up to the state digest in a proven header.

That the outcomes in the records are right, and that executing them gives that digest, is what a
quorum, hence at least one honest validator, has executed before it voted for the block. Whoever
wants to see it again replays the log offline (`contracts.replay`); a node does not.
"""

from collections.abc import Sequence

import msgspec

from ledger.blocks import HEADERS, Header, hash_header, is_header
from ledger.catchup.staging import ProvenBlock
from ledger.errors import InvalidEncoding, InvalidProof
from ledger.events import BODY_TYPES, ShareRequested, hash_event
from ledger.exchange.bodies import ShareOffered
from ledger.exchange.incidents import IncidentReported
from ledger.governance.proposals import GovernanceProposed
from ledger.lthash.digest import StateDigest
from ledger.tlog.merkle import (
    CompactRange,
    Hash,
    HashReader,
    hash_leaves,
    prove_inclusion,
    root_of,
    verify_inclusion,
)

STATE_KEY_BYTES_MAX = 255
STATE_VALUE_BYTES_MAX = 16 * 1024 * 1024


def window_size(first: int, count_max: int, size: int) -> int:
    """Number of entries of the largest window at `first`, of at most `count_max`, in a tree."""
    count = 1 << (count_max.bit_length() - 1)
    while first % count:
        count >>= 1
    return min(count, size - first)


def prove_window(reader: HashReader, first: int, count: int, size: int) -> tuple[Hash, ...]:
    """Proof that a window is in the tree of `size` leaves. Raises `InvalidProof`."""
    _check_window(first, count, size)
    return prove_inclusion(reader, first, size)[(count - 1).bit_length() :]


def verify_window(
    first: int, entries: Sequence[bytes], proof: Sequence[Hash], size: int, root: Hash
) -> list[Hash]:
    """Step 1: the leaf hashes of a window of the tree under `root`. Raises `InvalidProof`."""
    level = _check_window(first, len(entries), size)
    leaves = hash_leaves(entries)
    windows = ((size - 1) >> level) + 1
    verify_inclusion(root_of(leaves), first >> level, windows, proof, root)
    return leaves


def _check_window(first: int, count: int, size: int) -> int:
    """Level of the subtree that is the window."""
    level = (count - 1).bit_length()
    is_whole = count == 1 << level or first + count == size
    if not (count > 0 and 0 <= first <= size - count and is_whole) or first % (1 << level):
        raise InvalidProof(f"{count} entries from {first} on are no window of {size} entries")
    return level


class _Record(msgspec.Struct):
    event: bytes


class _Signed(msgspec.Struct):
    payload: bytes


class _Envelope(msgspec.Struct):
    kind: str
    body: msgspec.Raw


class _Body(msgspec.Struct):
    exchange: bytes = b""
    proposal: bytes = b""
    incident: bytes = b""


_RECORDS = msgspec.msgpack.Decoder(_Record)
_SIGNED = msgspec.msgpack.Decoder(_Signed)
_ENVELOPES = msgspec.msgpack.Decoder(_Envelope)
_BODIES = msgspec.msgpack.Decoder(_Body)
# Events that others belong to; they are listed under their own digest.
_OPENING = frozenset(
    kind
    for (kind, _), type_ in BODY_TYPES.items()
    if type_ in (ShareRequested, ShareOffered, IncidentReported, GovernanceProposed)
)


def read_index_keys(record: bytes) -> tuple[bytes, bytes]:
    """Digest of a record's event, and what the event belongs to (`Event.subject`).

    For records that others have checked: only what is needed is read. Raises `InvalidEncoding`.
    """
    try:
        event = _RECORDS.decode(record).event
        envelope = _ENVELOPES.decode(_SIGNED.decode(event).payload)
        digest = hash_event(event)
        if envelope.kind in _OPENING:
            return digest, digest
        body = _BODIES.decode(envelope.body)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise InvalidEncoding(f"a record of no event: {error}") from None
    return digest, body.exchange or body.proposal or body.incident


class Assembly:
    """Step 2: fed with proven entries in order, gives back whole blocks."""

    def __init__(
        self, *, network: bytes, tree: CompactRange, header: Header | None, block_hash: bytes
    ) -> None:
        self._network = network
        self._range = tree
        self._parent = header
        self._block_hash = block_hash
        self._header: Header | None = None
        self._entries: list[bytes] = []
        self._leaves: list[Hash] = []

    @property
    def size(self) -> int:
        """Index of the entry that comes next."""
        return self._range.size + len(self._entries)

    def add(self, entries: Sequence[bytes], leaves: Sequence[Hash]) -> list[ProvenBlock]:
        """Blocks that the next entries complete. Raises `InvalidProof` or `InvalidEncoding`."""
        blocks: list[ProvenBlock] = []
        self._entries += entries
        self._leaves += leaves
        at = 0
        while at < len(self._entries):
            header = self._header or self._check_header(self._entries[at])
            end = at + 1 + header.record_count
            if end > len(self._entries):
                self._header = header
                break
            blocks.append(self._complete(header, self._entries[at:end], self._leaves[at:end]))
            self._header, at = None, end
        del self._entries[:at], self._leaves[:at]
        return blocks

    def _check_header(self, entry: bytes) -> Header:
        header = HEADERS.decode(entry)
        parent = self._parent
        epoch = 0 if parent is None else parent.epoch + bool(parent.next_validators)
        for name, found, expected in (
            ("network", header.network, self._network),
            ("height", header.height, 1 if parent is None else parent.height + 1),
            ("parent_hash", header.parent_hash, self._block_hash),
            ("epoch", header.epoch, epoch),
            ("tree_size", header.tree_size, self._range.size),
            ("tree_root", header.tree_root, self._range.root()),
        ):
            if found != expected:
                raise InvalidProof(f"block {header.height}: {name} is {found!r}, not {expected!r}")
        if parent is not None and header.time_ms <= parent.time_ms:
            raise InvalidProof(f"block {header.height} is not after its parent")
        return header

    def _complete(
        self, header: Header, entries: Sequence[bytes], leaves: Sequence[Hash]
    ) -> ProvenBlock:
        header_bytes, *records = entries
        if root_of(leaves[1:]) != header.records_root:
            raise InvalidProof(f"block {header.height} has other records than its header says")
        if any(is_header(record) for record in records):
            raise InvalidProof(f"block {header.height} has a header among its records")
        keys = [read_index_keys(record) for record in records]
        self._parent, self._block_hash = header, hash_header(header_bytes)
        self._range = self._range.extend(leaves)
        return ProvenBlock(
            header_bytes=header_bytes,
            header=header,
            block_hash=self._block_hash,
            records=tuple(records),
            leaf_hashes=tuple(leaves),
            digests=tuple(digest for digest, _ in keys),
            exchanges=tuple(subject for _, subject in keys),
        )


class StateSum:
    """Step 3: fed with all pairs of a state in key order, which have at most `size_bytes_max`.

    Summing up (`ledger.lthash.digest.sum_pairs`) is most of the work and needs no order, so it may
    be done elsewhere.
    """

    def __init__(self, size_bytes_max: int) -> None:
        self._digest = StateDigest()
        self._left_bytes = size_bytes_max
        self._last = b""

    def check(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Check that these pairs may come next.

        Raises `InvalidProof`: out of order, or more than any state of this log has.
        """
        last = self._last
        for key, value in pairs:
            if not last < key:
                raise InvalidProof("the keys of a state do not rise")
            if len(key) > STATE_KEY_BYTES_MAX or len(value) > STATE_VALUE_BYTES_MAX:
                raise InvalidProof(f"a pair of {len(key)} and {len(value)} bytes is no state")
            self._left_bytes -= len(key) + len(value)
            last = key
        if self._left_bytes < 0:
            raise InvalidProof("more bytes than a state of this log can have")
        self._last = last

    def count(self, accumulator: bytes) -> None:
        """Count in the sum of checked pairs."""
        self._digest.merge(accumulator)

    def finish(self, state_digest: bytes) -> bytes:
        """Accumulator of all pairs, whose digest is that of a header. Raises `InvalidProof`."""
        if self._digest.digest() != state_digest:
            raise InvalidProof("the pairs are not the state under the header's digest")
        return self._digest.encode()
