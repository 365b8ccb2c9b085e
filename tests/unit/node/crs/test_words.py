"""Every code of `node.crs` has its words in both languages, and none is left over."""

import ast
from pathlib import Path

import pytest

from contracts.words import LANGUAGES, Language
from node import crs
from node.crs.check import _SCHEMA_FAULTS
from node.crs.guard import THREATS
from node.crs.words import catalogue

ERRORS = (
    "InvalidDocument", "InvalidSchemaFolder", "InvalidStatus", "InvalidKey", "InvalidPackage",
    "refuse",
)  # fmt: skip


def raised() -> set[str]:
    """Codes in calls of the errors, of `_fault`, and of what chooses between two."""
    found = set(THREATS)
    for path in Path(crs.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                first = node.args[0] if node.args else None
                if name in (*ERRORS, "_fault") and isinstance(first, ast.Constant):
                    found.add(str(first.value))
    return found | {"crs-xml-truncated", "crs-xml-malformed"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_code_has_words_and_none_is_left_over(language: Language) -> None:
    words = catalogue(language)
    assert words["refusals"].keys() == raised()
    assert all(entry.keys() == {"title", "advice"} for entry in words["refusals"].values())
    assert words["reasons"].keys() == {*_SCHEMA_FAULTS.values(), "value-invalid"}
    assert len(set(words["reasons"].values())) == len(words["reasons"])
