"""What others may fetch here: the requester its payload, the provider its question, in time."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from node.gateway import serving
from node.gateway.desk import now_ms
from node.gateway.jobs import Answered, Failed, Job, advance, hold
from node.gateway.partners import Directory, pinned_tls
from tests.builders import ASKER, OWNER
from tests.unit.node.gateway.lines import Line, line
from tests.unit.node.gateway.samples import make_job, make_payload

SEALED = b"sealed records"
FAR_MS = 10**14
Story = Callable[[Line], Awaitable[None]]


def play(folder: Path, story: Story) -> None:
    async def main() -> None:
        async with asyncio.timeout(40), line(folder) as made:
            await story(made)

    asyncio.run(main())


def payload_job(**changed: Any) -> Job:
    """A delivery to the asker in the owner's outbox."""
    payload = make_payload(size_bytes=len(SEALED), outbox_until_ms=FAR_MS)
    return make_job(**{"stage": "offered", "payload": payload, **changed})


def question_job(**changed: Any) -> Job:
    """A request of the owner about somebody at the asker."""
    base: dict[str, Any] = {
        "side": "acquire", "stage": "open", "status": "permitted", "requester": OWNER,
        "provider": ASKER, "question": b"own", "asked": b"sealed question",
    }  # fmt: skip
    return make_job(**{**base, **changed})


async def put(made: Line, job: Job) -> None:
    await made.store.save([job])
    (made.outbox / job.file_name).write_bytes(SEALED)


async def problem(made: Line, path: str, *, by: Directory | None = None) -> str:
    """Why the owner refuses."""
    with pytest.raises(Failed) as caught:
        await (by or made.asker).fetch_small(OWNER, path)
    return caught.value.code


def paths_of(job: Job, correction: int | str | None = None) -> tuple[str, str]:
    number = job.correction if correction is None else correction
    path = f"/v1/payloads/{job.exchange.hex()}/{number}"
    return path, f"{path}/report"


def test_the_requester_gets_what_was_delivered(tmp_path: Path) -> None:
    async def story(made: Line) -> None:
        job = payload_job()
        await put(made, job)
        payload, report = paths_of(job)
        assert await made.asker.fetch_small(OWNER, payload) == SEALED
        assert await made.asker.fetch_small(OWNER, report) == b"report"

    play(tmp_path, story)


def test_a_payload_waits_for_the_ledger_to_have_its_delivery(tmp_path: Path) -> None:
    """Until then it may still be refused: nobody may have records of which no record tells."""

    async def story(made: Line) -> None:
        job = payload_job(stage="deliver")
        (made.outbox / job.file_name).write_bytes(SEALED)
        await made.desk.put([job])
        payload, report = paths_of(job)
        asking = asyncio.create_task(made.asker.fetch_small(OWNER, payload))
        await asyncio.sleep(0.1)
        assert not asking.done()
        await made.desk.put([advance(job, "offered")])
        assert await asking == SEALED
        for refused in (hold(job, "delivery-refused", ""), advance(job, "closed")):
            await made.desk.put([refused])
            assert await problem(made, report) == "payload-not-ready"

    play(tmp_path, story)


def test_a_payload_that_the_ledger_does_not_take_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "NEWS_S", 0.1)

    async def story(made: Line) -> None:
        job = payload_job(stage="deliver")
        await put(made, job)
        for path in paths_of(job):
            assert await problem(made, path) == "payload-not-ready"

    play(tmp_path, story)


def test_who_names_anothers_certificate_does_not_lock_it_out(tmp_path: Path) -> None:
    """Certificates are public, and a member's own gateway is its own affair."""

    async def story(made: Line) -> None:
        job = payload_job()
        await put(made, job)
        stolen = made.ledger.gateways[ASKER][1]
        for thief in ("a-thief", "z-thief"):
            made.ledger.gateways[thief] = "127.0.0.1:1", stolen
        made.expire()
        assert await made.asker.fetch_small(OWNER, paths_of(job)[0]) == SEALED

    play(tmp_path, story)


