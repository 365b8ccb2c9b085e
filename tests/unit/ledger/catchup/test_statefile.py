"""State files: what is written is read back, and nothing else is."""

import io
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.catchup import statefile
from ledger.catchup.statefile import StateHead, read_head, read_state, write_state
from ledger.errors import InvalidEncoding, InvalidProof
from ledger.lthash.digest import hash_state, sum_pairs

HEAD = StateHead(version=1, network=b"\x07" * 32, height=9, index=40)
PAIRS = [(b"a/%d" % number, b"value" * number) for number in range(9)]


def make_file(pairs: Iterable[tuple[bytes, bytes]] = PAIRS, head: StateHead = HEAD) -> bytes:
    return b"".join(write_state(head, pairs))


def read_file(data: bytes, digest: bytes, size: int = 50) -> dict[bytes, bytes]:
    file = io.BytesIO(data)
    assert read_head(file.read) == HEAD
    state, accumulator = read_state(file.read, size, digest)
    assert accumulator == sum_pairs(sorted(state.pairs.items()))
    return state.pairs


@given(st.dictionaries(st.binary(min_size=1, max_size=40), st.binary(max_size=60), max_size=30))
def test_what_is_written_is_read(pairs: dict[bytes, bytes]) -> None:
    found = read_file(make_file(sorted(pairs.items())), hash_state(pairs.items()))
    assert found == pairs


def test_a_large_state_is_written_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make_file()
    monkeypatch.setattr(statefile, "PART_PAIRS_MAX", 2)
    parts = make_file()
    assert len(list(write_state(HEAD, PAIRS))) == 1 + 5 + 1
    assert len(parts) > len(whole)
    assert read_file(parts, hash_state(PAIRS)) == dict(PAIRS)
    monkeypatch.setattr(statefile, "PART_BYTES", 1)
    assert len(list(write_state(HEAD, PAIRS))) == 1 + 9 + 1


def test_every_cut_and_every_flipped_byte_is_refused() -> None:
    data, digest = make_file(), hash_state(PAIRS)
    head = len(next(write_state(HEAD, ())))
    for at in range(len(data)):
        with pytest.raises((InvalidEncoding, InvalidProof)):
            read_file(data[:at], digest)
        if at >= head:
            flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            with pytest.raises((InvalidEncoding, InvalidProof)):
                read_file(flipped, digest)


def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(InvalidEncoding, match="bytes follow"):
        read_file(make_file() + b"\0", hash_state(PAIRS))


def test_pairs_out_of_order_or_double_are_refused() -> None:
    for pairs in ([PAIRS[1], PAIRS[0]], [PAIRS[0], PAIRS[0]]):
        with pytest.raises(InvalidProof, match="rise"):
            read_file(make_file(pairs), hash_state(pairs))


def test_another_state_is_refused() -> None:
    for pairs in (PAIRS[1:], [*PAIRS, (b"z", b"")], [(b"a/0", b"other"), *PAIRS[1:]]):
        with pytest.raises(InvalidProof, match="digest"):
            read_file(make_file(pairs), hash_state(PAIRS))


def test_a_part_says_no_length_that_nobody_writes() -> None:
    head = next(write_state(HEAD, ()))
    for length in (statefile.PART_BYTES_MAX + 1, 2**32 - 1):
        with pytest.raises(InvalidEncoding, match="are allowed"):
            read_file(head + length.to_bytes(4, "big"), hash_state(PAIRS))


def test_a_state_is_no_larger_than_its_log_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statefile, "STATE_BYTES_BASE", 0)
    monkeypatch.setattr(statefile, "STATE_BYTES_PER_ENTRY", 1)
    with pytest.raises(InvalidProof, match="more bytes"):
        read_file(make_file(), hash_state(PAIRS))
    total = sum(len(key) + len(value) for key, value in PAIRS)
    assert read_file(make_file(), hash_state(PAIRS), total) == dict(PAIRS)
