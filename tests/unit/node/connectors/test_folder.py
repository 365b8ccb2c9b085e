"""The folder connector: which files, which rows, and what makes it refuse."""

import os
import tracemalloc
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.connectors.errors import ConnectorFailed, InvalidOptions
from node.connectors.folder import FolderConnector
from node.connectors.rows import MONTHS, RowFilter, period_labels, select_lines
from node.records.errors import InvalidSource
from tests.unit.node.connectors.asks import (
    BUYER,
    EXCHANGE,
    FIELDS,
    HEAD,
    OTHER,
    SELLER,
    ask,
    clean,
    invoice,
    jsonl,
    row,
)


def make(base: Path, **options: Any) -> FolderConnector:
    return FolderConnector(
        {"path": "in", "files": "{dataset}*.csv", "format": "csv", **options}, base
    )


def write(base: Path, name: str, text: str | bytes) -> Path:
    path = base / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def csv(*rows: str, head: str = HEAD) -> str:
    return "".join(f"{line}\n" for line in (head, *rows))


def refusal(connector: FolderConnector, *subjects: str, **changed: Any) -> ConnectorFailed:
    with pytest.raises(ConnectorFailed) as caught:
        clean(connector.read(ask(*subjects, **changed)))
    return caught.value


def numbers(connector: FolderConnector, *subjects: str, **changed: Any) -> list[int]:
    records, _ = clean(connector.read(ask(*subjects, **changed)))
    return [int(record["number"]) for record in records]


def test_files_of_a_pattern_are_one_source_in_the_order_of_their_names(tmp_path: Path) -> None:
    write(tmp_path, "invoice-b.csv", "\ufeff" + csv(row(3)).replace("\n", "\r\n"))
    write(tmp_path, "invoice-a.csv", csv(row(1), row(2)).removesuffix("\n"))
    write(tmp_path, "account.csv", csv(row(9)))
    write(tmp_path, "invoice-c.csv.part", csv(row(9)))
    write(tmp_path, ".invoice.csv", csv(row(9)))
    connector = make(tmp_path)
    connector.check()
    assert numbers(connector) == [1, 2, 3]
    connector.close()


@pytest.mark.parametrize("length", sorted(MONTHS))
def test_a_file_for_each_period(length: str, tmp_path: Path) -> None:
    start, end = date(2025, 11, 30), date(2026, 2, 1)
    labels = list(period_labels(length, start, end))
    assert (
        labels
        == {
            "year": ["2025", "2026"],
            "half": ["2025-H2", "2026-H1"],
            "quarter": ["2025-Q4", "2026-Q1"],
            "month": ["2025-11", "2025-12", "2026-01", "2026-02"],
        }[length]
    )
    for number, label in enumerate((*labels, "2024", "2027"), start=1):
        write(tmp_path, f"invoice/{label}.csv", csv(row(number)))
    connector = make(tmp_path, files="{dataset}/{period}.csv", period=length)
    asked = {"period_from": start.isoformat(), "period_to": end.isoformat()}
    assert numbers(connector, **asked) == list(range(1, len(labels) + 1))


def test_files_prepared_for_one_exchange(tmp_path: Path) -> None:
    write(tmp_path, f"{EXCHANGE.hex()}.csv", csv(row(1)))
    write(tmp_path, f"{bytes(32).hex()}.csv", csv(row(2)))
    assert numbers(make(tmp_path, files="{exchange}.csv")) == [1]


def test_files_prepared_for_one_requester(tmp_path: Path) -> None:
    write(tmp_path, "cn-3302-tax/2026.csv", csv(row(1)))
    write(tmp_path, "cn-3301-tax/2026.csv", csv(row(2)))
    assert numbers(make(tmp_path, files="{requester}/{period}.csv")) == [1]


