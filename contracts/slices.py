"""What one action needs of a policy set: the policies that may concern it, the facts they read.

A policy whose action scope names other actions only is never satisfied for this one and never
fails for it, so leaving it out changes no answer, reason or error. A fact that no remaining policy
mentions cannot change an answer either; parsing facts is a third of what a question costs. Where
a policy uses the whole context other than by `context.name` or `context has name`, all facts stay.

Where policies only compare a fact with numbers (`context.subjects > 200`), it counts only where it
stands among those numbers: values that no comparison tells apart are one and the same question.

The policies are Cedar's JSON form (`cedarpy.policies_to_json_str`), by id.
"""

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cedarpy

ALL_FACTS = None
_CONTEXT = {"Var": "context"}
_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
# What is no Long of Cedar fails as a whole and must keep failing.
_LONG_MIN, _LONG_MAX = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What policies read of a context: `facts` are its attributes, sorted; None: all.

    `marks` are the numbers, sorted, with which those facts are compared that are only compared.
    """

    facts: tuple[str, ...] | None
    marks: Mapping[str, tuple[int, ...]]

    def pick(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """The part of a context that the policies read, as far as they can tell values apart."""
        if self.facts is None:
            return dict(context)
        found = {name: context[name] for name in self.facts if name in context}
        for name, marks in self.marks.items():
            if name in found:
                found[name] = stand_in_for(marks, found[name])
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice(Reading):
    """Parsed policies for one action, and what they read."""

    policies: cedarpy.PolicySet


def slice_policies(
    policies: Mapping[str, dict[str, Any]], action: str, actions: tuple[str, ...]
) -> Slice:
    """Slice for `action`, one of the known `actions`. Raises `ValueError` on malformed policies."""
    chosen = _choose(policies, action, actions)
    document = {"staticPolicies": chosen, "templates": {}, "templateLinks": []}
    reading = _read_by(chosen)
    return Slice(
        policies=cedarpy.PolicySet.from_json_str(json.dumps(document)),
        facts=reading.facts,
        marks=reading.marks,
    )


def find_reading(
    policies: Mapping[str, dict[str, Any]], wanted: Sequence[str], actions: tuple[str, ...]
) -> Reading:
    """What the policies for any of the actions `wanted` read."""
    chosen: dict[str, dict[str, Any]] = {}
    for action in wanted:
        chosen |= _choose(policies, action, actions)
    return _read_by(chosen)


def _choose(
    policies: Mapping[str, dict[str, Any]], action: str, actions: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    return {
        name: policy
        for name, policy in sorted(policies.items())
        if _may_concern(policy["action"], action, actions)
    }


def _read_by(chosen: Mapping[str, dict[str, Any]]) -> Reading:
    compared: dict[str, frozenset[int] | None] = {}
    for name, numbers in _context_reads([policy["conditions"] for policy in chosen.values()]):
        before = compared.get(name, frozenset())
        compared[name] = None if before is None or numbers is None else before | numbers
    is_part = "" not in compared
    return Reading(
        facts=tuple(sorted(compared)) if is_part else ALL_FACTS,
        marks={name: tuple(sorted(each)) for name, each in compared.items() if each is not None},
    )


def _may_concern(scope: Mapping[str, Any], action: str, actions: tuple[str, ...]) -> bool:
    """Whether an action scope may admit `action`; a group that is not known may."""
    if scope["op"] == "All":
        return True
    entities = scope.get("entities") or [scope.get("entity", {})]
    names = [entity.get("id", "") for entity in entities]
    return action in names or any(name not in actions for name in names)


def _context_reads(expression: Any) -> Iterator[tuple[str, frozenset[int] | None]]:
    """Names of the context attributes an expression reads; "" for a use of the whole context.

    With each, the numbers it is compared with; None: its value is used in another way.
    """
    pending = [expression]
    while pending:
        node = pending.pop()
        if node == _CONTEXT:
            yield "", None
        elif isinstance(node, dict):
            compared = _comparison(node)
            name = _attribute(node, ".") or _attribute(node, "has")
            if compared is not None:
                yield compared
            elif name is not None:
                yield name, frozenset() if "has" in node else None
            else:
                pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)


def _attribute(node: Mapping[str, Any], operator: str) -> str | None:
    """Name in `context.name` or `context has name`."""
    read = node.get(operator)
    if isinstance(read, dict) and read.get("left") == _CONTEXT:
        name: str | None = read.get("attr")
        return name
    return None


def _comparison(node: Mapping[str, Any]) -> tuple[str, frozenset[int]] | None:
    """Name and number in `context.name > 7` or `7 > context.name`."""
    for operator in _COMPARISONS:
        sides = node.get(operator)
        if not isinstance(sides, dict) or sides.keys() != {"left", "right"}:
            continue
        for side, other in ((sides["left"], sides["right"]), (sides["right"], sides["left"])):
            if not isinstance(side, dict) or not isinstance(other, dict):
                continue
            name, number = _attribute(side, "."), other.get("Value")
            if name is not None and type(number) is int:
                return name, frozenset((number,))
    return None


def stand_in_for(marks: tuple[int, ...], value: Any) -> Any:
    """The value that stands for all those that no comparison with `marks` tells from it."""
    if type(value) is not int or not _LONG_MIN <= value <= _LONG_MAX:
        return value
    at = bisect_left(marks, value)
    if at < len(marks) and value == marks[at]:
        return value
    # The numbers next to a mark; without marks it only matters that there is a value.
    return marks[at - 1] + 1 if at else marks[0] - 1 if marks else 0
