"""Canonical bytes: one value, one encoding, and nothing else is read."""

import re

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ledger.codec
from ledger.codec import Codec, MemoCodec, Value
from ledger.errors import InvalidEncoding
from tests.vectors.ledger_cases import FILES, read_frozen


class Example(Value, frozen=True, kw_only=True):
    """The value of the worked example."""

    name: str
    count: int
    raw: bytes


class Everything(Value, frozen=True, kw_only=True):
    """One field of each shape that the ledger uses."""

    text: str
    number: int
    raw: bytes
    items: tuple[str, ...]
    inner: Example | None
    flag: bool


EXAMPLES = Codec(Example, size_bytes_max=1_000)
EVERYTHING = Codec(Everything, size_bytes_max=100_000)
UINTS = st.integers(0, 2**63 - 1)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=300)
EXAMPLE_VALUES = st.builds(Example, name=TEXTS, count=UINTS, raw=st.binary(max_size=300))
VALUES = st.builds(
    Everything,
    text=TEXTS,
    number=UINTS,
    raw=st.binary(max_size=70_000),
    items=st.lists(TEXTS, max_size=40).map(tuple),
    inner=st.none() | EXAMPLE_VALUES,
    flag=st.booleans(),
)
ONE = Example(name="符", count=300, raw=b"\x01")


def test_worked_example_of_the_docstring() -> None:
    text = ledger.codec.__doc__ or ""
    rows = re.findall(r"^ {4,}((?:[0-9a-f]{2,} {1,2})+) {2,}\S", text, flags=re.MULTILINE)
    digits = "".join(rows).replace(" ", "")
    assert len(rows) == 4
    assert EXAMPLES.encode(ONE).hex() == digits
    assert EXAMPLES.decode(bytes.fromhex(digits)) == ONE


@given(value=VALUES)
def test_agrees_with_another_implementation(value: Everything) -> None:
    """The PyPI package `msgpack` makes and reads the same bytes."""
    plain = msgspec.to_builtins(value, builtin_types=(bytes,))
    data = EVERYTHING.encode(value)
    assert data == msgpack.packb(plain)
    assert msgpack.unpackb(data, use_list=False) == plain
    assert EVERYTHING.decode(data) == value


@given(data=st.binary(max_size=200))
def test_garbage_is_refused_or_canonical(data: bytes) -> None:
    for codec in (EXAMPLES, EVERYTHING):
        try:
            value = codec.decode(data)
        except InvalidEncoding:
            continue
        assert codec.encode(value) == data


@given(value=EXAMPLE_VALUES, position=st.integers(0, 2**20), bit=st.integers(0, 7))
def test_flipped_bit_is_refused_or_another_value(value: Example, position: int, bit: int) -> None:
    data = bytearray(EXAMPLES.encode(value))
    data[position % len(data)] ^= 1 << bit
    try:
        other = EXAMPLES.decode(bytes(data))
    except InvalidEncoding:
        return
    assert other != value
    assert EXAMPLES.encode(other) == bytes(data)


def packed(**fields: object) -> bytes:
    return bytes(msgpack.packb(fields))


NAME, COUNT, RAW = packed(name="符")[1:], packed(count=300)[1:], packed(raw=b"\x01")[1:]
NOT_CANONICAL = {
    "fields in another order": b"\x83" + COUNT + NAME + RAW,
    "field twice": b"\x84" + NAME + COUNT + RAW + RAW,
    "field twice, one missing": b"\x83" + NAME + COUNT + COUNT,
    "field missing": b"\x82" + NAME + COUNT,
    "unknown field": b"\x84" + NAME + COUNT + RAW + b"\xa1x\x00",
    "longer map header": b"\xde\x00\x03" + NAME + COUNT + RAW,
    "longer integer": b"\x83" + NAME + b"\xa5count\xce\x00\x00\x01\x2c" + RAW,
    "signed integer": b"\x83" + NAME + b"\xa5count\xd1\x01\x2c" + RAW,
    "integer as float": b"\x83" + NAME + b"\xa5count\xcb\x40\x72\xc0\x00\x00\x00\x00\x00" + RAW,
    "integer as text": b"\x83" + NAME + b"\xa5count\xa3300" + RAW,
    "longer string": b"\x83\xa4name\xd9\x03\xe7\xac\xa6" + COUNT + RAW,
    "longer key": b"\x83\xd9\x04name\xa3\xe7\xac\xa6" + COUNT + RAW,
    "longer bytes": b"\x83" + NAME + COUNT + b"\xa3raw\xc5\x00\x01\x01",
    "text where bytes belong": b"\x83" + NAME + COUNT + b"\xa3raw\xa1\x01",
    "bytes where text belongs": b"\x83\xa4name\xc4\x03\xe7\xac\xa6" + COUNT + RAW,
    "broken UTF-8": b"\x83\xa4name\xa2\xc0\x80" + COUNT + RAW,
    "surrogate in UTF-8": b"\x83\xa4name\xa3\xed\xa0\x80" + COUNT + RAW,
    "spare byte": b"\x83" + NAME + COUNT + RAW + b"\x00",
    "cut off": b"\x83" + NAME + COUNT + RAW[:-1],
    "empty": b"",
    "null": b"\xc0",
    "array": b"\x93\xa3\xe7\xac\xa6\xcd\x01\x2c\xc4\x01\x01",
    "extension": b"\x83" + NAME + COUNT + b"\xa3raw\xd4\x05\x01",
    "huge length": b"\x83" + NAME + COUNT + b"\xa3raw\xc6\xff\xff\xff\xff\x01",
    "integer above 64 bits": b"\x83" + NAME + b"\xa5count\xd3\x80\x00\x00\x00\x00\x00\x00" + RAW,
}


