"""Risk in words: score and reasons, in both languages."""

import pytest

from contracts.decision import explain, explain_risk
from contracts.risk.reasons import TABLE
from contracts.words import Language
from ledger.exchange.risk import NO_RISK, Risk, RiskReason
from tests.builders import TIME_MS, request
from tests.unit.contracts.samples import CONTRACTS, run, states

RISK = Risk(
    score=45, reasons=(RiskReason("off-hours", 15), RiskReason("volume", 30)), rules_version=0
)


@pytest.mark.parametrize(
    ("language", "first", "reason"),
    [
        ("en", "Risk of the request: 45 of 100", "+15 asked outside of working hours (UTC+8)"),
        ("zh", "请求的风险分：45（满分 100）", "+15 在工作时间以外提出（北京时间）[off-hours]"),
    ],
)
def test_a_decision_is_explained_with_its_risk(language: Language, first: str, reason: str) -> None:
    state = states()
    (outcome,) = run(state, request(), time_ms=TIME_MS).outcomes
    decision = CONTRACTS.at(state).recall(outcome)
    assert decision is not None
    lines = explain(decision, language, RISK).split("\n")
    assert first in lines
    assert any(reason in line for line in lines)
    assert "45" not in explain(decision, language, NO_RISK)


def test_every_reason_has_its_words() -> None:
    for language in ("en", "zh"):
        reasons = tuple(RiskReason(row.id, row.points) for row in TABLE)
        lines = explain_risk(Risk(score=100, reasons=reasons, rules_version=0), language)
        assert len(lines) == 1 + len(TABLE)
        assert not any(f" {row.id} [" in line for line, row in zip(lines[1:], TABLE, strict=True))


def test_a_reason_of_newer_rules_stays_as_it_is() -> None:
    risk = Risk(score=5, reasons=(RiskReason("mood", 5),), rules_version=9)
    assert explain_risk(risk, "en")[1].strip() == "+5 mood [mood]"
