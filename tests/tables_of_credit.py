"""Tables of the READMEs about credit, from the code: head and rows for `tests.test_docs`."""

from typing import Literal

from contracts.credit.behaviours import REASONS, TABLE

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


def behaviours(language: Literal["en", "zh"]) -> Table:
    """What counts for credit until a vote sets other rules."""
    zh, en = (
        "行为|每次分数|窗口内上限|内容",
        "behaviour|points each time|at most in the window|what",
    )
    head = zh if language == "zh" else en
    rows: list[tuple[str, ...]] = [
        (f"`{row.id}`", f"{row.points:+}", str(row.limit), row.zh if language == "zh" else row.en)
        for row in TABLE
    ]
    return tuple(head.split("|")), rows


def reasons(language: Literal["en", "zh"]) -> Table:
    """Reasons for which a refusal costs no credit until a vote sets others."""
    head = ("理由代码", "含义") if language == "zh" else ("reason code", "meaning")
    return head, [(f"`{row.id}`", row.zh if language == "zh" else row.en) for row in REASONS]
