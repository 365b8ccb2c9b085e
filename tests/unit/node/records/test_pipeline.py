"""The pipeline: what goes on, what is put right, what is counted, what no source can do to us."""

import hashlib
import itertools
import json
import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest

from ledger.errors import InvalidEncoding
from node.records.errors import InvalidSchema, InvalidSource
from node.records.parsing import Limits
from node.records.pipeline import FORMATS, Digests, Options, Pipeline
from node.records.report import Report, decode_report, encode_report, hash_report
from node.records.rules import RULES
from node.records.schema import decode_schema
from node.records.shipped import read_code_lists, read_schema
from node.records.words import catalogue
from tools.sample.making import make_sample

USCC = "91110000600037341L"
INVOICE = {"number": "0" * 20, "issued-on": "2026-07-03", "amount-fen": 100}


def run(
    data: bytes, dataset: str = "invoice", *, piece: int = 1 << 20, **options: Any
) -> tuple[list[dict[str, Any]], Report]:
    schema = read_schema(dataset)
    options["fields"] = frozenset(options.get("fields", ()))
    pipeline = Pipeline(dataset, schema, read_code_lists(schema), options=Options(**options))
    lines = b"".join(pipeline.feed(data[at : at + piece]) for at in range(0, len(data), piece))
    tail, report = pipeline.finish()
    assert report.rows == report.accepted + report.rejected + report.duplicates
    return [json.loads(line) for line in (lines + tail).split(b"\n")[:-1]], report


def rules(report: Report) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in report.rules:
        name = f"{row.rule}:{row.field}" if row.field else row.rule
        counts[name] = row.count
    return counts


def jsonl(*records: Any) -> bytes:
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


def test_a_row_is_read_minimised_put_right_checked_and_deduplicated() -> None:
    data = (
        "\ufeff发票号码,issued-on,Seller's unified social credit code,amount-fen,status,"
        "buyer-phone,x\n"
        f'{"0" * 20},2026年7月3日,９１１１０００0600037341l,"1,234.5",正常,000-1234567,y\n'
        f"{'0' * 20},2026/07/03, {USCC} ,1234.50,normal,,\n"
        "1,2026-02-30,91110000600037341X,=cmd(),odd,,\n"
    ).encode()
    fields = ["number", "issued-on", "seller-uscc", "amount-fen", "status"]
    records, report = run(data, format="csv", amounts="yuan", fields=fields)
    assert records == [
        {
            "amount-fen": 123450,
            "issued-on": "2026-07-03",
            "number": "0" * 20,
            "seller-uscc": USCC,
            "status": "normal",
        }
    ]
    assert (report.rows, report.accepted, report.rejected, report.duplicates) == (3, 1, 1, 1)
    assert report.fixed == 2
    assert rules(report) == {
        "pattern:number": 1,
        "date:issued-on": 1,
        "uscc:seller-uscc": 1,
        "fen:amount-fen": 1,
        "code-list:status": 1,
        "field-unpermitted:buyer-phone": 1,
        "field-unknown": 1,
        "date-form:issued-on": 2,
        "width:seller-uscc": 1,
        "case:seller-uscc": 1,
        "space:seller-uscc": 1,
        "amount-form:amount-fen": 2,
        "code-name:status": 1,
    }
    text = encode_report(report)
    for value in ("1234567", "cmd", "odd", USCC[:12], "2026-02"):
        assert value.encode() not in text


def test_the_report_is_canonical_and_its_digest_follows_every_count() -> None:
    _, report = run(jsonl(INVOICE, {}))
    data = encode_report(report)
    assert decode_report(data) == report
    with pytest.raises(InvalidEncoding):
        decode_report(data + b"\0")
    _, other = run(jsonl(INVOICE, {}, {}))
    assert hash_report(other) != hash_report(report)


@pytest.mark.parametrize("dataset", ["registration", "filing", "incentive", "invoice", "account"])
def test_all_forms_and_pieces_of_a_sample_give_the_same_bytes(dataset: str) -> None:
    results = []
    for form in FORMATS:
        data = b"".join(make_sample(dataset, form, rows=60, seed=5, fault_percent=40))
        results += [run(data, dataset, format=form, piece=piece) for piece in (1 << 20, 7)]
    assert all(result == results[0] for result in results)
    report = results[0][1]
    assert report.duplicates
    assert report.rejected
    assert report.fixed


