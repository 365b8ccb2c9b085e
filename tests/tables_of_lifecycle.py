"""Tables of both READMEs about exchanges: the diagram of states, steps beside it, gaps."""

from typing import TypeAlias

from contracts.exchange.duties import GAPS
from contracts.lifecycle import STATUS_OF_DECISION, STATUSES, STEPS, Step
from contracts.words import Language, decision_word, kind_word, role_word, status_word

Table: TypeAlias = tuple[tuple[str, ...], list[tuple[str, ...]]]


def render_lifecycle(language: Language) -> str:
    """The state diagram of `contracts.lifecycle.STEPS`, for Mermaid: steps that lead on."""
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f'    state "{status_word(status, language)}" as {status}' for status in STATUSES]
    lines += [
        f"    [*] --> {status}: {decision_word(decision, language)}"
        for decision, status in STATUS_OF_DECISION.items()
    ]
    for step in STEPS.values():
        label = f"{kind_word(step.kind, language)} ({_roles(step, language)})"
        lines += [
            f"    {before} --> {step.after}: {label}"
            for before in step.before
            if step.after not in (None, before)
        ]
    return "\n".join([*lines, "```", ""])


def matters(language: Language) -> Table:
    """Steps that leave the state as it is."""
    head = ("事件", "经办人", "所处状态") if language == "zh" else ("event", "officer", "in states")
    rows = [
        (
            f"`{step.kind}` {kind_word(step.kind, language)}",
            _roles(step, language),
            ", ".join(status_word(status, language) for status in step.before),
        )
        for step in STEPS.values()
        if step.after is None
    ]
    return head, rows


def gaps(language: Language) -> Table:
    """What can be missing, and the events that fulfil the duty."""
    head = ("缺口", "含义", "以何事件了结") if language == "zh" else ("gap", "meaning", "done by")
    rows = [
        (
            f"`{gap.id}`",
            gap.zh if language == "zh" else gap.en,
            ", ".join(f"`{kind}`" for kind in gap.kinds),
        )
        for gap in GAPS.values()
    ]
    return head, rows


def _roles(step: Step, language: Language) -> str:
    return " / ".join(role_word(actor.role, language) for actor in step.actors)
