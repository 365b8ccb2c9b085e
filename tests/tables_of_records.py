"""Tables of the READMEs about the quality of records, from the code, for `tests.test_docs`."""

from typing import Literal

from node.records.rules import RULES
from node.records.words import catalogue
from tests.tables_of_credit import Table
from tools.words import catalogue as tool_words


def rules(language: Literal["en", "zh"]) -> Table:
    """Rules of `node.records`, each with what becomes of the row."""
    head = "代码|处置|含义" if language == "zh" else "code|severity|meaning"
    words, said = catalogue(language)["rules"], tool_words(language)
    rows = [(f"`{rule}`", said[f"record.{kind}"], words[rule]) for rule, kind in RULES.items()]
    return tuple(head.split("|")), rows


def refusals(language: Literal["en", "zh"]) -> Table:
    """Why a source or a schema is refused as a whole."""
    head = "代码|含义|怎么办" if language == "zh" else "code|meaning|what to do"
    rows = [
        (f"`{code}`", entry["title"], entry["advice"])
        for code, entry in catalogue(language)["refusals"].items()
    ]
    return tuple(head.split("|")), rows
