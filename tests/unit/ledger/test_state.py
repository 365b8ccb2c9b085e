"""State digest against a naive twin, overlays against a dict, keys against each other."""

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import CorruptStore
from ledger.state import (
    LANES_BYTES,
    STATE_DOMAIN,
    MapState,
    Overlay,
    StateDigest,
    apply_changes,
    counters_key,
    dataset_key,
    exchange_key,
    hash_state,
    legal_basis_key,
    member_key,
    nonce_key,
    officer_key,
    purpose_key,
    sum_pairs,
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
        digest.remove(key, value)
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
        digest.remove(b"k", bytes([number]))
        lanes = naive_lanes(b"k", bytes([number]))
        sums = [(a - b) % 65_536 for a, b in zip(sums, lanes, strict=True)]
    assert digest.encode() == b"".join(lane.to_bytes(2, "big") for lane in sums)


def test_order_does_not_matter_but_the_boundary_does() -> None:
    pairs = [(b"a", b"1"), (b"b", b"2"), (b"c", b"")]
    digests = {hash_state(order) for order in itertools.permutations(pairs)}
    assert len(digests) == 1
    assert hash_state([(b"ab", b"c")]) != hash_state([(b"a", b"bc")])
    assert hash_state([(b"a", b"")]) != hash_state([])


@given(before=STATES, changes=st.lists(STATES, max_size=4))
def test_overlays_agree_with_a_dict(
    before: dict[bytes, bytes], changes: list[dict[bytes, bytes]]
) -> None:
    twin = dict(before)
    base = MapState(before)
    accumulator = digest_of(before).encode()
    top: MapState | Overlay = base
    for change in changes:
        overlay = Overlay(top)
        for key, value in change.items():
            overlay.put(key, value)
            assert overlay.parent_value(key) == twin.get(key)
        digest = apply_changes(accumulator, overlay)
        twin |= change
        assert digest.digest() == hash_state(twin.items())
        accumulator, top = digest.encode(), overlay
    assert {key: top.get(key) for key in twin} == twin
    assert top.get(b"a key too long") is None
    assert base.pairs == before


def test_value_that_is_put_back_changes_nothing() -> None:
    base = MapState({b"a": b"1"})
    overlay = Overlay(base)
    overlay.put(b"a", b"2")
    overlay.put(b"a", b"1")
    accumulator = digest_of(base.pairs).encode()
    assert apply_changes(accumulator, overlay).encode() == accumulator


def test_empty_value_is_a_value() -> None:
    base = MapState({b"a": b"1"})
    overlay = Overlay(base)
    overlay.put(b"a", b"")
    assert overlay.get(b"a") == b""
    digest = apply_changes(digest_of(base.pairs).encode(), overlay)
    assert digest.digest() == hash_state([(b"a", b"")])


def test_rebase_reads_through_the_new_parent() -> None:
    overlay = Overlay(MapState({b"a": b"1"}))
    overlay.put(b"b", b"2")
    overlay.rebase(MapState({b"a": b"1", b"c": b"3"}))
    assert [overlay.get(key) for key in (b"a", b"b", b"c")] == [b"1", b"2", b"3"]


@pytest.mark.parametrize("size", [0, 32, LANES_BYTES - 1, LANES_BYTES + 1])
def test_accumulator_has_one_length(size: int) -> None:
    with pytest.raises(CorruptStore):
        StateDigest(bytes(size))


def test_keys_do_not_collide() -> None:
    keys = [
        member_key("a"),
        dataset_key("a"),
        legal_basis_key("a"),
        purpose_key("a"),
        officer_key(b"\x01" * 33),
        exchange_key(b"\x01" * 32),
        nonce_key("a", b"b" * 16),
        nonce_key("a.b", b"b" * 16),
        counters_key("a", "b", "c", 2026),
        counters_key("a", "b", "c", 2027),
        counters_key("b", "a", "c", 2026),
        counters_key("a", "b.c", "c", 2026),
    ]
    assert len(set(keys)) == len(keys)
    assert all(key[1:2] == b"/" for key in keys)
    assert max(map(len, keys)) < 511


@given(pairs=STATES, others=STATES)
def test_many_at_once_are_what_one_by_one_are(
    pairs: dict[bytes, bytes], others: dict[bytes, bytes]
) -> None:
    one_by_one, at_once = StateDigest(), StateDigest()
    for key, value in pairs.items():
        one_by_one.add(key, value)
    for key, value in others.items():
        one_by_one.remove(key, value)
    at_once.remove_all(list(others.items()))
    at_once.add_all(list(pairs.items()))
    assert at_once.encode() == one_by_one.encode()


def test_what_registers_say_is_recalled_until_something_but_an_exchange_changes() -> None:
    asked: list[str] = []

    def find(overlay: Overlay, name: str) -> str:
        asked.append(name)
        return f"{name} {overlay.get(member_key(name))!r}"

    overlay = Overlay(MapState({member_key("a"): b"1"}))
    assert [overlay.recall(find, "a") for _ in range(3)] == ["a b'1'"] * 3
    assert asked == ["a"]
    assert overlay.recall(find, "b") == "b None"
    for flowing in (
        nonce_key("a", bytes(16)),
        exchange_key(bytes(32)),
        counters_key("a", "b", "c", 1),
    ):
        overlay.put(flowing, b"2")
    assert overlay.recall(find, "a") == "a b'1'"
    assert asked == ["a", "b"]
    overlay.put(member_key("a"), b"3")
    assert overlay.recall(find, "a") == "a b'3'"
    assert overlay.recall(find, "b") == "b None"
    assert asked == ["a", "b", "a", "b"]


def test_a_refusal_is_not_recalled() -> None:
    def find(overlay: Overlay) -> bytes:
        found = overlay.get(b"m/a")
        if found is None:
            raise KeyError
        return found

    overlay = Overlay(MapState())
    for _ in range(2):
        with pytest.raises(KeyError):
            overlay.recall(find)
    overlay.put(b"m/a", b"1")
    assert overlay.recall(find) == b"1"


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
