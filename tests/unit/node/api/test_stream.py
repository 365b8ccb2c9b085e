"""Submission by WebSocket and final blocks as server-sent events."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from ledger.governance.actions import SuspendMember
from tests import builders
from tests.unit.node.api.harness import Served, run


def frame(*events: bytes) -> bytes:
    return msgspec.msgpack.encode(list(events))


async def answers_of(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[Any]:
    answers: list[Any] = []
    while len(answers) < count:
        answers += msgspec.msgpack.decode(await socket.receive_bytes())
    return answers


async def next_block(response: aiohttp.ClientResponse) -> tuple[int, Any]:
    height = -1
    while True:
        line = (await response.content.readline()).decode().rstrip("\n")
        if line.startswith("id: "):
            height = int(line[4:])
        if line.startswith("data: "):
            return height, json.loads(line[6:])


def test_every_submitted_event_gets_one_answer(data_dir: Path) -> None:
    good = [builders.request(label=f"{number}") for number in range(40)]
    denied = builders.request(legal_basis="ended")

    async def story(node: Served) -> None:
        async with node.client.ws_connect("/v1/submit") as socket:
            await socket.send_bytes(frame(*(event.data for event in good), b"junk", denied.data))
            answers = await answers_of(socket, 42)
            states = {answer["digest"]: answer for answer in answers}
            assert {event.digest for event in good} <= set(states)
            assert all(states[event.digest]["state"] == "final" for event in good)
            assert states[denied.digest]["decision"] == "deny"
            assert [a["code"] for a in answers if a["state"] == "refused"] == ["event-malformed"]
            # Final already: answered at once, as often as it is sent.
            await socket.send_bytes(frame(good[0].data, good[0].data))
            again = await answers_of(socket, 2)
            assert again == [states[good[0].digest]] * 2

    run(data_dir, story)


def test_answers_of_one_block_come_in_one_frame(data_dir: Path) -> None:
    events = [builders.request(label=f"{number}") for number in range(20)]

    async def story(node: Served) -> None:
        node.service.hold = True
        async with node.client.ws_connect("/v1/submit") as socket:
            for event in events:
                await socket.send_bytes(frame(event.data))
            await node.service.wait_pending(len(events))
            node.service.finalize()
            answers = msgspec.msgpack.decode(await socket.receive_bytes())
            assert len(answers) == len(events)
            assert {answer["height"] for answer in answers} == {1}

    run(data_dir, story)


def test_reading_stops_while_too_much_is_in_flight_and_nothing_is_lost(data_dir: Path) -> None:
    events = [builders.request(label=f"{number}") for number in range(30)]

    async def story(node: Served) -> None:
        node.service.hold = True
        async with node.client.ws_connect("/v1/submit") as socket:
            for event in events:
                await socket.send_bytes(frame(event.data))
            await node.service.wait_pending(10)
            # A round trip on another connection: the server has had its chance to read on.
            await node.get_json("/v1/status")
            assert len(node.service.pool) == 10
            node.service.hold = False
            node.service.finalize()
            answers = await answers_of(socket, 30)
            assert {answer["digest"] for answer in answers} == {event.digest for event in events}

    run(data_dir, story, stream_in_flight_max=10)


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"\xc1", 1007), (b"\x91" * 5_000, 1007), (frame(*[b"x"] * 1_001), 1009)],
)
def test_a_broken_frame_closes_the_socket_with_its_reason(
    data_dir: Path, data: bytes, code: int
) -> None:
    async def story(node: Served) -> None:
        async with node.client.ws_connect("/v1/submit") as socket:
            await socket.send_bytes(data)
            message = await socket.receive()
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, code)
        async with node.client.ws_connect("/v1/submit") as socket:
            await socket.send_str("text")
            assert (await socket.receive()).data == 1003

    run(data_dir, story)


def test_a_plain_get_of_the_socket_says_that_an_upgrade_is_needed(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        assert (await node.get_json("/v1/submit", status=426))["code"] == "upgrade-required"

    run(data_dir, story)


def test_a_client_that_leaves_is_forgotten(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        node.service.hold = True
        async with node.client.ws_connect("/v1/submit") as socket:
            await socket.send_bytes(frame(builders.request().data))
            await node.service.wait_pending(1)
        node.service.finalize()
        # The event is final all the same.
        digest = builders.request().digest.hex()
        assert (await node.get_json(f"/v1/events/{digest}"))["state"] == "final"

    run(data_dir, story)


def test_an_error_of_the_node_closes_the_socket_with_an_id(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        node.service.failure = RuntimeError("broken")
        async with node.client.ws_connect("/v1/submit") as socket:
            await socket.send_bytes(frame(builders.request().data))
            message = await socket.receive()
            assert message.data == 1011
            assert message.extra.startswith("internal-error ")

    run(data_dir, story)


def test_blocks_are_streamed_resumed_and_filtered(data_dir: Path) -> None:
    asked = builders.reviewed_request()

    async def story(node: Served) -> None:
        async with node.client.get("/v1/stream") as live:
            assert live.content_type == "text/event-stream"
            await node.submit(asked.data)
            height, block = await next_block(live)
            assert (height, block["height"]) == (1, 1)
            assert block["records"][0]["event"]["digest"] == asked.digest.hex()
            await node.submit(builders.approve(asked).data)
            assert (await next_block(live))[0] == 2
        resumed = {"Last-Event-ID": "1"}
        async with node.client.get("/v1/stream", headers=resumed) as response:
            assert (await next_block(response))[0] == 2
        path = f"/v1/stream?member={builders.ASKER}"
        async with node.client.get(path, headers=resumed) as response:
            # The approval is the owner's event, in an exchange of the asker.
            assert len((await next_block(response))[1]["records"]) == 1
        async with node.client.get("/v1/stream?member=de-tax", headers=resumed) as response:
            assert (await next_block(response))[1]["records"] == []
        action = SuspendMember(member="cn-3205-tax", grounds="found in the yearly review")
        await node.submit(builders.propose(action).data)
        resumed = {"Last-Event-ID": "2"}
        async with node.client.get("/v1/stream?member=de-tax", headers=resumed) as response:
            # What members decide is about all of them.
            (record,) = (await next_block(response))[1]["records"]
            assert record["event"]["kind"] == "governance.proposed"
        async with node.client.get("/v1/stream", headers={"Last-Event-ID": "x"}) as response:
            assert response.status == 400

    run(data_dir, story)


def test_an_idle_stream_has_heartbeats_and_ends_on_shutdown(data_dir: Path) -> None:
    ended: list[bytes] = []

    async def story(node: Served) -> None:
        response = await node.client.get("/v1/stream")
        socket = await node.client.ws_connect("/v1/submit")
        assert await response.content.readline() == b"retry: 1000\n"
        while await response.content.readline() != b": heartbeat\n":
            pass
        started = asyncio.get_running_loop().time()
        await node.app.shutdown()
        ended.append(await response.content.read())
        message = await socket.receive()
        assert message.data == aiohttp.WSCloseCode.GOING_AWAY
        assert asyncio.get_running_loop().time() - started < 2

    run(data_dir, story, heartbeat_s=0.05)
    assert len(ended) == 1
