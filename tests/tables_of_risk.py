"""Tables of the READMEs about risk, from the code: head and rows for `tests.test_docs`."""

from typing import Literal

from contracts.risk.reasons import TABLE
from tests.tables_of_credit import Table


def reasons(language: Literal["en", "zh"]) -> Table:
    """What makes a request risky until a vote sets other points."""
    head = ("理由代码", "分数", "含义") if language == "zh" else ("reason", "points", "what")
    rows: list[tuple[str, ...]] = [
        (f"`{row.id}`", f"+{row.points}", row.zh if language == "zh" else row.en) for row in TABLE
    ]
    return head, rows