def test_a_member_that_is_suspended_gets_nothing(tmp_path: Path) -> None:
    """The ledger keeps its gateway: it is whoever serves that asks whether it is active."""

    async def story(made: Line) -> None:
        job = payload_job()
        await put(made, job)
        payload, report = paths_of(job)
        assert await made.asker.fetch_small(OWNER, report) == b"report"
        made.ledger.left.add(ASKER)
        made.owner.expire()
        assert await problem(made, payload) == "certificate-unknown"

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("changed", "correction", "code"),
    [
        ({"requester": "cn-3205-tax"}, None, "payload-unknown"),
        ({"side": "acquire", "stage": "fetch"}, None, "payload-unknown"),
        ({"payload": None, "stage": "prepare"}, None, "payload-unknown"),
        ({"correction": 1}, 0, "payload-unknown"),
        ({}, 1, "payload-unknown"),
        ({}, "00", "payload-unknown"),
        ({}, "..", "partner-refused"),
        ({"stage": "prepare"}, None, "payload-not-ready"),
        ({"stage": "held", "resume": "prepare"}, None, "payload-not-ready"),
        ({"stage": "settled"}, None, "payload-not-ready"),
        ({"stage": "closed"}, None, "payload-not-ready"),
        ({"payload": make_payload(outbox_until_ms=now_ms() - 1)}, None, "payload-expired"),
    ],
)
def test_nobody_gets_what_is_not_for_him_or_not_now(
    tmp_path: Path, changed: dict[str, Any], correction: int | str | None, code: str
) -> None:
    async def story(made: Line) -> None:
        job = payload_job(**changed)
        await put(made, job)
        for path in paths_of(job, correction):
            assert await problem(made, path) == code

    play(tmp_path, story)


def test_what_is_not_there_is_like_what_is_anothers(tmp_path: Path) -> None:
    async def story(made: Line) -> None:
        for exchange in ("00" * 32, "00", "zz", "00" * 4_000):
            assert await problem(made, f"/v1/payloads/{exchange}/0") in (
                "payload-unknown", "partner-refused"
            )  # fmt: skip
        assert await problem(made, f"/v1/questions/{'00' * 32}") == "question-unknown"

    play(tmp_path, story)


def test_a_file_that_is_gone_is_gone_for_good(tmp_path: Path) -> None:
    async def story(made: Line) -> None:
        job = payload_job()
        await made.store.save([job])
        payload, _ = paths_of(job)
        with pytest.raises(Failed) as caught:
            await made.asker.fetch_small(OWNER, payload)
        assert (caught.value.code, caught.value.retry) == ("payload-expired", False)

    play(tmp_path, story)


def test_the_provider_gets_the_question_once_the_request_is_permitted(tmp_path: Path) -> None:
    async def story(made: Line) -> None:
        job = question_job()
        path = f"/v1/questions/{job.exchange.hex()}"
        await made.store.save([job])
        assert await made.asker.fetch_small(OWNER, path) == b"sealed question"
        for changed, code in (
            ({"status": "in_review"}, "question-not-ready"),
            ({"provider": "cn-3205-tax"}, "question-unknown"),
            ({"asked": b""}, "question-unknown"),
            ({"stage": "closed", "status": "denied", "asked": b""}, "question-unknown"),
        ):
            await made.store.save([question_job(**changed)])
            assert await problem(made, path) == code
        await made.store.save([make_job(side="provide", stage="prepare", requester=ASKER)])

    play(tmp_path, story)


def test_a_question_waits_for_the_own_node_to_tell_of_the_request(tmp_path: Path) -> None:
    async def story(made: Line) -> None:
        job = question_job(stage="request", status="")
        path = f"/v1/questions/{job.exchange.hex()}"
        await made.desk.put([job])
        asking = asyncio.create_task(made.asker.fetch_small(OWNER, path))
        await asyncio.sleep(0.1)
        assert not asking.done()
        await made.desk.put([advance(job, "open", status="permitted")])
        assert await asking == b"sealed question"

    play(tmp_path, story)


@pytest.mark.parametrize("status", ["", "in_review"])
def test_nobody_is_told_who_is_asked_about_before_the_contracts_have_spoken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.setattr(serving, "NEWS_S", 0.05)

    async def story(made: Line) -> None:
        job = question_job(stage="request", status="")
        path = f"/v1/questions/{job.exchange.hex()}"
        await made.desk.put([job])
        if status:
            await made.desk.put([advance(job, "open", status=status)])
        assert await problem(made, path) == "question-not-ready"

    play(tmp_path, story)


