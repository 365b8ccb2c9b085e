"""Submission of single events and batches, and the status of an event."""

import asyncio
import base64
import io
from pathlib import Path

import msgspec
import pytest

from node.api.problems import STATUS
from tests import builders
from tests.unit.node.api.harness import ENGLISH, MSGPACK, Served, run

STATUS_KEYS = {"digest", "state", "code", "detail", "index", "height", "outcome"}


def test_an_event_is_accepted_and_its_outcome_is_found_by_digest_and_nonce(data_dir: Path) -> None:
    event = builders.request()

    async def story(node: Served) -> None:
        async with node.client.post("/v1/events", data=event.data, headers=MSGPACK) as response:
            assert response.status == 202
            assert response.headers["Location"] == f"/v1/events/{event.digest.hex()}"
            body = await response.json()
        assert body["state"] == "pending"
        assert set(body) == STATUS_KEYS
        final = await node.get_json(f"/v1/events/{event.digest.hex()}?wait=5")
        assert final["state"] == "final"
        assert final["outcome"]["decision"] == "permit"
        assert final["outcome"]["policies"]
        assert len(final["outcome"]["policy_set"]) == 64
        path = f"/v1/members/{event.member}/events/{event.nonce.hex()}"
        assert await node.get_json(path) == final

    run(data_dir, story)


def test_json_submission_and_prefer_wait_give_the_outcome_at_once(data_dir: Path) -> None:
    event = builders.request()

    async def story(node: Served) -> None:
        async with node.client.post(
            "/v1/events",
            json={"event": base64.b64encode(event.data).decode()},
            headers={"Prefer": "respond-async, wait=5"},
        ) as response:
            assert response.status == 200
            assert response.headers["Preference-Applied"] == "wait=5"
            first = await response.json()
        assert first["state"] == "final"
        # The same bytes again: the first outcome, and nothing new in the log.
        size = node.service.tree_size()
        assert await node.submit(event.data) == first
        assert node.service.tree_size() == size
        assert node.service.clients[-1] == "127.0.0.1"

    run(data_dir, story)


def test_prefer_wait_that_runs_out_answers_pending(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        node.service.hold = True
        body = await node.submit(builders.request().data, status=202, Prefer="wait=1")
        assert body["state"] == "pending"

    run(data_dir, story)


def test_a_denied_request_is_final_with_its_decision(data_dir: Path) -> None:
    event = builders.request(legal_basis="ended")

    async def story(node: Served) -> None:
        body = await node.submit(event.data)
        assert (body["state"], body["outcome"]["decision"]) == ("final", "deny")

    run(data_dir, story)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "event-malformed"),
        (b"\xc1garbage", "event-malformed"),
        (builders.request().data[:-10], "event-malformed"),
        (b"\x91" * 50_000, "event-malformed"),
        (b"\x80" * 70_000, "event-too-large"),
        (builders.request(network=bytes(32)).data, "wrong-network"),
        (builders.request(expires_height=0).data, "event-expired"),
        (builders.request(member="nobody", key=builders.key_of(builders.ASKER, "requester")).data,
         "member-unknown"),
        (builders.request(key=builders.key_of("nobody", "requester")).data, "officer-unknown"),
        (builders.request(role="approver").data, "role-missing"),
    ],
)  # fmt: skip
def test_bad_events_are_refused_with_a_stable_code_and_change_nothing(
    data_dir: Path, data: bytes, code: str
) -> None:
    async def story(node: Served) -> None:
        before = node.service.log.tip
        body = await node.submit(data, status=STATUS.get(code, 422))
        assert body["code"] == code
        assert body["advice"]
        assert body["title"]
        assert node.service.log.tip == before
        assert len(node.service.pool) == 0

    run(data_dir, story)


def test_a_false_signature_is_401_and_a_reused_nonce_409(data_dir: Path) -> None:
    event = builders.request(label="one")
    forged = event.data[:-1] + bytes([event.data[-1] ^ 1])
    other = builders.request(label="one", case="other")

    async def story(node: Served) -> None:
        assert (await node.submit(forged, status=401))["code"] == "signature-invalid"
        await node.submit(event.data)
        body = await node.submit(other.data, status=409)
        assert (body["code"], body["digest"]) == ("nonce-reused", other.digest.hex())

    run(data_dir, story)


