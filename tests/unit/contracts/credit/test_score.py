"""The arithmetic: points within limits, grades at their limits, the window's buckets, faults."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.credit.behaviours import DEFAULT_RULES, IN_TIME, LATE, SANCTIONED
from contracts.credit.score import Formula, add_causes, add_to_bucket, find_rules_faults
from ledger.registry import (
    CREDIT_BUCKETS_KEPT_MAX,
    CREDIT_CAUSES_MAX,
    CREDIT_RULES,
    CreditBucket,
    CreditCause,
    CreditRules,
    CreditTally,
    CreditWeight,
)
from tests.builders import hash32

FORMULA = Formula(DEFAULT_RULES)
DAY_MS = 86_400_000


def rules(**changed: object) -> CreditRules:
    return msgspec.structs.replace(DEFAULT_RULES, **changed)


@pytest.mark.parametrize(
    ("amounts", "score"),
    [
        ({}, 700),
        ({IN_TIME: 50}, 750),
        ({IN_TIME: 51}, 750),
        ({LATE: 1}, 690),
        ({LATE: 30}, 400),
        ({LATE: 31}, 400),
        ({LATE: 30, SANCTIONED: 401}, 0),
        ({SANCTIONED: 2**63}, 0),
        ({"nobody-knows": 9}, 700),
    ],
)
def test_points_add_up_within_their_limits(amounts: dict[str, int], score: int) -> None:
    assert FORMULA.stand(amounts, 700).score == score


def test_score_stays_between_minimum_and_maximum() -> None:
    formula = Formula(rules(minimum=300, maximum=720, grade_a=720))
    assert formula.stand({IN_TIME: 50}, 700).score == 720
    assert formula.stand({SANCTIONED: 900}, 700).score == 300


def test_base_of_the_rules_stands_before_that_of_the_member() -> None:
    assert Formula(rules(base=500)).stand({LATE: 1}, 900).score == 490


@pytest.mark.parametrize(
    ("score", "grade"),
    [(1_000, "A"), (800, "A"), (799, "B"), (600, "B"), (599, "C"), (400, "C"), (399, "D")],
)
def test_grades_begin_at_their_limits(score: int, grade: str) -> None:
    assert FORMULA.grade(score) == grade


def test_weights_of_the_rules_stand_before_those_of_the_table() -> None:
    formula = Formula(rules(weights=(CreditWeight(behaviour=LATE, points=-40, limit=100),)))
    assert (formula.points(LATE, 1), formula.points(LATE, 3)) == (-40, -100)
    assert formula.points(IN_TIME, 1) == 1


def test_a_bucket_leaves_the_window_as_a_whole() -> None:
    day = FORMULA.bucket_day(20_000 * DAY_MS)
    buckets = (CreditBucket(day, (CreditTally(LATE, 2),)),)
    last = day + 11 * 30
    assert FORMULA.bucket_day((last + 30) * DAY_MS - 1) == last
    assert FORMULA.weigh(buckets, 700, last).score == 680
    assert FORMULA.weigh(buckets, 700, last + 30).score == 700


def test_amounts_are_added_where_their_days_are() -> None:
    buckets = add_to_bucket((), 60, LATE, 1)
    buckets = add_to_bucket(buckets, 90, IN_TIME, 2)
    buckets = add_to_bucket(buckets, 60, IN_TIME, 3)
    buckets = add_to_bucket(buckets, 90, IN_TIME, 4)
    assert buckets == ((60, ((IN_TIME, 3), (LATE, 1))), (90, ((IN_TIME, 6),)))
    full = add_to_bucket((), 0, LATE, 2**63 - 2)
    assert add_to_bucket(full, 0, LATE, 5) == ((0, ((LATE, 2**63 - 1),)),)


def test_buckets_are_bounded_and_the_oldest_goes() -> None:
    buckets: tuple[CreditBucket, ...] = ()
    for day in range(CREDIT_BUCKETS_KEPT_MAX + 1):
        buckets = add_to_bucket(buckets, day, LATE, 1)
    assert [bucket.start_day for bucket in buckets] == list(range(1, CREDIT_BUCKETS_KEPT_MAX + 1))


def naive_causes(causes: tuple[CreditCause, ...], newer: list[CreditCause]) -> list[CreditCause]:
    """One after the other: what is beyond the newest of its behaviour leaves, with its equals."""
    found = list(causes)
    for cause in newer:
        same = [each for each in found if each.behaviour == cause.behaviour]
        gone = same[CREDIT_CAUSES_MAX - 1 :]
        found = [cause, *(each for each in found if each not in gone)]
    return found


CAUSES = st.lists(
    st.builds(
        CreditCause,
        st.sampled_from([hash32("a"), hash32("b"), hash32("c")]),
        st.sampled_from([LATE, IN_TIME, SANCTIONED]),
        st.just(-1),
        st.integers(1, 2),
    ),
    max_size=12,
)


@given(before=CAUSES, newer=CAUSES)
def test_causes_at_once_are_causes_one_after_the_other(
    before: list[CreditCause], newer: list[CreditCause]
) -> None:
    """Equal ones too, which a proposal that names a member several times makes."""
    causes = tuple(naive_causes((), before))
    assert add_causes(causes, newer) == tuple(naive_causes(causes, newer))


@pytest.mark.parametrize("at_once", [1, 2, 3, 10])
def test_of_each_behaviour_the_newest_causes_stay(at_once: int) -> None:
    happened = [
        CreditCause(hash32(f"{behaviour} {height}"), behaviour, points, height)
        for height in range(1, 6)
        for behaviour, points in ((LATE, -10), (IN_TIME, 1))
    ]
    causes: tuple[CreditCause, ...] = ()
    for start in range(0, len(happened), at_once):
        causes = add_causes(causes, happened[start : start + at_once])
    assert [(each.behaviour, each.height) for each in causes] == [
        (IN_TIME, 5), (LATE, 5), (IN_TIME, 4), (LATE, 4), (IN_TIME, 3), (LATE, 3)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"grade_a": 500}, "does not hold"),
        ({"minimum": 401}, "does not hold"),
        ({"maximum": 799}, "does not hold"),
        ({"minimum": 10, "base": 9}, "base is not between"),
        ({"weights": (CreditWeight(behaviour="x", points=1, limit=1),)}, "unknown behaviour x"),
        ({"weights": DEFAULT_RULES.weights[::-1]}, "weights: not sorted"),
        ({"weights": DEFAULT_RULES.weights[:1] * 2}, "one stands twice"),
        ({"permitted_reasons": ("b", "a")}, "permitted_reasons: not sorted"),
    ],
)
def test_faults_of_rules_are_named(changed: dict[str, object], fault: str) -> None:
    faults = find_rules_faults(rules(**changed))
    assert len(faults) == 1
    assert fault in faults[0]


def test_rules_have_one_encoding() -> None:
    other = rules(version=3, base=650)
    assert CREDIT_RULES.decode(CREDIT_RULES.encode(other)) == other