def test_a_message_goes_as_it_is_and_alone(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf<a>\r\n" + "税".encode() * 200_000 + b"</a>\0"
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "2026.xml").write_bytes(data)
    (folder / "2027.xml.part").write_bytes(data)
    connector = make(tmp_path, files="*.xml", format="message")
    source = connector.read(ask())
    assert source.format == "message"
    assert b"".join(source.pieces) == data
    with pytest.raises(ConnectorFailed) as caught:
        connector.read(ask(SELLER))
    assert (caught.value.code, caught.value.retry) == ("subjects-unfiltered", False)
    (folder / "2027.xml").write_bytes(data)
    with pytest.raises(ConnectorFailed) as caught:
        connector.read(ask())
    assert (caught.value.code, caught.value.detail) == ("files-many", "1")


@pytest.mark.parametrize("options", [{"subject_fields": ["a"]}, {"period_field": "a"}])
def test_of_a_message_no_rows_can_be_left_out(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidOptions) as caught:
        make(tmp_path, format="message", **options)
    assert caught.value.code == "option-invalid"


def test_a_period_without_a_file_is_no_answer_unless_so_configured(tmp_path: Path) -> None:
    write(tmp_path, "2025.csv", csv(row(1)))
    asked = {"period_from": "2025-01-01"}
    error = refusal(make(tmp_path, files="{period}.csv"), **asked)
    assert (error.code, error.detail, error.retry) == ("files-missing", "2026.csv", True)
    skipping = make(tmp_path, files="{period}.csv", missing="skip")
    assert numbers(skipping, **asked) == [1]
    assert refusal(skipping).code == "files-missing"


@pytest.mark.parametrize("form", ["csv", "jsonl", "xml"])
def test_only_rows_of_the_subjects(form: str, tmp_path: Path) -> None:
    wide = "９１１１０００0600037341l"
    sellers = (SELLER, OTHER, wide, OTHER)
    if form == "csv":
        text = csv(*(row(n, seller, OTHER) for n, seller in enumerate(sellers)))
    elif form == "jsonl":
        text = jsonl(*(invoice(n, seller, OTHER) for n, seller in enumerate(sellers))).decode()
    else:
        rows = (invoice(n, seller, OTHER) for n, seller in enumerate(sellers))
        fields = ("".join(f"<{k}>{v}</{k}>" for k, v in fields.items()) for fields in rows)
        text = f"<all>{''.join(f'<one>{one}</one>' for one in fields)}</all>"
    write(tmp_path, f"a.{form}", text)
    connector = make(tmp_path, files="*", format=form, subject_fields=["seller-uscc"])
    assert numbers(connector, SELLER.lower()) == [0, 2]
    assert numbers(connector, SELLER, OTHER) == [0, 1, 2, 3]
    assert numbers(connector, BUYER) == []
    assert numbers(connector) == [0, 1, 2, 3]


