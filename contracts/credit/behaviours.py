"""What counts for the credit of a member, as a table: one row for each behaviour.

A behaviour that a step of an exchange shows is found by `judge_step`; one that something else shows
(a sanction, later a dispute, an incident) is handed to `Credits.count` by whatever handles that
event. Points and limits of a row hold until a vote sets others.

Not counted: requests that are withdrawn, whenever that is; a second delivery after a rejection,
which is the same answer once more; exchanges that nobody answers, until somebody does; and what the
contracts deny or admission refuses, for then nothing has happened.
"""

from dataclasses import dataclass

from contracts.lifecycle import PERMITTED
from ledger.events import Event, ShareRefused
from ledger.exchange.bodies import (
    ShareCorrectionAcknowledged,
    ShareDestroyed,
    ShareDisputeResolved,
)
from ledger.exchange.matters import Matters
from ledger.registry import CreditRules, CreditWeight, Exchange

IN_TIME = "answered-in-time"
LATE = "answered-late"
REJECTED = "delivery-rejected"
UNFOUNDED = "refused-unfounded"
REVIEWED_LATE = "reviewed-late"
SANCTIONED = "sanctioned"
DISPUTE_LOST = "dispute-lost"
DESTROYED_LATE = "destroyed-late"
CORRECTED_LATE = "correction-acknowledged-late"
INCIDENT = "incident-reported"
REMEDIED = "incident-remedied-in-time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """One row. `points` for each time it is seen, at most `limit` in the whole window."""

    id: str
    points: int
    limit: int
    zh: str
    en: str


TABLE: tuple[Behaviour, ...] = (
    Behaviour(
        id=IN_TIME, points=1, limit=50,
        zh="在期限内交付", en="delivered within the deadline",
    ),
    Behaviour(
        id=LATE, points=-10, limit=300,
        zh="逾期交付，或逾期才拒绝", en="delivered, or refused, after the deadline",
    ),
    Behaviour(
        id=CORRECTED_LATE, points=-5, limit=100,
        zh="逾期确认更正", en="acknowledged a correction late",
    ),
    # One party alone says this: its limit costs no more than one grade.
    Behaviour(
        id=REJECTED, points=-10, limit=150,
        zh="交付被请求方退回", en="a delivery was rejected by the requester",
    ),
    Behaviour(
        id=DESTROYED_LATE, points=-20, limit=300,
        zh="留存期满后才销毁", en="destroyed after the end of retention",
    ),
    Behaviour(
        id=DISPUTE_LOST, points=-20, limit=200,
        zh="争议成立", en="a dispute against it was accepted",
    ),
    Behaviour(
        id=REMEDIED, points=8, limit=160,
        zh="按期整改安全事件", en="remedied an incident in time",
    ),
    # Remedied in time it costs little: reporting must not be worse than hiding.
    Behaviour(
        id=INCIDENT, points=-10, limit=200,
        zh="报告安全事件", en="an incident of its own",
    ),
    Behaviour(
        id=UNFOUNDED, points=-15, limit=300,
        zh="拒绝时未给出认可的理由", en="refused for no permitted reason",
    ),
    Behaviour(
        id=REVIEWED_LATE, points=-5, limit=150,
        zh="期限过后才复核批准", en="approved after the deadline of the review",
    ),
    Behaviour(
        id=SANCTIONED, points=-1, limit=1_000,
        zh="经表决处分（每分计一次）", en="sanctioned by vote (counted once a point)",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalReason:
    """A reason for which a refusal costs nothing."""

    id: str
    zh: str
    en: str


# After article 26(3) of the OECD Model Convention and article 21 of the MAAC.
REASONS: tuple[RefusalReason, ...] = (
    RefusalReason(id="against-law", zh="违反提供方法律", en="at variance with the provider's law"),
    RefusalReason(id="identity-unclear", zh="无法确定主体", en="the subject cannot be identified"),
    RefusalReason(id="no-basis", zh="法律依据不足", en="the legal basis does not cover it"),
    RefusalReason(id="not-held", zh="不掌握该信息", en="the provider does not hold it"),
    RefusalReason(id="not-necessary", zh="非用途所必需", en="more than the purpose needs"),
    RefusalReason(
        id="own-means-open", zh="请求方尚未用尽自身手段", en="the requester has means of its own"
    ),
    RefusalReason(id="pending-case", zh="有碍正在办理的案件", en="it would harm a pending case"),
    RefusalReason(id="public-order", zh="违反公共秩序", en="contrary to public policy"),
    RefusalReason(id="secret", zh="涉及国家秘密或商业秘密", en="a state, trade or business secret"),
)

DEFAULT_RULES = CreditRules(
    version=0,
    base=None,
    minimum=0,
    maximum=1_000,
    bucket_days=30,
    buckets=12,
    grade_a=800,
    grade_b=600,
    grade_c=400,
    weights=tuple(
        CreditWeight(behaviour=row.id, points=row.points, limit=row.limit) for row in TABLE
    ),
    permitted_reasons=tuple(reason.id for reason in REASONS),
)


def judge_step(
    event: Event, exchange: Exchange, time_ms: int, permitted_reasons: tuple[str, ...]
) -> tuple[str, ...]:
    """Behaviours of the provider that a step shows; `exchange` as it was before the step."""
    is_late = time_ms > exchange.deadline_ms
    if event.kind == "share.delivered" and exchange.status == PERMITTED:
        return (LATE,) if is_late else (IN_TIME,)
    if event.kind == "share.approved" and is_late:
        return (REVIEWED_LATE,)
    if event.kind == "share.rejected":
        return (REJECTED,)
    if isinstance(event.body, ShareRefused):
        is_founded = event.body.reason in permitted_reasons
        shown = ((LATE, is_late), (UNFOUNDED, not is_founded))
        return tuple(behaviour for behaviour, is_shown in shown if is_shown)
    return ()


def judge_holding(event: Event, matters: Matters, time_ms: int) -> tuple[tuple[str, str], ...]:
    """Members and their behaviours that a step after delivery shows; matters as before it."""
    body = event.body
    if isinstance(body, ShareDisputeResolved) and body.outcome == "accepted":
        return ((event.member, DISPUTE_LOST),)
    held = [each for each in matters.holders if each.holder == event.member]
    if isinstance(body, ShareDestroyed) and any(time_ms > each.until_ms for each in held):
        return ((event.member, DESTROYED_LATE),)
    is_acknowledged = isinstance(body, ShareCorrectionAcknowledged)
    if is_acknowledged and any(time_ms > each.correction_due_ms for each in held):
        return ((event.member, CORRECTED_LATE),)
    return ()
