"""Sums of lanes: integers and arrays against addition lane by lane."""

import subprocess
import sys
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.lthash.lanes import (
    STREAM_BYTES,
    STREAMS_AT_ONCE,
    Add,
    add_integers,
    find_arrays,
    split_lanes,
    sum_lanes,
)

# Streams of few different bytes: lanes of zeros, of ones, and some that carry.
STREAMS = st.lists(
    st.tuples(st.binary(min_size=1, max_size=7), st.booleans()).map(
        lambda drawn: (
            (drawn[0] * STREAM_BYTES)[:STREAM_BYTES] if drawn[1] else b"\xff" * STREAM_BYTES
        )
    ),
    max_size=STREAMS_AT_ONCE,
)


def naive(streams: list[bytes]) -> tuple[int, int]:
    lanes = [
        sum(int.from_bytes(stream[at : at + 2], "big") for stream in streams) % 65_536
        for at in range(0, STREAM_BYTES, 2)
    ]
    odd, even = lanes[::2], lanes[1::2]
    whole = [reduce(lambda number, lane: number << 32 | lane, half, 0) for half in (even, odd)]
    return whole[0], whole[1]


def ways() -> list[Add]:
    arrays = find_arrays()
    assert arrays is not None, "the tests are installed with NumPy"
    return [sum_lanes, add_integers, arrays]


@pytest.mark.parametrize("way", range(3))
@given(streams=STREAMS.filter(bool))
def test_every_way_is_the_naive_one(way: int, streams: list[bytes]) -> None:
    assert ways()[way](streams) == naive(streams)


def test_the_sum_of_nothing_is_zero() -> None:
    assert sum_lanes([]) == (0, 0)


def test_no_lane_overflows_into_another() -> None:
    full = [b"\xff" * STREAM_BYTES] * STREAMS_AT_ONCE
    assert {way(full) for way in ways()} == {naive(full)}


def test_a_stream_is_split_into_its_lanes() -> None:
    stream = bytes(range(256)) * 8
    assert split_lanes(stream) == naive([stream])


def test_without_numpy_the_sum_is_the_same() -> None:
    streams = [bytes([number]) * STREAM_BYTES for number in range(STREAMS_AT_ONCE)]
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "from ledger.lthash.lanes import find_arrays, sum_lanes, STREAM_BYTES, STREAMS_AT_ONCE\n"
        "assert find_arrays() is None\n"
        "sums = sum_lanes([bytes([n]) * STREAM_BYTES for n in range(STREAMS_AT_ONCE)])\n"
        "print(*map(hex, sums))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [hex(each) for each in sum_lanes(streams)]


def test_programs_that_sum_little_do_not_load_numpy() -> None:
    code = (
        "import sys\n"
        "from ledger.lthash.digest import hash_state\n"
        "hash_state([(b'a', b'b')])\n"
        "assert 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
