"""Sums of the streams of pairs: the costly half of a state digest.

A pair (key, value) expands to a stream of 2,048 bytes, the beginning of SHAKE-128 over

    length of the key (4 bytes, big-endian) || key || value

read as 1,024 big-endian lanes of 16 bits. Lanes are added modulo 2^16. A sum comes as two integers,
of the lanes with an even number (from the last one) and of those with an odd one, so that each has
a field of 32 bits to itself.

Where it was built (`_streams.c`: x86-64 with AVX2, and a C compiler when the package was built), a
module in C makes eight streams at a time; everywhere else `hashlib` makes one. Both give the same,
and a module that does not (an old one, one that was built wrongly) is not used.
"""

import hashlib
from collections.abc import Callable, Sequence

STREAM_BYTES = 2_048
RATE_BYTES = 168  # of SHAKE-128, absorbed at a time
LANE_MASK = int.from_bytes(b"\x00\x00\xff\xff" * 512, "big")
# Sums of 16-bit lanes in 32-bit fields overflow after this many.
_PAIRS_MAX = 65_536
# Under these keys nothing is ever changed, so their streams are needed once only.
_FINAL_KEYS = b"i/"
_STREAMS_KEPT = 2_048

Pair = tuple[bytes, bytes]
Sums = tuple[int, int]


def sum_streams(pairs: Sequence[Pair]) -> Sums:
    """Sums of the even and of the odd lanes of the streams of pairs."""
    even = odd = 0
    for start in range(0, len(pairs), _PAIRS_MAX):
        some = list(pairs[start : start + _PAIRS_MAX])
        more = sum_by_hashlib(some) if sum_natively is None else split_lanes(sum_natively(some))
        even, odd = (even + more[0]) & LANE_MASK, (odd + more[1]) & LANE_MASK
    return even, odd


def split_lanes(stream: bytes) -> Sums:
    """The even and the odd lanes of one stream."""
    lanes = int.from_bytes(stream, "big")
    return lanes & LANE_MASK, (lanes >> 16) & LANE_MASK


def sum_by_hashlib(pairs: Sequence[Pair]) -> Sums:
    """`sum_streams` of at most 65,536 pairs, without the module in C."""
    expand = _kept.expand
    lanes = [
        _expand(key, value) if key.startswith(_FINAL_KEYS) else expand(key, value)
        for key, value in pairs
    ]
    total, even = sum(lanes), sum([each & LANE_MASK for each in lanes])
    # What is left of the sum, apart from the even lanes, is that of the odd lanes.
    return even & LANE_MASK, ((total - even) >> 16) & LANE_MASK


def _expand(key: bytes, value: bytes) -> int:
    message = len(key).to_bytes(4, "big") + key + value
    return int.from_bytes(hashlib.shake_128(message).digest(STREAM_BYTES), "big")


class _KeptLanes:
    """Lanes of pairs by key: what a block puts, one of the next often replaces.

    At least the last `_STREAMS_KEPT` keys are kept, and at most twice as many.
    """

    def __init__(self) -> None:
        self._young: dict[bytes, tuple[bytes, int]] = {}
        self._old: dict[bytes, tuple[bytes, int]] = {}

    def expand(self, key: bytes, value: bytes) -> int:
        """The lanes of a pair."""
        kept = self._young.get(key) or self._old.get(key)
        if kept is not None and kept[0] == value:
            return kept[1]
        lanes = _expand(key, value)
        if len(self._young) >= _STREAMS_KEPT:
            self._old, self._young = self._young, {}
        self._young[key] = (value, lanes)
        return lanes


_kept = _KeptLanes()


def _find_native() -> Callable[[list[Pair]], bytes] | None:
    """The module's sum, if it is there and right about pairs of one block, of two, of three."""
    try:
        from ledger.lthash import _streams
    except ImportError:
        return None
    pairs = [(b"x/" + bytes([size]), bytes(size)) for size in range(0, 250, 30)]
    pairs += [(b"x/long", bytes(450)), (b"", bytes(RATE_BYTES - 5)), (b"", bytes(RATE_BYTES - 4))]
    is_right = split_lanes(_streams.sum_pairs(pairs)) == sum_by_hashlib(pairs)
    return _streams.sum_pairs if is_right else None


sum_natively = _find_native()
