"""The digest of a state: LtHash16 of its pairs.

LtHash16 with 1,024 lanes (Bellare and Micciancio 1997, "AdHash/LtHash"; parameters as
analysed by Lewi, Kim, Maykov and Weis, eprint 2019/227). Each pair (key, value) expands by
SHAKE-128 to 1,024 16-bit lanes; the accumulator is their sum modulo 2^16 per lane, so a changed
value is one subtraction and one addition, in any order, and anyone with a full copy of the state
can compute it afresh. `digest` = SHA-256(domain || accumulator).
"""

import hashlib
from collections.abc import Iterable, Sequence

from ledger.errors import CorruptStore
from ledger.lthash.lanes import (
    LANE_MASK,
    STREAM_BYTES,
    STREAMS_AT_ONCE,
    Sums,
    split_lanes,
    sum_lanes,
)
from ledger.state import Overlay

STATE_DOMAIN = b"tallystick/state/v1\0"
LANES_BYTES = STREAM_BYTES

# Under these keys nothing is ever changed, so their lanes are needed once only.
_FINAL_KEYS = b"i/"
_STREAMS_KEPT = 2_048
_CARRY = int.from_bytes(b"\x00\x01\x00\x00" * 512, "big")


class StateDigest:
    """Accumulator of a set of (key, value) pairs; mutable, owned by one overlay."""

    __slots__ = ("_even", "_odd")

    def __init__(self, accumulator: bytes = bytes(LANES_BYTES)) -> None:
        if len(accumulator) != LANES_BYTES:
            raise CorruptStore(f"a state accumulator has {LANES_BYTES} bytes")
        self._even, self._odd = split_lanes(accumulator)

    def add(self, key: bytes, value: bytes) -> None:
        """Count the pair in."""
        self.add_all(((key, value),))

    def add_all(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Count many pairs in, faster than one by one."""
        for start in range(0, len(pairs), STREAMS_AT_ONCE):
            self._add(*_sum_pairs(pairs[start : start + STREAMS_AT_ONCE]))

    def remove_all(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Count many pairs out. A lane borrows from the guard bit above it, never from a lane."""
        for start in range(0, len(pairs), STREAMS_AT_ONCE):
            even, odd = _sum_pairs(pairs[start : start + STREAMS_AT_ONCE])
            self._even = ((self._even | _CARRY) - even) & LANE_MASK
            self._odd = ((self._odd | _CARRY) - odd) & LANE_MASK

    def merge(self, accumulator: bytes) -> None:
        """Count in all pairs of another accumulator."""
        self._add(*split_lanes(accumulator))

    def _add(self, even: int, odd: int) -> None:
        self._even = (self._even + even) & LANE_MASK
        self._odd = (self._odd + odd) & LANE_MASK

    def remove(self, key: bytes, value: bytes) -> None:
        """Count the pair out."""
        self.remove_all(((key, value),))

    def encode(self) -> bytes:
        """The 2,048 accumulator bytes."""
        return (self._even | (self._odd << 16)).to_bytes(LANES_BYTES, "big")

    def digest(self) -> bytes:
        """The 32-byte state digest that a header carries."""
        return hashlib.sha256(STATE_DOMAIN + self.encode()).digest()


def _expand(key: bytes, value: bytes) -> bytes:
    return hashlib.shake_128(len(key).to_bytes(4, "big") + key + value).digest(LANES_BYTES)


class _KeptStreams:
    """Streams of pairs by key: what a block puts, one of the next often replaces.

    At least the last `_STREAMS_KEPT` keys are kept, and at most twice as many.
    """

    def __init__(self) -> None:
        self._young: dict[bytes, tuple[bytes, bytes]] = {}
        self._old: dict[bytes, tuple[bytes, bytes]] = {}

    def expand(self, key: bytes, value: bytes) -> bytes:
        """The stream of a pair."""
        kept = self._young.get(key) or self._old.get(key)
        if kept is not None and kept[0] == value:
            return kept[1]
        stream = _expand(key, value)
        if len(self._young) >= _STREAMS_KEPT:
            self._old, self._young = self._young, {}
        self._young[key] = (value, stream)
        return stream


_kept_streams = _KeptStreams()


def _sum_pairs(pairs: Sequence[tuple[bytes, bytes]]) -> Sums:
    kept = _kept_streams.expand
    return sum_lanes(
        [
            _expand(key, value) if key.startswith(_FINAL_KEYS) else kept(key, value)
            for key, value in pairs
        ]
    )


def apply_changes(accumulator: bytes, overlay: Overlay) -> StateDigest:
    """Digest after `overlay`, given the accumulator bytes before it."""
    added: list[tuple[bytes, bytes]] = []
    removed: list[tuple[bytes, bytes]] = []
    for key, value in overlay.changes.items():
        before = overlay.parent_value(key)
        if before == value:
            continue
        if before is not None:
            removed.append((key, before))
        added.append((key, value))
    digest = StateDigest(accumulator)
    digest.remove_all(removed)
    digest.add_all(added)
    return digest


def sum_pairs(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Accumulator of some pairs of a state."""
    digest = StateDigest()
    digest.add_all(pairs)
    return digest.encode()


def hash_state(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Digest of a whole state, computed afresh (the naive twin of `apply_changes`)."""
    digest = StateDigest()
    for key, value in pairs:
        digest.add(key, value)
    return digest.digest()
