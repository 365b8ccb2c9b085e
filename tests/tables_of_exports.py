"""Tables of the READMEs about exports, from the code, for `tests.test_docs`."""

from typing import Literal

from tests.tables_of_credit import Table
from tools.audit.export.tables import TABLES

TYPES = {
    "integer": ("整数", "integer"),
    "text": ("文本", "text"),
    "yes-no": ("真假", "yes or no"),
    "time": ("时间", "time"),
    "texts": ("文本列表", "list of texts"),
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
