"""Answers of the node's own programs that a command has run: `tools` has no part of a node."""

from typing import Any

from tools.exits import FailedNode, InvalidInput
from tools.words import language


def read_answer(document: dict[str, Any], trouble: str) -> dict[str, Any]:
    """The answer of a program, empty where it gave none; `trouble` is what it said of that.

    Raises `InvalidInput` with the program's own words, or `FailedNode`.
    """
    if refused := document.get("refused"):
        code, detail = refused["code"], refused["detail"]
        raise InvalidInput(
            code,
            detail,
            title=refused[f"title_{language()}"],
            advice=refused[f"advice_{language()}"],
        )
    if not document:
        raise FailedNode("record-program", trouble.strip())
    return document
