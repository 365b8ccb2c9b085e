"""The provider's steps: ask who a request is about, prepare the payload, record the delivery.

Of a message of the reporting standard also: name its documents, learn what the requester says.
"""

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ledger.custody.encryption import parse_encryption_key
from ledger.events import ShareDelivered
from ledger.exchange.bodies import ShareCorrected
from node.gateway.chain import Chain
from node.gateway.desk import Change, now_ms
from node.gateway.follow import deliver_anew
from node.gateway.jobs import Answered, Failed, Job, Payload, advance, change, hold
from node.gateway.partners import Directory
from node.gateway.signing import Signing
from node.gateway.steps.messages import find_form, find_jurisdiction, is_whole, read_batch
from node.gateway.work.pool import Pool
from node.gateway.work.tasks import About, Done, Prepare, Prepared, ReadAnswer, Rules

DAY_MS = 86_400_000
# Refusals that only another message, or one with other keys, gets over.
_MESSAGE_WRONG = ("oecd-", "reference-key-", "references-")
# There is no status message, or none that can be read: the codes on the ledger must do.
_NO_ANSWER = frozenset(("answer-unknown", "status-malformed", "status-unsafe", "status-verdict"))


def about_of(job: Job) -> About:
    """The exchange of a job, for a task."""
    return About(
        exchange=job.exchange,
        correction=job.correction,
        requester=job.requester,
        provider=job.provider,
        dataset=job.dataset,
        purpose=job.purpose,
        fields=job.fields,
        period_from=job.period_from,
        period_to=job.period_to,
    )


# Checking the coefficients of a key takes milliseconds; a partner has few keys.
_parse_key = lru_cache(256)(parse_encryption_key)


async def find_recipient(chain: Chain, member: str) -> bytes:
    """The key that payloads for a member are sealed to now. Raises `Failed`."""
    detail = await chain.read_member(member)
    if not detail["encryption_keys"]:
        raise Failed("partner-without-key", member)
    return _parse_key(detail["encryption_keys"][0]["key"])


