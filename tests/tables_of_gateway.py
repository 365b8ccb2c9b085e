"""Tables of the READMEs about gateways, from the code, for `tests.test_docs`."""

from typing import Literal

from node.config import REQUIRED
from node.gateway.config import SETTINGS
from node.gateway.words import catalogue
from tests.tables_of_credit import Table
from tools.words import catalogue as tool_words

# Stages by side, in the order in which an exchange passes through them.
STAGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "provide",
        (
            "request",
            "review",
            "ask",
            "prepare",
            "refer",
            "deliver",
            "offered",
            "learn",
            "settled",
        ),
    ),
    ("acquire", ("request", "open", "fetch", "check", "hand", "answer", "kept", "erase", "attest")),
    ("", ("held", "closed")),
)


def settings(language: Literal["en", "zh"]) -> Table:
    """Settings of `gateway.toml`."""
    is_zh = language == "zh"
    head = "键|含义|默认值" if is_zh else "key|meaning|default"
    rows = [
        (
            f"`[{row.section}] {row.key}`",
            row.zh if is_zh else row.en,
            ("必填" if is_zh else "required")
            if row.default is REQUIRED
            else _default_text(row.default),
        )
        for row in SETTINGS
    ]
    return tuple(head.split("|")), rows


def _default_text(value: object) -> str:
    if isinstance(value, tuple):
        return "`[]`" if not value else f"`{list(value)}`"
    return f"`{value}`" if not isinstance(value, str) or value else '`""`'


def stages(language: Literal["en", "zh"]) -> Table:
    """What an exchange passes through at a gateway."""
    head = "方向|阶段|名称|含义" if language == "zh" else "side|stage|shown as|meaning"
    words = tool_words(language)
    rows = [
        (
            words[f"job_side.{side}"] if side else "",
            f"`{stage}`",
            words[f"job_word.{stage}"],
            words[f"job_stage.{stage}"],
        )
        for side, names in STAGES
        for stage in names
    ]
    return tuple(head.split("|")), rows


def faults(language: Literal["en", "zh"]) -> Table:
    """What is wrong at a gateway; other codes are those of connectors, records, sealing, rules."""
    head = ("代码", "含义", "怎么办") if language == "zh" else ("code", "meaning", "what to do")
    found = catalogue(language).items()
    return head, [(f"`{code}`", words["title"], words["advice"]) for code, words in found]
