"""Tables of the READMEs about exports, from the code, for `tests.test_docs`."""

from typing import Literal

from tests.tables_of_credit import Table
from tools.audit.export.prov import ATTRIBUTES
from tools.audit.export.tables import TABLES

TYPES = {
    "integer": ("整数", "integer"),
    "text": ("文本", "text"),
    "yes-no": ("真假", "yes or no"),
    "time": ("时间", "time"),
    "texts": ("文本列表", "list of texts"),
}
CARRIERS = {
    "activity": ("记录", "record"),
    "member": ("成员", "member"),
    "exchange": ("共享", "exchange"),
    "delivery": ("交付", "delivery"),
}


def columns(language: Literal["en", "zh"], name: str) -> Table:
    """Columns of a table in their order."""
    head = "列|类型|含义" if language == "zh" else "column|type|meaning"
    at = 0 if language == "zh" else 1
    rows = [
        (f"`{column.name}`", TYPES[column.type][at], (column.zh, column.en)[at])
        for column in TABLES[name].columns
    ]
    return tuple(head.split("|")), rows


def attributes(language: Literal["en", "zh"]) -> Table:
    """Own attributes of provenance, and what carries them."""
    head = "属性|属于|类型|含义" if language == "zh" else "attribute|of|type|meaning"
    at = 0 if language == "zh" else 1
    rows = [
        (f"`tally:{name}`", CARRIERS[carrier][at], TYPES[type_][at], (zh, en)[at])
        for name, carrier, type_, zh, en in ATTRIBUTES
    ]
    return tuple(head.split("|")), rows
