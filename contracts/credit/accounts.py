"""Credit in the state: read for a decision, counted by an event, changes of grade recorded.

A grade is judged at block time, so it can change with nobody acting: what is old leaves the window.
Contracts always see the grade of the moment. It is recorded by the next request by or to the
member, or the next act that counts for it, before anything else of that event is counted.
"""

from functools import lru_cache

import msgspec

from contracts.credit.behaviours import (
    INCIDENT,
    REMEDIED,
    SANCTIONED,
    judge_holding,
    judge_step,
)
from contracts.credit.score import DEFAULT_FORMULA, Formula, Standing, add_cause, add_to_bucket
from contracts.exchange.incidents import find_incident
from contracts.exchange.matters import DAY_MS, read_deadlines
from contracts.lookup import find_member
from ledger.events import Event
from ledger.exchange.incidents import IncidentBody, IncidentRemedied, IncidentReported
from ledger.exchange.matters import Matters
from ledger.registry import (
    CREDIT_CAUSES,
    CREDIT_RULES,
    CREDITS,
    GRADE_CAUSES_MAX,
    GRADE_CHANGES,
    ChangeReason,
    Credit,
    CreditCause,
    Exchange,
    Grade,
    GradeChange,
    Member,
)
from ledger.state import (
    CREDIT_RULES_KEY,
    Overlay,
    StateReader,
    credit_causes_key,
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
        return credit, formula.weigh(credit.buckets, start, bucket_day)
    standing = formula.stand({}, start)
    credit = Credit(
        score=standing.score,
        grade=standing.grade,
        rules_version=formula.rules.version,
        changes=0,
        buckets=(),
        day=bucket_day,
        causes=(),
    )
    return credit, standing


def read_credit(state: StateReader, member: Member, time_ms: int) -> tuple[Credit, Standing]:
    """Credit of a member as it is recorded, and as it stands at a block time."""
    formula = read_formula(state)
    data = state.get(credit_key(member.id))
    return _judge(data, formula, member.credit, formula.bucket_day(time_ms))


def read_changes(state: StateReader, member: str, count: int, limit: int) -> list[GradeChange]:
    """The newest `limit` of a member's `count` changes of grade, newest first."""
    changes: list[GradeChange] = []
    for number in range(count - 1, max(-1, count - 1 - limit), -1):
        data = state.get(grade_change_key(member, number))
        assert data is not None, "a change is recorded with its number"
        changes.append(GRADE_CHANGES.decode(data))
    return changes


def read_causes(
    state: StateReader, member: str, credit: Credit, *, since_day: int = 0
) -> tuple[CreditCause, ...]:
    """The newest causes of every bucket that is kept and not older, newest first."""
    found: list[CreditCause] = []
    for bucket in credit.buckets:
        if bucket.start_day < since_day:
            continue
        is_open = bucket.start_day == credit.day
        found += credit.causes if is_open else _archived(state, member, bucket.start_day)
    return tuple(sorted(found, key=_newest_first))


def apply_sanction(
    overlay: Overlay, member: str, points: int, cause: bytes, time_ms: int, *, height: int
) -> None:
    """Take points from a member, as a vote decided by the event with the digest `cause`.

    It counts for as long as anything: until it leaves the window.
    """
    assert 1 <= points <= SANCTION_POINTS_MAX, "a proposal with other points is refused"
    account = Credits(overlay, height=height, time_ms=time_ms)
    account.count(member, SANCTIONED, event=cause, amount=points)


class Credits:
    """The credit of all members while one block is executed.

    The rules are those that the block found: as contracts do, a vote takes effect with the next.
    """

    def __init__(self, overlay: Overlay, *, height: int, time_ms: int) -> None:
        self._overlay = overlay
        self._height = height
        self._time_ms = time_ms
        data = overlay.parent_value(CREDIT_RULES_KEY)
        self._formula = DEFAULT_FORMULA if data is None else _make_formula(data)
        self._day = self._formula.bucket_day(time_ms)
        self._first = self._formula.first_day(self._day)
        # What was read or written last, by the bytes in the overlay that it stands for.
        self._known: dict[tuple[str, int], tuple[bytes | None, Credit, Standing]] = {}

    def grade(self, member: Member) -> Grade:
        """Grade of a member now: what contracts see."""
        return self._find(member)[1].grade

    def settle(self, member: Member) -> None:
        """Record the change of grade that time or new rules have brought, if there is one."""
        credit, standing = self._find(member)
        if credit.grade != standing.grade:
            self._put(member, self._settled(member.id, credit, standing), standing)

    def count(self, member_id: str, behaviour: str, *, event: bytes, amount: int = 1) -> None:
        """Count a behaviour of a member, shown by the event with this digest."""
        member = find_member(self._overlay, member_id)
        assert member is not None, "only members act"
        credit, standing = self._find(member)
        credit = self._settled(member_id, credit, standing)
        formula, seen = self._formula, standing.amounts.get(behaviour, 0)
        after = formula.stand({**standing.amounts, behaviour: seen + amount}, member.credit)
        # Its own worth: beyond the limit it changes nothing now, but when others leave the window.
        points = formula.points(behaviour, amount)
        causes = self._open_causes(member_id, credit)
        if points:
            causes = add_cause(causes, CreditCause(event, behaviour, points, self._height))
        counted = Credit(
            score=after.score,
            grade=after.grade,
            rules_version=credit.rules_version,
            changes=credit.changes + (after.grade != credit.grade),
            buckets=add_to_bucket(credit.buckets, self._day, behaviour, amount),
            day=self._day,
            causes=causes,
        )
        if after.grade != credit.grade:
            sign = 1 if after.score > credit.score else -1
            found = read_causes(self._overlay, member_id, counted)
            ours = [each for each in found if each.points * sign > 0]
            # In one block many events have the same height.
            ours.sort(key=lambda each: each.event != event)
            self._record_change(member_id, credit, after, "behaviour", ours)
        self._put(member, counted, after)

    def count_step(self, event: Event, exchange: Exchange, matters: Matters) -> None:
        """Count what a step shows; exchange and matters as they were before it."""
        reasons = self._formula.rules.permitted_reasons
        for behaviour in judge_step(event, exchange, self._time_ms, reasons):
            self.count(exchange.provider, behaviour, event=event.digest)
        for member, behaviour in judge_holding(event, matters, self._time_ms):
            self.count(member, behaviour, event=event.digest)

    def count_incident(self, event: Event, body: IncidentBody) -> None:
        """Count what an event about an incident shows of its reporter; before it is applied."""
        if isinstance(body, IncidentReported):
            self.count(event.member, INCIDENT, event=event.digest)
        elif isinstance(body, IncidentRemedied):
            incident = find_incident(self._overlay, body.incident)
            assert incident is not None, "check_event has found it"
            days = read_deadlines(self._overlay).remedy_days
            if self._time_ms <= incident.reported_ms + days * DAY_MS:
                self.count(event.member, REMEDIED, event=event.digest)

    def _find(self, member: Member) -> tuple[Credit, Standing]:
        key = credit_key(member.id)
        changed = self._overlay.changes.get(key)
        known = self._known.get((member.id, member.credit))
        if known is not None and known[0] is changed:
            return known[1:]
        data = self._overlay.parent_value(key) if changed is None else changed
        credit, standing = _judge(data, self._formula, member.credit, self._day)
        self._known[member.id, member.credit] = (changed, credit, standing)
        return credit, standing

    def _put(self, member: Member, credit: Credit, standing: Standing) -> None:
        data = CREDITS.encode(credit)
        self._overlay.put(credit_key(member.id), data)
        self._known[member.id, member.credit] = (data, credit, standing)

    def _settled(self, member: str, credit: Credit, standing: Standing) -> Credit:
        """The record brought up to the moment, what left the window left out."""
        version, changes = self._formula.rules.version, credit.changes
        found = (credit.score, credit.grade, credit.rules_version)
        is_whole = bool(credit.buckets) and credit.buckets[0].start_day >= self._first
        if is_whole and found == (standing.score, standing.grade, version):
            return credit
        if credit.grade != standing.grade:
            reason: ChangeReason = "window" if credit.rules_version == version else "rules"
            causes = self._lost(member, credit, standing)
            self._record_change(member, credit, standing, reason, causes)
            changes += 1
        return Credit(
            score=standing.score,
            grade=standing.grade,
            rules_version=version,
            changes=changes,
            buckets=tuple(each for each in credit.buckets if each.start_day >= self._first),
            day=credit.day,
            causes=credit.causes,
        )

    def _open_causes(self, member: str, credit: Credit) -> tuple[CreditCause, ...]:
        """Causes in the bucket that runs; those of the one before it get a key of their own."""
        if credit.day == self._day:
            return credit.causes
        key = credit_causes_key(member, credit.day)
        self._overlay.put(key, CREDIT_CAUSES.encode(credit.causes))
        return _archived(self._overlay, member, self._day)

    def _lost(self, member: str, credit: Credit, standing: Standing) -> list[CreditCause]:
        """What left the window and moved the score this way: it gives back what it took."""
        sign = -1 if standing.score > credit.score else 1
        gone = tuple(each for each in credit.buckets if each.start_day < self._first)
        left = msgspec.structs.replace(credit, buckets=gone)
        found = read_causes(self._overlay, member, left)
        return [each._replace(points=-each.points) for each in found if each.points * sign > 0]

    def _record_change(
        self,
        member: str,
        credit: Credit,
        after: Standing,
        reason: ChangeReason,
        causes: list[CreditCause],
    ) -> None:
        change = GradeChange(
            before=credit.grade,
            after=after.grade,
            score_before=credit.score,
            score_after=after.score,
            reason=reason,
            rules_version=self._formula.rules.version,
            height=self._height,
            time_ms=self._time_ms,
            causes=tuple(causes[:GRADE_CAUSES_MAX]),
        )
        key = grade_change_key(member, credit.changes)
        self._overlay.put(key, GRADE_CHANGES.encode(change))


def _archived(state: StateReader, member: str, day: int) -> tuple[CreditCause, ...]:
    data = state.get(credit_causes_key(member, day))
    return () if data is None else CREDIT_CAUSES.decode(data)


def _newest_first(cause: CreditCause) -> tuple[int, str, bytes]:
    return -cause.height, cause.behaviour, cause.event
