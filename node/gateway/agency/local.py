"""The socket of the gateway for the agency's own systems and for `tally gateway`.

A Unix socket with mode 0600 in the data directory: who may open it is decided by the system. JSON.

    GET  /v1/status                            height, jobs by side and stage
    GET  /v1/jobs?stage=&after=&limit=         jobs
    GET  /v1/jobs/{side}/{exchange}            one job; ?stage=&wait= waits until it is there
    GET  /v1/jobs/acquire/{exchange}/subjects  the subjects with their blinds
    GET  /v1/jobs/{side}/{exchange}/status-message  the newest one about a message: XML in base64
    POST /v1/jobs/{side}/{exchange}/retry      go on with a job that is held
    POST /v1/jobs/provide/{exchange}/correct   {"reason", "text"}: deliver a correction
    POST /v1/jobs/acquire/{exchange}/destroy   erase now, before the end of retention, and attest it
    POST /v1/requests                          ask for records about subjects
    POST /v1/offers                            offer records

A request is either `{"request": {…}, "subjects": ["id", …]}`, signed here by the service officer,
or `{"event": base64, "subjects": [{"id", "blind"}, …]}`, signed by an officer elsewhere. Subjects
and blinds are durable, sealed, before the event is submitted. Words of faults are in the language
of `Accept-Language`.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from contracts.words import Language
from ledger.events import Event
from ledger.scalars import SUBJECTS_MAX, Identifier, Text
from node.api.problems import language_of
from node.gateway.agency.asking import Asking, Pairs, SubjectId, convert
from node.gateway.desk import Desk
from node.gateway.jobs import UNREADABLE, Failed, Job, Side, advance, change
from node.gateway.steps.provide import Parts, about_of
from node.gateway.store import Store
from node.gateway.words import describe
from node.gateway.work.tasks import Reveal, Revealed

BODY_BYTES_MAX = 2 * 1024 * 1024
PAGE_MAX = 1_000
WAIT_S_MAX = 60
_SIDES = ("provide", "acquire")


class _Subject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: SubjectId
    blind: str


_Subjects = Annotated[tuple[SubjectId, ...], Meta(max_length=SUBJECTS_MAX)]


class _Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of a request that the gateway signs."""

    request: dict[str, Any]
    subjects: Annotated[tuple[SubjectId, ...], Meta(min_length=1, max_length=SUBJECTS_MAX)]


