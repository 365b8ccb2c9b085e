"""What the conditions of a policy may use, so that no question can make them fail.

After strict validation Cedar can still fail in three ways: integers that leave 64 bits, attributes
of an entity that the question does not hold, and extension functions. The first is excluded by
bounding every integer expression (facts are at most `FACT_MAX`), the second by reading attributes
of `principal`, `resource` and `context` only, the third by naming the operators that are known.
The input is Cedar's JSON form of one policy, whose size is bounded.
"""

from collections.abc import Iterator
from typing import Any

# Block times, counters and sizes stay far below; 2^63 - 1 is Cedar's largest integer.
FACT_MAX = 2**50
INTEGER_MAX = 2**63 - 1
# The engine hands policies to Cedar as JSON, which is read 128 levels deep.
DEPTH_MAX = 110

_KNOWN = frozenset(
    (
        *("Value", "Var", "Set", ".", "has", "is", "like", "in", "if-then-else"),
        *("==", "!=", "<", "<=", ">", ">=", "&&", "||", "!", "+", "-", "*", "neg"),
        *("contains", "containsAll", "containsAny", "isEmpty"),
    )
)


def find_excess(policy: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Code and detail of everything in a policy that could fail when it is asked."""
    bodies = [condition["body"] for condition in policy["conditions"]]
    if max(map(_depth, bodies), default=0) > DEPTH_MAX:
        yield "policy-deep", f"more than {DEPTH_MAX} levels"
        return
    for body in bodies:
        for node in _nodes(body):
            (operator,) = node
            if operator not in _KNOWN:
                yield "policy-operator", operator
            elif operator == "." and not _is_fact(node["."]["left"]):
                yield "policy-stranger", str(node["."]["attr"])
        if _largest(body) is None:
            yield "policy-overflow", f"integers beyond {INTEGER_MAX}"


def _depth(body: Any) -> int:
    deepest, pending = 0, [(body, 1)]
    while pending:
        node, level = pending.pop()
        deepest = max(deepest, level)
        if isinstance(node, dict):
            pending += [(child, level + 1) for child in node.values()]
        elif isinstance(node, list):
            pending += [(child, level + 1) for child in node]
    return deepest


def _nodes(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every expression in one, itself included; operators that are not known end the walk."""
    pending = [body]
    while pending:
        node = pending.pop()
        yield node
        pending += _operands(node)


def _operands(node: dict[str, Any]) -> list[dict[str, Any]]:
    ((operator, content),) = node.items()
    if operator in ("Value", "Var") or operator not in _KNOWN:
        return []
    if operator == "Set":
        return list(content)
    named = ("left", "right", "arg", "if", "then", "else", "in")
    return [content[name] for name in named if isinstance(content.get(name), dict)]


def _is_fact(node: dict[str, Any]) -> bool:
    while "." in node:
        node = node["."]["left"]
    return "Var" in node


def _largest(node: dict[str, Any]) -> int | None:
    """Bound of what an expression can be if it is an integer; None: some part may overflow."""
    ((operator, content),) = node.items()
    if operator == "Value":
        return abs(content) if type(content) is int else 0
    if operator in (".", "Var"):
        return FACT_MAX
    bounds = [_largest(operand) for operand in _operands(node)]
    known = [bound for bound in bounds if bound is not None]
    if len(known) < len(bounds):
        return None
    if operator in ("+", "-"):
        largest = sum(known)
    elif operator == "*":
        largest = known[0] * known[1]
    else:
        largest = max(known, default=0)
    return largest if largest <= INTEGER_MAX else None
