"""Offers by schedule: every period once, none twice, whatever day the gateway starts."""

import asyncio
import datetime as dt
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.gateway.agency import schedule as schedules
from node.gateway.agency.schedule import (
    Every,
    Offering,
    Schedule,
    last_period,
    make_offer,
    next_due,
    offer_nonce,
)
from node.gateway.chain import Chain
from node.gateway.signing import Signing
from tests.builders import ASKER, NETWORK, OWNER, key_of
from tests.unit.node.api.harness import Served, run
from tests.unit.node.gateway.samples import until

ONE_DAY = dt.timedelta(days=1)
MONTHS: dict[Every, int] = {"month": 1, "quarter": 3, "half": 6, "year": 12}
DAYS = st.dates(dt.date(1999, 1, 1), dt.date(2101, 12, 31))
EVERY = st.sampled_from(get_args(Every))
DAY = st.integers(min_value=1, max_value=28)


def make_schedule(**changed: object) -> Schedule:
    """Registrations to the asker, on the 15th after every month."""
    schedule = Schedule(
        recipient=ASKER,
        dataset="registration",
        purpose="assessment",
        legal_basis="all",
        fields=("uscc", "name"),
        every="month",
        day=15,
        retention_days=365,
    )
    return msgspec.structs.replace(schedule, **changed)


def test_a_leap_year_and_the_turn_of_a_year() -> None:
    month, year = make_schedule(), make_schedule(every="year")
    assert last_period(month, dt.date(2028, 3, 15)) == (dt.date(2028, 2, 1), dt.date(2028, 2, 29))
    assert last_period(month, dt.date(2027, 3, 15)) == (dt.date(2027, 2, 1), dt.date(2027, 2, 28))
    assert last_period(month, dt.date(2028, 3, 14)) == (dt.date(2028, 1, 1), dt.date(2028, 1, 31))
    assert last_period(month, dt.date(2028, 1, 14))[0] == dt.date(2027, 11, 1)
    assert last_period(year, dt.date(2028, 1, 15)) == (dt.date(2027, 1, 1), dt.date(2027, 12, 31))
    assert last_period(year, dt.date(2028, 1, 14))[1] == dt.date(2026, 12, 31)
    assert next_due(year, dt.date(2028, 1, 15)) == dt.date(2029, 1, 15)
    assert next_due(month, dt.date(2027, 12, 15)) == dt.date(2028, 1, 15)


@given(EVERY, DAY, DAYS)
def test_a_period_is_whole_and_over_and_its_offer_is_not_yet_a_period_late(
    every: Every, day: int, today: dt.date
) -> None:
    schedule = make_schedule(every=every, day=day)
    first, last = last_period(schedule, today)
    assert first.day == 1
    assert (first.month - 1) % MONTHS[every] == 0
    after = last + ONE_DAY
    assert after.day == 1
    assert (after.year - first.year) * 12 + after.month - first.month == MONTHS[every]
    # It was due on the day of the first month after it, and the next one is not due yet.
    assert after.replace(day=day) <= today < next_due(schedule, today)
    following, _ = last_period(schedule, next_due(schedule, today))
    assert following == after
    assert last_period(schedule, next_due(schedule, today) - ONE_DAY) == (first, last)


@pytest.mark.parametrize("every", get_args(Every))
@pytest.mark.parametrize("day", [1, 15, 28])
def test_over_years_of_days_every_period_is_offered_once_and_on_its_day(
    every: Every, day: int
) -> None:
    """As the gateway does it: it sleeps until the next day on which something is due."""
    schedule = make_schedule(every=every, day=day)
    today, offered = dt.date(2023, 12, 20), []
    while today < dt.date(2033, 1, 1):
        offered.append(last_period(schedule, today))
        today = next_due(schedule, today)
        assert today.day == day
    assert len(set(offered)) == len(offered)
    for (_, last), (first, _) in itertools.pairwise(offered):
        assert last + ONE_DAY == first


@given(EVERY, DAY, st.lists(DAYS, min_size=1, max_size=8))
def test_restarts_offer_under_the_same_nonce(every: Every, day: int, starts: list[dt.date]) -> None:
    schedule = make_schedule(every=every, day=day)
    seen: dict[bytes, dt.date] = {}
    for today in starts:
        first, _ = last_period(schedule, today)
        nonce = offer_nonce(NETWORK, "name", schedule, first)
        assert len(nonce) == 16
        assert seen.setdefault(nonce, first) == first
    assert len(seen) == len({last_period(schedule, today) for today in starts})


