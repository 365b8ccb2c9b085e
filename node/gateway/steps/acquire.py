"""The requester's steps: fetch, check, hand over, answer; at the end of retention erase, attest."""

import hashlib
from pathlib import Path

import msgspec

from ledger.errors import InvalidEncoding
from ledger.events import Body, ShareReceived, ShareRejected
from ledger.exchange.bodies import ShareCorrectionAcknowledged, ShareDestroyed
from node.gateway.desk import Change
from node.gateway.jobs import Answered, Failed, Job, Payload, advance
from node.gateway.steps.messages import find_jurisdiction, is_whole
from node.gateway.steps.provide import Parts, about_of, read_rules, submit_opening
from node.gateway.work.check import CODE_SET, CUSTOM, DOWNLOAD
from node.gateway.work.tasks import Check, Checked, Done, Erase, Hand
from node.records.report import REPORT_DOMAIN, decode_report

DOWNLOADS_MAX = 3
_GONE, _DAMAGED = "payload-expired", "payload-damaged"


class Acquirer:
    """Steps of the side `acquire`."""

    def __init__(self, parts: Parts, *, inbox: Path) -> None:
        self._parts = parts
        self._inbox = inbox

    async def request(self, job: Job) -> Change:
        """Submit the request."""
        return await submit_opening(self._parts.chain, job)

    async def fetch(self, job: Job) -> Change:
        """Fetch the sealed payload and its quality report."""
        payload = _payload_of(job)
        path = f"/v1/payloads/{job.exchange.hex()}/{job.correction}"
        target = self._inbox / job.file_name
        try:
            await self._parts.directory.fetch_file(job.provider, path, target, payload.size_bytes)
            report = await self._parts.directory.fetch_small(job.provider, f"{path}/report")
        except Failed as error:
            if error.code != _GONE:
                raise
            return _answer((DOWNLOAD,), f"{error.code} {error.detail}")
        if hashlib.sha256(REPORT_DOMAIN + report).digest() != payload.quality_digest:
            return _answer((CUSTOM,), "quality-report-mismatch")
        try:
            decode_report(report)
        except InvalidEncoding:
            # No receiver could take it, however often it were fetched.
            return _answer((CUSTOM,), "quality-report-malformed")
        whole = msgspec.structs.replace(payload, report=report)
        return lambda now: advance(now, "check", payload=whole)

    async def check(self, job: Job) -> Change:
        """Open the payload and look at every record."""
        payload = _payload_of(job)
        chain = self._parts.chain
        rules = await read_rules(chain, job.dataset, payload.schema_version)
        if rules.form and not await is_whole(chain, job):
            return _answer((CUSTOM,), "message-fields-partial")
        path = self._inbox / job.file_name
        task = Check(
            about=about_of(job),
            rules=rules,
            commitment=payload.commitment,
            record_count=payload.record_count,
            path=str(path),
            receiving=await find_jurisdiction(chain, job.requester) if rules.form else "",
            transmitting=await find_jurisdiction(chain, job.provider) if rules.form else "",
            named=payload.named,
        )
        checked = await self._parts.pool.run(task, Checked)
        if checked.codes == (DOWNLOAD,) and job.downloads + 1 < DOWNLOADS_MAX:
            return self._fetch_again(job)
        answered = None
        if checked.answer:
            answered = Answered(correction=job.correction, document=checked.answer)
        if checked.codes:
            return _answer(checked.codes, checked.text, answered)
        opened = msgspec.structs.replace(
            payload, blind=checked.blind, plain_bytes=checked.plain_bytes, form=rules.form
        )
        return lambda now: advance(now, "hand", payload=opened, answered=answered)

    async def hand(self, job: Job) -> Change:
        """Give the records to the agency."""
        payload = _payload_of(job)
        task = Hand(
            about=about_of(job),
            commitment=payload.commitment,
            record_count=payload.record_count,
            report=payload.report,
            plain_bytes=payload.plain_bytes,
            path=str(self._inbox / job.file_name),
            form=payload.form,
            answer=b"" if job.answered is None else job.answered.document,
        )
        try:
            await self._parts.pool.run(task, Done)
        except Failed as error:
            # It was whole when it was checked: the disk has lost it since.
            if error.code != _DAMAGED or job.downloads + 1 >= DOWNLOADS_MAX:
                raise
            return self._fetch_again(job)
        return lambda now: advance(now, "answer")

    def _fetch_again(self, job: Job) -> Change:
        (self._inbox / job.file_name).unlink(missing_ok=True)
        return lambda now: advance(now, "fetch", downloads=now.downloads + 1)

    async def answer(self, job: Job) -> Change:
        """Record that the delivery was received, or why it is rejected."""
        payload = _payload_of(job)
        body: Body
        if job.supersedes:
            if job.codes:
                # Nothing on the ledger rejects a correction: a person disputes it.
                raise Failed("correction-unusable", f"{job.codes} {job.text}", retry=False)
            body = ShareCorrectionAcknowledged(exchange=job.exchange, commitment=payload.commitment)
        elif job.codes:
            body = ShareRejected(
                exchange=job.exchange,
                commitment=payload.commitment,
                code_set=CODE_SET,
                codes=job.codes,
                text=job.text,
            )
        else:
            body = ShareReceived(
                exchange=job.exchange,
                commitment=payload.commitment,
                record_count=payload.record_count,
            )
        return await self._parts.signing.record(job, body)

    async def erase(self, job: Job) -> Change:
        """Erase what is left of the data at the end of retention."""
        if job.until_ms:
            # Nothing brings it back: a clock that jumped ahead must not decide this alone.
            await self._parts.chain.verify_clock()
        await self._parts.pool.run(Erase(exchange=job.exchange), Done)
        bare = msgspec.structs.replace(_payload_of(job), blind=b"", report=b"")
        return lambda now: advance(
            now, "attest", payload=bare, question=b"", asked=b"", answered=None
        )

    async def attest(self, job: Job) -> Change:
        """Record that nothing is left."""
        body = ShareDestroyed(
            exchange=job.exchange,
            commitment=job.held,
            method="gateway-erase",
            text="",
        )
        return await self._parts.signing.record(job, body)


def _payload_of(job: Job) -> Payload:
    assert job.payload is not None, "a delivery has a payload"
    return job.payload


def _answer(codes: tuple[int, ...], text: str, answered: Answered | None = None) -> Change:
    return lambda now: advance(now, "answer", codes=codes, text=text[:500], answered=answered)
