"""Credit in the state: read for a decision, counted by an event, changes of grade recorded.

A grade is judged at block time, so it can change with nobody acting: what is old leaves the window.
Contracts always see the grade of the moment. It is recorded by the next request by or to the
member, or the next act that counts for it, before anything else of that event is counted.
"""

from functools import lru_cache

import msgspec

from contracts.credit.behaviours import SANCTIONED, judge_step
from contracts.credit.score import DEFAULT_FORMULA, Formula, Standing, add_to_bucket
from contracts.lookup import find_member
from ledger.events import Event
from ledger.registry import (
    CREDIT_RULES,
    CREDITS,
    GRADE_CAUSES_MAX,
    GRADE_CHANGES,
    ChangeReason,
    Credit,
    CreditBucket,
    CreditEvent,
    Exchange,
    Grade,
    GradeCause,
    GradeChange,
    Member,
)
from ledger.state import (
    CREDIT_RULES_KEY,
    Overlay,
    StateReader,
    credit_key,
    grade_change_key,
)

SANCTION_POINTS_MAX = 1_000


@lru_cache(16)
def _make_formula(data: bytes) -> Formula:
    return Formula(CREDIT_RULES.decode(data))


def read_formula(state: StateReader) -> Formula:
    """The rules in force, ready for use: those of the software until a vote has set others."""
    data = state.get(CREDIT_RULES_KEY)
    return DEFAULT_FORMULA if data is None else _make_formula(data)


@lru_cache(1_024)
def _judge(
    data: bytes | None, formula: Formula, start: int, bucket_day: int
) -> tuple[Credit, Standing]:
    """The record in the state, or that of a member never counted, and how it stands now."""
    if data is not None:
        credit = CREDITS.decode(data)
        return credit, formula.weigh(credit.buckets, start=start, bucket_day=bucket_day)
    standing = formula.stand({}, start=start)
    credit = Credit(
        score=standing.score,
        grade=standing.grade,
        rules_version=formula.rules.version,
        changes=0,
        buckets=(),
    )
    return credit, standing


def read_credit(state: StateReader, member: Member, time_ms: int) -> tuple[Credit, Standing]:
    """Credit of a member as it is recorded, and as it stands at a block time."""
    formula = read_formula(state)
    data = state.get(credit_key(member.id))
    return _judge(data, formula, member.credit, formula.bucket_day(time_ms))


def read_grade(state: StateReader, member: Member, time_ms: int) -> Grade:
    """Grade of a member at a block time: what contracts see."""
    return read_credit(state, member, time_ms)[1].grade


def read_changes(state: StateReader, member: str, count: int, limit: int) -> list[GradeChange]:
    """The newest `limit` of a member's `count` changes of grade, newest first."""
    changes: list[GradeChange] = []
    for number in range(count - 1, max(-1, count - 1 - limit), -1):
        data = state.get(grade_change_key(member, number))
        assert data is not None, "a change is recorded with its number"
        changes.append(GRADE_CHANGES.decode(data))
    return changes


def settle(overlay: Overlay, member: Member, *, height: int, time_ms: int) -> None:
    """Record the change of grade that time or new rules have brought, if there is one."""
    credit, standing = read_credit(overlay, member, time_ms)
    if credit.grade != standing.grade:
        formula = read_formula(overlay)
        credit = _settled(overlay, member.id, credit, standing, formula, height, time_ms)
        overlay.put(credit_key(member.id), CREDITS.encode(credit))


