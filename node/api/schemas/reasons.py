"""Why a node is not ready, in words: what was found, and what to do."""

from collections.abc import Mapping
from dataclasses import dataclass

from contracts.words import Language
from node.api.schemas.nodes import ReasonBody
from node.service import Reason


@dataclass(frozen=True, slots=True)
class _Text:
    """Templates over the values of a reason."""

    detail: str
    advice: str


REASONS: Mapping[str, Mapping[Language, _Text]] = {
    "not-receiving": {
        "zh": _Text(
            "不是第 {epoch} 纪元的验证节点，也没有验证节点与其通信：应答止于过去的高度 {height}",
            "请询问另一节点，并由成员表决（重新）接纳本节点。",
        ),
        "en": _Text(
            "no validator of epoch {epoch}, and no validator speaks with it: it answers from height"
            " {height} of the past",
            "Ask another node, and have the members vote this one in (again).",
        ),
    },
    "quorum-unreachable": {
        "zh": _Text("未连接 {members}", "请检查这些节点是否运行、其节点间端口是否可达。"),
        "en": _Text(
            "no connection to {members}",
            "Check that these nodes run and that their peer ports can be reached.",
        ),
    },
    "quorum-unheard": {
        "zh": _Text(
            "已得知 {others} 个其他验证节点中 {heard} 个的高度，需要 {needed} 个：尚不知日志有多长",
            "请等待；它们连接后会告知各自的高度。",
        ),
        "en": _Text(
            "{heard} of {others} other validators have told their height, {needed} are needed: it"
            " does not know yet how long the log is",
            "Wait; they tell it once they are connected.",
        ),
    },
    "catching-up": {
        "zh": _Text("位于高度 {height}，其他节点已到 {highest}", "请等待；节点会自行追上。"),
        "en": _Text("at height {height} of {highest}", "Wait; the node follows by itself."),
    },
}


def reason_bodies(reasons: tuple[Reason, ...], language: Language) -> tuple[ReasonBody, ...]:
    """JSON shapes of the reasons why a node is not ready."""
    bodies = []
    for reason in reasons:
        text = REASONS[reason.code][language]
        detail, advice = (each.format(**reason.values) for each in (text.detail, text.advice))
        bodies.append(ReasonBody(code=reason.code, detail=detail, advice=advice))
    return tuple(bodies)
