"""Jobs, and records of real lifecycles as the stream of a node has them."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from contracts.lookup import find_exchange
from ledger.events import Event
from node.api.schemas.log import record_body
from node.gateway.chain import StreamRecord
from node.gateway.follow import observe, open_job
from node.gateway.jobs import Job, Payload, Side, Stage, advance
from tests.builders import ASKER, OUTBOX_UNTIL_MS, OWNER, TIME_MS, hash32
from tests.exchanges import PAYLOAD
from tests.unit.contracts.samples import run, states

DAY_MS = 86_400_000
_RECORDS = msgspec.json.Decoder(StreamRecord)


async def until(is_there: Callable[[], bool]) -> None:
    """Wait for what no event tells of."""
    while not is_there():  # noqa: ASYNC110 - there is no event to wait on
        await asyncio.sleep(0.001)


def make_job(label: str = "exchange", **changed: Any) -> Job:
    """A permitted request; keyword arguments say what is different."""
    job = Job(
        exchange=hash32(label),
        side="provide",
        stage="prepare",
        requester=ASKER,
        provider=OWNER,
        dataset="registration",
        purpose="assessment",
        fields=("uscc", "name"),
        period_from="2026-01-01",
        period_to="2026-03-31",
        subjects=(),
        retention_days=90,
    )
    return msgspec.structs.replace(job, **changed)


def make_payload(commitment: bytes = PAYLOAD, **changed: Any) -> Payload:
    """A delivery of three records, prepared here."""
    payload = Payload(
        commitment=commitment,
        record_count=3,
        schema_version=1,
        quality_digest=hash32("quality"),
        size_bytes=100,
        outbox_until_ms=OUTBOX_UNTIL_MS,
        report=b"report",
        blind=b"blind",
    )
    return msgspec.structs.replace(payload, **changed)


class Story:
    """One exchange on a ledger, and a gateway of each side that follows it.

    Events are executed by the contracts; refused ones stand on the ledger too.
    """

    def __init__(self, *events: Event) -> None:
        self.state = states()
        self.records: list[tuple[StreamRecord, int]] = []
        self.jobs: dict[Side, Job] = {}
        self._height = 7
        self.tell(*events)

    def tell(self, *events: Event, days: int = 0) -> "Story":
        """Execute events, each in a block of its own, `days` after the beginning."""
        for event in events:
            time_ms = TIME_MS + days * DAY_MS
            execution = run(self.state, event, height=self._height, time_ms=time_ms)
            self.state.pairs.update(execution.overlay.changes)
            body = record_body(len(self.records), self._height, event, execution.outcomes[0])
            record = _RECORDS.decode(msgspec.json.encode(body))
            self._height += 1
            self.records.append((record, time_ms))
            self.follow(record, time_ms)
        return self

    def follow(self, record: StreamRecord, time_ms: int) -> None:
        """Have both gateways take a record into account."""
        sides: tuple[Side, ...] = ("provide", "acquire")
        for side in sides:
            member = OWNER if side == "provide" else ASKER
            job = self.jobs.get(side) or open_job(record, member)
            if job is not None and job.side == side:
                self.jobs[side] = observe(job, record, time_ms)

    def prepared(self, commitment: bytes = PAYLOAD, **changed: Any) -> "Story":
        """The provider's gateway has prepared a delivery and is about to record it."""
        self.put("provide", "deliver", payload=make_payload(commitment, **changed))
        return self

    def put(self, side: Side, stage: Stage, **changed: Any) -> None:
        """A gateway's own steps have led to a stage."""
        self.jobs[side] = advance(self.jobs[side], stage, **changed)

    def stages(self) -> tuple[str, str]:
        """Stages of provider and requester."""
        return self.jobs["provide"].stage, self.jobs["acquire"].stage

    def status(self) -> str:
        """Status of the exchange on the ledger."""
        exchange = find_exchange(self.state, self.jobs["provide"].exchange)
        assert exchange is not None
        return exchange.status


def replayed(records: Iterable[tuple[StreamRecord, int]]) -> dict[Side, Job]:
    """What gateways without a past make of records."""
    story = Story()
    for record, time_ms in records:
        story.follow(record, time_ms)
    return story.jobs
