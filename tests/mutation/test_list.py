"""The list of mutations cannot rot: what it names is there."""

import ast
from pathlib import Path

import pytest

from tests.mutation.mutation import Mutation, read_mutations
from tests.mutation.run import ROOT

MUTATIONS = read_mutations()
MUTATIONS_MIN = 30


def _has_test(catcher: str) -> bool:
    name, _, function = catcher.partition("::")
    path = ROOT / name
    if not path.is_file():
        return False
    names = {
        node.name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return function.partition("[")[0] in names


def _has_module(catcher: str) -> bool:
    module = catcher.split()[1]
    return Path(ROOT, *module.split(".")).with_suffix(".py").is_file()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: f"{each.path}: {each.name}")
def test_a_mutation_has_its_place_and_its_catcher(mutation: Mutation) -> None:
    text = (ROOT / mutation.path).read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1
    changed = text.replace(mutation.old, mutation.new)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text))
    has_catcher = _has_module if mutation.catcher.startswith("-m ") else _has_test
    assert has_catcher(mutation.catcher)


def test_names_are_distinct_and_many() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= MUTATIONS_MIN


def test_a_missing_catcher_is_seen() -> None:
    assert not _has_test("tests/mutation/test_list.py::test_nothing")
    assert not _has_test("tests/nothing.py::test_nothing")
    assert not _has_module("-m tests.nothing.run --first 1")
    assert _has_test("tests/mutation/test_list.py::test_names_are_distinct_and_many[x]")
    assert _has_module("-m tests.mutation.run --first 1")
