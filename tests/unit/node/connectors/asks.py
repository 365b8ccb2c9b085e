"""Asks, deliveries and options for the tests of connectors, in few words."""

import json
from collections.abc import Iterable
from typing import Any

from node.connectors.interface import Ask, Delivery, Source, Subject
from node.records.parsing import Limits
from node.records.pipeline import Options, Pipeline
from node.records.report import Report, encode_report
from node.records.shipped import read_code_lists, read_schema

EXCHANGE = bytes(range(32))
SELLER, BUYER, OTHER = "91110000600037341L", "91310000132207927C", "91440300708461136T"
FIELDS = ("number", "issued-on", "seller-uscc", "buyer-uscc", "amount-fen")
HEAD = ",".join(FIELDS)


def ask(*subjects: str, **changed: Any) -> Ask:
    """An ask for invoices of 2026."""
    values: dict[str, Any] = {
        "exchange": EXCHANGE,
        "dataset": "invoice",
        "requester": "cn-3302-tax",
        "purpose": "audit",
        "fields": FIELDS,
        "period_from": "2026-01-01",
        "period_to": "2026-12-31",
        "subjects": tuple(Subject(kind="uscc", id=subject) for subject in subjects),
    }
    return Ask(**{**values, **changed})


def row(number: int, seller: str = SELLER, buyer: str = BUYER, day: str = "2026-07-03") -> str:
    """A line of CSV, without its end."""
    return f"{number:020},{day},{seller},{buyer},{number * 100}"


def invoice(number: int, seller: str = SELLER, buyer: str = BUYER, **more: Any) -> dict[str, Any]:
    """The record of such a line."""
    return {
        "number": f"{number:020}",
        "issued-on": "2026-07-03",
        "seller-uscc": seller,
        "buyer-uscc": buyer,
        "amount-fen": number * 100,
        **more,
    }


def jsonl(*records: Any) -> bytes:
    """JSON Lines."""
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


def clean(
    source: Source, fields: Iterable[str] = FIELDS, limits: Limits | None = None
) -> tuple[list[dict[str, Any]], Report]:
    """What the pipeline of a provider makes of a source."""
    schema = read_schema("invoice")
    options = Options(
        format=source.format,
        encoding=source.encoding,
        amounts=source.amounts,
        fields=frozenset(fields),
        limits=limits or Limits(),
    )
    pipeline = Pipeline("invoice", schema, read_code_lists(schema), options=options)
    lines = b"".join(map(pipeline.feed, source.pieces))
    tail, report = pipeline.finish()
    return [json.loads(line) for line in (lines + tail).split(b"\n")[:-1]], report


def delivery(*pieces: bytes, **changed: Any) -> Delivery:
    """A delivery of these pieces of JSON Lines."""
    content = b"".join(pieces)
    report = Report(
        version=1,
        dataset="invoice",
        schema_version=1,
        fields=("number",),
        rows=content.count(b"\n"),
        accepted=content.count(b"\n"),
        rejected=0,
        duplicates=0,
        fixed=0,
        warned=0,
        rules=(),
    )
    values: dict[str, Any] = {
        "exchange": EXCHANGE,
        "correction": 0,
        "dataset": "invoice",
        "provider": "cn-3100-tax",
        "purpose": "audit",
        "record_count": content.count(b"\n"),
        "size_bytes": len(content),
        "commitment": bytes(32),
        "report": encode_report(report),
        "pieces": iter(pieces),
    }
    return Delivery(**{**values, **changed})