def test_a_full_pool_is_503_with_retry_after(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        node.service.hold = True
        await node.submit(builders.request(label="1").data, status=202, Prefer="")
        data = builders.request(label="2").data
        async with node.client.post("/v1/events", data=data, headers=MSGPACK) as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "2"
            assert (await response.json(content_type=None))["retry_after_s"] == 2

    run(data_dir, story, events_max=1)


def test_a_batch_answers_each_event_in_order(data_dir: Path) -> None:
    good = [builders.request(label=f"{number}") for number in range(30)]
    denied = builders.request(legal_basis="ended")
    events = [*(event.data for event in good), b"garbage", denied.data, good[0].data]

    async def story(node: Served) -> None:
        async with node.client.post(
            "/v1/events/batch",
            data=msgspec.msgpack.encode(events),
            headers={**MSGPACK, "Prefer": "wait=5"},
        ) as response:
            assert response.status == 200
            results = (await response.json())["results"]
        states = [result["state"] for result in results]
        assert states == ["final"] * 30 + ["refused"] + ["final"] * 2
        assert results[30]["code"] == "event-malformed"
        assert results[31]["outcome"]["decision"] == "deny"
        assert results[32] == results[0]
        assert results[0]["digest"] == good[0].digest.hex()

    run(data_dir, story)


def test_a_json_batch_without_wait_is_202_with_pending_states(data_dir: Path) -> None:
    events = [base64.b64encode(builders.request(label=str(n)).data).decode() for n in range(3)]

    async def story(node: Served) -> None:
        async with node.client.post("/v1/events/batch", json={"events": events}) as response:
            assert response.status == 202
            results = (await response.json())["results"]
        assert [result["state"] for result in results] == ["pending"] * 3

    run(data_dir, story)


def test_a_batch_learns_of_events_that_can_never_be_final(data_dir: Path) -> None:
    expiring = builders.request(label="expiring", expires_height=1)

    async def story(node: Served) -> None:
        node.service.hold = True
        sent = asyncio.create_task(
            node.client.post(
                "/v1/events/batch",
                data=msgspec.msgpack.encode([expiring.data]),
                headers={**MSGPACK, "Prefer": "wait=20"},
            )
        )
        await node.service.wait_pending(1)
        # The event waits past the last block that could have taken it.
        held = node.service.pool.get(expiring.digest)
        assert held is not None
        node.service.pool.remove((held.digest,))
        node.service._lost[held.digest] = "event-expired"
        node.service.finalize()
        async with await sent as response:
            assert response.status == 200
            assert (await response.json())["results"][0]["code"] == "event-expired"

    run(data_dir, story)


@pytest.mark.parametrize(
    ("body", "media_type", "status", "code"),
    [
        (b"\x90", "application/msgpack", 400, "batch-empty"),
        (b"\xc1", "application/msgpack", 400, "body-malformed"),
        (b"\x91" * 100_000, "application/msgpack", 400, "body-malformed"),
        (msgspec.msgpack.encode([b"x"] * 1_001), "application/msgpack", 413, "batch-too-large"),
        (b"[" * 100_000, "application/json", 400, "body-malformed"),
        (b'{"events": ["***"]}', "application/json", 400, "body-malformed"),
        (b'{"events": [], "more": 1}', "application/json", 400, "body-malformed"),
        (b"x" * 8_388_609, "application/msgpack", 413, "body-too-large"),
        (b"<xml/>", "text/xml", 415, "media-type-unsupported"),
        (b"", "application/octet-stream", 415, "media-type-unsupported"),
    ],
)
def test_bad_batches(data_dir: Path, body: bytes, media_type: str, status: int, code: str) -> None:
    async def story(node: Served) -> None:
        async with node.client.post(
            "/v1/events/batch",
            data=io.BytesIO(body),
            headers={"Content-Type": media_type, **ENGLISH},
        ) as response:
            problem = await response.json(content_type=None)
            assert (response.status, problem["code"]) == (status, code)
            assert response.content_type == "application/problem+json"

    run(data_dir, story)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/events/" + "0" * 64, 404, "event-unknown"),
        ("/v1/events/" + "0" * 63, 400, "parameter-invalid"),
        ("/v1/events/" + "A" * 64, 400, "parameter-invalid"),
        ("/v1/events/" + "0" * 64 + "?wait=31", 400, "parameter-invalid"),
        ("/v1/events/" + "0" * 64 + "?wait=+5", 400, "parameter-invalid"),
        ("/v1/events/" + "0" * 64 + "?wiat=5", 400, "parameter-invalid"),
        ("/v1/members/nobody/events/" + "0" * 32, 404, "event-unknown"),
        ("/v1/members/nobody/events/zz", 400, "parameter-invalid"),
    ],
)
def test_bad_status_queries(data_dir: Path, path: str, status: int, code: str) -> None:
    async def story(node: Served) -> None:
        assert (await node.get_json(path, status=status))["code"] == code

    run(data_dir, story)
