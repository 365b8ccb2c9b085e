"""Entries: headers and records have one spelling and cannot be taken for each other."""

from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.blocks import (
    ENTRY_SIZE_BYTES_MAX,
    HEADERS,
    RECORDS,
    Header,
    Record,
    decode_entry,
    hash_header,
    hash_validators,
    is_header,
    quorum_of,
)
from ledger.errors import InvalidEncoding
from ledger.events import EVENT_SIZE_BYTES_MAX
from tests.unit.ledger.builders import make_chain, make_event, make_outcome, make_record

CHAIN = make_chain((2, 1))
HEADER, RECORD = CHAIN.entries[0], CHAIN.entries[1]


def repack(entry: bytes, /, **lies: Any) -> bytes:
    return bytes(msgpack.packb(msgpack.unpackb(entry) | lies))


def test_there_and_back() -> None:
    assert [isinstance(decode_entry(entry), Header) for entry in CHAIN.entries] == [
        True, False, False, True, False,
    ]  # fmt: skip
    for entry in CHAIN.entries:
        value = decode_entry(entry)
        codec: Any = HEADERS if isinstance(value, Header) else RECORDS
        assert codec.encode(value) == entry
        assert is_header(entry) == isinstance(value, Header)
    assert repack(HEADER) == HEADER
    assert repack(RECORD) == RECORD


def test_record_holds_the_exact_event() -> None:
    record = decode_entry(RECORD)
    assert isinstance(record, Record)
    assert record.event == make_event(0).data


@pytest.mark.parametrize(
    "lies",
    [
        {"entry": 2},
        {"entry": 0},
        {"version": 2},
        {"network": bytes(31)},
        {"height": -1},
        {"height": 2**63},
        {"view": 1.0},
        {"proposer": 30},
        {"proposer": -1},
        {"record_count": 1_001},
        {"records_root": b""},
        {"engine": "e" * 65},
        {"next_validators": bytes(33)},
        {"spare": 0},
    ],
)
def test_lying_header_is_refused(lies: dict[str, Any]) -> None:
    with pytest.raises(InvalidEncoding):
        decode_entry(repack(HEADER, **lies))


def outcome_lie(**lies: Any) -> bytes:
    record = msgpack.unpackb(RECORD)
    return repack(RECORD, outcome=record["outcome"] | lies)


@pytest.mark.parametrize(
    "lies",
    [
        {"applied": 1},
        {"applied": None},
        {"code": "c" * 65},
        {"decision": "maybe"},
        {"policies": ["p"] * 65},
        {"policies": [1]},
        {"policy_set": bytes(33)},
        {"obligations": {}},
        {"spare": 0},
    ],
)
def test_lying_outcome_is_refused(lies: dict[str, Any]) -> None:
    with pytest.raises(InvalidEncoding):
        decode_entry(outcome_lie(**lies))
    assert outcome_lie() == RECORD


@given(data=st.binary(max_size=300))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidEncoding):
        decode_entry(data)


@given(position=st.integers(0, 2**20), bit=st.integers(0, 7), which=st.sampled_from((0, 1)))
def test_flipped_bit_is_refused_or_another_entry(position: int, bit: int, which: int) -> None:
    entry = (HEADER, RECORD)[which]
    data = bytearray(entry)
    data[position % len(data)] ^= 1 << bit
    try:
        value = decode_entry(bytes(data))
    except InvalidEncoding:
        return
    assert value != decode_entry(entry)
    assert isinstance(value, (Header, Record)[which])


def test_largest_event_fits_into_an_entry() -> None:
    outcome = make_outcome(policies=("p" * 64,) * 64)
    data = RECORDS.encode(Record(entry=2, event=bytes(EVENT_SIZE_BYTES_MAX), outcome=outcome))
    assert len(data) <= ENTRY_SIZE_BYTES_MAX
    with pytest.raises(InvalidEncoding):
        RECORDS.encode(Record(entry=2, event=bytes(ENTRY_SIZE_BYTES_MAX), outcome=make_outcome()))


def test_block_hash_names_every_field() -> None:
    header = HEADERS.decode(HEADER)
    changed = {
        hash_header(HEADERS.encode(msgspec.structs.replace(header, **{name: value})))
        for name, value in (
            ("epoch", 9),
            ("height", 9),
            ("view", 9),
            ("parent_view", 9),
            ("proposer", 9),
            ("time_ms", 9),
            ("tree_size", 9),
            ("record_count", 9),
            ("engine", "other"),
            *(
                (name, b"\x09" * 32)
                for name in (
                    "network", "parent_hash", "tree_root", "records_root", "state_digest",
                    "validators_hash", "next_validators",
                )
            ),
        )
    }  # fmt: skip
    assert len(changed) == len(Header.__struct_fields__) - 2
    assert hash_header(HEADER) not in changed


def test_validators_hash_depends_on_order() -> None:
    first, second = b"\x01" + b"a" * 32, b"\x01" + b"b" * 32
    assert hash_validators((first, second)) != hash_validators((second, first))
    assert hash_validators(()) != hash_validators((first,))


def test_record_is_never_taken_for_a_header() -> None:
    assert not is_header(make_record(HEADER))
    assert not is_header(b"")
    assert not is_header(HEADER[1:])


@pytest.mark.parametrize(
    ("validators", "quorum"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (30, 21)]
)
def test_quorum(validators: int, quorum: int) -> None:
    assert quorum_of(validators) == quorum


def test_two_quorums_share_an_honest_validator() -> None:
    for count in range(1, 200):
        faulty = (count - 1) // 3
        assert 2 * quorum_of(count) - count >= faulty + 1
        assert quorum_of(count) <= count - faulty
