"""Requests and offers of the own agency on their way to the ledger.

Whom a request is about, and the blinds, are durable and sealed before the event is submitted; an
offer names nobody, so there is nothing to keep.
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ledger.errors import InvalidEvent, InvalidSubject
from ledger.events import Event, ShareRequested, parse_event
from ledger.exchange.bodies import ShareOffered
from ledger.exchange.subjects import BLIND_BYTES, commit_subject
from node.gateway.chain import Answer
from node.gateway.desk import Desk
from node.gateway.jobs import Failed, Job, change
from node.gateway.steps.provide import Parts, about_of, find_recipient
from node.gateway.work.tasks import Asked, SealQuestion

Pairs = tuple[tuple[str, bytes], ...]


class Asking:
    """Requests and offers, signed by the service officer or by an officer elsewhere."""

    def __init__(self, parts: Parts, desk: Desk) -> None:
        self._parts = parts
        self._desk = desk

    def sign_request(
        self, fields: Mapping[str, Any], subjects: Iterable[str]
    ) -> tuple[Event, Pairs]:
        """A request with fresh blinds, signed by the service officer. Raises `Failed`."""
        drawn = [(subject, secrets.token_bytes(BLIND_BYTES)) for subject in subjects]
        # By commitment: in the order of a sorted list, a place would tell about the id.
        pairs = tuple(sorted(drawn, key=lambda pair: commit_subject(*pair)))
        commitments = tuple(commit_subject(*pair) for pair in pairs)
        body = _convert({**fields, "subjects": commitments}, ShareRequested)
        return parse_event(self._parts.signing.sign(body)), pairs

    def read_signed(self, data: bytes, pairs: Pairs) -> Event:
        """A request that an officer of this member has signed over these subjects.

        Raises `Failed`.
        """
        try:
            event = parse_event(data)
            commitments = tuple(commit_subject(*pair) for pair in pairs)
        except (InvalidEvent, InvalidSubject) as error:
            raise Failed("event-invalid", str(error), retry=False) from None
        body = event.body
        if not isinstance(body, ShareRequested) or event.member != self._parts.signing.member:
            raise Failed("event-invalid", f"{event.member} {event.kind}", retry=False)
        if commitments != body.subjects:
            raise Failed("question-mismatch", event.digest.hex(), retry=False)
        return event

    async def keep(self, event: Event, pairs: Pairs) -> None:
        """Make a request durable; from here on it goes to the ledger, whatever happens.

        Raises `Failed`.
        """
        body = event.body
        assert isinstance(body, ShareRequested), "only requests are kept"
        job = Job(
            exchange=event.digest,
            side="acquire",
            stage="request",
            event=event.data,
            requester=event.member,
            provider=body.provider,
            dataset=body.dataset,
            purpose=body.purpose,
            fields=body.fields,
            period_from=body.period_from,
            period_to=body.period_to,
            subjects=body.subjects,
            retention_days=body.retention_days,
        )
        recipient = await self._find_recipient(job.provider)
        task = SealQuestion(about=about_of(job), subjects=pairs, recipient=recipient)
        asked = await self._parts.pool.run(task, Asked)
        if self._desk.find(job.exchange, "acquire") is None:
            await self._desk.put([change(job, question=asked.own, asked=asked.partner)])

    async def _find_recipient(self, provider: str) -> bytes:
        try:
            return await find_recipient(self._parts.chain, provider)
        except Failed as error:
            if error.code != "node-not-found":
                raise
            raise Failed("partner-unknown", provider, retry=False) from None

    def sign_offer(self, fields: Mapping[str, Any], nonce: bytes = b"") -> bytes:
        """An offer, signed by the service officer. Raises `Failed`."""
        body = _convert({"subjects": (), **fields}, ShareOffered)
        return self._parts.signing.sign(body, nonce)

    async def submit(self, event: bytes) -> Answer:
        """What the ledger says."""
        return await self._parts.chain.submit(event)

    async def find_by_nonce(self, nonce: bytes) -> dict[str, Any] | None:
        """The event of this member that a nonce names, if the node knows it. Raises `Failed`."""
        path = f"/v1/members/{self._parts.signing.member}/events/{nonce.hex()}?wait=30"
        try:
            return await self._parts.chain.get(path, dict[str, Any])
        except Failed as error:
            if error.code != "node-not-found":
                raise
            return None

    def derive_nonce(self, domain: bytes, *parts: str) -> bytes:
        """A nonce (16 bytes) that is always the same for the same cause in this network."""
        # A part may be the name of a file, which is any bytes.
        text = "\0".join(parts).encode("utf-8", "surrogateescape")
        return hashlib.sha256(domain + self._parts.signing.network + text).digest()[:16]


def _convert(document: Mapping[str, Any], shape: Any) -> Any:
    try:
        return msgspec.convert(document, shape)
    except msgspec.ValidationError as error:
        raise Failed("body-malformed", str(error), retry=False) from None
