"""How far a node is on its way into the network, and what it waits for.

    member      its agency is an active member
    synced      it holds the log, level with the validators
    voted       the members have voted its validator in
    ready       it has said that it can vote in the next epoch
    validator   it votes

A pure function of what the node itself answers, so it can be asked of any node about itself.
"""

from dataclasses import dataclass
from typing import Any, Literal

Name = Literal["member", "synced", "voted", "ready", "validator"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step; `waits_for` is a key of the words `stage.*`, empty when it is done."""

    name: Name
    done: bool
    waits_for: str
    values: dict[str, str]


def stages_of(
    node: dict[str, Any], validators: dict[str, Any], members: list[dict[str, Any]]
) -> tuple[Stage, ...]:
    """Stages of the node that gave `/v1/status`, `/v1/validators` and the list of members."""
    member = node["member"]
    statuses = [each["status"] for each in members if each["id"] == member]
    status = statuses[0] if statuses else "unknown"
    seats = [seat["member"] for seat in validators["validators"]]
    pending = validators["pending"]
    coming = [] if pending is None else [seat["member"] for seat in pending["validators"]]
    votes = member in seats
    is_coming = member in coming
    is_ready = votes or (pending is not None and member in pending["ready"])
    linked = sum(peer["connected"] for peer in node["peers"])
    tip = max([node["height"], *(peer["final_height"] for peer in node["peers"])])
    heights = {"height": str(node["height"]), "tip": str(tip), "linked": str(linked)}
    seal = {} if pending is None else _seal_values(pending)
    return (
        _stage("member", status == "active", f"member_{status}"),
        _stage(
            "synced",
            not node["syncing"] and linked > 0,
            "synced" if linked else "links",
            heights,
        ),
        _stage("voted", votes or is_coming, "voted"),
        _stage("ready", is_ready, "ready" if is_coming else "vote_first"),
        _stage("validator", votes, "seal" if is_ready and not votes else "ready_first", seal),
    )


def receives(node: dict[str, Any]) -> bool:
    """Whether the node that gave `/v1/status` hears of new blocks: one of its peers is linked.

    One that was voted out, or that nobody has voted in, is not spoken with: what it answers is old.
    """
    return not node["peers"] or any(peer["connected"] for peer in node["peers"])


def _seal_values(pending: dict[str, Any]) -> dict[str, str]:
    return {
        "quorum": str(pending["quorum"]),
        "ready": ", ".join(pending["ready"]) or "-",
        "missing": ", ".join(pending["missing"]) or "-",
        "activate_height": str(pending["activate_height"]),
    }


def _stage(name: Name, done: bool, waits_for: str, values: dict[str, str] | None = None) -> Stage:
    return Stage(name=name, done=done, waits_for="" if done else waits_for, values=values or {})
