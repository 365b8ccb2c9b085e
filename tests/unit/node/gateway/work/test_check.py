"""The verdict about a fetched payload: what is whole passes, everything else has its code."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from node.gateway.jobs import Failed
from node.gateway.work.check import CUSTOM, DECRYPTION, DOWNLOAD, SCHEMA, SIGNATURE
from node.gateway.work.tasks import Rules
from node.records.errors import RecordsError
from node.records.shipped import read_codes
from node.sealing.format import HEADER_BYTES, TAG_BYTES
from tests.builders import hash32
from tests.unit.node.gateway.work.bench import ABOUT, OWN, PARTNER, lines, seal, verdict

USCC = "91110000600037341L"
ROW = {"name": "某公司", "uscc": USCC}
CHUNK = 65_536 + TAG_BYTES


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "payload.sealed"


def test_what_is_whole_passes_with_its_blind_sealed_to_the_own_key(path: Path) -> None:
    data = lines(ROW)
    checked = verdict(path, seal(path, data), 1)
    assert (checked.codes, checked.text, checked.plain_bytes) == ((), "", len(data))
    assert len(checked.blind) > 32


def test_no_records_are_an_answer_too(path: Path) -> None:
    checked = verdict(path, seal(path, b""), 0)
    assert (checked.codes, checked.plain_bytes) == ((), 0)


def altered(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


LARGE = lines(*({**ROW, "name": f"{n:08d}" + "x" * 60} for n in range(3_000)))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("first chunk", DOWNLOAD), ("second chunk", DOWNLOAD), ("last byte", DOWNLOAD),
        ("short by one", DOWNLOAD), ("short by a chunk", DOWNLOAD), ("only a header", DOWNLOAD),
        ("half a header", DOWNLOAD), ("nothing", DOWNLOAD), ("zeros", DOWNLOAD),
        ("long by one", DOWNLOAD), ("long by itself", DOWNLOAD), ("chunks swapped", DOWNLOAD),
    ],
)  # fmt: skip
def test_what_is_not_what_was_sealed_is_rejected(path: Path, name: str, code: int) -> None:
    commitment = seal(path, LARGE)
    data = path.read_bytes()
    first, second = HEADER_BYTES, HEADER_BYTES + CHUNK
    changed = {
        "first chunk": altered(data, first + 5),
        "second chunk": altered(data, second + 5),
        "last byte": altered(data, len(data) - 1),
        "short by one": data[:-1],
        "short by a chunk": data[:second],
        "only a header": data[:first],
        "half a header": data[: first // 2],
        "nothing": b"",
        "zeros": bytes(len(data)),
        "long by one": data + b"x",
        "long by itself": data + data[first:],
        "chunks swapped": data[:first] + data[second : second + CHUNK] + data[first:second]
        + data[second + CHUNK :],
    }[name]  # fmt: skip
    assert verdict_code(path, changed, commitment) == code


def verdict_code(path: Path, data: bytes, commitment: bytes) -> int:
    path.write_bytes(data)
    checked = verdict(path, commitment, 3_000)
    assert len(checked.codes) == 1
    assert USCC not in checked.text
    return checked.codes[0]


def test_every_byte_matters_wherever_it_is(path: Path) -> None:
    commitment = seal(path, lines(ROW))
    data = path.read_bytes()
    places = [*range(0, 80, 3), *range(80, HEADER_BYTES, 97), *range(HEADER_BYTES, len(data), 5)]
    for at in places:
        path.write_bytes(altered(data, at))
        assert verdict(path, commitment, 1).codes in ((DOWNLOAD,), (DECRYPTION,)), at
    for size in places:
        path.write_bytes(data[:size])
        assert verdict(path, commitment, 1).codes == (DOWNLOAD,), size


def test_a_payload_for_another_key_names_both(path: Path) -> None:
    checked = verdict(path, seal(path, lines(ROW), key=PARTNER), 1)
    assert checked.codes == (DECRYPTION,)
    assert "sealed-key-wrong" in checked.text
    shown = [word for word in checked.text.replace(",", " ").split() if len(word) >= 16]
    assert len(set(shown)) >= 2, checked.text


def test_a_payload_for_an_older_own_key_is_opened(path: Path) -> None:
    commitment = seal(path, lines(ROW), key=PARTNER)
    assert verdict(path, commitment, 1, keys=(OWN, PARTNER)).codes == ()


@pytest.mark.parametrize(
    "changed",
    [
        {"exchange": hash32("other")}, {"requester": "de-tax"}, {"provider": "de-tax"},
        {"dataset": "filing"},
    ],
)  # fmt: skip
def test_a_payload_of_another_exchange_is_not_this_one(path: Path, changed: dict[str, Any]) -> None:
    commitment = seal(path, lines(ROW), about=replace(ABOUT, **changed))
    checked = verdict(path, commitment, 1)
    assert checked.codes == (DECRYPTION,)
    assert "sealed-context-wrong" in checked.text


def test_a_payload_that_the_ledger_does_not_name_is_not_the_one(path: Path) -> None:
    seal(path, lines(ROW))
    checked = verdict(path, hash32("another commitment"), 1)
    assert checked.codes == (SIGNATURE,)


@pytest.mark.parametrize(
    ("rows", "count", "codes"),
    [
        ([ROW, ROW], 1, (CUSTOM,)),
        ([ROW, ROW], 2, (CUSTOM,)),
        ([ROW], 2, (CUSTOM,)),
        ([ROW], 0, (CUSTOM,)),
        ([], 1, (CUSTOM,)),
        ([{"name": "某公司"}], 1, (SCHEMA,)),
        ([{**ROW, "uscc": "1" * 18}], 1, (SCHEMA,)),
        ([{**ROW, "representative": "某人"}], 1, (SCHEMA,)),
        ([{**ROW, "nonsense": "某人"}], 1, (SCHEMA,)),
        ([{**ROW, "name": 5}], 1, (SCHEMA,)),
        ([ROW, {}], 3, (SCHEMA, CUSTOM)),
    ],
)
def test_records_that_are_not_as_they_should_be_are_rejected_without_their_values(
    path: Path, rows: list[dict[str, Any]], count: int, codes: tuple[int, ...]
) -> None:
    checked = verdict(path, seal(path, lines(*rows)), count)
    assert checked.codes == codes
    assert checked.text
    for value in (USCC, "某", "1" * 18):
        assert value not in checked.text


@pytest.mark.parametrize(
    "data", [b"\x00\x01\xff" * 1_000, b"{" * 100_000, "发票".encode("gb18030"), b"[1]\n", b"\n\n{}"]
)
def test_what_are_no_records_is_a_fault_of_the_schema(path: Path, data: bytes) -> None:
    checked = verdict(path, seal(path, data), data.count(b"\n"))
    assert SCHEMA in checked.codes


def test_where_this_agency_cannot_judge_it_does_not(path: Path) -> None:
    commitment = seal(path, lines(ROW))
    for fields, code in ((("uscc", "nonsense"), "field-undefined"), ((), "fields-none")):
        with pytest.raises(Failed) as caught:
            verdict(path, commitment, 1, about=replace(ABOUT, fields=fields))
        assert (caught.value.code, caught.value.retry) == (code, False)


def test_a_file_that_is_gone_is_to_be_fetched_again(path: Path) -> None:
    commitment = seal(path, lines(ROW))
    path.unlink()
    assert verdict(path, commitment, 1).codes == (DOWNLOAD,)


def test_a_schema_that_was_voted_for_counts_instead_of_the_shipped_one(path: Path) -> None:
    commitment = seal(path, lines(ROW))
    with pytest.raises(RecordsError) as caught:
        verdict(path, commitment, 1, rules=Rules(version=2, text="{}"))
    assert caught.value.code


def voted(**properties: dict[str, Any]) -> str:
    """The text of a schema with these fields."""
    words = {"title": "A", "title_zh": "甲", "x-sensitivity": "public", "type": "string"}
    fields = {name: words | more for name, more in properties.items()}
    document = {
        "type": "object", "title": "B", "title_zh": "乙", "additionalProperties": False,
        "properties": fields,
    }  # fmt: skip
    return json.dumps(document)


@pytest.mark.parametrize(("codes", "expected"), [({}, ()), ({"tax-type": ("other",)}, (SCHEMA,))])
def test_code_lists_that_were_voted_for_count_instead_of_the_shipped_ones(
    path: Path, codes: dict[str, tuple[str, ...]], expected: tuple[int, ...]
) -> None:
    shipped = min(read_codes("tax-type"))
    rules = Rules(version=2, text=voted(tax={"x-code-list": "tax-type"}), codes=codes)
    about = replace(ABOUT, fields=("tax",))
    commitment = seal(path, lines({"tax": shipped}))
    assert verdict(path, commitment, 1, rules=rules, about=about).codes == expected


def test_texts_on_the_ledger_are_short(path: Path) -> None:
    """However many faults there are, and however long the names of fields."""
    names = [f"field-{n}-{'x' * 55}" for n in range(6)]
    rules = Rules(version=2, text=voted(**{name: {"maxLength": 1} for name in names}))
    rows = [dict.fromkeys(names, f"too long {n}") for n in range(60)]
    about = replace(ABOUT, fields=tuple(names))
    checked = verdict(path, seal(path, lines(*rows)), 61, rules=rules, about=about)
    assert len(checked.text) == 500
    assert names[0] in checked.text
