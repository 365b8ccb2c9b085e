"""State digest against a naive twin."""

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import CorruptStore
from ledger.lthash.digest import (
    LANES_BYTES,
    STATE_DOMAIN,
    StateDigest,
    apply_changes,
    hash_state,
    sum_pairs,
)
from ledger.state import (
    MapState,
    Overlay,
)

KEYS = st.binary(min_size=1, max_size=4)
STATES = st.dictionaries(KEYS, st.binary(max_size=6), max_size=12)


def naive_lanes(key: bytes, value: bytes) -> list[int]:
    """LtHash16 as it is written down: 1,024 lanes of 16 bits."""
    stream = hashlib.shake_128(len(key).to_bytes(4, "big") + key + value).digest(2_048)
    return [int.from_bytes(stream[at : at + 2], "big") for at in range(0, 2_048, 2)]


def naive_accumulator(pairs: dict[bytes, bytes]) -> bytes:
    sums = [0] * 1_024
    for key, value in pairs.items():
        sums = [(a + b) % 65_536 for a, b in zip(sums, naive_lanes(key, value), strict=True)]
    return b"".join(lane.to_bytes(2, "big") for lane in sums)


def digest_of(pairs: dict[bytes, bytes]) -> StateDigest:
    digest = StateDigest()
    for key, value in pairs.items():
        digest.add(key, value)
    return digest


@given(pairs=STATES)
def test_agrees_with_the_naive_twin(pairs: dict[bytes, bytes]) -> None:
    accumulator = naive_accumulator(pairs)
    assert digest_of(pairs).encode() == accumulator
    expected = hashlib.sha256(STATE_DOMAIN + accumulator).digest()
    assert hash_state(pairs.items()) == digest_of(pairs).digest() == expected


@given(pairs=STATES, others=STATES)
def test_removing_undoes_adding(pairs: dict[bytes, bytes], others: dict[bytes, bytes]) -> None:
    digest = digest_of(pairs)
    for key, value in others.items():
        digest.add(key, value)
    for key, value in others.items():
        digest.remove_all([(key, value)])
    assert digest.encode() == naive_accumulator(pairs)


def test_lanes_wrap_without_touching_their_neighbours() -> None:
    """Many additions and removals carry and borrow in every lane."""
    digest = StateDigest(b"\xff" * LANES_BYTES)
    sums = [65_535] * 1_024
    for number in range(64):
        digest.add(b"k", bytes([number]))
        lanes = naive_lanes(b"k", bytes([number]))
        sums = [(a + b) % 65_536 for a, b in zip(sums, lanes, strict=True)]
    for number in range(64, 128):
        digest.remove_all([(b"k", bytes([number]))])
        lanes = naive_lanes(b"k", bytes([number]))
        sums = [(a - b) % 65_536 for a, b in zip(sums, lanes, strict=True)]
    assert digest.encode() == b"".join(lane.to_bytes(2, "big") for lane in sums)


def test_order_does_not_matter_but_the_boundary_does() -> None:
    pairs = [(b"a", b"1"), (b"b", b"2"), (b"c", b"")]
    digests = {hash_state(order) for order in itertools.permutations(pairs)}
    assert len(digests) == 1
    assert hash_state([(b"ab", b"c")]) != hash_state([(b"a", b"bc")])
    assert hash_state([(b"a", b"")]) != hash_state([])


@pytest.mark.parametrize("size", [0, 32, LANES_BYTES - 1, LANES_BYTES + 1])
def test_accumulator_has_one_length(size: int) -> None:
    with pytest.raises(CorruptStore):
        StateDigest(bytes(size))


@given(pairs=STATES, others=STATES)
def test_many_at_once_are_what_one_by_one_are(
    pairs: dict[bytes, bytes], others: dict[bytes, bytes]
) -> None:
    one_by_one, at_once = StateDigest(), StateDigest()
    for key, value in pairs.items():
        one_by_one.add(key, value)
    for key, value in others.items():
        one_by_one.remove_all([(key, value)])
    at_once.remove_all(list(others.items()))
    at_once.add_all(list(pairs.items()))
    assert at_once.encode() == one_by_one.encode()


def test_streams_that_are_kept_are_those_of_the_value() -> None:
    """A key that changes to and fro, more keys than are kept, and a key put once more."""
    keys = [number.to_bytes(2, "big") for number in range(5_000)]
    pairs = dict.fromkeys(keys, b"0")
    accumulator = sum_pairs(list(pairs.items()))
    state = MapState(pairs)
    for value in (b"1", b"0", b"1"):
        overlay = Overlay(state)
        for key in keys[::3]:
            overlay.put(key, value)
        accumulator = apply_changes(accumulator, overlay).encode()
        state.pairs.update(overlay.changes)
        assert StateDigest(accumulator).digest() == hash_state(state.pairs.items())