def test_a_certificate_decides_and_only_one_that_is_pinned_now(tmp_path: Path) -> None:
    async def story(made: Line) -> None:
        job = payload_job()
        await put(made, job)
        payload, report = paths_of(job)
        chain = made.asker._chain
        other, nobody = (made.directory(name, chain) for name in ("cn-3205-tax", "nobody"))
        try:
            assert await problem(made, payload, by=other) == "payload-unknown"
            assert await problem(made, payload, by=nobody) == "partner-unreachable"
            assert await made.asker.fetch_small(OWNER, report) == b"report"
            # On the connection that is open already: the certificate is not pinned any more.
            made.ledger.gateways[ASKER] = "127.0.0.1:1", (made.identities["nobody"].der,)
            made.expire()
            assert await problem(made, report) == "certificate-unknown"
            assert await nobody.fetch_small(OWNER, report) == b"report"
        finally:
            await other.close()
            await nobody.close()

    play(tmp_path, story)


def test_nothing_is_served_while_the_own_node_cannot_say_who_is_who(tmp_path: Path) -> None:
    async def story(made: Line) -> None:
        job = payload_job()
        await put(made, job)
        payload, _ = paths_of(job)
        assert await made.asker.fetch_small(OWNER, payload) == SEALED
        made.ledger.is_down = True
        made.owner.expire()
        assert await problem(made, payload) == "gateway-not-ready"
        made.ledger.is_down = False
        assert await made.asker.fetch_small(OWNER, payload) == SEALED

    play(tmp_path, story)


def test_nothing_can_be_sent_here(tmp_path: Path) -> None:
    async def story(made: Line) -> None:
        await put(made, payload_job())
        payload, report = paths_of(payload_job())
        session, base = await made.asker._session(OWNER)
        for path in (payload, report, "/v1/questions/00", "/"):
            for method in ("POST", "PUT", "DELETE"):
                async with session.request(method, base + path, data=bytes(5_000)) as response:
                    assert response.status in (404, 405, 413)

    play(tmp_path, story)


def test_a_partner_holds_so_many_connections_and_no_place_of_another(tmp_path: Path) -> None:
    """It may say nothing on them for ever: they are bounded, each in what it may hold."""

    async def story(made: Line) -> None:
        host, port = made.ledger.gateways[OWNER][0].split(":")
        der = made.identities[OWNER].der
        tls = pinned_tls(ssl.PROTOCOL_TLS_CLIENT, *made.identities[ASKER].files, [der])
        opened = [
            await asyncio.open_connection(host, int(port), ssl=tls)
            for _ in range(serving.CONNECTIONS_MAX)
        ]
        reader, writer = await asyncio.open_connection(host, int(port), ssl=tls)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        path = paths_of(payload_job())[0]
        other = made.directory("cn-3205-tax", made.asker._chain)
        assert await problem(made, path, by=other) == "payload-unknown"
        await other.close()
        assert await problem(made, path) == "partner-unreachable"
        for _, each in opened[:2]:
            each.close()
            await each.wait_closed()
        assert await problem(made, path) == "payload-unknown"
        for _, each in opened:
            each.close()

    play(tmp_path, story)


def test_the_provider_gets_the_status_message_of_its_delivery_and_nobody_else(
    tmp_path: Path,
) -> None:
    async def story(made: Line) -> None:
        answered = Answered(correction=1, document=b"<status/>")
        job = question_job(answered=answered)
        await made.store.save([job])
        path = f"/v1/answers/{job.exchange.hex()}"
        assert await made.asker.fetch_small(OWNER, f"{path}/1") == b"<status/>"
        for other in (f"{path}/0", f"{path}/2", f"{path}/x", f"/v1/answers/{'00' * 32}/1"):
            assert await problem(made, other) == "answer-unknown", other
        third = question_job(answered=answered, provider="cn-3205-tax", label="other")
        own = question_job(answered=answered, side="provide", label="own")
        bare = question_job(label="bare")
        await made.store.save([third, own, bare])
        for each in (third, own, bare):
            code = await problem(made, f"/v1/answers/{each.exchange.hex()}/1")
            assert code == "answer-unknown", each.provider

    play(tmp_path, story)


def test_who_connects_and_says_nothing_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a certificate is shown nobody counts its connections: they end by themselves."""
    monkeypatch.setattr(serving, "HANDSHAKE_S", 0.2)

    async def story(made: Line) -> None:
        host, port = made.ledger.gateways[OWNER][0].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
        assert await problem(made, paths_of(payload_job())[0]) == "payload-unknown"

    play(tmp_path, story)
