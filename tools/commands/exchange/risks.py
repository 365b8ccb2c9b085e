"""The risk of a request, as a node tells it: unproven, a replay computes it afresh."""

from typing import Any

import msgspec

from contracts.decision import explain_risk
from ledger.exchange.risk import Risk, RiskPoints, RiskReason
from ledger.scalars import Identifier, Uint
from tools.exits import InvalidAnswer
from tools.words import language, say


class _Reason(msgspec.Struct, frozen=True, kw_only=True):
    code: Identifier
    points: RiskPoints


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    score: RiskPoints
    reasons: list[_Reason]
    rules_version: Uint


def read_risk(document: dict[str, Any]) -> Risk:
    """Risk of the request that opened an exchange, by a node's answer. Raises `InvalidAnswer`."""
    try:
        told = msgspec.convert(document.get("risk"), _Told)
    except msgspec.ValidationError as error:
        raise InvalidAnswer("answer-malformed", f"risk: {error}") from None
    reasons = tuple(RiskReason(each.code, each.points) for each in told.reasons)
    return Risk(score=told.score, reasons=reasons, rules_version=told.rules_version)


def document_of(risk: Risk) -> dict[str, Any]:
    """A risk for `--json`."""
    reasons = [reason._asdict() for reason in risk.reasons]
    return {"score": risk.score, "reasons": reasons, "rules_version": risk.rules_version}


def describe_risk(risk: Risk) -> list[str]:
    """The score and its reasons, a line each; nothing where there is no risk."""
    if not risk.score:
        return []
    return [say("officer.risk", score=risk.score), *explain_risk(risk, language())[1:]]
