"""Bodies of the diagnosis: findings in words, and the facts behind them."""

from typing import Literal

import msgspec

from contracts.words import Language
from node.api.schemas.base import Body
from node.diagnosis.facts import Facts
from node.diagnosis.rules import Finding, diagnose, worst
from node.diagnosis.words import describe

SeverityWord = Literal["ok", "warning", "fault"]


class FindingBody(Body, frozen=True, kw_only=True):
    """One cause: a stable code, how bad it is, and in words what was seen and what to do."""

    code: str
    severity: SeverityWord
    title: str
    detail: str
    advice: str
    values: dict[str, str | int]


class DiagnosisBody(Body, frozen=True, kw_only=True):
    """Findings, worst first; `severity` is that of the worst. Texts follow `Accept-Language`."""

    network: str
    severity: SeverityWord
    findings: tuple[FindingBody, ...]
    facts: Facts


def finding_body(finding: Finding, language: Language) -> FindingBody:
    """JSON shape of a finding in one language."""
    words = describe(finding, language)
    return FindingBody(
        code=finding.code,
        severity=msgspec.convert(finding.severity.word, SeverityWord),
        title=words.title,
        detail=words.detail,
        advice=words.advice,
        values=finding.values,
    )


def diagnosis_body(facts: Facts, network: bytes, language: Language) -> DiagnosisBody:
    """JSON shape of a diagnosis."""
    findings = diagnose(facts)
    return DiagnosisBody(
        network=network.hex(),
        severity=msgspec.convert(worst(findings).word, SeverityWord),
        findings=tuple(finding_body(finding, language) for finding in findings),
        facts=facts,
    )
