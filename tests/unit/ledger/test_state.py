"""Overlays against a dict, keys against each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.lthash.digest import apply_changes, hash_state, sum_pairs
from ledger.state import (
    MapState,
    Overlay,
    counters_key,
    dataset_key,
    exchange_key,
    legal_basis_key,
    member_key,
    nonce_key,
    officer_key,
    purpose_key,
)

KEYS = st.binary(min_size=1, max_size=4)
STATES = st.dictionaries(KEYS, st.binary(max_size=6), max_size=12)


@given(before=STATES, changes=st.lists(STATES, max_size=4))
def test_overlays_agree_with_a_dict(
    before: dict[bytes, bytes], changes: list[dict[bytes, bytes]]
) -> None:
    twin = dict(before)
    base = MapState(before)
    accumulator = sum_pairs(list(before.items()))
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
    accumulator = sum_pairs(list(base.pairs.items()))
    assert apply_changes(accumulator, overlay).encode() == accumulator


def test_empty_value_is_a_value() -> None:
    base = MapState({b"a": b"1"})
    overlay = Overlay(base)
    overlay.put(b"a", b"")
    assert overlay.get(b"a") == b""
    digest = apply_changes(sum_pairs(list(base.pairs.items())), overlay)
    assert digest.digest() == hash_state([(b"a", b"")])


def test_rebase_reads_through_the_new_parent() -> None:
    overlay = Overlay(MapState({b"a": b"1"}))
    overlay.put(b"b", b"2")
    overlay.rebase(MapState({b"a": b"1", b"c": b"3"}))
    assert [overlay.get(key) for key in (b"a", b"b", b"c")] == [b"1", b"2", b"3"]


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
