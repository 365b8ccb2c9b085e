"""The decision of the contracts on one act, and its explanation in words."""

from enum import StrEnum

import msgspec

from contracts.risk.reasons import TABLE
from contracts.words import Language, decision_word, phrase
from ledger.blocks import Obligations
from ledger.exchange.risk import NO_RISK, Risk


class Verdict(StrEnum):
    """What the contracts say about a request."""

    PERMIT = "permit"
    REVIEW = "review"
    DENY = "deny"


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """A determining policy: its id, titles, and the legal text of `@basis` (may be empty)."""

    id: str
    title_zh: str
    title_en: str
    basis: str


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict with the ids of the determining policies (sorted) and the facts it stands on.

    `errors`: what the engine could not evaluate; then the verdict is deny. `obligations` are those
    of the determining permits, the strictest of each kind.
    """

    verdict: Verdict
    policies: tuple[str, ...]
    policy_set: bytes
    obligations: Obligations | None
    errors: tuple[str, ...]
    reasons: tuple[Reason, ...]

    def __bool__(self) -> bool:
        """Refused: a decision is not a truth value, `deny` would count as true."""
        raise TypeError("compare Decision.verdict, do not use a Decision as a truth value")


def explain(decision: Decision, language: Language, risk: Risk = NO_RISK) -> str:
    """Why this decision, in sentences, one a line, in `zh` or `en`; its risk too if any."""
    lines = [decision_word(decision.verdict, language)]
    for reason in decision.reasons:
        title = reason.title_zh if language == "zh" else reason.title_en
        lines.append(phrase("because", language, title=title, id=reason.id))
        if reason.basis:
            lines.append(phrase("basis", language, basis=reason.basis))
    if not decision.reasons and not decision.errors:
        lines.append(phrase("default-deny", language))
    if decision.verdict is Verdict.REVIEW:
        lines.append(phrase("review-next", language))
    if risk.score:
        lines.extend(explain_risk(risk, language))
    lines.extend(phrase("engine-error", language, error=error) for error in decision.errors)
    if decision.obligations is not None:
        lines.extend(_duties(decision.obligations, language))
    return "\n".join(lines)


def explain_risk(risk: Risk, language: Language) -> list[str]:
    """The score in words, and each of its reasons."""
    lines = [phrase("risk", language, score=str(risk.score))]
    for code, points in risk.reasons:
        row = next((row for row in TABLE if row.id == code), None)
        words = code if row is None else row.zh if language == "zh" else row.en
        lines.append(phrase("risk-reason", language, points=str(points), words=words, code=code))
    return lines


def _duties(duties: Obligations, language: Language) -> list[str]:
    lines = [
        phrase("deadline", language, hours=str(duties.deadline_hours)),
        phrase("retention", language, days=str(duties.retention_days)),
    ]
    if duties.redact:
        lines.append(phrase("redact", language, fields=", ".join(duties.redact)))
    return lines
