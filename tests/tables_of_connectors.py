"""Tables of the READMEs about connectors and receivers, from the code, for `tests.test_docs`."""

from typing import Any, Literal

from node.connectors.folder import FOLDER_OPTIONS
from node.connectors.hook import HOOK_OPTIONS
from node.connectors.http import HTTP_OPTIONS
from node.connectors.inbox import INBOX_OPTIONS
from node.connectors.options import REQUIRED
from node.connectors.sql import SQL_OPTIONS
from node.connectors.words import catalogue
from tests.tables_of_credit import Table

# In the order of the READMEs: kind in zh and en, name, options.
OPTIONS = (
    ("连接器", "connector", "folder", FOLDER_OPTIONS),
    ("连接器", "connector", "http", HTTP_OPTIONS),
    ("连接器", "connector", "sql", SQL_OPTIONS),
    ("接收器", "receiver", "folder", INBOX_OPTIONS),
    ("接收器", "receiver", "http", HOOK_OPTIONS),
)


def options(language: Literal["en", "zh"]) -> Table:
    """Options of each connector and receiver, with their form and default."""
    is_zh = language == "zh"
    head = "用于|选项|含义|形式|默认值" if is_zh else "of|option|meaning|form|default"
    rows = [
        (
            f"{zh if is_zh else en} `{name}`",
            f"`{row.name}`",
            row.zh if is_zh else row.en,
            f"`{row.form.text}`".replace(" | ", "`, `"),
            ("必填" if is_zh else "required")
            if row.default is REQUIRED
            else _default_text(row.default),
        )
        for zh, en, name, table in OPTIONS
        for row in table
    ]
    return tuple(head.split("|")), rows


def _default_text(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"`{value}`" if value else ""


def refusals(language: Literal["en", "zh"]) -> Table:
    """Why there are no records, why a delivery is not taken over, why options are refused."""
    head = ("代码", "含义", "怎么办") if language == "zh" else ("code", "meaning", "what to do")
    found = catalogue(language).items()
    return head, [(f"`{code}`", words["title"], words["advice"]) for code, words in found]
