"""What a provider learns of its message: the status message, or that there is none."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from node.crs.status import write_status
from node.gateway.desk import now_ms
from node.gateway.jobs import Answered, Failed, Job
from node.gateway.steps.provide import Parts, Provider
from node.gateway.work.pool import Pool
from tests.builders import ASKER, OWNER
from tests.unit.node.crs.test_status import STATUS
from tests.unit.node.gateway.lines import Line, line
from tests.unit.node.gateway.samples import make_job, make_payload
from tests.unit.node.gateway.work.bench import make_setup

DOCUMENT = write_status(STATUS)
FAR_MS = 10**14
Story = Callable[[Provider, Line], Awaitable[None]]


def play(folder: Path, story: Story) -> None:
    """The asker has sent a message to the owner, whose gateway answers over TLS."""

    async def main() -> None:
        async with asyncio.timeout(60), line(folder) as made:
            pool = Pool(make_setup(folder), size=1, stall_s=30)
            parts = Parts(chain=None, directory=made.asker, pool=pool, signing=None)  # type: ignore[arg-type]  # neither is asked
            try:
                await story(Provider(parts, outbox=folder, outbox_days=1), made)
            finally:
                await pool.close()

    asyncio.run(main())


def sent(**changed: object) -> Job:
    """A message that the owner has received."""
    job = make_job(
        stage="learn", status="received", requester=OWNER, provider=ASKER, until_ms=FAR_MS,
        correction=1, payload=make_payload(form="crs"),
    )  # fmt: skip
    return msgspec.structs.replace(job, **changed)


async def answer(made: Line, document: bytes, correction: int = 1) -> None:
    answered = Answered(correction=correction, document=document)
    job = msgspec.structs.replace(sent(), side="acquire", stage="kept", answered=answered)
    await made.store.save([job])


def test_the_status_message_is_kept_and_the_exchange_settled(tmp_path: Path) -> None:
    async def story(provider: Provider, made: Line) -> None:
        await answer(made, DOCUMENT)
        job = (await provider.learn(sent()))(sent())
        assert (job.stage, job.wake_ms) == ("settled", FAR_MS)
        assert job.answered == Answered(correction=1, document=DOCUMENT)
        job = (await provider.learn(sent()))(sent(status="rejected", codes=(60014,), text="x"))
        assert (job.stage, job.resume, job.correction) == ("held", "prepare", 2)
        assert (job.fault, job.detail) == ("delivery-rejected", "60014 x")
        assert job.answered == Answered(correction=1, document=DOCUMENT)

    play(tmp_path, story)


def test_without_a_status_message_that_can_be_read_the_ledger_must_do(tmp_path: Path) -> None:
    old = Answered(correction=0, document=DOCUMENT)

    async def story(provider: Provider, made: Line) -> None:
        for document, correction in ((DOCUMENT, 0), (b"<html/>", 1), (b"", 1)):
            await answer(made, document, correction)
            job = (await provider.learn(sent()))(sent(answered=old))
            assert (job.stage, job.answered) == ("settled", None)

    play(tmp_path, story)


def test_a_partner_that_is_away_is_waited_for_until_the_end_of_retention(tmp_path: Path) -> None:
    async def story(provider: Provider, made: Line) -> None:
        made.ledger.gateways[OWNER] = "127.0.0.1:1", made.ledger.gateways[OWNER][1]
        made.expire()
        with pytest.raises(Failed) as caught:
            await provider.learn(sent())
        assert (caught.value.code, caught.value.retry) == ("partner-unreachable", True)
        over = sent(until_ms=now_ms() - 1)
        job = (await provider.learn(over))(over)
        assert (job.stage, job.answered) == ("settled", None)

    play(tmp_path, story)
