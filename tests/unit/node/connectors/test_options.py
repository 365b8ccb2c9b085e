"""Options of connectors and receivers: strict, and refused by name."""

from pathlib import Path
from typing import Any

import pytest

from node.connectors.errors import InvalidOptions
from node.connectors.options import (
    NAMES,
    PATH,
    REQUIRED,
    TABLE,
    TEXT,
    choice,
    count,
    option,
    read_options,
)
from node.connectors.registry import load_connector, load_receiver
from tests.tables_of_connectors import OPTIONS

ROWS = (
    option("text", TEXT, REQUIRED, "", ""),
    option("path", PATH, REQUIRED, "", ""),
    option("names", NAMES, (), "", ""),
    option("table", TABLE, {}, "", ""),
    option("count", count(1, 9), 3, "", ""),
    option("kind", choice("a", "b"), "a", "", ""),
)
GOOD = {"text": "x", "path": "y"}


def refusal(**options: Any) -> tuple[str, str]:
    with pytest.raises(InvalidOptions) as caught:
        read_options(ROWS, options, Path("/base"))
    return caught.value.code, caught.value.detail


def test_options_and_defaults() -> None:
    found = read_options(ROWS, GOOD, Path("/base"))
    assert found == {
        "text": "x",
        "path": Path("/base/y"),
        "names": (),
        "table": {},
        "count": 3,
        "kind": "a",
    }
    given = {"names": ["a"], "table": {"a": "b"}, "count": 9, "kind": "b", "path": "/y"}
    assert read_options(ROWS, {**GOOD, **given}, Path("/base"))["path"] == Path("/y")


def test_all_faults_are_named_at_once() -> None:
    unknown = refusal(**GOOD, pth="y", txt="x")
    assert unknown == ("option-unknown", "pth, txt (text, path, names, table, count, kind)")
    assert refusal() == ("option-missing", "text, path")
    wrong = refusal(**GOOD, count=10, kind="c")
    assert wrong == ("option-invalid", "count: 1 … 9; kind: a | b")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", ""),
        ("text", 1),
        ("text", "a\0b"),
        ("path", None),
        ("path", ""),
        ("names", "a"),
        ("names", ["a", 1]),
        ("names", [""]),
        ("table", ["a"]),
        ("table", {"a": 1}),
        ("table", {"": "a"}),
        ("count", 0),
        ("count", 10),
        ("count", True),
        ("count", "3"),
        ("count", 3.0),
        ("kind", "A"),
        ("kind", ["a"]),
    ],
)
def test_a_value_of_another_form(name: str, value: object) -> None:
    code, detail = refusal(**{**GOOD, name: value})
    assert (code, detail.split(":")[0]) == ("option-invalid", name)


@pytest.mark.parametrize(("_zh", "kind", "name", "_table"), OPTIONS)
def test_every_one_of_ours_refuses_what_it_does_not_know(
    _zh: str, kind: str, name: str, _table: object
) -> None:
    load: Any = load_connector if kind == "connector" else load_receiver
    with pytest.raises(InvalidOptions) as caught:
        load(name, {"no-such": 1}, Path())
    assert caught.value.code == "option-unknown"


def test_every_option_is_explained_in_both_languages() -> None:
    for _, _, name, table in OPTIONS:
        assert len({row.name for row in table}) == len(table), name
        assert all(row.zh and row.en and row.form.text for row in table), name
