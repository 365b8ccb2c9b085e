"""R3, R5 to R8 as predicates."""

import pytest

from node.simplex import rules
from node.simplex.rules import Place


@pytest.mark.parametrize("count", range(4, 31))
def test_two_quorums_share_an_honest_validator_and_honest_ones_reach_it(count: int) -> None:
    faulty, quorum = rules.count_faulty_max(count), rules.count_quorum(count)
    assert 2 * quorum - count >= faulty + 1
    assert count - faulty >= quorum
    assert quorum == 2 * count // 3 + 1


def test_quorum_of_five_is_four_not_three() -> None:
    assert rules.count_quorum(5) == 4


def test_r3_takes_the_highest_notarized_view_with_only_nullified_views_above() -> None:
    notarized = {2: b"two", 4: b"four"}
    choose = rules.choose_parent
    assert choose(current=7, final_view=2, notarized=notarized, nullified={5, 6}) == 4
    assert choose(current=7, final_view=2, notarized=notarized, nullified={6}) is None
    both = choose(current=6, final_view=2, notarized={2: b"", 5: b""}, nullified={5})
    assert both == 5


def test_r5_place() -> None:
    def judge(parent_view: int, parent_hash: bytes, nullified: set[int]) -> Place:
        return rules.judge_place(
            view=5,
            parent_view=parent_view,
            parent_hash=parent_hash,
            final_view=2,
            notarized={2: b"two", 3: b"three"},
            nullified=nullified,
        )

    assert judge(3, b"three", {4}) is Place.JUSTIFIED
    assert judge(2, b"two", {3, 4}) is Place.JUSTIFIED
    assert judge(3, b"three", set()) is Place.NOT_YET
    assert judge(4, b"four", set()) is Place.NOT_YET
    assert judge(3, b"other", {4}) is Place.NEVER
    assert judge(1, b"one", {2, 3, 4}) is Place.NEVER
    assert judge(5, b"five", set()) is Place.NEVER


def test_r8_growth_counts_from_the_final_view_and_stops_at_sixteen() -> None:
    def grow(current: int, final_view: int) -> tuple[int, int]:
        return rules.growth(current=current, final_view=final_view, validators=4)

    assert grow(2, 1) == (1, 1)
    assert grow(5, 1) == (1, 1)
    assert grow(6, 1) == (3, 2)
    assert grow(10, 1) == (9, 4)
    assert grow(1_000, 1) == (16, 1)
    assert rules.scale_ms(600, (9, 4), 60_000) == 1_350
    assert rules.scale_ms(600, (16, 1), 5_000) == 5_000


def test_time_is_timely_within_precision_and_delay() -> None:
    def judge(time_ms: int) -> bool:
        return rules.is_timely(
            time_ms, wall_ms=10_000, precision_ms=500, delay_ms=2_000, factor=(3, 2)
        )

    assert [judge(each) for each in (6_499, 6_500, 10_500, 10_501)] == [False, True, True, False]