def count(
    overlay: Overlay,
    member_id: str,
    behaviour: str,
    *,
    event: bytes,
    height: int,
    time_ms: int,
    amount: int = 1,
) -> None:
    """Count a behaviour of a member, shown by the event with this digest."""
    member = find_member(overlay, member_id)
    assert member is not None, "only members act"
    formula = read_formula(overlay)
    credit, before = read_credit(overlay, member, time_ms)
    credit = _settled(overlay, member_id, credit, before, formula, height, time_ms)
    day = formula.bucket_day(time_ms)
    amounts = {each.behaviour: each.amount for each in before.contributions}
    seen = amounts.get(behaviour, 0)
    points = formula.points(behaviour, seen + amount) - formula.points(behaviour, seen)
    # Beyond its limit an event changes nothing, so it is the cause of nothing.
    named = (CreditEvent(event, points, height),) if points else ()
    first = formula.first_day(day)
    kept = tuple(bucket for bucket in credit.buckets if bucket.start_day >= first)
    buckets = add_to_bucket(kept, day, behaviour, amount, named)
    after = formula.stand({**amounts, behaviour: seen + amount}, start=member.credit)
    credit = msgspec.structs.replace(credit, buckets=buckets)
    if after.grade != credit.grade:
        sign = 1 if after.score > credit.score else -1
        causes = _causes(buckets, sign, newest=event)
        credit = _changed(
            overlay, member_id, credit, after, formula, "behaviour", causes, height, time_ms
        )
    credit = msgspec.structs.replace(credit, score=after.score, grade=after.grade)
    overlay.put(credit_key(member_id), CREDITS.encode(credit))


def count_step(
    overlay: Overlay, event: Event, exchange: Exchange, *, height: int, time_ms: int
) -> None:
    """Count what a step shows of the provider; `exchange` as it was before the step."""
    reasons = read_formula(overlay).rules.permitted_reasons
    for behaviour in judge_step(event, exchange, time_ms, reasons):
        count(
            overlay, exchange.provider, behaviour,
            event=event.digest, height=height, time_ms=time_ms,
        )  # fmt: skip


def apply_sanction(
    overlay: Overlay, member: str, points: int, cause: bytes, time_ms: int, *, height: int
) -> None:
    """Take points from a member, as a vote decided by the event with the digest `cause`.

    It counts for as long as anything: until it leaves the window.
    """
    assert 1 <= points <= SANCTION_POINTS_MAX, "a proposal with other points is refused"
    count(overlay, member, SANCTIONED, event=cause, height=height, time_ms=time_ms, amount=points)


def _settled(
    overlay: Overlay,
    member: str,
    credit: Credit,
    standing: Standing,
    formula: Formula,
    height: int,
    time_ms: int,
) -> Credit:
    """The record brought up to the moment; what it changes is put into the overlay."""
    rules = formula.rules
    if credit.grade != standing.grade:
        reason: ChangeReason = "window" if credit.rules_version == rules.version else "rules"
        sign = -1 if standing.score > credit.score else 1
        first = formula.first_day(formula.bucket_day(time_ms))
        left = tuple(bucket for bucket in credit.buckets if bucket.start_day < first)
        # What took points and left the window gives them back.
        causes = tuple(
            cause._replace(points=-cause.points) for cause in _causes(left, sign, newest=b"")
        )
        credit = _changed(
            overlay, member, credit, standing, formula, reason, causes, height, time_ms
        )
    return msgspec.structs.replace(
        credit, score=standing.score, grade=standing.grade, rules_version=rules.version
    )


def _changed(
    overlay: Overlay,
    member: str,
    credit: Credit,
    after: Standing,
    formula: Formula,
    reason: ChangeReason,
    causes: tuple[GradeCause, ...],
    height: int,
    time_ms: int,
) -> Credit:
    """Record a change of grade; the record, which counts it."""
    change = GradeChange(
        before=credit.grade,
        after=after.grade,
        score_before=credit.score,
        score_after=after.score,
        reason=reason,
        rules_version=formula.rules.version,
        height=height,
        time_ms=time_ms,
        causes=causes,
    )
    overlay.put(grade_change_key(member, credit.changes), GRADE_CHANGES.encode(change))
    return msgspec.structs.replace(credit, changes=credit.changes + 1)


def _causes(
    buckets: tuple[CreditBucket, ...], sign: int, *, newest: bytes
) -> tuple[GradeCause, ...]:
    """Named events whose points have this sign: `newest` first, then from high to low."""
    found = [
        GradeCause(each.event, tally.behaviour, each.points, each.height)
        for bucket in buckets
        for tally in bucket.tallies
        for each in tally.events
        if each.points * sign > 0
    ]
    found.sort(key=lambda each: (each.event != newest, -each.height, each.behaviour, each.event))
    return tuple(found[:GRADE_CAUSES_MAX])