class _Signed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of a request that an officer has signed."""

    event: bytes
    subjects: Annotated[tuple[_Subject, ...], Meta(min_length=1, max_length=SUBJECTS_MAX)]


class _Correction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: Identifier
    text: Text = ""


class Local:
    """The handlers."""

    def __init__(self, parts: Parts, asking: Asking, *, store: Store, desk: Desk) -> None:
        self._asking = asking
        self._chain = parts.chain
        self._pool = parts.pool
        self._signing = parts.signing
        self._store = store
        self._desk = desk

    def app(self) -> web.Application:
        """The application for the socket."""
        app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[_problems])
        app.router.add_get("/v1/status", self.status)
        app.router.add_get("/v1/jobs", self.jobs)
        app.router.add_get("/v1/jobs/{side}/{exchange}", self.job)
        app.router.add_get("/v1/jobs/acquire/{exchange}/subjects", self.subjects)
        app.router.add_get("/v1/jobs/{side}/{exchange}/status-message", self.status_message)
        app.router.add_post("/v1/jobs/{side}/{exchange}/retry", self.retry)
        app.router.add_post("/v1/jobs/provide/{exchange}/correct", self.correct)
        app.router.add_post("/v1/jobs/acquire/{exchange}/destroy", self.destroy)
        app.router.add_post("/v1/requests", self.request)
        app.router.add_post("/v1/offers", self.offer)
        return app

    async def status(self, _: web.Request) -> web.Response:
        """Where the gateway is."""
        counts = [
            {"side": side, "stage": stage, "count": count}
            for side, stage, count in self._store.count_by_stage()
        ]
        document = {
            "member": self._signing.member,
            "height": self._signing.height,
            "jobs": counts,
        }
        return _json(document)

    async def jobs(self, request: web.Request) -> web.Response:
        """A page of jobs."""
        query = request.query
        limit = query.get("limit", "100")
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= PAGE_MAX):
            raise Failed("parameter-invalid", "limit", retry=False)
        after = _hash(query["after"]) if "after" in query else b""
        page = self._store.page(after=after, stage=query.get("stage", ""), limit=int(limit))
        language = language_of(request)
        return _json({"items": [_describe(job, language) for job in page]})

    async def job(self, request: web.Request) -> web.Response:
        """One job; with `wait` (seconds) and `stage`, as soon as it is in that stage."""
        side = request.match_info["side"]
        wait, stages = request.query.get("wait", "0"), request.query.getall("stage", [])
        if not (wait.isascii() and wait.isdigit() and int(wait) <= WAIT_S_MAX):
            raise Failed("parameter-invalid", "wait", retry=False)
        if stages and side in _SIDES:
            exchange = _hash(request.match_info["exchange"])
            await self._desk.wait(exchange, _side(side), stages, int(wait))
        job = self._find(request, request.match_info["side"])
        return _json(_describe(job, language_of(request)))

    async def subjects(self, request: web.Request) -> web.Response:
        """Whom a request is about, for the agency itself."""
        job = self._find(request, "acquire")
        if not job.question:
            raise Failed("question-unknown", job.exchange.hex(), retry=False)
        task = Reveal(about=about_of(job), question=job.question)
        revealed = await self._pool.run(task, Revealed)
        pairs = [{"id": id_, "blind": blind.hex()} for id_, blind in revealed.subjects]
        return _json({"subjects": pairs})

    async def status_message(self, request: web.Request) -> web.Response:
        """What the requester says of a message of the reporting standard."""
        job = self._find(request, request.match_info["side"])
        if job.answered is None:
            raise Failed("status-message-unknown", job.exchange.hex(), retry=False)
        return _json(job.answered)

    async def retry(self, request: web.Request) -> web.Response:
        """Go on with a job that is held, or that pauses."""
        job = self._find(request, request.match_info["side"])
        if job.stage == "held":
            job = advance(job, job.resume)
        elif job.is_active and job.wake_ms:
            job = change(job, wake_ms=0, attempts=0)
        else:
            raise Failed("job-not-held", job.stage, retry=False)
        await self._desk.put([job])
        return _json(_describe(job, language_of(request)))

    async def correct(self, request: web.Request) -> web.Response:
        """Prepare the records anew and deliver them as a correction."""
        wanted = _decode(await request.read(), _Correction)
        job = self._find(request, "provide")
        if job.stage != "settled" or job.payload is None:
            raise Failed("job-not-correctable", job.stage, retry=False)
        job = advance(
            job,
            "prepare",
            correction=job.correction + 1,
            supersedes=job.payload.commitment,
            reason=wanted.reason,
            text=wanted.text,
        )
        await self._desk.put([job])
        return _json(_describe(job, language_of(request)))

    async def destroy(self, request: web.Request) -> web.Response:
        """Erase what was received before the end of retention, then attest that."""
        job = self._find(request, "acquire")
        if job.stage != "kept" and not (job.stage == "held" and job.held):
            raise Failed("job-not-destroyable", job.stage, retry=False)
        # By the will of a person, not by the clock.
        job = advance(job, "erase", until_ms=0)
        await self._desk.put([job])
        return _json(_describe(job, language_of(request)))

    async def request(self, request: web.Request) -> web.Response:
        """Ask for records."""
        data = await request.read()
        if b'"event"' in data:
            signed = _decode(data, _Signed)
            pairs = _read_pairs(signed)
            event = self._asking.read_signed(signed.event, pairs)
        else:
            wanted = _decode(data, _Wanted)
            event, pairs = self._asking.sign_request(wanted.request, wanted.subjects)
        return await self._enter(event, pairs)

    async def offer(self, request: web.Request) -> web.Response:
        """Offer records."""
        document = _decode(await request.read(), dict[str, Any])
        subjects = convert(document.pop("subjects", ()), _Subjects)
        event, pairs = self._asking.sign_offer(document, subjects)
        return await self._enter(event, pairs)

    async def _enter(self, event: Event, pairs: Pairs) -> web.Response:
        with self._asking.entering():
            await self._asking.keep(event, pairs)
            answer = await self._asking.submit(event.data)
        document = {
            "exchange": event.digest.hex(),
            "state": answer.state,
            "code": answer.code,
            "decision": answer.decision,
            "index": answer.index,
            "height": answer.height,
        }
        return _json(document, status=200 if answer.state == "final" else 422)

    def _find(self, request: web.Request, side: str) -> Job:
        if side not in _SIDES:
            raise Failed("job-unknown", side, retry=False)
        exchange = _hash(request.match_info["exchange"])
        job = self._desk.find(exchange, _side(side))
        if job is None:
            raise Failed("job-unknown", exchange.hex(), retry=False)
        return job


def _read_pairs(signed: _Signed) -> Pairs:
    try:
        return tuple((each.id, bytes.fromhex(each.blind)) for each in signed.subjects)
    except ValueError as error:
        raise Failed("event-invalid", str(error), retry=False) from None


def _describe(job: Job, language: Language) -> dict[str, Any]:
    """A job for people: no key, no blind, no sealed bytes."""
    payload = job.payload
    told = describe(job.fault, job.detail, language) if job.fault else None
    return {
        "exchange": job.exchange.hex(),
        "side": job.side,
        "stage": job.stage,
        "status": job.status,
        "partner": job.partner,
        "dataset": job.dataset,
        "purpose": job.purpose,
        "correction": job.correction,
        "record_count": None if payload is None else payload.record_count,
        "size_bytes": None if payload is None else payload.size_bytes,
        "codes": job.codes,
        "attempts": job.attempts,
        "wake_ms": job.wake_ms,
        "fault": job.fault,
        "title": "" if told is None else told.title,
        "detail": job.detail or job.text,
        "advice": "" if told is None else told.advice,
    }


@web.middleware
async def _problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except Failed as error:
        status = 503 if error.retry else 404 if error.code.endswith("-unknown") else 422
        told = describe(error.code, error.detail, language_of(request))
        document = {
            "code": error.code,
            "title": told.title,
            "detail": error.detail,
            "advice": told.advice,
        }
        return _json(document, status=status)


def _json(document: object, *, status: int = 200) -> web.Response:
    data = msgspec.json.encode(document)
    return web.Response(body=data, status=status, content_type="application/json")


def _decode(data: bytes, shape: Any) -> Any:
    try:
        return msgspec.json.decode(data, type=shape)
    except UNREADABLE as error:
        raise Failed("body-malformed", str(error), retry=False) from None


def _side(text: str) -> Side:
    return "provide" if text == "provide" else "acquire"


def _hash(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise Failed("exchange-invalid", text[:80], retry=False)
    return found
