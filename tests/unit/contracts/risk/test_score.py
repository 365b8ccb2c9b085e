"""The arithmetic of risk: each reason at its mark, and nothing below it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.risk.reasons import DEFAULT_RULES, TABLE, find_rules_faults
from contracts.risk.score import Asked, Assessor, Counts, hour_of
from ledger.exchange.risk import (
    NO_RISK,
    RISK_MAX,
    RISKS,
    AskedMonth,
    AskedUse,
    Risk,
    RiskReason,
    RiskRules,
    RiskWeight,
)

MONTH = 2026 * 12
USE, OTHER = AskedUse("filing", "audit"), AskedUse("filing", "collection")
RULES = msgspec.structs.replace(
    DEFAULT_RULES, open_hour=8, close_hour=18, subjects_many=100, months=12, usual_share=300,
    volume_floor=50, asked_floor=10, denied_floor=3,
)  # fmt: skip


def asked(*, subjects: int = 1, use: AskedUse = USE, month: int = MONTH, hour: int = 9) -> Asked:
    return Asked(subjects, use, month, hour)


def habit(*before: AskedMonth, now: tuple[int, int, int] = (0, 0, 0), uses: int = 1) -> Counts:
    return Counts(before, (USE,) * uses, *now)


def month(back: int, *, asked: int = 0, subjects: int = 0, turned_down: int = 0) -> AskedMonth:
    return AskedMonth(MONTH - back, asked, subjects, turned_down)


def codes(
    what: Asked | None = None, own: Counts | None = None, pair: Counts | None = None,
    rules: RiskRules = RULES,
) -> list[str]:  # fmt: skip
    risk = Assessor(rules).assess(what or asked(), own or habit(), pair or habit())
    assert risk.score == min(RISK_MAX, sum(reason.points for reason in risk.reasons))
    return [reason.code for reason in risk.reasons]


def test_an_ordinary_request_has_no_risk() -> None:
    assert Assessor(RULES).assess(asked(), habit(), habit()) == NO_RISK


def test_many_subjects() -> None:
    assert codes(asked(subjects=100)) == []
    assert codes(asked(subjects=101)) == ["many-subjects"]


def test_a_new_purpose_is_one_of_a_pair_that_knows_others() -> None:
    assert codes(asked(use=OTHER)) == ["new-purpose"]
    assert codes(asked(use=AskedUse("invoice", "audit"))) == ["new-purpose"]
    assert codes(asked(use=OTHER), pair=habit(uses=0)) == []


@pytest.mark.parametrize(("hour", "is_off"), [(7, True), (8, False), (17, False), (18, True)])
def test_off_hours(hour: int, is_off: bool) -> None:
    assert codes(asked(hour=hour)) == ["off-hours"] * is_off


def test_hours_are_those_of_china() -> None:
    midnight_ms = 1_767_225_600_000  # 2026-01-01T00:00:00Z
    assert hour_of(midnight_ms) == 8
    assert hour_of(midnight_ms - 1) == 7
    assert hour_of(midnight_ms + 16 * 3_600_000) == 0
    assert hour_of(0) == 8


def test_the_clock_never_ends_where_members_say_so() -> None:
    always = msgspec.structs.replace(RULES, open_hour=0, close_hour=24)
    assert [codes(asked(hour=hour), rules=always) for hour in range(24)] == [[]] * 24


def test_volume_against_own_history() -> None:
    # A mean of 20 subjects: up to 60 is usual, and so is whatever stays within the floor of 50.
    own = habit(month(1, subjects=40), now=(0, 59, 0))
    own.before = (month(2, subjects=0), month(1, subjects=40))
    assert codes(own=own) == []
    own.subjects = 60
    assert codes(own=own) == ["volume"]
    assert codes(own=habit(now=(0, 10_000, 0))) == []  # without a history nothing is unusual
    assert codes(own=habit(month(1, subjects=1), now=(0, 49, 0))) == []
    assert codes(own=habit(month(1, subjects=1), now=(0, 50, 0))) == ["volume"]


def test_months_without_a_request_count_in_the_mean() -> None:
    # 120 subjects once, ten months ago: a mean of 12.
    assert codes(own=habit(month(10, subjects=120), now=(0, 100, 0))) == ["volume"]
    assert codes(own=habit(month(1, subjects=120), now=(0, 100, 0))) == []


def test_one_provider_asked_often() -> None:
    pair = habit(month(1, asked=5), now=(14, 0, 0))
    assert codes(pair=pair) == []
    pair.asked = 15
    assert codes(pair=pair) == ["often-asked"]
    assert codes(pair=habit(now=(1_000, 0, 0))) == []
    assert codes(pair=habit(month(1, asked=1), now=(9, 0, 0))) == []


def test_turned_down_often_lately() -> None:
    assert codes(own=habit(month(1, turned_down=1), now=(0, 0, 1))) == []
    assert codes(own=habit(month(1, turned_down=1), now=(0, 0, 2))) == ["often-denied"]
    assert codes(own=habit(month(2, turned_down=9), now=(0, 0, 2))) == []


def test_points_are_those_of_the_rules_and_reasons_worth_nothing_are_left_out() -> None:
    weights = (
        RiskWeight(reason="many-subjects", points=0),
        RiskWeight(reason="off-hours", points=80),
    )
    rules = msgspec.structs.replace(RULES, weights=weights, version=3)
    risk = Assessor(rules).assess(asked(subjects=500, hour=3, use=OTHER), habit(), habit())
    reasons = (RiskReason("new-purpose", 15), RiskReason("off-hours", 80))
    assert risk == Risk(score=95, reasons=reasons, rules_version=3)
    assert codes(asked(subjects=500), rules=rules) == []


@given(st.data())
def test_every_risk_is_a_value_of_the_ledger(data: st.DataObject) -> None:
    count = st.integers(0, 10**6)
    months = [
        AskedMonth(MONTH - back, *(data.draw(count) for _ in range(3)))
        for back in sorted(data.draw(st.sets(st.integers(1, 12))), reverse=True)
    ]
    now = tuple(data.draw(count) for _ in range(3))
    own = Counts(tuple(months), (), *now)
    pair = Counts(tuple(months), (USE,), *now)
    what = asked(
        subjects=data.draw(st.integers(0, 1_000)), hour=data.draw(st.integers(0, 23)),
        use=data.draw(st.sampled_from((USE, OTHER))),
    )  # fmt: skip
    risk = Assessor(RULES).assess(what, own, pair)
    assert RISKS.decode(RISKS.encode(risk)) == risk
    names = [reason.code for reason in risk.reasons]
    assert names == sorted(set(names))
    assert 0 <= risk.score <= RISK_MAX


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"weights": (RiskWeight(reason="mood", points=1),)}, "unknown reason mood"),
        ({"weights": DEFAULT_RULES.weights[::-1]}, "weights: not sorted"),
        ({"weights": DEFAULT_RULES.weights[:1] * 2}, "weights: not sorted"),
        ({"open_hour": 18, "close_hour": 18}, "open_hour < close_hour"),
    ],
)
def test_rules_that_cannot_be(changed: dict[str, object], fault: str) -> None:
    (found,) = find_rules_faults(msgspec.structs.replace(DEFAULT_RULES, **changed))
    assert found.startswith(fault)


def test_the_rules_of_the_software_hold() -> None:
    assert find_rules_faults(DEFAULT_RULES) == ()
    assert [weight.reason for weight in DEFAULT_RULES.weights] == [row.id for row in TABLE]
