"""One deliberate fault of the production code, and what must notice it.

Mutations stand in `lists/*.toml`, one list for a source file:

    path = "node/simplex/rules.py"

    [[mutation]]
    name = "quorum 2f+1"
    rule = "1.0"                  section, rule or invariant of CONSENSUS; elsewhere the
                                  requirement that it serves, or the status code
    old = '...'                   occurs once in the file
    new = '...'                   stands in its place
    catcher = "tests/a.py::test"  must fail then: a pytest node, or arguments of `python`
                                  that begin with -m, as of a simulation with its seeds
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

LISTS = Path(__file__).resolve().parent / "lists"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """With `new` in the place of `old` in `path`, `catcher` must fail."""

    name: str
    rule: str
    path: str
    old: str
    new: str
    catcher: str


def read_mutations() -> list[Mutation]:
    """Every mutation, list by list."""
    mutations = []
    for file in sorted(LISTS.glob("*.toml")):
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        mutations += [Mutation(path=table["path"], **row) for row in table["mutation"]]
    return mutations