def test_clean_records_pass_again_without_any_change() -> None:
    data = b"".join(make_sample("account", "csv", rows=200, seed=2, fault_percent=30))
    schema = read_schema("account")
    first = Pipeline("account", schema, {}, options=Options(format="csv"))
    lines = first.feed(data) + first.finish()[0]
    second = Pipeline("account", schema, {}, options=Options())
    again = second.feed(lines)
    assert again == lines
    assert all(row.severity == "warn" for row in second.finish()[1].rules)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"{", "row-unreadable"),
        (b"[]", "row-unreadable"),
        (b'{"number": "1", "number": "2"}', "key-repeated"),
        ('{"number": "1", "发票号码": "2"}'.encode(), "key-repeated"),
        (b'{"amount-fen": NaN}', "number-unsafe"),
        (b'{"amount-fen": 1e2}', "number-unsafe"),
        (b'{"amount-fen": 1.0}', "number-unsafe"),
        (b'{"amount-fen": 9007199254740992}', "number-unsafe"),
        (b'{"amount-fen": ' + b"9" * 60_000 + b"}", "number-unsafe"),
        (b"[" * 60_000, "row-nested"),
        (b'{"a": ' * 9 + b"1" + b"}" * 9, "row-nested"),
        ("发票".encode("gb18030"), "row-encoding"),
        (b'{"number": "\0"}', "row-unreadable"),
        (json.dumps({str(n): 1 for n in range(300)}).encode(), "row-columns"),
        (b'"' + b"[" * 100 + b'"', "row-unreadable"),
    ],
)
def test_a_bad_line_spoils_nothing_but_itself(line: bytes, rule: str) -> None:
    records, report = run(line + b"\n" + jsonl(INVOICE))
    assert records == [INVOICE]
    assert rules(report) == {rule: 1}
    assert report.rules[0].rows == (1,)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"amount-fen": "12.00"}, "fen:amount-fen"),
        ({"amount-fen": True}, "fen:amount-fen"),
        ({"amount-fen": 2**53}, "number-unsafe"),
        ({"issued-on": "03/04/2026"}, "date:issued-on"),
        ({"issued-on": "2026-7/3"}, "date:issued-on"),
        ({"issued-on": "202673"}, "date:issued-on"),
        ({"number": None}, "missing:number"),
        ({"number": 5}, "type:number"),
        ({"number": {"a": 1}}, "type:number"),
        ({"number": "0" * 20 + "\n0"}, "length:number"),
        ({"goods-code": "٣" * 19}, "pattern:goods-code"),
    ],
)
def test_what_is_not_certain_is_rejected(change: dict[str, Any], rule: str) -> None:
    records, report = run(jsonl({**INVOICE, **change}))
    assert not records
    assert rule in rules(report)
    assert report.rejected == 1


@pytest.mark.parametrize("name", ["\0", "\ud800", "\u202etxt", "\x1b[2J"])
def test_no_text_holds_control_characters(name: str) -> None:
    record = {"uscc": USCC, "name": "测试" + name, "status": "normal"}
    data = json.dumps(record).encode()
    _, report = run(data, "registration")
    assert rules(report) == {"character:name": 1}


@pytest.mark.parametrize("name", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2", "<b>&amp;"])
def test_text_that_programs_would_run_stays_text(name: str) -> None:
    data = f"uscc,name,status\n{USCC},{name},normal\n".encode()
    records, _ = run(data, "registration", format="csv")
    assert records[0]["name"] == name


@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        ("２０２６．７．３", "2026-07-03", "date-form"),
        ("20260703", "2026-07-03", "date-form"),
        ("2026-07-03T00:00:00", "2026-07-03", "date-form"),
        (" 2026-07-03\u3000", "2026-07-03", "space"),
    ],
)
def test_dates_are_put_into_iso_8601(before: str, after: str, rule: str) -> None:
    records, report = run(jsonl({**INVOICE, "issued-on": before}))
    assert records == [{**INVOICE, "issued-on": after}]
    assert f"{rule}:issued-on" in rules(report)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("202607", "2026-07"),
        ("2026年7月", "2026-07"),
        ("2026年第三季度", "2026-Q3"),
        ("2026q3", "2026-Q3"),
    ],
)
def test_periods_are_put_into_one_form(before: str, after: str) -> None:
    records, _ = run(jsonl({"uscc": USCC, "tax-type": "vat", "period": before}), "filing")
    assert records[0]["period"] == after


@pytest.mark.parametrize(
    ("unit", "before", "after"),
    [
        ("fen", "1,234", 1234),
        ("fen", "￥１２", 12),
        ("fen", "-7", -7),
        ("yuan", "0.1", 10),
        ("yuan", "-1,234.56", -123456),
        ("yuan", 3, 300),
        ("yuan", "9007199254740.99", 900719925474099),
    ],
)
def test_amounts_become_whole_fen(unit: str, before: Any, after: int) -> None:
    records, _ = run(jsonl({**INVOICE, "amount-fen": before}), amounts=unit)
    assert records[0]["amount-fen"] == after


