"""Why an event was permitted, reviewed or denied, from the recorded state at its height."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from contracts.decision import Decision, Verdict, explain
from contracts.drafts.difference import policies_of
from contracts.drafts.history import Happened
from contracts.drafts.words import fact_word, text
from contracts.engine import PolicyEngine, hash_policy_set
from contracts.errors import InvalidPolicySet
from contracts.facts import Act
from contracts.words import Language, describe, kind_word, role_word
from ledger.registry import PolicySet
from ledger.verify import Step, diverge
from tools.contract.past import MapAll, Past
from tools.exits import InvalidInput, NotFound
from tools.output import format_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A record, and the decision made again; None where the contracts were not asked."""

    happened: Happened
    policy_set: PolicySet
    decision: Decision | None
    effects: dict[str, str]


def find_explanation(
    past: Past, digest: bytes, map_all: MapAll, on_progress: Callable[[int, int], None]
) -> Explanation:
    """Explanation of an event. Raises `NotFound`, and `Divergence` if it was decided otherwise."""
    for block, happened in past.walk(map_all, on_progress):
        for each in happened:
            if each.event.digest == digest:
                past.history.verify_state(block, map_all)
                return explain_happened(each, past.policy_set)
    raise NotFound("event-not-found", digest.hex())


# One exchange asks the same contracts several times, and parsing them is most of the work.
_load = lru_cache(4)(PolicyEngine)


def explain_happened(happened: Happened, policy_set: PolicySet) -> Explanation:
    """The decision on a record, made again. Raises `Divergence` if it was decided otherwise."""
    act, facts = happened.act, happened.facts
    if act is None or facts is None:
        return Explanation(happened=happened, policy_set=policy_set, decision=None, effects={})
    try:
        engine = _load(policy_set)
    except InvalidPolicySet:
        raise InvalidInput("engine-differs", policy_set.engine) from None
    judge = engine.judge_request if act.action == "request" else engine.judge_step
    decision = judge(act, facts)
    made, recorded = _essence(decision), _recorded_essence(happened)
    if made != recorded:
        diverge(Step.OUTCOMES, happened.index, str(made), str(recorded))
    effects = {info.id: info.effect for info in engine.infos.values()}
    return Explanation(happened=happened, policy_set=policy_set, decision=decision, effects=effects)


def _essence(decision: Decision) -> tuple[bool, tuple[str, ...], bytes]:
    return decision.verdict is not Verdict.DENY, decision.policies, decision.policy_set


def _recorded_essence(happened: Happened) -> tuple[bool, tuple[str, ...], bytes]:
    outcome = happened.outcome
    # A later act that is denied is not applied; a request that is denied is.
    is_open = outcome.applied and outcome.decision != "deny"
    return is_open, outcome.policies, outcome.policy_set


def to_document(found: Explanation) -> dict[str, Any]:
    """The explanation as plain values."""
    each, decision = found.happened, found.decision
    event, outcome = each.event, each.outcome
    document: dict[str, Any] = {
        "event": event.digest.hex(),
        "index": each.index,
        "height": each.height,
        "time_ms": each.time_ms,
        "kind": event.kind,
        "member": event.member,
        "officer": event.officer[1:].hex(),
        "applied": outcome.applied,
        "code": outcome.code,
        "policy_set": {
            "version": found.policy_set.version,
            "hash": hash_policy_set(found.policy_set).hex(),
            "engine": found.policy_set.engine,
        },
        "asked": None,
        "decision": None,
    }
    if decision is not None and each.act is not None:
        document["asked"] = {**_parties(each.act), "facts": dict(each.facts or {})}
        document["legal_basis"] = msgspec.to_builtins(each.basis)
        document["decision"] = {
            "verdict": decision.verdict.value,
            "policies": _policies(found, decision),
            "obligations": msgspec.to_builtins(decision.obligations),
            "errors": list(decision.errors),
            "risk": msgspec.to_builtins(each.act.risk.reasons),
        }
    return document


def _parties(act: Act) -> dict[str, Any]:
    return {
        "action": act.action,
        "roles": list(act.officer.roles),
        "member_kind": act.member.kind,
        "region": act.member.region,
        "grade": act.grade,
        "requester": act.requester.id,
        "provider": act.provider.id,
        "dataset": act.dataset.id,
        "category": act.dataset.category,
    }


def _policies(found: Explanation, decision: Decision) -> list[dict[str, str]]:
    texts = policies_of(found.policy_set)
    return [
        {
            "id": reason.id,
            "effect": found.effects[reason.id],
            "title_zh": reason.title_zh,
            "title_en": reason.title_en,
            "basis": reason.basis,
            "text": texts[reason.id],
        }
        for reason in decision.reasons
    ]


def to_text(found: Explanation, language: Language) -> str:
    """The explanation in words, the decision first."""
    document, decision = to_document(found), found.decision
    act = found.happened.act
    lines = []
    if decision is not None and act is not None:
        lines += [explain(decision, language, act.risk), ""]
    else:
        code = str(document["code"])
        lines += [text("not-asked", language)]
        if code:
            words = describe(code, language)
            lines += [f"{words.title} [{code}]", words.advice]
        lines.append("")
    head = {name: document[name] for name in ("event", "index", "height", "member", "officer")}
    head = {"kind": kind_word(document["kind"], language), **head}
    asked = document["asked"] or {}
    rows = [*head.items(), *((key, value) for key, value in asked.items() if key != "facts")]
    table = [
        [
            text(f"row-{name}", language),
            ", ".join(role_word(role, language) for role in value)
            if name == "roles"
            else str(value),
        ]
        for name, value in rows
    ]
    table += _basis_rows(found, language)
    lines.append(format_table(table[0], table[1:]))
    lines += _policy_lines(document)
    if asked:
        facts = [
            [name, fact_word(name, language), _show(value, language)]
            for name, value in asked["facts"].items()
        ]
        lines += ["", text("facts", language), format_table(facts[0], facts[1:])]
    policy_set = document["policy_set"]
    lines += ["", text("policy-set", language, **policy_set)]
    return "\n".join(lines)


def _basis_rows(found: Explanation, language: Language) -> list[list[str]]:
    basis = found.happened.basis
    if basis is None:
        return []
    named = text(
        "legal-basis",
        language,
        id=basis.id,
        title=basis.title_zh if language == "zh" else basis.title_en,
        article=basis.article,
        start=basis.in_force_from,
        end=basis.in_force_to,
    )
    return [[text("row-legal_basis", language), named]]


def _policy_lines(document: dict[str, Any]) -> list[str]:
    if document["decision"] is None:
        return []
    lines = []
    for policy in document["decision"]["policies"]:
        body = [f"  {line}" for line in policy["text"].split("\n")]
        lines += ["", f"[{policy['id']}]", *body]
    return lines


def _show(value: object, language: Language) -> str:
    if isinstance(value, bool):
        return text("yes" if value else "no", language)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
