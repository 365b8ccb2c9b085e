"""What one action needs of a policy set: the policies that may concern it, the facts they read.

A policy whose action scope names other actions only is never satisfied for this one and never
fails for it, so leaving it out changes no answer, reason or error. A fact that no remaining policy
mentions cannot change an answer either; parsing facts is a third of what a question costs. Where
a policy uses the whole context other than by `context.name` or `context has name`, all facts stay.

The policies are Cedar's JSON form (`cedarpy.policies_to_json_str`), by id.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cedarpy

ALL_FACTS = None
_CONTEXT = {"Var": "context"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Parsed policies for one action; `facts` are the context attributes they read, None: all."""

    policies: cedarpy.PolicySet
    facts: frozenset[str] | None

    def pick(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """The part of a context that the policies read."""
        if self.facts is None:
            return dict(context)
        return {name: value for name, value in context.items() if name in self.facts}


def slice_policies(
    policies: Mapping[str, dict[str, Any]], action: str, actions: tuple[str, ...]
) -> Slice:
    """Slice for `action`, one of the known `actions`. Raises `ValueError` on malformed policies."""
    chosen = {
        name: policy
        for name, policy in sorted(policies.items())
        if _may_concern(policy["action"], action, actions)
    }
    document = {"staticPolicies": chosen, "templates": {}, "templateLinks": []}
    reads = list(_context_reads([policy["conditions"] for policy in chosen.values()]))
    return Slice(
        policies=cedarpy.PolicySet.from_json_str(json.dumps(document)),
        facts=ALL_FACTS if "" in reads else frozenset(reads),
    )


def _may_concern(scope: Mapping[str, Any], action: str, actions: tuple[str, ...]) -> bool:
    """Whether an action scope may admit `action`; a group that is not known may."""
    if scope["op"] == "All":
        return True
    entities = scope.get("entities") or [scope.get("entity", {})]
    names = [entity.get("id", "") for entity in entities]
    return action in names or any(name not in actions for name in names)


def _context_reads(expression: Any) -> Iterator[str]:
    """Names of the context attributes an expression reads; "" for a use of the whole context."""
    pending = [expression]
    while pending:
        node = pending.pop()
        if node == _CONTEXT:
            yield ""
        elif isinstance(node, dict):
            read = node.get(".") or node.get("has")
            if isinstance(read, dict) and read.get("left") == _CONTEXT and "attr" in read:
                yield read["attr"]
            else:
                pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
