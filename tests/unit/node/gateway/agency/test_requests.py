"""What the agency's own systems ask for: asked well it is done, else it is refused in words."""

import asyncio
import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest

from ledger.exchange.subjects import commit_subject
from node.gateway.agency import asking
from node.gateway.jobs import Failed
from tests.builders import ASKER, OWNER, deliver, hash32, request
from tests.exchanges import OPEN
from tests.unit.node.gateway.house import House, live
from tests.unit.node.gateway.samples import until

WANTED: dict[str, Any] = {
    "provider": OWNER,
    "dataset": "registration",
    "purpose": "assessment",
    "legal_basis": "all",
    "fields": ["uscc"],
    "period_from": "2026-01-01",
    "period_to": "2026-03-31",
    "urgency": "normal",
    "retention_days": 90,
    "case": "case",
}
SUBJECTS = ["91110000600037341L"]
BLINDS = [hash32("blind")]
SIGNED = request(subjects=tuple(map(commit_subject, SUBJECTS, BLINDS)))
PAIRS = [{"id": SUBJECTS[0], "blind": BLINDS[0].hex()}]


def signed(event: bytes = SIGNED.data, pairs: list[dict[str, Any]] | None = None) -> Any:
    encoded = base64.b64encode(event).decode()
    return {"event": encoded, "subjects": PAIRS if pairs is None else pairs}


REQUESTS: dict[str, tuple[Any, str]] = {
    "no json": (b"no json", "body-malformed"),
    "not utf-8": (b'{"request": "\xff"}', "body-malformed"),
    "nested": (b"[" * 100_000, "body-malformed"),
    "a list": ([], "body-malformed"),
    "nothing": ({}, "body-malformed"),
    "no subjects": ({"request": WANTED}, "body-malformed"),
    "empty subjects": ({"request": WANTED, "subjects": []}, "body-malformed"),
    "a nameless subject": ({"request": WANTED, "subjects": [""]}, "body-malformed"),
    "a long subject": ({"request": WANTED, "subjects": ["x" * 257]}, "body-malformed"),
    "many subjects": ({"request": WANTED, "subjects": ["x"] * 1_001}, "body-malformed"),
    "another key": ({"request": WANTED, "subjects": SUBJECTS, "x": 1}, "body-malformed"),
    "no dataset": (
        {"request": {**WANTED, "dataset": None}, "subjects": SUBJECTS}, "body-malformed"
    ),
    "a wrong id": ({"request": {**WANTED, "dataset": "A B"}, "subjects": SUBJECTS},
                   "body-malformed"),
    "an unknown field": ({"request": {**WANTED, "x": 1}, "subjects": SUBJECTS}, "body-malformed"),
    "no fields": ({"request": {**WANTED, "fields": []}, "subjects": SUBJECTS}, "body-malformed"),
    "no base64": ({"event": "!", "subjects": PAIRS}, "body-malformed"),
    "no event": (signed(b"event"), "event-invalid"),
    "a broken event": (signed(SIGNED.data[:-1]), "event-invalid"),
    "another kind": (signed(deliver(OPEN).data), "event-invalid"),
    "another member's": (signed(request(member="cn-3205-tax").data), "event-invalid"),
    "wrong blinds": (signed(pairs=[{**PAIRS[0], "blind": "00" * 32}]), "question-mismatch"),
    "short blinds": (signed(pairs=[{**PAIRS[0], "blind": "00"}]), "event-invalid"),
    "no hex": (signed(pairs=[{**PAIRS[0], "blind": "zz"}]), "event-invalid"),
    "half a letter": (
        b'{"request": {}, "subjects": ["\\ud800"]}', "body-malformed"
    ),
    "half a letter, signed": (signed(pairs=[{**PAIRS[0], "id": "\ud800"}]), "body-malformed"),
    "another subject": (signed(pairs=[{**PAIRS[0], "id": "x"}]), "question-mismatch"),
    "subjects twice": (signed(pairs=PAIRS * 2), "question-mismatch"),
}  # fmt: skip


