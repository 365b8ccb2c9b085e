"""Sums of lanes, the arithmetic behind a state digest (`ledger.state`).

A stream is 2,048 bytes, read as 1,024 big-endian lanes of 16 bits; lanes are added modulo 2^16. A
sum comes as two integers, of the lanes with an even number (from the last one) and of those with an
odd one, so that each has a field of 32 bits to itself.

With NumPy, if it is installed, a sum takes a fifth of the time that Python's integers need, and is
the same.
"""

from collections.abc import Callable, Sequence
from functools import cache

STREAM_BYTES = 2_048
# Added at once, they stay in the cache of a processor. More than 65,536 would overflow a field.
STREAMS_AT_ONCE = 64
LANE_MASK = int.from_bytes(b"\x00\x00\xff\xff" * 512, "big")
# For so few no array is made.
_FEW = 16

Sums = tuple[int, int]
Add = Callable[[Sequence[bytes]], Sums]


def sum_lanes(streams: Sequence[bytes]) -> Sums:
    """Sums of the even and of the odd lanes of `STREAMS_AT_ONCE` streams, or less."""
    add = add_integers if len(streams) < _FEW else find_arrays() or add_integers
    return add(streams)


def split_lanes(stream: bytes) -> Sums:
    """The even and the odd lanes of one stream."""
    lanes = int.from_bytes(stream, "big")
    return lanes & LANE_MASK, (lanes >> 16) & LANE_MASK


def add_integers(streams: Sequence[bytes]) -> Sums:
    """`sum_lanes` by long integers."""
    lanes = [int.from_bytes(stream, "big") for stream in streams]
    total, even = sum(lanes), sum([each & LANE_MASK for each in lanes])
    # What is left of the sum, apart from the even lanes, is that of the odd lanes.
    return even & LANE_MASK, ((total - even) >> 16) & LANE_MASK


@cache
def find_arrays() -> Add | None:
    """`sum_lanes` by NumPy, or None where it is not installed."""
    try:
        import numpy as np  # most programs need it never, and it is slow to load
    except ImportError:
        return None

    def add_arrays(streams: Sequence[bytes]) -> Sums:
        lanes = np.frombuffer(b"".join(streams), dtype=">u2").reshape(-1, STREAM_BYTES // 2)
        return split_lanes(lanes.sum(axis=0, dtype=np.uint16).astype(">u2").tobytes())

    return add_arrays