def test_a_nonce_depends_on_what_is_offered_to_whom() -> None:
    first = dt.date(2026, 1, 1)
    schedule = make_schedule()
    nonces = {
        offer_nonce(NETWORK, "name", schedule, first),
        offer_nonce(bytes(32), "name", schedule, first),
        offer_nonce(NETWORK, "other", schedule, first),
        offer_nonce(NETWORK, "name", make_schedule(recipient=OWNER), first),
        offer_nonce(NETWORK, "name", make_schedule(dataset="filing"), first),
        offer_nonce(NETWORK, "name", make_schedule(every="year"), first),
        offer_nonce(NETWORK, "name", schedule, dt.date(2026, 2, 1)),
    }
    assert len(nonces) == 7


@asynccontextmanager
async def offering(node: Served, **named: Schedule) -> AsyncIterator[Offering]:
    """Of the owner, at a real node."""
    host, port = node.address
    async with Chain(f"http://{host}:{port}", OWNER) as chain:
        running = asyncio.create_task(chain.run())
        signing = Signing(key_of(OWNER, "provider"), OWNER, await chain.network(), chain)
        try:
            yield Offering(chain, signing, named)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def offers(node: Served) -> list[tuple[str, str]]:
    """Periods that were offered, from the ledger."""
    page = await node.get_json(f"/v1/requests?member={OWNER}&limit=100")
    exchanges = [item["exchange"] for item in page["items"]]
    details = [await node.get_json(f"/v1/requests/{exchange}") for exchange in exchanges]
    bodies = [detail["history"][0]["event"]["body"] for detail in details]
    return sorted((body["dataset"], body["period_from"]) for body in bodies)


def test_what_is_due_is_on_the_ledger_once_however_often_the_gateway_starts(
    tmp_path: Path,
) -> None:
    today = dt.date(2026, 4, 20)

    async def story(node: Served) -> None:
        named = {"one": make_schedule(), "two": make_schedule(dataset="filing", fields=("uscc",))}
        for _ in range(3):
            async with offering(node, **named) as made:
                assert await made.offer_due(today)
                assert await made.offer_due(today + ONE_DAY)
        assert await offers(node) == [("filing", "2026-03-01"), ("registration", "2026-03-01")]
        async with offering(node, **named) as made:
            assert await made.offer_due(dt.date(2026, 5, 15))
        assert len(await offers(node)) == 4

    run(tmp_path, story)


def test_what_the_ledger_did_not_take_is_not_done(tmp_path: Path) -> None:
    async def story(node: Served) -> None:
        async with offering(node, one=make_schedule(recipient="nobody")) as made:
            assert not await made.offer_due(dt.date(2026, 4, 20))
        async with offering(node, one=make_schedule()) as made:
            made._chain.url = "http://127.0.0.1:1"
            assert not await made.offer_due(dt.date(2026, 4, 20))

    run(tmp_path, story)


def test_what_failed_is_tried_again_long_before_the_next_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "AGAIN_S", 0.01)

    async def story(node: Served) -> None:
        async with offering(node, one=make_schedule()) as made:
            url = made._chain.url
            tries: list[bool] = []
            due = made.offer_due

            async def counted(today: dt.date) -> bool:
                tries.append(await due(today))
                if len(tries) == 2:
                    made._chain.url = url
                return tries[-1]

            monkeypatch.setattr(made, "offer_due", counted)
            made._chain.url = "http://127.0.0.1:1"
            running = asyncio.create_task(made.run())
            await until(lambda: True in tries)
            assert tries == [False, False, True]
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            assert len(await offers(node)) == 1

    run(tmp_path, story)


def test_without_schedules_there_is_nothing_to_do_and_no_end(tmp_path: Path) -> None:
    async def story(node: Served) -> None:
        async with offering(node) as made:
            running = asyncio.create_task(made.run())
            done, _ = await asyncio.wait((running,), timeout=0.05)
            assert not done
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run(tmp_path, story)


def test_an_offer_is_what_the_schedule_says() -> None:
    body = make_offer(make_schedule(), dt.date(2026, 3, 1), dt.date(2026, 3, 31))
    assert (body.manner, body.subjects) == ("automatic", ())
    assert (body.period_from, body.period_to) == ("2026-03-01", "2026-03-31")
    assert (body.recipient, body.fields, body.retention_days) == (ASKER, ("uscc", "name"), 365)