def test_a_request_that_is_wrong_is_refused_before_anything_is_kept(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        for name, (body, code) in REQUESTS.items():
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            status, told = await made.call("POST", "/v1/requests", data=data)
            assert (status, told["code"]) == (422, code), (name, told)
            assert told["title"], name
            assert SUBJECTS[0] not in json.dumps(told), name
        assert (await made.call("GET", "/v1/jobs"))[1]["items"] == []

    live(tmp_path, story)


def test_a_request_to_a_partner_without_a_key_can_be_made_later(tmp_path: Path) -> None:
    """Whoever is asked about stays here: neither a job nor an event is left."""

    async def story(made: House) -> None:
        for body in ({"request": WANTED, "subjects": SUBJECTS}, signed()):
            status, told = await made.call("POST", "/v1/requests", body)
            assert (status, told["code"]) == (503, "partner-without-key")
        status, told = await made.call(
            "POST", "/v1/requests", {"request": {**WANTED, "provider": "x"}, "subjects": SUBJECTS}
        )
        assert told["code"] == "partner-unknown"
        assert (await made.call("GET", "/v1/jobs"))[1]["items"] == []
        assert (await made.node.get_json(f"/v1/requests?member={ASKER}"))["items"] == []

    live(tmp_path, story)


def test_more_than_can_wait_is_refused_before_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the ledger does not answer, each that is on its way takes memory and a connection."""
    monkeypatch.setattr(asking, "ENTERED_MAX", 1)
    silent: asyncio.Future[None]

    async def story(made: House) -> None:
        nonlocal silent
        silent = asyncio.get_running_loop().create_future()

        async def wait(*_: object) -> None:
            await silent

        monkeypatch.setattr(made.service._chain, "submit", wait)
        first = asyncio.create_task(made.call("POST", "/v1/offers", OFFER))
        await until(lambda: len(made.service._store.page()) == 1)
        status, told = await made.call("POST", "/v1/offers", {**OFFER, "case": "another"})
        assert (status, told["code"]) == (503, "gateway-full")
        assert told["title"]
        assert len((await made.call("GET", "/v1/jobs"))[1]["items"]) == 1
        silent.set_exception(Failed("node-unreachable"))
        assert (await first)[0] == 503
        # There is room again.
        status, told = await made.call("POST", "/v1/offers", {**OFFER, "case": "another"})
        assert told["code"] == "node-unreachable"

    live(tmp_path, story, member=OWNER, role="provider")


OFFER = {
    **{name: value for name, value in WANTED.items() if name != "provider"},
    "recipient": ASKER,
    "manner": "spontaneous",
}


def test_an_offer_is_recorded_or_refused(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        for body, code in (
            (b"no json", "body-malformed"),
            (b"[]", "body-malformed"),
            (b"{}", "body-malformed"),
            (json.dumps({**OFFER, "manner": "loud"}).encode(), "body-malformed"),
            (json.dumps({**OFFER, "period_from": "2026-02-30"}).encode(), "period-invalid"),
        ):
            status, told = await made.call("POST", "/v1/offers", data=body)
            assert (status, told["code"]) == (422, code), body
        status, told = await made.call("POST", "/v1/offers", OFFER)
        assert (status, told["state"], told["code"]) == (200, "final", ""), told
        await made.settled(bytes.fromhex(told["exchange"]), "provide", "prepare")
        status, told = await made.call("POST", "/v1/offers", {**OFFER, "recipient": "nobody"})
        assert (status, told["state"]) == (422, "refused")
        assert told["code"]

    live(tmp_path, story, member=OWNER, role="provider")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/jobs?limit=0", 422, "parameter-invalid"),
        ("GET", "/v1/jobs?limit=1001", 422, "parameter-invalid"),
        ("GET", "/v1/jobs?limit=٣", 422, "parameter-invalid"),
        ("GET", "/v1/jobs?after=zz", 422, "exchange-invalid"),
        ("GET", "/v1/jobs?after=00", 422, "exchange-invalid"),
        ("GET", f"/v1/jobs/provide/{'00' * 32}", 404, "job-unknown"),
        ("GET", f"/v1/jobs/provide/{'00' * 32}?wait=61", 422, "parameter-invalid"),
        ("GET", f"/v1/jobs/provide/{'00' * 32}?wait=-1", 422, "parameter-invalid"),
        ("GET", "/v1/jobs/provide/00", 422, "exchange-invalid"),
        ("GET", f"/v1/jobs/other/{'00' * 32}", 404, "job-unknown"),
        ("GET", f"/v1/jobs/acquire/{'00' * 32}/subjects", 404, "job-unknown"),
        ("POST", f"/v1/jobs/provide/{'00' * 32}/retry", 404, "job-unknown"),
        ("POST", f"/v1/jobs/acquire/{'00' * 32}/destroy", 404, "job-unknown"),
        ("POST", f"/v1/jobs/provide/{OPEN.digest.hex()}/correct", 422, "body-malformed"),
    ],
)
def test_a_question_that_is_none_is_refused(
    tmp_path: Path, method: str, path: str, status: int, code: str
) -> None:
    async def story(made: House) -> None:
        found, told = await made.call(method, path, {})
        assert (found, told["code"]) == (status, code)

    live(tmp_path, story)


def test_bodies_are_bounded(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        async with made.socket.post(
            "http://gateway/v1/requests", data=io.BytesIO(bytes(2 * 1024 * 1024 + 1))
        ) as response:
            assert response.status == 413
        code, told = await made.call("GET", "/v1/status")
        assert (code, told["member"]) == (200, ASKER)

    live(tmp_path, story)
