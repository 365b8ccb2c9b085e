"""What a final record means for the job of its exchange: a table from event kinds to functions.

Records may come again after a restart; a job remembers the newest one that it has taken into
account.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from ledger.events import hash_event
from node.gateway.chain import StreamRecord
from node.gateway.jobs import Job, Payload, Stage, advance, change, hold, name_more

DAY_MS = 86_400_000
_OPENING = {"share.requested": "provider", "share.offered": "recipient"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A record and the time of its block."""

    record: StreamRecord
    time_ms: int


def open_job(record: StreamRecord, member: str) -> Job | None:
    """The job of an exchange that a record opens, for the side that this member is on."""
    event, body = record.event, record.event.body
    if event.kind not in _OPENING or not record.outcome.applied:
        return None
    is_offer = event.kind == "share.offered"
    other = body[_OPENING[event.kind]]
    requester, provider = (other, event.member) if is_offer else (event.member, other)
    if member not in (requester, provider):
        return None
    is_provider = member == provider
    return Job(
        exchange=bytes.fromhex(event.digest),
        side="provide" if is_provider else "acquire",
        stage="review" if is_provider else "open",
        requester=requester,
        provider=provider,
        dataset=body["dataset"],
        purpose=body["purpose"],
        fields=tuple(body["fields"]),
        period_from=body["period_from"],
        period_to=body["period_to"],
        subjects=tuple(map(bytes.fromhex, body["subjects"])),
        retention_days=body["retention_days"],
    )


def observe(job: Job, record: StreamRecord, time_ms: int) -> Job:
    """The job after a record of its exchange."""
    if record.index <= job.seen_index:
        return job
    job = change(job, seen_index=record.index)
    if not record.outcome.applied:
        return job
    handler = _HANDLERS.get((job.side, record.event.kind))
    return job if handler is None else handler(job, Seen(record=record, time_ms=time_ms))


def _opened(job: Job, seen: Seen) -> Job:
    decision = seen.record.outcome.decision
    if decision == "deny":
        return advance(job, "closed", status="denied", question=b"", asked=b"")
    job = _take_obligations(job, seen)
    if job.side == "acquire":
        return advance(job, "open", status="permitted" if decision == "permit" else "in_review")
    return _permitted(job) if decision == "permit" else advance(job, "review", status="in_review")


def _take_obligations(job: Job, seen: Seen) -> Job:
    duties = seen.record.outcome.obligations
    if duties is None:
        return job
    kept = tuple(name for name in job.fields if name not in duties["redact"])
    days = min(duties["retention_days"] or job.retention_days, job.retention_days)
    return change(job, fields=kept, retention_days=days)


def _permitted(job: Job) -> Job:
    # Whom an own offer is about, the gateway knows.
    is_asked = bool(job.subjects) and not job.question
    return advance(job, "ask" if is_asked else "prepare", status="permitted")


def _approved(job: Job, seen: Seen) -> Job:
    job = _take_obligations(job, seen)
    return _permitted(job) if job.side == "provide" else change(job, status="permitted")


def _over(job: Job, seen: Seen) -> Job:
    status = seen.record.event.kind.removeprefix("share.")
    return advance(
        job, "closed", status=status, question=b"", asked=b"", payload=None, answered=None
    )


def _referenced(job: Job, seen: Seen) -> Job:
    """More documents of a message are named; the requester compares them with what comes."""
    event = seen.record.event
    is_own = bool(job.event) and hash_event(job.event).hex() == event.digest
    named = name_more(job.named, event.body)
    return change(job, named=named, event=b"" if is_own else job.event)


def _delivered(job: Job, seen: Seen) -> Job:
    body = seen.record.event.body
    job, named = change(job, named=None), job.named
    if job.side == "provide":
        return _offered(job, body)
    return advance(
        job,
        "fetch",
        status="delivered",
        payload=msgspec.structs.replace(_payload_of(body), named=named),
        codes=(),
        text="",
        downloads=0,
    )


def _corrected(job: Job, seen: Seen) -> Job:
    """A correction is fetched by who still has what it corrects."""
    if job.stage == "closed" or _goes_on(job) in ("erase", "attest"):
        return job
    body = seen.record.event.body
    job, named = change(job, named=None), job.named
    if job.side == "provide":
        if not _is_own(job, body) and _goes_on(job) not in ("prepare", "refer", "deliver"):
            job = change(job, correction=job.correction + 1)
        return _offered(change(job, supersedes=bytes.fromhex(body["supersedes"])), body)
    return advance(
        job,
        "fetch",
        correction=job.correction + 1,
        supersedes=bytes.fromhex(body["supersedes"]),
        payload=msgspec.structs.replace(_payload_of(body), named=named),
        codes=(),
        text="",
        downloads=0,
    )


