"""Requests and offers of the own agency on their way to the ledger.

Whom it is about, and the blinds, are durable and sealed before the event is submitted.
"""

import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ledger.errors import InvalidEvent, InvalidSubject
from ledger.events import Event, ShareRequested, parse_event
from ledger.exchange.bodies import ShareOffered
from ledger.exchange.subjects import BLIND_BYTES, commit_subject
from node.gateway.chain import Answer
from node.gateway.desk import Desk
from node.gateway.jobs import Failed, Job, change
from node.gateway.steps.provide import Parts, about_of, find_recipient
from node.gateway.work.tasks import Asked, SealQuestion

# On their way at once: each waits in memory for the ledger's answer.
ENTERED_MAX = 1_000
SUBJECT_CHARS_MAX = 256
SubjectId = Annotated[str, Meta(min_length=1, max_length=SUBJECT_CHARS_MAX)]
Pairs = tuple[tuple[str, bytes], ...]


class Asking:
    """Requests and offers, signed by the service officer or by an officer elsewhere."""

    def __init__(self, parts: Parts, desk: Desk) -> None:
        self._parts = parts
        self._desk = desk
        self._entered = 0

    @contextmanager
    def entering(self) -> Iterator[None]:
        """The way of one request or offer, until the ledger has answered. Raises `Failed`."""
        if self._entered >= ENTERED_MAX:
            raise Failed("gateway-full", str(ENTERED_MAX))
        self._entered += 1
        try:
            yield
        finally:
            self._entered -= 1

    def sign_request(
        self, fields: Mapping[str, Any], subjects: Iterable[str]
    ) -> tuple[Event, Pairs]:
        """A request with fresh blinds, signed by the service officer. Raises `Failed`."""
        return self._sign(fields, subjects, ShareRequested)

    def sign_offer(
        self, fields: Mapping[str, Any], subjects: Iterable[str] = ()
    ) -> tuple[Event, Pairs]:
        """An offer, about subjects or about all there is. Raises `Failed`."""
        return self._sign(fields, subjects, ShareOffered)

    def _sign(
        self,
        fields: Mapping[str, Any],
        subjects: Iterable[str],
        shape: type[ShareRequested | ShareOffered],
    ) -> tuple[Event, Pairs]:
        drawn = [(subject, secrets.token_bytes(BLIND_BYTES)) for subject in subjects]
        # By commitment: in the order of a sorted list, a place would tell about the id.
        pairs = tuple(sorted(drawn, key=lambda pair: commit_subject(*pair)))
        commitments = tuple(commit_subject(*pair) for pair in pairs)
        body = convert({**fields, "subjects": commitments}, shape)
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
        """Make a request or an offer durable; from here on it goes to the ledger by itself.

        Raises `Failed`.
        """
        body = event.body
        assert isinstance(body, ShareRequested | ShareOffered), "only openings are kept"
        is_offer = isinstance(body, ShareOffered)
        job = Job(
            exchange=event.digest,
            side="provide" if is_offer else "acquire",
            stage="request",
            event=event.data,
            requester=body.recipient if isinstance(body, ShareOffered) else event.member,
            provider=event.member if isinstance(body, ShareOffered) else body.provider,
            dataset=body.dataset,
            purpose=body.purpose,
            fields=body.fields,
            period_from=body.period_from,
            period_to=body.period_to,
            subjects=body.subjects,
            retention_days=body.retention_days,
        )
        if self._desk.find(job.exchange, job.side) is not None:
            return
        if pairs:
            # Who is offered knows from the records; only this gateway must know until then.
            reader = await self._find_recipient(job.provider)
            task = SealQuestion(about=about_of(job), subjects=pairs, recipient=reader)
            asked = await self._parts.pool.run(task, Asked)
            job = (
                change(job, question=asked.partner)
                if is_offer
                else change(job, question=asked.own, asked=asked.partner)
            )
        await self._desk.put([job])

    async def _find_recipient(self, provider: str) -> bytes:
        try:
            return await find_recipient(self._parts.chain, provider)
        except Failed as error:
            if error.code != "node-not-found":
                raise
            raise Failed("partner-unknown", provider, retry=False) from None

    async def submit(self, event: bytes) -> Answer:
        """What the ledger says."""
        return await self._parts.chain.submit(event)


def convert(document: Any, shape: Any) -> Any:
    """What was handed in, in its shape. Raises `Failed`."""
    try:
        return msgspec.convert(document, shape)
    except msgspec.ValidationError as error:
        raise Failed("body-malformed", str(error), retry=False) from None
