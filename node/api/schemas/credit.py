"""Bodies about the credit of a member: how it stands, what it is made of, how it changed."""

from collections.abc import Iterable

from contracts.credit.score import Formula, Standing
from ledger.registry import Credit, CreditCause, GradeChange, Member
from node.api.schemas.base import Body

DAY_MS = 86_400_000


class CauseBody(Body, frozen=True, kw_only=True):
    """An event, and what it gave or took by itself."""

    event: str
    behaviour: str
    points: int
    height: int


class ContributionBody(Body, frozen=True, kw_only=True):
    """What a behaviour gives or takes: `amount` times, never more than `limit` points."""

    behaviour: str
    amount: int
    points: int
    limit: int


class ChangeBody(Body, frozen=True, kw_only=True):
    """A change of grade; `reason` is `behaviour`, `window` or `rules`."""

    before: str
    after: str
    score_before: int
    score_after: int
    reason: str
    rules_version: int
    height: int
    time_ms: int
    causes: list[CauseBody]


class CreditBody(Body, frozen=True, kw_only=True):
    """Credit of a member at the time of the newest block.

    `start` and the points of `contributions` add up to `score`, kept within `minimum` and
    `maximum`. `recorded_grade` differs from `grade` while a change that time or new rules have
    brought waits for the next event to be recorded by. `changes` are the newest.
    """

    member: str
    score: int
    grade: str
    recorded_grade: str
    start: int
    minimum: int
    maximum: int
    grade_a: int
    grade_b: int
    grade_c: int
    rules_version: int
    time_ms: int
    window_from_ms: int
    bucket_days: int
    buckets: int
    contributions: list[ContributionBody]
    causes: list[CauseBody]
    changes_total: int
    changes: list[ChangeBody]


def credit_body(
    member: Member,
    formula: Formula,
    recorded: Credit,
    standing: Standing,
    *,
    time_ms: int,
    causes: Iterable[CreditCause],
    changes: Iterable[GradeChange],
) -> CreditBody:
    """JSON shape of the credit of a member."""
    rules = formula.rules
    return CreditBody(
        member=member.id,
        score=standing.score,
        grade=standing.grade,
        recorded_grade=recorded.grade,
        start=member.credit if rules.base is None else rules.base,
        minimum=rules.minimum,
        maximum=rules.maximum,
        grade_a=rules.grade_a,
        grade_b=rules.grade_b,
        grade_c=rules.grade_c,
        rules_version=rules.version,
        time_ms=time_ms,
        window_from_ms=max(0, formula.first_day(formula.bucket_day(time_ms))) * DAY_MS,
        bucket_days=rules.bucket_days,
        buckets=rules.buckets,
        contributions=[
            ContributionBody(
                behaviour=behaviour,
                amount=amount,
                points=formula.points(behaviour, amount),
                limit=formula.limit(behaviour),
            )
            for behaviour, amount in sorted(standing.amounts.items())
        ],
        causes=[_cause_body(cause) for cause in causes],
        changes_total=recorded.changes,
        changes=[_change_body(change) for change in changes],
    )


def _change_body(change: GradeChange) -> ChangeBody:
    return ChangeBody(
        before=change.before,
        after=change.after,
        score_before=change.score_before,
        score_after=change.score_after,
        reason=change.reason,
        rules_version=change.rules_version,
        height=change.height,
        time_ms=change.time_ms,
        causes=[_cause_body(cause) for cause in change.causes],
    )


def _cause_body(cause: CreditCause) -> CauseBody:
    return CauseBody(
        event=cause.event.hex(),
        behaviour=cause.behaviour,
        points=cause.points,
        height=cause.height,
    )