def _goes_on(job: Job) -> Stage:
    """The stage that a job is in, or will be in when a person lets it go on."""
    return job.resume if job.stage == "held" else job.stage


def _is_own(job: Job, body: dict[str, Any]) -> bool:
    """Whether a delivery on the ledger is the one that this gateway has prepared."""
    return job.payload is not None and job.payload.commitment.hex() == body["commitment"]


def _offered(job: Job, body: dict[str, Any]) -> Job:
    """The provider's own event is final. One that this gateway did not make, it cannot serve."""
    status = job.status if job.until_ms else "delivered"
    if not _is_own(job, body):
        job = advance(job, "offered", status=status, payload=_payload_of(body))
        return hold(job, "delivered-elsewhere", body["commitment"])
    assert job.payload is not None, "it was looked at"
    return advance(job, "offered", status=status, wake_ms=job.payload.outbox_until_ms)


def _payload_of(body: dict[str, Any]) -> Payload:
    return Payload(
        commitment=bytes.fromhex(body["commitment"]),
        record_count=body["record_count"],
        schema_version=body["schema_version"],
        quality_digest=bytes.fromhex(body["quality_digest"]),
        size_bytes=body["size_bytes"],
        outbox_until_ms=body["outbox_until_ms"],
    )


def _received(job: Job, seen: Seen) -> Job:
    until_ms = seen.time_ms + job.retention_days * DAY_MS
    held = bytes.fromhex(seen.record.event.body["commitment"])
    return _settled(change(job, status="received", held=held, until_ms=until_ms))


def _settled(job: Job) -> Job:
    """The requester has a delivery; of a message it has more to say than that."""
    if job.side == "provide" and _is_message(job):
        return advance(job, "learn")
    stage: Stage = "kept" if job.side == "acquire" else "settled"
    return advance(job, stage, wake_ms=job.until_ms)


def _is_message(job: Job) -> bool:
    return job.payload is not None and bool(job.payload.form)


def _used(job: Job, _: Seen) -> Job:
    return change(job, status="used") if job.status == "received" else job


def _acknowledged(job: Job, seen: Seen) -> Job:
    """The requester has the correction; retention still ends when it would have without.

    Another holder's acknowledgement is none of this gateway's business.
    """
    if seen.record.event.member != job.requester:
        return job
    held = bytes.fromhex(seen.record.event.body["commitment"])
    if job.stage == "closed" or _goes_on(job) in ("erase", "attest"):
        return change(job, held=held)
    return _settled(change(job, held=held))


def _rejected(job: Job, seen: Seen) -> Job:
    if job.side == "acquire":
        return advance(job, "open", status="rejected", correction=job.correction + 1)
    codes, text = tuple(seen.record.event.body["codes"]), seen.record.event.body["text"]
    job = change(job, status="rejected")
    if _is_message(job):
        return advance(job, "learn", codes=codes, text=text)
    return deliver_anew(job, codes, text)


def deliver_anew(job: Job, codes: tuple[int, ...], text: str) -> Job:
    """A delivery was rejected: once a person has mended what the codes name, comes another."""
    again = advance(job, "prepare", correction=job.correction + 1, codes=(), text="")
    return hold(again, "delivery-rejected", f"{', '.join(map(str, codes))} {text}")


def _destroyed(job: Job, seen: Seen) -> Job:
    """The requester has nothing left. What other holders destroy does not end the exchange."""
    if seen.record.event.member != job.requester:
        return job
    return advance(
        job, "closed", status="destroyed", question=b"", asked=b"", payload=None, answered=None
    )


_BOTH: dict[str, Callable[[Job, Seen], Job]] = {
    "share.requested": _opened,
    "share.offered": _opened,
    "share.approved": _approved,
    "share.refused": _over,
    "share.withdrawn": _over,
    "share.referenced": _referenced,
    "share.delivered": _delivered,
    "share.corrected": _corrected,
    "share.received": _received,
    "share.used": _used,
    "share.correction_acknowledged": _acknowledged,
    "share.rejected": _rejected,
    "share.destroyed": _destroyed,
}
_HANDLERS = {
    (side, kind): handler for side in ("provide", "acquire") for kind, handler in _BOTH.items()
}