def test_the_parts_make_the_whole() -> None:
    assert EXAMPLES.decode(b"\x83" + NAME + COUNT + RAW) == ONE


@pytest.mark.parametrize("name", NOT_CANONICAL)
def test_other_spellings_are_refused(name: str) -> None:
    with pytest.raises(InvalidEncoding, match="Example"):
        EXAMPLES.decode(NOT_CANONICAL[name])


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1a", b"\xdc\x00\x01"])
def test_deep_nesting_is_refused(opening: bytes) -> None:
    codec = Codec(object, size_bytes_max=1_000_000)
    with pytest.raises(InvalidEncoding):
        codec.decode(opening * 100_000)


def test_size_is_bounded_both_ways() -> None:
    data = EXAMPLES.encode(ONE)
    tight = Codec(Example, size_bytes_max=len(data))
    assert tight.decode(tight.encode(ONE)) == ONE
    with pytest.raises(InvalidEncoding, match=f"{len(data) + 1} bytes, at most {len(data)}"):
        tight.decode(data + b"\0")
    with pytest.raises(InvalidEncoding, match="at most"):
        tight.encode(Example(name="符符", count=300, raw=b"\x01"))


def test_text_that_is_not_utf8_cannot_be_encoded() -> None:
    with pytest.raises(InvalidEncoding):
        EXAMPLES.encode(Example(name="\ud800", count=0, raw=b""))


def test_number_that_does_not_fit_cannot_be_encoded() -> None:
    with pytest.raises(InvalidEncoding):
        EXAMPLES.encode(Example(name="", count=2**64, raw=b""))


@pytest.mark.parametrize("name", FILES)
def test_frozen_bytes(name: str) -> None:
    """Every frozen case is what the code makes today, and every case of today is frozen."""
    assert read_frozen(name) == FILES[name]()


@given(st.lists(EXAMPLE_VALUES, max_size=20))
def test_a_codec_with_a_memory_gives_what_one_without_gives(values: list[Example]) -> None:
    memo = MemoCodec(Example, size_bytes_max=1_000, kept=3)
    for value in values:
        data = memo.encode(value)
        assert data == EXAMPLES.encode(value)
        assert memo.decode(data) == EXAMPLES.decode(data) == value
    for value in values:
        assert memo.decode(EXAMPLES.encode(value)) == value


def test_a_memory_is_bounded_and_keeps_the_newest() -> None:
    memo = MemoCodec(Example, size_bytes_max=1_000, kept=4)
    values = [Example(name=str(at), count=at, raw=b"") for at in range(100)]
    data = [memo.encode(value) for value in values]
    found = [memo.decode(each) for each in data[-4:]]
    assert all(each is value for each, value in zip(found, values[-4:], strict=True))
    assert memo.decode(data[0]) is not values[0]
    assert memo.decode(data[0]) == values[0]
    assert len(memo._young) + len(memo._old) <= 8


def test_a_memory_remembers_no_refusal_and_refuses_again() -> None:
    memo = MemoCodec(Example, size_bytes_max=1_000, kept=4)
    for _ in range(2):
        with pytest.raises(InvalidEncoding):
            memo.decode(b"\x81\xa1x\x01")


@given(st.lists(VALUES.map(EVERYTHING.encode), max_size=5))
def test_several_at_once_are_what_one_by_one_are(items: list[bytes]) -> None:
    assert EVERYTHING.decode_all(items) == [EVERYTHING.decode(item) for item in items]


def test_several_at_once_are_refused_for_any_fault() -> None:
    good = EXAMPLES.encode(ONE)
    spare, cut = good + b"\x00", good[:-1]
    long_form = good.replace(b"\xcd\x01\x2c", b"\xce\x00\x00\x01\x2c")
    assert long_form != good
    for bad in (spare, cut, long_form, b"", EXAMPLES.encode(ONE)[:1], bytes(1_001)):
        for items in ([bad], [good, bad], [bad, good], [good, bad, good]):
            with pytest.raises(InvalidEncoding):
                EXAMPLES.decode_all(items)


def test_where_an_item_ends_is_not_told_by_the_array() -> None:
    """Two values whose bytes are parted in another place are no two items."""
    good = EXAMPLES.encode(ONE)
    both = good + good
    for at in range(len(both) + 1):
        items = [both[:at], both[at:]]
        if at == len(good):
            assert EXAMPLES.decode_all(items) == [ONE, ONE]
        else:
            with pytest.raises(InvalidEncoding):
                EXAMPLES.decode_all(items)
    with pytest.raises(InvalidEncoding):
        EXAMPLES.decode_all([both])
