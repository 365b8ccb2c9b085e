"""Two copies of a log: is one the beginning of the other, or where do they part.

Nothing of what a side says of itself is believed: its checkpoint is cosigned by a quorum, and that
both have the same first entries, and which entry is the first that differs, is proven by
consistency and inclusion under both checkpoints (RFC 6962). So few tiles are read, at any size;
whether all files of a copy are whole, a replay tells. Of an entry that was pruned from a side its
hash is proven: that is enough to tell that the sides differ there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from ledger.blocks import Header, decode_entry, hash_header
from ledger.errors import Divergence, InvalidEncoding, InvalidEvent, InvalidProof
from ledger.events import parse_event
from ledger.genesis import Genesis
from ledger.tlog.merkle import (
    CompactRange,
    Hash,
    hash_leaf,
    prove_consistency,
    verify_consistency,
)
from ledger.verify import LogCopy, Read, open_copy
from tools.audit.divergence import describe_fault, tell_fault
from tools.audit.index.entries import Entries
from tools.exits import NO_FACTS, InvalidAnswer, InvalidInput
from tools.output import tell_time
from tools.words import say

T = TypeVar("T")
Result = Literal["equal", "prefix", "different", "other-network"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stands:
    """An entry of a side, proven: its bytes, or which archive file has them, and its hash."""

    leaf: Hash
    data: bytes | None
    archived: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What was found. `first` is the index of the first entry that differs, else None.

    `entries` are what stands there on each side.
    """

    result: Result
    sizes: tuple[int, int]
    roots: tuple[bytes, bytes]
    networks: tuple[bytes, bytes]
    first: int | None
    entries: tuple[Stands, Stands] | None


class Side:
    """One of the two: its checkpoint is verified, what else is read of it is proven by that."""

    def __init__(self, name: str, read: Read, genesis: Genesis | None) -> None:
        self.name = name
        self.copy: LogCopy = self._believe(lambda: open_copy(read, genesis=genesis))
        self.size = self.copy.checkpoint.size
        self.root = self.copy.checkpoint.root
        self._entries = Entries(self.copy)

    def hash_at(self, level: int, index: int) -> bytes:
        """Hash of a complete subtree, as this side says."""
        return self._believe(lambda: self._entries.hashes.read_hash(level, index))

    def head(self, size: int) -> CompactRange:
        """The head of the first `size` entries, as this side says."""
        hashes, start = [], 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                hashes.append(self.hash_at(level, start >> level))
                start += 1 << level
        return CompactRange(size=size, hashes=tuple(hashes))

    def verify_head(self, head: CompactRange) -> None:
        """Check that this log begins with the tree of `head`. Raises `InvalidAnswer`."""

        def check() -> None:
            proof = prove_consistency(self._entries.hashes, head.size, self.size)
            verify_consistency(head.size, head.root(), self.size, self.root, proof)

        self._believe(check)

    def read(self, index: int) -> Stands:
        """Entry `index`, proven; of one that was pruned, the hash."""
        try:
            data = self._believe(lambda: self._entries.read(index))
        except InvalidInput as error:
            if error.code != "entries-archived":
                raise
            leaf = self.hash_at(0, index)
            self._believe(lambda: self._entries.verify_leaf(index, leaf))
            return Stands(leaf=leaf, data=None, archived=error.facts)
        return Stands(leaf=hash_leaf(data), data=data, archived=NO_FACTS)

    def _believe(self, act: Callable[[], T]) -> T:
        """What `act` gives. A side that contradicts its own checkpoint is `InvalidAnswer`."""
        try:
            return act()
        except Divergence as error:
            detail = tell_fault(describe_fault(error))
            raise InvalidAnswer("copy-invalid", f"{self.name}: {detail}") from None
        except (InvalidProof, InvalidEncoding) as error:
            raise InvalidAnswer("copy-invalid", f"{self.name}: {error}") from None


def compare(one: Side, other: Side) -> Difference:
    """Where two copies part."""
    if one.copy.network != other.copy.network:
        return _found(one, other, "other-network", None)
    size = min(one.size, other.size)
    first = _first_different(one, other, size)
    head = one.head(size if first is None else first)
    for side in (one, other):
        side.verify_head(head)
    if first is not None:
        found = _found(one, other, "different", first)
        if found.entries is not None and found.entries[0].leaf == found.entries[1].leaf:
            detail = f"{one.name} / {other.name}: #{first}"
            raise InvalidAnswer("copy-invalid", detail)  # hashes differ that should not
        return found
    return _found(one, other, "equal" if one.size == other.size else "prefix", None)


def _found(one: Side, other: Side, result: Result, first: int | None) -> Difference:
    return Difference(
        result=result,
        sizes=(one.size, other.size),
        roots=(one.root, other.root),
        networks=(one.copy.network, other.copy.network),
        first=first,
        entries=None if first is None else (one.read(first), other.read(first)),
    )


def _first_different(one: Side, other: Side, size: int) -> int | None:
    """The first leaf of the first `size` that differs, by descent into subtrees that differ."""
    start = 0
    for level in reversed(range(size.bit_length())):
        if not size >> level & 1:
            continue
        index = start >> level
        if one.hash_at(level, index) != other.hash_at(level, index):
            for below in reversed(range(level)):
                index *= 2
                if one.hash_at(below, index) == other.hash_at(below, index):
                    index += 1
            return index
        start += 1 << level
    return None


def describe_entry(data: bytes) -> str:
    """What an entry is, in a line."""
    try:
        entry = decode_entry(data)
        if isinstance(entry, Header):
            return say(
                "compare.header",
                height=entry.height,
                proposer=entry.proposer,
                time=tell_time(entry.time_ms),
                records=entry.record_count,
                hash=hash_header(data).hex()[:16],
            )
        event = parse_event(entry.event)
    except (InvalidEncoding, InvalidEvent) as error:
        return say("compare.unknown", fault=error)
    outcome = entry.outcome
    return say(
        "compare.record",
        kind=event.kind,
        member=event.member,
        digest=event.digest.hex()[:16],
        outcome="applied" if outcome.applied else outcome.code,
        decision=outcome.decision or "-",
        contracts=", ".join(outcome.policies) or "-",
    )
