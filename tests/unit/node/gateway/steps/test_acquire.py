"""What a partner serves beside its payload, and what becomes of the delivery because of it."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from node.gateway.jobs import Job
from node.gateway.steps.acquire import Acquirer
from node.gateway.steps.provide import Parts
from node.gateway.work.check import CUSTOM
from node.records.report import REPORT_DOMAIN, Report, encode_report
from tests.unit.node.gateway.lines import line
from tests.unit.node.gateway.samples import make_job, make_payload

SEALED = b"sealed records"
FAR_MS = 10**14
REPORT = encode_report(
    Report(
        version=1, dataset="registration", schema_version=1, fields=("uscc",), rows=1, accepted=1,
        rejected=0, duplicates=0, fixed=0, warned=0, rules=(),
    )
)  # fmt: skip


def fetched(folder: Path, report: bytes, digest: bytes) -> Job:
    """The requester's job after one look at what the provider serves."""

    async def main() -> Job:
        async with asyncio.timeout(40), line(folder) as made:
            payload = make_payload(
                size_bytes=len(SEALED), outbox_until_ms=FAR_MS, report=report, quality_digest=digest
            )
            offered = make_job(stage="offered", payload=payload)
            await made.store.save([offered])
            (made.outbox / offered.file_name).write_bytes(SEALED)
            parts = Parts(chain=None, directory=made.asker, pool=None, signing=None)  # type: ignore[arg-type]  # not reached
            wanted = make_job(side="acquire", stage="fetch", payload=payload)
            change = await Acquirer(parts, inbox=folder).fetch(wanted)
            return change(wanted)

    return asyncio.run(main())


def digest_of(report: bytes) -> bytes:
    return hashlib.sha256(REPORT_DOMAIN + report).digest()


def test_a_report_that_is_on_the_ledger_goes_on_with_the_payload(tmp_path: Path) -> None:
    job = fetched(tmp_path, REPORT, digest_of(REPORT))
    assert (job.stage, job.codes) == ("check", ())
    assert job.payload is not None
    assert job.payload.report == REPORT


@pytest.mark.parametrize(
    "report", [b"", b"\xc1", b"report", REPORT + b"\0", REPORT[:-1], b"\x91" * 100_000]
)
def test_a_report_that_no_receiver_can_read_rejects_the_delivery(
    tmp_path: Path, report: bytes
) -> None:
    """It is the one on the ledger, so neither another try nor a person here could mend it."""
    job = fetched(tmp_path, report, digest_of(report))
    assert (job.stage, job.codes, job.text) == ("answer", (CUSTOM,), "quality-report-malformed")


def test_another_report_than_on_the_ledger_rejects_the_delivery(tmp_path: Path) -> None:
    job = fetched(tmp_path, REPORT, digest_of(b"another"))
    assert (job.stage, job.codes, job.text) == ("answer", (CUSTOM,), "quality-report-mismatch")
