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
from ledger.lthash.streams import LANE_MASK, STREAM_BYTES, split_lanes, sum_streams
from ledger.state import Overlay

STATE_DOMAIN = b"tallystick/state/v1\0"
LANES_BYTES = STREAM_BYTES

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
        self._add(*sum_streams(pairs))

    def remove_all(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Count many pairs out. A lane borrows from the guard bit above it, never from a lane."""
        even, odd = sum_streams(pairs)
        self._even = ((self._even | _CARRY) - even) & LANE_MASK
        self._odd = ((self._odd | _CARRY) - odd) & LANE_MASK

    def merge(self, accumulator: bytes) -> None:
        """Count in all pairs of another accumulator."""
        self._add(*split_lanes(accumulator))

    def _add(self, even: int, odd: int) -> None:
        self._even = (self._even + even) & LANE_MASK
        self._odd = (self._odd + odd) & LANE_MASK

    def encode(self) -> bytes:
        """The 2,048 accumulator bytes."""
        return (self._even | (self._odd << 16)).to_bytes(LANES_BYTES, "big")

    def digest(self) -> bytes:
        """The 32-byte state digest that a header carries."""
        return hashlib.sha256(STATE_DOMAIN + self.encode()).digest()


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
