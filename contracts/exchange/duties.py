"""Who owes what by when, in block time: one function for exchanges, one for incidents.

A duty that is overdue is a gap. Nothing is typed in: whoever has the state and a time computes the
same list. `GAPS` names each duty and the events that fulfil it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from contracts.errors import InvalidMoment
from contracts.exchange.matters import DAY_MS, HOUR_MS
from contracts.lifecycle import DELIVERED, IN_REVIEW, PERMITTED, RECEIVED, REJECTED, USED
from ledger.exchange.incidents import Incident
from ledger.exchange.matters import DeadlineRules, Matters
from ledger.registry import Exchange

_DAYS_AHEAD = re.compile(r"\+([1-9][0-9]{0,4}) days?\Z", re.ASCII)
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{3})?)?(Z|[+-][0-9]{2}:[0-9]{2})"
_MOMENT = re.compile(f"{_DAY}(T{_CLOCK})?\\Z", re.ASCII)
_LAST_MS = 253_402_300_799_999  # of the year 9999


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What is missing when a duty is not done: its id, and the kinds of events that do it."""

    id: str
    kinds: tuple[str, ...]
    zh: str
    en: str


GAPS: dict[str, Gap] = {
    gap.id: gap
    for gap in (
        Gap(
            id="review-without-answer", kinds=("share.approved", "share.refused"),
            zh="待复核而未答复", en="a review without an answer",
        ),
        Gap(
            id="permit-without-delivery", kinds=("share.delivered",),
            zh="已准予而未交付", en="a permit without a delivery",
        ),
        Gap(
            id="rejection-without-delivery", kinds=("share.delivered",),
            zh="被退回而未重新交付", en="a rejected delivery that was not repeated",
        ),
        Gap(
            id="delivery-without-receipt", kinds=("share.received", "share.rejected"),
            zh="已交付而未接收", en="a delivery without a receipt",
        ),
        Gap(
            id="receipt-without-use", kinds=("share.used", "share.destroyed"),
            zh="已接收而未报告使用情况", en="a receipt without a report of use",
        ),
        Gap(
            id="retention-without-destruction", kinds=("share.destroyed",),
            zh="留存期满而未销毁", en="retention has passed without destruction",
        ),
        Gap(
            id="correction-without-acknowledgement", kinds=("share.correction_acknowledged",),
            zh="更正未经确认", en="a correction that was not acknowledged",
        ),
        Gap(
            id="consent-without-answer", kinds=("share.consent_given", "share.consent_refused"),
            zh="征求同意而未答复", en="a request for consent without an answer",
        ),
        Gap(
            id="dispute-without-resolution", kinds=("share.dispute_resolved",),
            zh="争议未解决", en="a dispute without a resolution",
        ),
        Gap(
            id="incident-without-notice", kinds=("incident.notified",),
            zh="事件未经相关方确认知悉", en="an incident that a partner has not confirmed to know",
        ),
        Gap(
            id="incident-without-remedy", kinds=("incident.remedied",),
            zh="事件未整改", en="an incident without a remedy",
        ),
        Gap(
            id="incident-without-closing", kinds=("incident.closed",),
            zh="事件已整改而未办结", en="a remedied incident that nobody has closed",
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """A member owes something by `due_ms` (block time); `gap` is a key of `GAPS`."""

    member: str
    gap: str
    due_ms: int

    def is_overdue(self, time_ms: int) -> bool:
        """Whether the duty is a gap at a block time."""
        return time_ms > self.due_ms


def look_ahead(text: str, time_ms: int) -> int:
    """The block time to judge duties at, as if nothing were recorded from `time_ms` until then.

    `2026-12-01T08:00+08:00` (seconds and thousandths as well), `2026-12-01` for the end of that
    day in UTC, or `+30 days` from `time_ms`. Raises `InvalidMoment`.
    """
    if days := _DAYS_AHEAD.match(text):
        at_ms = time_ms + int(days[1]) * DAY_MS
    elif moment := _MOMENT.match(text):
        at_ms = _moment_ms(text) if moment[1] else _moment_ms(f"{text}T00:00Z") + DAY_MS - 1
    else:
        raise InvalidMoment(text)
    # What was owed before, the state of now does not tell.
    if not time_ms <= at_ms <= _LAST_MS:
        raise InvalidMoment(text)
    return at_ms


def _moment_ms(text: str) -> int:
    try:
        since = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidMoment(text) from None
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000


def exchange_duties(exchange: Exchange, matters: Matters, rules: DeadlineRules) -> tuple[Duty, ...]:
    """What the parties and holders of an exchange owe, by due time."""
    found = [*_answers(exchange, rules), *_holders(exchange, matters, rules)]
    found += [
        Duty(member=exchange.provider, gap="consent-without-answer", due_ms=each.due_ms)
        for each in matters.consents
        if each.status == "asked"
    ]
    if matters.dispute is not None:
        opener = matters.dispute.member
        other = exchange.provider if opener == exchange.requester else exchange.requester
        due_ms = matters.dispute.due_ms
        found.append(Duty(member=other, gap="dispute-without-resolution", due_ms=due_ms))
    return _by_time(found)


def _by_time(duties: list[Duty]) -> tuple[Duty, ...]:
    return tuple(sorted(duties, key=lambda duty: (duty.due_ms, duty.gap, duty.member)))


def _answers(exchange: Exchange, rules: DeadlineRules) -> Iterator[Duty]:
    """Up to the receipt: always the one party whose turn it is."""
    provider, requester = exchange.provider, exchange.requester
    if exchange.status == IN_REVIEW:
        yield Duty(member=provider, gap="review-without-answer", due_ms=exchange.deadline_ms)
    elif exchange.status == PERMITTED:
        yield Duty(member=provider, gap="permit-without-delivery", due_ms=exchange.deadline_ms)
    elif exchange.status == DELIVERED:
        due_ms = exchange.changed_ms + rules.receipt_hours * HOUR_MS
        yield Duty(member=requester, gap="delivery-without-receipt", due_ms=due_ms)
    elif exchange.status == REJECTED:
        due_ms = exchange.changed_ms + rules.receipt_hours * HOUR_MS
        yield Duty(member=provider, gap="rejection-without-delivery", due_ms=due_ms)


def _holders(exchange: Exchange, matters: Matters, rules: DeadlineRules) -> Iterator[Duty]:
    for holding in matters.holders:
        member = holding.holder
        if holding.destroyed_ms:
            continue
        yield Duty(member=member, gap="retention-without-destruction", due_ms=holding.until_ms)
        if holding.correction_due_ms:
            yield Duty(
                member=member,
                gap="correction-without-acknowledgement",
                due_ms=holding.correction_due_ms,
            )
        if member == exchange.requester and not holding.uses:
            assert exchange.status in (RECEIVED, USED), "who holds has received"
            due_ms = min(holding.since_ms + rules.use_report_days * DAY_MS, holding.until_ms)
            yield Duty(member=member, gap="receipt-without-use", due_ms=due_ms)


def incident_duties(incident: Incident, rules: DeadlineRules) -> tuple[Duty, ...]:
    """What the reporter and the partners of an incident owe, by due time."""
    found: list[Duty] = []
    if incident.status != "closed":
        due_ms = incident.reported_ms + rules.notice_hours * HOUR_MS
        found += [
            Duty(member=partner, gap="incident-without-notice", due_ms=due_ms)
            for partner in incident.partners
            if partner not in incident.notified
        ]
    if incident.status == "open":
        due_ms = incident.reported_ms + rules.remedy_days * DAY_MS
        found.append(Duty(member=incident.member, gap="incident-without-remedy", due_ms=due_ms))
    if incident.status == "remedied":
        due_ms = incident.remedied_ms + rules.closing_days * DAY_MS
        found += [
            Duty(member=partner, gap="incident-without-closing", due_ms=due_ms)
            for partner in incident.partners
        ]
    return _by_time(found)