def test_full_width_brackets_of_names_stay() -> None:
    record = {"uscc": USCC, "name": "测试（１２）  ＡＢ 公司", "status": "normal"}
    records, report = run(jsonl(record), "registration")
    assert records[0]["name"] == "测试（12） AB 公司"
    assert rules(report) == {"width:name": 1, "space:name": 1}


def test_a_tin_that_does_not_fit_is_a_warning() -> None:
    record = {"account-number": "6222000000000000000", "residence": "DE", "currency": "EUR"}
    records, report = run(jsonl({**record, "holder-tin": "36574261808"}), "account")
    assert len(records) == report.accepted == report.warned == 1
    assert rules(report) == {"tin:holder-tin": 1}


def test_gb18030_by_option_and_mixed_encodings_row_by_row() -> None:
    head = b"uscc,name,status\n"
    gb = f"{USCC},测试企业,normal\n".encode("gb18030")
    records, report = run(head + gb, "registration", format="csv", encoding="gb18030")
    assert records[0]["name"] == "测试企业"
    records, report = run(
        head + gb + f"{USCC},测试,normal\n".encode(), "registration", format="csv"
    )
    assert [record["name"] for record in records] == ["测试"]
    assert rules(report) == {"row-encoding": 1}
    xml = f"<r><x><uscc>{USCC}</uscc><name>测试</name><status>正常</status></x></r>"
    xml = '<?xml version="1.0" encoding="GB18030"?>' + xml
    for piece in (1, 4096):
        records, _ = run(
            xml.encode("gb18030"), "registration", format="xml", encoding="gb18030", piece=piece
        )
        assert records[0]["name"] == "测试"


HEAD = b"number,issued-on,amount-fen\n"
ROW = b"0" * 20 + b",2026-07-03,1\n"
BOMB = b'<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;</a>'


