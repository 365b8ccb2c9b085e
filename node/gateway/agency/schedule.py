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

import asyncio
import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import structlog
from msgspec import Meta

from ledger.exchange.bodies import ShareOffered
from ledger.scalars import FIELDS_MAX, Identifier
from node.gateway.chain import Chain
from node.gateway.jobs import Failed
from node.gateway.signing import Signing

LOG = structlog.get_logger("gateway")

AGAIN_S = 300.0

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


class Offering:
    """Offers what is due, now and on every later day on which something is."""

    def __init__(self, chain: Chain, signing: Signing, schedules: Mapping[str, Schedule]) -> None:
        self._chain = chain
        self._signing = signing
        self._schedules = dict(sorted(schedules.items()))

    async def run(self) -> None:
        """Offer for ever; what the ledger did not take is tried again after `AGAIN_S`."""
        while self._schedules:
            today = dt.datetime.now(dt.UTC).date()
            all_done = await self.offer_due(today)
            day = min(next_due(schedule, today) for schedule in self._schedules.values())
            due = dt.datetime.combine(day, dt.time(), dt.UTC)
            pause_s = max((due - dt.datetime.now(dt.UTC)).total_seconds(), 0.0) + 1
            await asyncio.sleep(pause_s if all_done else min(pause_s, AGAIN_S))
        await asyncio.get_running_loop().create_future()

    async def offer_due(self, today: dt.date) -> bool:
        """Offer the newest period of each schedule; whether the ledger has all of these offers."""
        done = [
            await self._offer(name, schedule, *last_period(schedule, today))
            for name, schedule in self._schedules.items()
        ]
        return all(done)

    async def _offer(self, name: str, schedule: Schedule, first: dt.date, last: dt.date) -> bool:
        nonce = offer_nonce(self._signing.network, name, schedule, first)
        path = f"/v1/members/{self._signing.member}/events/{nonce.hex()}"
        try:
            await self._chain.get(path, dict[str, Any])
            return True
        except Failed as error:
            if error.code != "node-not-found":
                LOG.warning("schedule cannot be looked up", schedule=name, error=str(error))
                return False
        event = self._signing.sign(make_offer(schedule, first, last), nonce)
        answer = await self._chain.submit(event)
        LOG.info("offered by schedule", schedule=name, state=answer.state, code=answer.code)
        return answer.state == "final"
