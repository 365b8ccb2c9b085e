"""Bytes of sample files: rows with faults at a rate, in CSV, JSON Lines or XML, piece by piece."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from xml.sax.saxutils import escape

from tools.sample.records import MAKERS, Dice, Record

FORMATS = ("csv", "jsonl", "xml")
REPEATS_FROM = 100  # a duplicate repeats one of this many rows before it


def make_sample(
    dataset: str, form: str, *, rows: int, seed: int, fault_percent: int
) -> Iterator[bytes]:
    """One piece a row, with what the form needs around them. The same arguments, the same bytes."""
    maker = MAKERS[dataset]
    fields = list(maker(Dice("fields"), 1))
    dice = Dice(f"{dataset}/{seed}")
    head, row_bytes, foot = _WRITERS[form](fields)
    recent: list[Record] = []
    yield head
    for number in range(1, rows + 1):
        record = maker(dice, number)
        if dice.below(100) < fault_percent:
            record = _spoil(dice, record, recent)
        else:
            recent.append(record)
            del recent[:-REPEATS_FROM]
        yield row_bytes(record)
    yield foot


def _spoil(dice: Dice, record: Record, recent: list[Record]) -> Record:
    """One fault: a duplicate, a wrong check digit, a foreign code, a form that can be put right."""
    kinds: list[Callable[[], Record]] = [
        lambda: recent[dice.below(len(recent))] if recent else record,
        lambda: _with(record, ("uscc", "seller-uscc", "institution"), _turn_last),
        lambda: _with(record, ("status", "tax-type", "currency"), lambda _: "??"),
        lambda: _with(record, ("registered-on", "filed-on", "issued-on", "birth-date"), _slashes),
        lambda: _with(record, ("uscc", "number", "account-number"), _widen),
        lambda: _with(record, ("name", "qualification", "holder-name"), lambda text: f" {text} "),
        lambda: _with(record, ("uscc", "number", "account-number"), lambda _: ""),
    ]
    return kinds[dice.below(len(kinds))]()


def _with(record: Record, names: tuple[str, ...], change: Callable[[str], str]) -> Record:
    """The record with the first of these fields that it has changed."""
    name = next((name for name in names if name in record), next(iter(record)))
    return {**record, name: change(str(record[name]))}


def _turn_last(text: str) -> str:
    return text[:-1] + ("1" if text[-1] != "1" else "2")


def _slashes(text: str) -> str:
    return text.replace("-", "/")


def _widen(text: str) -> str:
    return "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text)


Writer = tuple[bytes, Callable[[Record], bytes], bytes]  # head, of a row, foot


def _csv(fields: list[str]) -> Writer:
    def row(values: list[str | int]) -> bytes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerow(values)
        return text.getvalue().encode()

    return row([*fields]), lambda record: row([record[name] for name in fields]), b""


def _jsonl(fields: list[str]) -> Writer:
    del fields
    return b"", lambda record: json.dumps(record, ensure_ascii=False).encode() + b"\n", b""


def _xml(fields: list[str]) -> Writer:
    def row(record: Record) -> bytes:
        cells = (f"<{name}>{escape(str(record[name]))}</{name}>" for name in fields)
        return f"<record>{''.join(cells)}</record>\n".encode()

    return b'<?xml version="1.0" encoding="UTF-8"?>\n<records>\n', row, b"</records>\n"


_WRITERS: dict[str, Callable[[list[str]], Writer]] = {"csv": _csv, "jsonl": _jsonl, "xml": _xml}