async def read_rules(chain: Chain, dataset: str, version: int = 0) -> Rules:
    """Schema and codes of a dataset in one version, or in the newest. Raises `Failed`.

    A dataset without a schema on the ledger has the one that is shipped.
    """
    lists = await chain.cached_pages("/v1/code-lists")
    form = await find_form(chain, lists, dataset)
    schemas = [
        item for item in await chain.cached_pages("/v1/record-schemas")
        if item["dataset"] == dataset
    ]  # fmt: skip
    if not schemas:
        datasets = await chain.cached_pages("/v1/datasets")
        found = next((item for item in datasets if item["id"] == dataset), None)
        if found is None:
            raise Failed("dataset-unknown", dataset, retry=False)
        return Rules(version=version or found["version"], form=form)
    newest = max(item["version"] for item in schemas)
    wanted = version or newest
    text = next((item["text"] for item in schemas if item["version"] == wanted), None)
    if text is None:
        raise Failed("schema-version-unknown", f"{dataset} {wanted}", retry=False)
    codes = {item["id"]: tuple(code["code"] for code in item["codes"]) for item in lists}
    return Rules(version=wanted, form=form, text=text, codes=codes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What steps work with."""

    chain: Chain
    directory: Directory
    pool: Pool
    signing: Signing


async def submit_opening(chain: Chain, job: Job) -> Change:
    """Submit a request or an offer; its own record, when it comes, opens the exchange."""
    answer = await chain.submit(job.event)
    if answer.state != "final" or (answer.code and answer.decision != "deny"):
        code, state = answer.code, answer.state
        return lambda now: advance(now, "closed", status=state, fault=code, question=b"", asked=b"")
    await chain.wait_height(answer.height)
    return lambda now: now


class Provider:
    """Steps of the side `provide`."""

    def __init__(
        self,
        parts: Parts,
        *,
        outbox: Path,
        outbox_days: int,
    ) -> None:
        self._parts = parts
        self._outbox = outbox
        self._outbox_days = outbox_days

    async def request(self, job: Job) -> Change:
        """Submit an own offer."""
        return await submit_opening(self._parts.chain, job)

    async def ask(self, job: Job) -> Change:
        """Fetch who the request is about."""
        path = f"/v1/questions/{job.exchange.hex()}"
        question = await self._parts.directory.fetch_small(job.requester, path)
        return lambda now: advance(now, "prepare", question=question)

    async def prepare(self, job: Job) -> Change:
        """Put the sealed payload into the outbox."""
        chain = self._parts.chain
        recipient = await find_recipient(chain, job.requester)
        rules = await read_rules(chain, job.dataset)
        receiving = await find_jurisdiction(chain, job.requester) if rules.form else ""
        if rules.form and not await is_whole(chain, job):
            raise Failed("message-fields-partial", job.dataset, retry=False)
        prepared = await self._parts.pool.run(
            Prepare(
                about=about_of(job),
                rules=rules,
                subjects=job.subjects,
                question=job.question,
                recipient=recipient,
                path=str(self._outbox / job.file_name),
                receiving=receiving,
            ),
            Prepared,
        )
        if job.named is not None and job.named.message == prepared.message:
            raise Failed("references-recorded", job.named.message, retry=False)
        payload = Payload(
            commitment=prepared.commitment,
            record_count=prepared.record_count,
            schema_version=rules.version,
            quality_digest=prepared.quality_digest,
            size_bytes=prepared.size_bytes,
            outbox_until_ms=now_ms() + self._outbox_days * DAY_MS,
            report=prepared.report,
            blind=prepared.blind,
            form=rules.form,
        )
        return lambda now: advance(now, "refer" if rules.form else "deliver", payload=payload)

    async def refer(self, job: Job) -> Change:
        """Name the next documents of a message on the ledger, which knows the history of each."""
        path = self._outbox / job.references_name
        try:
            body = await asyncio.to_thread(read_batch, path, job.exchange, job.named)
            if body is None:
                return lambda now: advance(now, "deliver")
            return await self._parts.signing.record(job, body)
        except Failed as error:
            if not error.code.startswith(_MESSAGE_WRONG):
                raise
            code, detail = error.code, error.detail
            return lambda now: hold(advance(now, "prepare"), code, detail)

    async def deliver(self, job: Job) -> Change:
        """Record the delivery, or the correction."""
        payload = job.payload
        assert payload is not None, "what is prepared has a payload"
        facts: dict[str, Any] = {
            "exchange": job.exchange,
            "commitment": payload.commitment,
            "record_count": payload.record_count,
            "schema_version": payload.schema_version,
            "quality_digest": payload.quality_digest,
            "size_bytes": payload.size_bytes,
            "outbox_until_ms": payload.outbox_until_ms,
        }
        if not job.supersedes:
            return await self._parts.signing.record(job, ShareDelivered(**facts))
        correction = ShareCorrected(
            supersedes=job.supersedes, reason=job.reason, text=job.text, **facts
        )
        return await self._parts.signing.record(job, correction)

    async def learn(self, job: Job) -> Change:
        """Fetch the requester's status message about a message."""
        answered = await self._fetch_answer(job)

        def apply(now: Job) -> Job:
            now = change(now, answered=answered)
            if now.status == "rejected":
                return deliver_anew(now, now.codes, now.text)
            return advance(now, "settled", wake_ms=now.until_ms)

        return apply

    async def _fetch_answer(self, job: Job) -> Answered | None:
        if job.until_ms and now_ms() >= job.until_ms:
            # The end of retention does not wait for a partner that is away.
            return None
        path = f"/v1/answers/{job.exchange.hex()}/{job.correction}"
        try:
            document = await self._parts.directory.fetch_small(job.requester, path)
            await self._parts.pool.run(ReadAnswer(document=document), Done)
        except Failed as error:
            if error.code not in _NO_ANSWER:
                raise
            return None
        return Answered(correction=job.correction, document=document)
