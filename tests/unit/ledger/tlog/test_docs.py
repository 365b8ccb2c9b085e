"""The worked example in the docstring of each module is true."""

import doctest
import importlib

import pytest

MODULES = ("merkle", "note", "checkpoint", "tiles", "policy", "receipt")


@pytest.mark.parametrize("name", MODULES)
def test_worked_example(name: str) -> None:
    results = doctest.testmod(importlib.import_module(f"ledger.tlog.{name}"))
    assert results.failed == 0
    assert results.attempted >= 4