@pytest.mark.parametrize(
    ("form", "data", "code"),
    [
        ("csv", b"", "source-empty"),
        ("csv", b"\n\n", "source-empty"),
        ("csv", ROW, "columns-unknown"),
        ("csv", b"number,amount-fen\n", "columns-missing"),
        ("csv", b"number,number,amount-fen\n", "columns-repeated"),
        ("csv", b",".join(b"%d" % n for n in range(300)), "columns-many"),
        ("csv", HEAD + b'"0,', "source-truncated"),
        ("csv", HEAD + b'"' + b"x\n" * 40_000, "row-size"),
        ("csv", HEAD + b"x" * 70_000, "row-size"),
        ("csv", "发票号码\n".encode("gb18030"), "source-encoding"),
        ("csv", "number".encode("utf-16"), "source-binary"),
        ("csv", b"PK\x03\x04....", "source-binary"),
        ("jsonl", b"[" * 70_000, "row-size"),
        ("xml", b"", "source-truncated"),
        ("xml", b"<r><x><number>1</number>", "source-truncated"),
        ("xml", b"<r><x></r>", "xml-malformed"),
        ("xml", b"<r>\0</r>", "xml-malformed"),
        ("xml", BOMB, "xml-doctype"),
        ("xml", b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "xml-doctype"),
        ("xml", b"<r>&other;</r>", "xml-malformed"),
        ("xml", b'<?xml version="1.0" encoding="GBK"?><r/>', "source-encoding"),
        ("xml", b"<r><x><f>\xb2\xe2</f></x></r>", "xml-malformed"),
        ("xml", b"<a>" * 20, "xml-depth"),
        ("xml", b"<r><x><number>" + b"0" * 70_000, "row-size"),
        ("xml", b'<r><x a="' + b"0" * 400_000, "row-size"),
        ("xml", b"<r><x " + b"a" * 400_000, "row-size"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused(form: str, data: bytes, code: str) -> None:
    for piece in (1 << 20, 1000):
        with pytest.raises(InvalidSource) as caught:
            run(data, format=form, piece=piece)
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (b"1,2", "row-columns"),
        (b"1,2,3,4", "row-columns"),
        (b'"1"x,2,3', "row-unreadable"),
    ],
)
def test_a_row_of_wrong_columns_is_rejected(row: bytes, rule: str) -> None:
    records, report = run(HEAD + row + b"\r\n" + ROW, format="csv")
    assert len(records) == 1
    assert rules(report) == {rule: 1}


def test_a_quoted_line_feed_is_part_of_its_cell() -> None:
    data = f'uscc,name,status\n{USCC},"测试\n""企业""",normal\n'.encode()
    for piece in (1, 1000):
        records, _ = run(data, "registration", format="csv", piece=piece)
        assert records[0]["name"] == '测试 "企业"'


def test_xml_outside_of_the_plain_form() -> None:
    rows = b"<x><number><b>1</b></number></x><x>text</x><x><number>1</number><number>2</number></x>"
    _, report = run(b"<r>" + rows + b"</r>", format="xml")
    assert rules(report) == {"row-nested": 1, "row-unreadable": 1, "key-repeated": 1}


def test_nested_records_come_as_json_lines() -> None:
    words = {"title": "A", "title_zh": "甲", "x-sensitivity": "public"}
    inner = {
        "type": "object",
        "additionalProperties": False,
        "required": ["b"],
        "properties": {"b": {"type": "boolean"}, "n": {"type": "integer", "enum": [1, 2]}},
    }
    document = {
        "type": "object",
        "title": "B",
        "title_zh": "乙",
        "additionalProperties": False,
        "properties": {"list": {**words, "type": "array", "items": inner}},
    }
    schema = decode_schema(json.dumps(document).encode())
    pipeline = Pipeline("x", schema, {}, options=Options())
    rows = [
        {"list": [{"n": 1, "b": True}]},
        {"list": [{"b": 1}]},
        {"list": [{"b": True, "c": 1}]},
        {"list": [{}]},
        {"list": [{"b": True, "n": 3}]},
        {"list": {}},
        {"list": [{"b": True}] * 1001},
    ]
    assert pipeline.feed(jsonl(*rows)) == b'{"list":[{"b":true,"n":1}]}\n'
    found = [row.rule for row in pipeline.finish()[1].rules]
    assert found == ["enum", "field-extra", "length", "missing", "type"]


def test_unknown_permitted_fields_are_an_error() -> None:
    with pytest.raises(InvalidSchema, match="field-undefined"):
        run(b"", fields=["number", "colour"])


def test_rows_are_counted_and_bounded() -> None:
    limits = Limits(rows_max=3)
    run(jsonl(INVOICE, {}, {}), limits=limits)
    with pytest.raises(InvalidSource, match="rows-many: 3"):
        run(jsonl(INVOICE, {}, {}, {}), limits=limits)


def test_beyond_the_memory_for_digests_the_report_says_so() -> None:
    records = [{**INVOICE, "amount-fen": n} for n in (1, 2, 3, 3, 1)]
    accepted, report = run(jsonl(*records), limits=Limits(digests_max=2))
    assert [record["amount-fen"] for record in accepted] == [1, 2, 3, 3]
    assert rules(report) == {"unique-unknown": 2}
    assert report.duplicates == 1


def _feed_all(form: str, rows: int) -> int:
    pieces: Iterable[bytes] = make_sample("filing", form, rows=rows, seed=1, fault_percent=20)
    schema = read_schema("filing")
    options = Options(format=form, limits=Limits(digests_max=100))  # type: ignore[arg-type]  # of FORMATS
    pipeline = Pipeline("filing", schema, read_code_lists(schema), options=options)
    tracemalloc.start()
    for piece in pieces:
        pipeline.feed(piece)
    pipeline.finish()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("form", FORMATS)
def test_memory_does_not_grow_with_rows(form: str) -> None:
    _feed_all(form, 6000)  # fills the caches of values already judged, which are bounded
    assert _feed_all(form, 6000) < _feed_all(form, 500) + 100_000


def test_every_rule_and_refusal_has_words_in_both_languages() -> None:
    zh, en = catalogue("zh"), catalogue("en")
    assert zh["rules"].keys() == en["rules"].keys() == RULES.keys()
    assert zh["refusals"].keys() == en["refusals"].keys()
    assert all({"title", "advice"} == entry.keys() for entry in en["refusals"].values())


def test_digests_are_told_apart_by_every_byte() -> None:
    """Also where the bytes of two that stand side by side make a third."""
    seen, plain = Digests(), set[bytes]()
    digests = [
        b"\0\0" + bytes(tail) for tail in itertools.product((0, 1), repeat=4)
    ] + [bytes((head, 0, 0, 1, 0, 1)) for head in range(256)]  # fmt: skip
    for digest in digests * 2:
        assert (digest in seen) == (digest in plain), digest
        if digest not in plain:
            seen.add(digest)
            plain.add(digest)
    assert seen.count == len(plain)


def test_a_million_digests_fit_into_thirty_megabytes() -> None:
    seen = Digests()
    tracemalloc.start()
    try:
        for number in range(1_000_000):
            seen.add(hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).digest())
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 30_000_000
