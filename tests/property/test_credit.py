"""Credit counted act by act equals a naive twin that looks at every act again."""

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.credit.accounts import Credits, apply_sanction, read_changes, read_credit
from contracts.credit.behaviours import SANCTIONED, TABLE
from contracts.lookup import find_member
from ledger.registry import Member
from ledger.state import MapState, Overlay
from tests import builders
from tests.builders import OWNER, TIME_MS, hash32

DAY_MS = 86_400_000
BUCKET_DAYS, BUCKETS = 30, 12
ROWS = {row.id: row for row in TABLE}

# Days since the last act, what is done, and how much of it.
acts = st.lists(
    st.tuples(
        st.sampled_from((0, 0, 0, 1, 29, 30, 31, 200, 400)),
        st.sampled_from(sorted(ROWS)),
        st.integers(1, 150),
    ),
    max_size=40,
)


def naive_score(start: int, seen: list[tuple[int, str, int]], now_day: int) -> int:
    """Every act once more: is its bucket one of the last twelve, and what do they add up to?"""
    score = start
    for name, row in ROWS.items():
        amount = sum(
            amount
            for day, behaviour, amount in seen
            if behaviour == name and now_day // BUCKET_DAYS - day // BUCKET_DAYS < BUCKETS
        )
        score += max(-row.limit, min(row.limit, row.points * amount))
    return max(0, min(1_000, score))


def naive_grade(score: int) -> str:
    return "A" if score >= 800 else "B" if score >= 600 else "C" if score >= 400 else "D"


def do(overlay: Overlay, behaviour: str, amount: int, digest: bytes, time_ms: int, at: int) -> None:
    if behaviour == SANCTIONED:
        apply_sanction(overlay, OWNER, amount, digest, time_ms, height=at)
        return
    account = Credits(overlay, height=at, time_ms=time_ms)
    for _ in range(amount % 4 or 1):
        account.count(OWNER, behaviour, event=digest)
    account.write()


def member_at(start: int) -> tuple[Overlay, Member]:
    ids = sorted(builders.MEMBERS)
    members = tuple(
        builders.member(id_, **({"credit": start} if id_ == OWNER else {})) for id_ in ids
    )
    state = MapState(builders.world(members=members).state.pairs)
    member = find_member(state, OWNER)
    assert member is not None
    return Overlay(state), member


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1_000), acts, st.integers(0, 500))
def test_counting_equals_looking_at_everything_again(
    start: int, given_acts: list[tuple[int, str, int]], later_days: int
) -> None:
    overlay, member = member_at(start)
    seen: list[tuple[int, str, int]] = []
    now_ms = TIME_MS
    for at, (days, behaviour, amount) in enumerate(given_acts):
        now_ms += days * DAY_MS
        do(overlay, behaviour, amount, hash32(f"act {at}"), now_ms, at)
        times = amount if behaviour == SANCTIONED else amount % 4 or 1
        seen.append((now_ms // DAY_MS, behaviour, times))
        credit, standing = read_credit(overlay, member, now_ms)
        expected = naive_score(start, seen, now_ms // DAY_MS)
        assert credit.score == standing.score == expected
        assert credit.grade == standing.grade == naive_grade(expected)
    now_ms += later_days * DAY_MS
    standing = read_credit(overlay, member, now_ms)[1]
    assert standing.score == naive_score(start, seen, now_ms // DAY_MS)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1_000), acts)
def test_every_change_of_grade_is_on_record_with_its_causes(
    start: int, given_acts: list[tuple[int, str, int]]
) -> None:
    overlay, member = member_at(start)
    grades, now_ms = [naive_grade(start)], TIME_MS
    for at, (days, behaviour, amount) in enumerate(given_acts):
        now_ms += days * DAY_MS
        digest = hash32(f"act {at}")
        account = Credits(overlay, height=at, time_ms=now_ms)
        account.settle(OWNER)
        account.write()
        after_time = read_credit(overlay, member, now_ms)[0]
        grades += [after_time.grade] * (after_time.grade != grades[-1])
        do(overlay, behaviour, amount, digest, now_ms, at)
        after = read_credit(overlay, member, now_ms)[0]
        for change in read_changes(overlay, OWNER, after.changes, after.changes - len(grades) + 1):
            assert (change.reason, change.height, change.time_ms) == ("behaviour", at, now_ms)
            assert change.causes[0].event == digest
        if after.grade != grades[-1]:
            grades.append(after.grade)
    changes = read_changes(overlay, OWNER, len(grades) - 1, 100)[::-1]
    assert [each.after for each in changes] == grades[1:]
    assert [each.before for each in changes] == grades[:-1]
    for each in changes:
        up = each.score_after > each.score_before
        assert each.causes
        assert all((cause.points > 0) is up for cause in each.causes)
        assert naive_grade(each.score_after) == each.after


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1_000), st.lists(acts, max_size=4))
def test_a_block_counted_at_once_equals_its_acts_one_by_one(
    start: int, blocks: list[list[tuple[int, str, int]]]
) -> None:
    (at_once, _), (one_by_one, _) = member_at(start), member_at(start)
    now_ms = TIME_MS
    for height, given_acts in enumerate(blocks):
        now_ms += sum(days for days, _, _ in given_acts) * DAY_MS
        account = Credits(at_once, height=height, time_ms=now_ms)
        account.settle(OWNER)
        for number, (_, behaviour, amount) in enumerate(given_acts):
            digest = hash32(f"act {height} {number}")
            account.count(OWNER, behaviour, event=digest, amount=amount)
            single = Credits(one_by_one, height=height, time_ms=now_ms)
            single.settle(OWNER)
            single.count(OWNER, behaviour, event=digest, amount=amount)
            single.write()
        account.write()
        assert at_once.changes == one_by_one.changes
