"""Sums of lanes, the arithmetic behind a state digest (`ledger.state`).

A stream is 2,048 bytes, read as 1,024 big-endian lanes of 16 bits; lanes are added modulo 2^16. A
sum comes as two integers, of the lanes with an even number (from the last one) and of those with an
odd one, so that each has a field of 32 bits to itself.

With NumPy, if it is installed, a sum takes a tenth of the time that Python's integers need, and is
the same.
"""

from collections.abc import Callable, Sequence
from functools import cache

STREAM_BYTES = 2_048
LANE_MASK = int.from_bytes(b"\x00\x00\xff\xff" * 512, "big")
# Sums of 16-bit lanes in 32-bit fields overflow after this many.
_INTEGERS_MAX = 65_536
# So many streams of an array stay in the cache of a processor; for a few none is made.
_ARRAY_MAX = 512
_FEW = 16

Sums = tuple[int, int]
Add = Callable[[Sequence[bytes]], Sums]


def sum_lanes(streams: Sequence[bytes]) -> Sums:
    """Sums modulo 2^16 of the even and of the odd lanes of streams."""
    if len(streams) < _FEW:
        return add_integers(streams)
    add, at_once = _find_way()
    if len(streams) <= at_once:
        return add(streams)
    even = odd = 0
    for start in range(0, len(streams), at_once):
        more_even, more_odd = add(streams[start : start + at_once])
        even, odd = (even + more_even) & LANE_MASK, (odd + more_odd) & LANE_MASK
    return even, odd


def split_lanes(stream: bytes) -> Sums:
    """The even and the odd lanes of one stream."""
    lanes = int.from_bytes(stream, "big")
    return lanes & LANE_MASK, (lanes >> 16) & LANE_MASK


def add_integers(streams: Sequence[bytes]) -> Sums:
    """The sums of at most 65,536 streams, by long integers."""
    lanes = [int.from_bytes(stream, "big") for stream in streams]
    total, even = sum(lanes), sum([each & LANE_MASK for each in lanes])
    # What is left of the sum, apart from the even lanes, is that of the odd lanes.
    return even & LANE_MASK, ((total - even) >> 16) & LANE_MASK


@cache
def _find_way() -> tuple[Add, int]:
    """How streams are added fastest here, and how many at once."""
    add = find_arrays()
    return (add_integers, _INTEGERS_MAX) if add is None else (add, _ARRAY_MAX)


def find_arrays() -> Add | None:
    """`add_integers` by NumPy, or None where it is not installed."""
    try:
        import numpy as np  # not needed by most programs, and slow to load
    except ImportError:
        return None

    def add_arrays(streams: Sequence[bytes]) -> Sums:
        lanes = np.frombuffer(b"".join(streams), dtype=">u2").reshape(-1, STREAM_BYTES // 2)
        summed = lanes.sum(axis=0, dtype=np.uint16)
        return split_lanes(summed.astype(">u2").tobytes())

    return add_arrays
