"""What differs between two policy sets, policy by policy, as unified diffs."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from contracts.drafts.places import find_id, split_statements
from contracts.engine import hash_policy_set
from ledger.registry import PolicySet

SCHEMA = "schema"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextChange:
    """One policy, or the schema; `lines` are those of a unified diff without its head."""

    id: str
    how: Literal["added", "removed", "changed"]
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Both sets by hash, version and engine, and what differs.

    `comments`: the texts of contracts differ, but no policy does.
    """

    hashes: tuple[str, str]
    versions: tuple[int, int]
    engines: tuple[str, str]
    policies: tuple[TextChange, ...]
    schema: TextChange | None
    comments: bool


def compare_sets(old: PolicySet, new: PolicySet) -> Comparison:
    """Every policy that is added, removed or changed, by id; the schema likewise."""
    changes = tuple(_changes(policies_of(old), policies_of(new)))
    schema = next(_changes({SCHEMA: old.schema}, {SCHEMA: new.schema}), None)
    return Comparison(
        hashes=(hash_policy_set(old).hex(), hash_policy_set(new).hex()),
        versions=(old.version, new.version),
        engines=(old.engine, new.engine),
        policies=changes,
        schema=schema,
        comments=old.contracts != new.contracts and not changes,
    )


def policies_of(policy_set: PolicySet) -> dict[str, str]:
    """Text of each policy by its id, or by contract and position where it has none."""
    found: dict[str, str] = {}
    for contract in policy_set.contracts:
        for at, statement in enumerate(split_statements(contract.text), start=1):
            name = find_id(statement) or f"{contract.id}#{at}"
            found[name if name not in found else f"{name}#{at}"] = statement.text
    return found


def _changes(old: dict[str, str], new: dict[str, str]) -> Iterator[TextChange]:
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        how: Literal["added", "removed", "changed"] = "changed"
        if before is None or after is None:
            how = "added" if before is None else "removed"
        lines = difflib.unified_diff(_lines(before), _lines(after), lineterm="")
        yield TextChange(id=name, how=how, lines=tuple(lines)[2:])


def _lines(text: str | None) -> list[str]:
    return [] if text is None else text.split("\n")
