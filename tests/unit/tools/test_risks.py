"""The risk of a request as a node tells it."""

from typing import Any

import pytest

from ledger.exchange.risk import NO_RISK, Risk, RiskReason
from tools.commands.exchange.risks import describe_risk, document_of, read_risk
from tools.exits import InvalidAnswer
from tools.words import select_language

TOLD = {
    "score": 45,
    "reasons": [{"code": "off-hours", "points": 15}, {"code": "volume", "points": 30}],
    "rules_version": 2,
}


def test_a_risk_is_read_and_told() -> None:
    risk = read_risk({"risk": TOLD})
    reasons = (RiskReason("off-hours", 15), RiskReason("volume", 30))
    assert risk == Risk(score=45, reasons=reasons, rules_version=2)
    assert document_of(risk) == TOLD
    select_language(["--lang", "en"])
    head, *lines = describe_risk(risk)
    assert head == "Risk: 45 of 100 (says the node; a replay computes it afresh)"
    assert [line.strip()[:3] for line in lines] == ["+15", "+30"]


def test_no_risk_is_not_worth_a_line() -> None:
    assert read_risk({"risk": {"score": 0, "reasons": [], "rules_version": 0}}) == NO_RISK
    assert describe_risk(NO_RISK) == []


@pytest.mark.parametrize(
    "lie",
    [
        None, {}, {**TOLD, "score": 101}, {**TOLD, "score": "45"},
        {**TOLD, "reasons": [{"code": "A B", "points": 1}]},
        {**TOLD, "reasons": [{"code": "volume", "points": -1}]},
    ],
)  # fmt: skip
def test_what_is_no_risk_is_refused(lie: Any) -> None:
    with pytest.raises(InvalidAnswer) as refused:
        read_risk({"risk": lie})
    assert refused.value.code == "answer-malformed"
