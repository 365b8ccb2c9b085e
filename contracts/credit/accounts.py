"""Credit in the state: read for a decision, counted by an event, changes of grade recorded.

A grade is judged at block time, so it can change with nobody acting: what is old leaves the window.
Contracts always see the grade of the moment. It is recorded by the next request by or to the
member, or the next act that counts for it, before anything else of that event is counted.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import msgspec

from contracts.credit.behaviours import (
    INCIDENT,
    REMEDIED,
    SANCTIONED,
    judge_holding,
    judge_step,
)
from contracts.credit.score import DEFAULT_FORMULA, Formula, Standing, add_causes, add_to_bucket
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
    credits_ = Credits(overlay, height=height, time_ms=time_ms)
    credits_.count(member, SANCTIONED, event=cause, amount=points)
    credits_.write()


@dataclass(slots=True, kw_only=True)
class _Account:
    """The credit of one member while a block is executed, taken apart to be counted in."""

    credit: Credit
    """As it was recorded, without what was `added` and the `causes` of it, the newest last."""
    recorded: Grade
    total: int
    score: int
    grade: Grade
    amounts: dict[str, int]
    is_open: bool = False
    """Whether `credit` is brought up to the moment, its last bucket that which runs."""
    is_changed: bool = False
    added: dict[str, int] = field(default_factory=dict)
    causes: list[CreditCause] = field(default_factory=list)


class Credits:
    """The credit of all members while one block is executed; what was counted, `write` puts.

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
        self._accounts: dict[str, _Account] = {}

    def grade(self, member: str) -> Grade:
        """Grade of a member now: what contracts see."""
        return self._find(member).grade

    def settle(self, member: str) -> None:
        """Record the change of grade that time or new rules have brought, if there is one."""
        account = self._find(member)
        if account.recorded != account.grade:
            account.credit = self._settled(member, account)
            account.recorded, account.is_changed = account.grade, True

    def count(self, member: str, behaviour: str, *, event: bytes, amount: int = 1) -> None:
        """Count a behaviour of a member, shown by the event with this digest."""
        account, formula = self._find(member), self._formula
        if not account.is_open:
            self._open(member, account)
        seen = account.amounts.get(behaviour, 0)
        account.amounts[behaviour] = seen + amount
        account.added[behaviour] = account.added.get(behaviour, 0) + amount
        account.is_changed = True
        # Its own worth: beyond the limit it changes nothing now, but when others leave the window.
        points = formula.points(behaviour, amount)
        if points:
            account.causes.append(CreditCause(event, behaviour, points, self._height))
        more = formula.points(behaviour, seen + amount) - formula.points(behaviour, seen)
        if more:
            before = account.score
            account.total += more
            account.score = formula.score(account.total)
            account.grade = formula.grade(account.score)
            if account.grade != account.recorded:
                self._record_behaviour(member, account, event, before)

    def write(self) -> None:
        """Put what was counted into the state: once a block, and before anybody else reads it.

        Nobody else counts in the same block before its end.
        """
        for member, account in self._accounts.items():
            if account.is_changed:
                self._close(account)
                self._overlay.put(credit_key(member), CREDITS.encode(account.credit))
                account.is_changed = False

    def count_step(self, event: Event, exchange: Exchange) -> None:
        """Count what a step up to the receipt shows; the exchange as it was before it."""
        reasons = self._formula.rules.permitted_reasons
        for behaviour in judge_step(event, exchange, self._time_ms, reasons):
            self.count(exchange.provider, behaviour, event=event.digest)

    def count_holding(self, event: Event, matters: Matters) -> None:
        """Count what a step about what is held shows; the matters as they were before it."""
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

    def _find(self, member: str) -> _Account:
        account = self._accounts.get(member)
        if account is None:
            account = self._accounts[member] = self._read(member)
        return account

    def _read(self, member: str) -> _Account:
        found = find_member(self._overlay, member)
        assert found is not None, "only members act"
        data = self._overlay.get(credit_key(member))
        credit, standing = _judge(data, self._formula, found.credit, self._day)
        return _Account(
            credit=credit,
            recorded=credit.grade,
            total=self._formula.total(standing.amounts, found.credit),
            score=standing.score,
            grade=standing.grade,
            amounts=dict(standing.amounts),
        )

    def _open(self, member: str, account: _Account) -> None:
        """Bring the record up to the moment, to count in the bucket that runs."""
        credit = self._settled(member, account)
        causes = self._open_causes(member, credit)
        account.credit = msgspec.structs.replace(credit, day=self._day, causes=causes)
        account.recorded, account.is_open = account.grade, True

    def _close(self, account: _Account) -> None:
        """Put the record together again."""
        credit, buckets = account.credit, account.credit.buckets
        for behaviour, amount in account.added.items():
            buckets = add_to_bucket(buckets, self._day, behaviour, amount)
        account.credit = msgspec.structs.replace(
            credit,
            score=account.score,
            grade=account.grade,
            buckets=buckets,
            causes=add_causes(credit.causes, account.causes),
        )
        account.added, account.causes = {}, []

    def _settled(self, member: str, account: _Account) -> Credit:
        """The record brought up to the moment, what left the window left out."""
        credit = account.credit
        version, changes = self._formula.rules.version, credit.changes
        found = (credit.score, credit.grade, credit.rules_version)
        is_whole = bool(credit.buckets) and credit.buckets[0].start_day >= self._first
        if is_whole and found == (account.score, account.grade, version):
            return credit
        if credit.grade != account.grade:
            reason: ChangeReason = "window" if credit.rules_version == version else "rules"
            causes = self._lost(member, credit, account.score)
            self._record_change(member, credit, account, reason, causes)
            changes += 1
        return Credit(
            score=account.score,
            grade=account.grade,
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

    def _lost(self, member: str, credit: Credit, score: int) -> list[CreditCause]:
        """What left the window and moved the score this way: it gives back what it took."""
        sign = -1 if score > credit.score else 1
        gone = tuple(each for each in credit.buckets if each.start_day < self._first)
        left = msgspec.structs.replace(credit, buckets=gone)
        found = read_causes(self._overlay, member, left)
        return [each._replace(points=-each.points) for each in found if each.points * sign > 0]

    def _record_behaviour(self, member: str, account: _Account, event: bytes, score: int) -> None:
        """Record the change of grade that an event has brought to a member that had `score`."""
        before = msgspec.structs.replace(account.credit, score=score)
        sign = 1 if account.score > score else -1
        self._close(account)
        found = read_causes(self._overlay, member, account.credit)
        ours = [each for each in found if each.points * sign > 0]
        # In one block many events have the same height.
        ours.sort(key=lambda each: each.event != event)
        self._record_change(member, before, account, "behaviour", ours)
        account.credit = msgspec.structs.replace(account.credit, changes=before.changes + 1)
        account.recorded = account.grade

    def _record_change(
        self,
        member: str,
        credit: Credit,
        account: _Account,
        reason: ChangeReason,
        causes: list[CreditCause],
    ) -> None:
        """`credit` is the record before the change."""
        change = GradeChange(
            before=credit.grade,
            after=account.grade,
            score_before=credit.score,
            score_after=account.score,
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