def test_a_subject_in_any_of_the_fields(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", csv(row(1, SELLER, OTHER), row(2, OTHER, SELLER), row(3, OTHER)))
    fields = ["seller-uscc", "buyer-uscc"]
    assert numbers(make(tmp_path, files="*", subject_fields=fields), SELLER) == [1, 2]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_only_rows_of_the_period(form: str, tmp_path: Path) -> None:
    days = ("2025-12-31", "2026-01-01", "2026年12月31日", "20260703", "2026-Q3", "2027", "?", "")
    if form == "csv":
        write(tmp_path, "a.csv", csv(*(row(n, day=day) for n, day in enumerate(days))))
    else:
        rows = (invoice(n, **{"issued-on": day}) for n, day in enumerate(days))
        write(tmp_path, "a.jsonl", jsonl(*rows))
    connector = make(tmp_path, files="*", format=form, period_field="issued-on")
    records, report = clean(connector.read(ask()), [name for name in FIELDS if name != "issued-on"])
    assert [int(record["number"]) for record in records] == [1, 2, 3, 4]
    assert report.rows == 6
    told = {rule.rule: rule.rows for rule in report.rules}
    assert told["row-columns" if form == "csv" else "row-unreadable"] == (5, 6)


def test_an_unreadable_row_goes_on_to_be_counted(tmp_path: Path) -> None:
    data = csv(row(1)).encode() + b"\xff," + row(2).encode() + b"\nx,y\n" + row(3, OTHER).encode()
    write(tmp_path, "a.csv", data)
    connector = make(tmp_path, files="*", subject_fields=["seller-uscc"])
    records, report = clean(connector.read(ask(SELLER)))
    assert len(records) == 1
    assert {rule.rule: rule.count for rule in report.rules} == {"row-encoding": 1, "row-columns": 1}


def test_a_wrong_encoding_is_seen(tmp_path: Path) -> None:
    text = csv(row(1)).replace("number", "发票号码")
    write(tmp_path, "a.csv", text.encode("gb18030"))
    with pytest.raises(InvalidSource) as caught:
        clean(make(tmp_path, files="*").read(ask()))
    assert caught.value.code == "source-encoding"
    assert numbers(make(tmp_path, files="*", encoding="gb18030")) == [1]
    write(tmp_path, "a.csv", text.encode("utf-16"))
    with pytest.raises(InvalidSource) as caught:
        clean(make(tmp_path, files="*").read(ask()))
    assert caught.value.code == "source-binary"


def test_forbidden_fields_of_a_source_do_not_go_on(tmp_path: Path) -> None:
    head = HEAD + ",buyer-phone,note"
    write(tmp_path, "a.csv", csv(row(1) + ",000-1234567,secret", head=head))
    records, report = clean(make(tmp_path, files="*").read(ask()))
    assert set(records[0]) == set(FIELDS)
    assert {rule.rule for rule in report.rules} == {"field-unpermitted", "field-unknown"}


def test_what_would_look_like_an_answer_and_is_none(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", csv(row(1)))
    error = refusal(make(tmp_path, files="*"), SELLER)
    assert (error.code, error.retry) == ("subjects-unfiltered", False)
    error = refusal(make(tmp_path, files="*", subject_fields=["seller", "buyer-uscc"]), SELLER)
    assert (error.code, error.detail, error.retry) == ("filter-field-missing", "seller", False)
    error = refusal(make(tmp_path, files="*", period_field="day"))
    assert (error.code, error.detail) == ("filter-field-missing", "day")
    write(tmp_path, "b.csv", csv("1,2", head="number,amount-fen"))
    error = refusal(make(tmp_path, files="*"))
    assert (error.code, error.retry) == ("heads-differ", False)


def test_links_and_special_files_do_not_lead_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text(csv(row(9)))
    inside = write(tmp_path, "kept/a.csv", csv(row(1)))
    (tmp_path / "in" / "link.csv").symlink_to(inside)
    assert numbers(make(tmp_path, files="link.csv")) == [1]
    (tmp_path / "in" / "evil.csv").symlink_to(outside)
    error = refusal(make(tmp_path, files="evil.csv"))
    assert (error.code, error.detail, error.retry) == ("file-outside", "evil.csv", False)
    (tmp_path / "in" / "far").symlink_to(tmp_path)
    assert refusal(make(tmp_path, files="far/outside.csv")).code == "file-outside"
    os.mkfifo(tmp_path / "in" / "pipe.csv")
    assert refusal(make(tmp_path, files="pipe.csv")).code == "file-outside"


def test_a_file_that_grows_while_it_is_read_is_read_again_later(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", csv(*(row(n) for n in range(10_000))))
    source = make(tmp_path, files="*").read(ask())
    next(source.pieces)
    with path.open("a") as file:
        file.write(row(1) + "\n")
    with pytest.raises(ConnectorFailed) as caught:
        list(source.pieces)
    assert (caught.value.code, caught.value.retry) == ("file-changed", True)


def test_a_folder_that_is_not_there_may_come_back(tmp_path: Path) -> None:
    connector = make(tmp_path)
    for call in (connector.check, lambda: connector.read(ask())):
        with pytest.raises(ConnectorFailed) as caught:
            call()
        assert (caught.value.code, caught.value.retry) == ("files-unreachable", True)
    path = write(tmp_path, "invoice.csv", csv(row(1)))
    source = connector.read(ask())
    path.unlink()
    with pytest.raises(ConnectorFailed) as caught:
        list(source.pieces)
    assert caught.value.code == "files-unreachable"


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.connectors.folder.FILES_MAX", 1)
    write(tmp_path, "a.csv", csv(row(1)))
    assert numbers(make(tmp_path, files="*")) == [1]
    write(tmp_path, "b.csv", csv(row(1)))
    assert refusal(make(tmp_path, files="*")).code == "files-many"


@pytest.mark.parametrize(
    "files", ["../x.csv", "a/../../x.csv", "/etc/x.csv", "{subject}.csv", "{0}", "{}", "**/a.csv"]
)
def test_a_pattern_stays_in_its_folder(files: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidOptions) as caught:
        make(tmp_path, files=files)
    assert caught.value.code == "option-invalid"
    assert caught.value.detail.startswith("files: ")


def test_a_name_from_the_ledger_is_no_pattern(tmp_path: Path) -> None:
    write(tmp_path, "invoice.csv", csv(row(1)))
    error = refusal(make(tmp_path, files="{dataset}.csv"), dataset="*")
    assert error.code == "files-missing"
    (tmp_path / "out.csv").write_text(csv(row(1)))
    error = refusal(make(tmp_path, files="{dataset}.csv"), dataset="../out")
    assert error.code == "file-outside"


@pytest.mark.parametrize("form", ["csv", "jsonl", "xml"])
def test_a_long_search_without_a_find_gives_signs_of_life(form: str, tmp_path: Path) -> None:
    rows = [invoice(number) for number in range(20_000)]
    if form == "csv":
        write(tmp_path, "a.csv", csv(*(row(number) for number in range(20_000))))
    elif form == "jsonl":
        write(tmp_path, "a.jsonl", jsonl(*rows))
    else:
        fields = ("".join(f"<{k}>{v}</{k}>" for k, v in one.items()) for one in rows)
        write(tmp_path, "a.xml", f"<all>{''.join(f'<one>{one}</one>' for one in fields)}</all>")
    connector = make(tmp_path, files="*", format=form, subject_fields=["seller-uscc"])
    pieces = list(connector.read(ask(OTHER)).pieces)
    assert len(pieces) >= (tmp_path / "in" / f"a.{form}").stat().st_size // 1_000_000
    assert b"".join(pieces).count(b"\n") == (form == "csv")


@given(
    rows=st.lists(
        st.tuples(st.sampled_from((SELLER, OTHER)), st.sampled_from(("plain", 'quoted "", \n x'))),
        max_size=30,
    ),
    size=st.integers(1, 300),
    cuts=st.integers(1, 3),
)
def test_pieces_and_files_may_be_cut_anywhere(
    rows: list[tuple[str, str]], size: int, cuts: int
) -> None:
    """The same rows come out as a naive reader finds, however the source arrives."""
    lines = [f'{n},{seller},"{text}"\n' for n, (seller, text) in enumerate(rows)]
    row_filter = RowFilter.of(ask(SELLER), ("seller",), "")

    def pieces(part: list[str]) -> Iterator[bytes]:
        data = ("n,seller,text\n" + "".join(part)).encode()
        return (data[at : at + size] for at in range(0, len(data), size))

    files = [pieces(lines[at::cuts]) for at in range(cuts)]
    found = b"".join(select_lines(files, is_csv=True, encoding="utf-8", row_filter=row_filter))
    wanted = [
        line
        for at in range(cuts)
        for line, (seller, _) in zip(lines[at::cuts], rows[at::cuts], strict=True)
        if seller == SELLER
    ]
    assert found.decode() == "n,seller,text\n" + "".join(wanted)


def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", csv(*(row(n, OTHER if n % 2 else SELLER) for n in range(100_000))))
    source = make(tmp_path, files="*", subject_fields=["seller-uscc"]).read(ask(SELLER))
    tracemalloc.start()
    try:
        kept = sum(piece.count(b"\n") for piece in source.pieces) - 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert kept == 50_000
    assert peak < 4_000_000
