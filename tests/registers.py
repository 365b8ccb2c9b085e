"""Record schemas, code lists and sunset dates for tests, in few words."""

import json
from typing import Any

import msgspec

from ledger.governance.actions import SetCodeList, SetRecordSchema, SetSunset
from ledger.governance.registers import Code, CodeList, RecordSchema
from ledger.registry import Dataset
from tests.builders import DATASETS

ACCOUNT = DATASETS[0]


def shape(dataset: Dataset = ACCOUNT, **fields: dict[str, Any]) -> dict[str, Any]:
    """A record schema of the dataset as a document; `fields` change properties (`balance_fen`)."""
    properties = {
        field.id: {
            "type": "string",
            "title": field.name_en,
            "title_zh": field.name_zh,
            "x-sensitivity": field.sensitivity,
            **fields.get(field.id.replace("-", "_"), {}),
        }
        for field in dataset.fields
    }
    return {
        "type": "object",
        "title": dataset.name_en,
        "title_zh": dataset.name_zh,
        "additionalProperties": False,
        "required": [dataset.fields[0].id],
        "properties": properties,
    }


def record_schema(document: Any = None, **changed: Any) -> SetRecordSchema:
    """Version 1 of the record schema of the first dataset."""
    text = json.dumps(shape() if document is None else document, ensure_ascii=False)
    base = RecordSchema(dataset=ACCOUNT.id, version=1, text=text)
    return SetRecordSchema(record_schema=msgspec.structs.replace(base, **changed))


def code_list(*codes: str, **changed: Any) -> SetCodeList:
    """Version 1 of a list of currencies."""
    base = CodeList(
        id="iso-4217",
        version=1,
        name_zh="货币代码",
        name_en="Currency codes",
        authority="ISO 4217 Maintenance Agency",
        source="https://www.iso.org/iso-4217-currency-codes.html",
        codes=tuple(
            Code(code=code, name_zh=f"代码{code}", name_en=f"code {code}")
            for code in codes or ("CNY", "EUR")
        ),
    )
    return SetCodeList(code_list=msgspec.structs.replace(base, **changed))


def sunset(target: str, date: str | None) -> SetSunset:
    """The target ends on that day; None: it does not."""
    return SetSunset(target=target, date=date)
