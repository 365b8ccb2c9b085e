"""Automatic exchange by schedule: an offer once in every period, on a day of the month.

    [schedules.crs-to-3100]
    recipient = "cn-3100-tax"
    dataset = "account"
    purpose = "automatic-exchange"
    legal_basis = "crs-mcaa"
    fields = ["account", "holder"]
    every = "year"          # month, quarter, half or year: the period before is offered
    day = 15                # of the first month after the period, in UTC
    retention_days = 1825

The nonce of an offer follows from schedule and period, so one period is offered once, however often
the gateway starts.
"""

import datetime as dt
import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ledger.exchange.bodies import ShareOffered
from ledger.scalars import FIELDS_MAX, Identifier

Every = Literal["month", "quarter", "half", "year"]
_MONTHS: dict[Every, int] = {"month": 1, "quarter": 3, "half": 6, "year": 12}


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is offered to whom, and how often."""

    recipient: Identifier
    dataset: Identifier
    purpose: Identifier
    legal_basis: Identifier
    fields: Annotated[tuple[Identifier, ...], Meta(min_length=1, max_length=FIELDS_MAX)]
    every: Every
    day: Annotated[int, Meta(ge=1, le=28)]
    retention_days: Annotated[int, Meta(ge=1, le=36_500)]


def last_period(schedule: Schedule, today: dt.date) -> tuple[dt.date, dt.date]:
    """First and last day of the newest period whose offer is due on a day."""
    months = _MONTHS[schedule.every]
    start = today.replace(month=(today.month - 1) // months * months + 1, day=1)
    if today < start.replace(day=schedule.day):
        start = _months_before(start, months)
    return _months_before(start, months), start - dt.timedelta(days=1)


def _months_before(day: dt.date, months: int) -> dt.date:
    number = day.year * 12 + day.month - 1 - months
    return dt.date(number // 12, number % 12 + 1, 1)


def next_due(schedule: Schedule, today: dt.date) -> dt.date:
    """The next day after today on which an offer is due."""
    months = _MONTHS[schedule.every]
    start = today.replace(month=(today.month - 1) // months * months + 1, day=schedule.day)
    if today < start:
        return start
    return _months_before(start.replace(day=1), -months).replace(day=schedule.day)


def make_offer(schedule: Schedule, first: dt.date, last: dt.date) -> ShareOffered:
    """The offer of a period."""
    return ShareOffered(
        recipient=schedule.recipient,
        manner="automatic",
        dataset=schedule.dataset,
        purpose=schedule.purpose,
        legal_basis=schedule.legal_basis,
        fields=schedule.fields,
        period_from=first.isoformat(),
        period_to=last.isoformat(),
        subjects=(),
        urgency="normal",
        retention_days=schedule.retention_days,
        case="",
    )


def offer_nonce(network: bytes, name: str, schedule: Schedule, first: dt.date) -> bytes:
    """The nonce of the offer of a period (16 bytes)."""
    parts = (name, schedule.recipient, schedule.dataset, first.isoformat(), schedule.every)
    text = "\0".join(parts).encode()
    return hashlib.sha256(b"tallystick/schedule/v1\0" + network + text).digest()[:16]
