"""The own node's API as the gateway uses it: a real one, and one that breaks wherever it can."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import WSMsgType, web

from ledger.events import hash_event
from node.gateway import chain as chains
from node.gateway.chain import Block, Chain
from node.gateway.jobs import Failed
from tests.builders import ASKER, HEIGHT, OWNER, approve, request, reviewed_request
from tests.unit.node.api.harness import Served, run
from tests.unit.node.gateway.samples import until

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "RECONNECT_MIN_S", 0.005)
    monkeypatch.setattr(chains, "RECONNECT_MAX_S", 0.02)


@asynccontextmanager
async def of_node(node: Served, member: str = ASKER) -> AsyncIterator[Chain]:
    """The chain of a real node, with its submission stream open."""
    host, port = node.address
    async with Chain(f"http://{host}:{port}/", member) as chain:
        running = asyncio.create_task(chain.run())
        try:
            yield chain
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def of_handlers(**handlers: Handler) -> AsyncIterator[Chain]:
    """The chain of a node that answers as a test says; names of paths after `/v1/`."""
    app = web.Application()
    for name, handler in handlers.items():
        app.router.add_get(f"/v1/{name}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    async with Chain(f"http://127.0.0.1:{port}", ASKER) as chain:
        running = asyncio.create_task(chain.run()) if "submit" in handlers else None
        try:
            yield chain
        finally:
            if running is not None:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            await runner.cleanup()


def play(story: Callable[[Chain], Awaitable[None]], **handlers: Handler) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), of_handlers(**handlers) as chain:
            await story(chain)

    asyncio.run(main())


async def refusal(work: Awaitable[object]) -> tuple[str, bool]:
    with pytest.raises(Failed) as caught:
        await work
    return caught.value.code, caught.value.retry


def answering(body: bytes, status: int = 200) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status)

    return handler


async def take(blocks: AsyncIterator[Block], count: int) -> list[Block]:
    """The next blocks."""
    found = []
    async for block in blocks:
        found.append(block)
        if len(found) == count:
            break
    return found


def test_events_go_to_the_ledger_and_come_back_on_the_stream(tmp_path: Path) -> None:
    asked, other = reviewed_request(label="one"), request(member="cn-3205-tax", label="two")

    async def story(node: Served) -> None:
        async with of_node(node) as chain:
            network = await chain.network()
            assert network.network == node.service.network
            assert network.expiry_blocks_max == 1_000
            answers = await asyncio.gather(*(chain.submit(each.data) for each in (asked, other)))
            assert [answer.state for answer in answers] == ["final", "final"]
            assert answers[0].decision == "review"
            approved = await chain.submit(approve(asked).data)
            assert (approved.state, approved.code) == ("final", "")
            blocks = await take(chain.blocks(0), approved.height)
            assert [block.height for block in blocks] == list(range(1, approved.height + 1))
            kinds = [record.event.kind for block in blocks for record in block.records]
            # What concerns others only does not come.
            assert kinds == ["share.requested", "share.approved"]
            # From where it was, nothing comes twice.
            assert await take(chain.blocks(approved.height - 1), 1) == blocks[-1:]
            again = await chain.submit(asked.data)
            assert (again.state, again.index) == ("final", answers[0].index)

    run(tmp_path, story)


def test_what_the_node_refuses_is_told(tmp_path: Path) -> None:
    expired, foreign = request(expires_height=0), request(network=bytes(32))

    async def story(node: Served) -> None:
        async with of_node(node) as chain:
            for event, code in ((expired, "event-expired"), (foreign, "wrong-network")):
                answer = await chain.submit(event.data)
                assert (answer.state, answer.code) == ("refused", code)
            assert not chain._waiting

    run(tmp_path, story)


def test_events_wait_while_the_node_is_full(tmp_path: Path) -> None:
    """The node says when to come again: then all are final at last."""
    events = [request(label=f"event {number}", expires_height=HEIGHT + 500) for number in range(6)]

    async def story(node: Served) -> None:
        async with of_node(node) as chain:
            answers = await asyncio.gather(*(chain.submit(event.data) for event in events))
            assert [answer.state for answer in answers] == ["final"] * 6

    run(tmp_path, story, events_max=4)


def test_lists_are_read_to_their_end(tmp_path: Path) -> None:
    pages = {"": ("a", [1, 2]), "a": ("b", [3]), "b": (None, [])}
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.path_qs)
        after, items = pages[request.query.get("cursor", "")]
        return web.json_response({"items": [{"n": each} for each in items], "next": after})

    async def story(chain: Chain) -> None:
        assert [item["n"] for item in await chain.pages("/v1/list?x=1")] == [1, 2, 3]
        assert all("x=1" in path and "limit=1000" in path for path in asked)
        await chain.cached_pages("/v1/list")
        count = len(asked)
        await chain.cached_pages("/v1/list")
        assert len(asked) == count

    play(story, list=handler)


def test_a_large_answer_is_read_wholly(tmp_path: Path) -> None:
    """Not only as much of it as happens to have arrived."""
    document = {"items": [{"text": "x" * 1_000} for _ in range(3_000)], "next": None}

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        data = json.dumps(document).encode()
        for at in range(0, len(data), 500_000):
            await response.write(data[at : at + 500_000])
            await asyncio.sleep(0.001)
        await response.write_eof()
        return response

    async def story(chain: Chain) -> None:
        assert await chain.pages("/v1/list") == document["items"]

    play(story, list=handler)


@pytest.mark.parametrize(
    ("handler", "refused"),
    [
        (answering(b"{}", 404), ("node-not-found", False)),
        (answering(b"{}", 503), ("node-refused", True)),
        (answering(b"{}", 302), ("node-refused", True)),
        (answering(b"no json"), ("node-answer-malformed", True)),
        (answering(b"[]"), ("node-answer-malformed", True)),
        (answering(b"[" * 100_000), ("node-answer-malformed", True)),
        (answering(b'{"network": "\xff"}'), ("node-answer-malformed", True)),
        (answering(b'{"a": "' + b"x" * 20_000 + b'"}'), ("node-answer-malformed", True)),
    ],
)
def test_an_answer_that_cannot_be_used_is_a_failure_with_a_code(
    monkeypatch: pytest.MonkeyPatch, handler: Handler, refused: tuple[str, bool]
) -> None:
    monkeypatch.setattr(chains, "ANSWER_BYTES_MAX", 10_000)

    async def story(chain: Chain) -> None:
        assert await refusal(chain.get("/v1/status", dict[str, Any])) == refused

    play(story, status=handler)


def test_a_node_that_is_away_or_silent_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "CALL_S", 0.05)

    async def silent(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async def story(chain: Chain) -> None:
        assert await refusal(chain.get("/v1/silent", dict[str, Any])) == ("node-unreachable", True)
        async with Chain("http://127.0.0.1:1", ASKER) as nobody:
            work = nobody.get("/v1/status", dict[str, Any])
            assert await refusal(work) == ("node-unreachable", True)

    play(story, silent=silent)


def block(height: int) -> bytes:
    document = {"height": height, "time_ms": 1, "records": []}
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def test_a_stream_that_breaks_goes_on_after_the_last_block() -> None:
    """Cut between blocks, in a block, malformed, refused, ended: nothing is lost or doubled."""
    starts: list[int] = []
    parts = [
        [block(1), block(2)],
        [b": heartbeat\n\n", b"retry: 1000\n\n", block(3), block(4)[:20]],
        [b"data: {not json\n\n"],
        [b"data: " + b"x" * 3_000_000 + b"\n\n"],
        [b'data: {"height": "five"}\n\n', block(6)],
        None,
        [],
        [block(4), block(5)],
    ]

    async def stream(request: web.Request) -> web.StreamResponse:
        starts.append(int(request.headers["Last-Event-ID"]))
        assert request.query["member"] == ASKER
        part = parts[len(starts) - 1] if len(starts) <= len(parts) else []
        if part is None:
            raise web.HTTPServiceUnavailable
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in part:
            await response.write(piece)
        return response

    async def story(chain: Chain) -> None:
        heights = [each.height for each in await take(chain.blocks(0), 5)]
        assert heights == [1, 2, 3, 4, 5]
        assert starts == [0, 2, 3, 3, 3, 3, 3, 3]

    play(story, stream=stream)


def answer_to(event: bytes, **changed: Any) -> dict[str, Any]:
    answer = {"digest": hash_event(event), "state": "final", "code": "", "index": 1, "height": 1}
    return {**answer, **changed}


def test_what_got_no_answer_is_sent_again_after_every_break() -> None:
    """Closed, cut, answered with nonsense: at last each event is answered, once."""
    seen: list[list[bytes]] = []
    events = [f"event {number}".encode() for number in range(3)]

    async def submit(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        message = await socket.receive()
        if message.type is not WSMsgType.BINARY:
            return socket
        frame = msgspec.msgpack.decode(message.data)
        seen.append(frame)
        turn = len(seen)
        if turn == 1:
            await socket.close()
        elif turn == 2:
            assert request.transport is not None
            request.transport.abort()
        elif turn == 3:
            await socket.send_bytes(b"\xc1 no answers")
        elif turn == 4:
            await socket.send_str("text")
        elif turn == 5:
            # An answer to nobody, an answer, and that answer again.
            known = answer_to(events[0])
            answers = [answer_to(b"unknown"), known, known]
            await socket.send_bytes(msgspec.msgpack.encode(answers))
            await socket.close()
        else:
            await socket.send_bytes(msgspec.msgpack.encode([answer_to(each) for each in frame]))
            with suppress(asyncio.CancelledError):
                await socket.receive()
        return socket

    async def story(chain: Chain) -> None:
        answers = await asyncio.gather(*(chain.submit(event) for event in events))
        assert [answer.digest for answer in answers] == [hash_event(event) for event in events]
        assert set(seen[-1]) == set(events[1:])
        assert all(set(frame) <= set(events) for frame in seen)
        await asyncio.sleep(0)
        assert not chain._waiting

    play(story, submit=submit)


def test_an_event_is_offered_again_when_the_node_says_so() -> None:
    turns: list[bytes] = []

    async def submit(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            for event in msgspec.msgpack.decode(message.data):
                turns.append(event)
                retry = {"state": "refused", "code": "pool-full", "retry_after_s": 1}
                answer = answer_to(event, **(retry if len(turns) == 1 else {}))
                await socket.send_bytes(msgspec.msgpack.encode([answer]))
        return socket

    async def story(chain: Chain) -> None:
        began = asyncio.get_running_loop().time()
        assert (await chain.submit(b"event")).state == "final"
        assert asyncio.get_running_loop().time() - began >= 0.9
        assert turns == [b"event", b"event"]

    play(story, submit=submit)


def test_who_asks_for_the_same_event_waits_for_the_same_answer() -> None:
    frames: list[list[bytes]] = []
    go_on = asyncio.Event()

    async def submit(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            frames.append(msgspec.msgpack.decode(message.data))
            await go_on.wait()
            answers = [answer_to(event) for event in frames[-1]]
            await socket.send_bytes(msgspec.msgpack.encode(answers))
        return socket

    async def story(chain: Chain) -> None:
        first, second = (asyncio.create_task(chain.submit(b"event")) for _ in range(2))
        await until(lambda: bool(frames))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        go_on.set()
        assert (await second).state == "final"
        assert frames == [[b"event"]]

    play(story, submit=submit)


def test_frames_are_no_larger_than_a_node_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "FRAME_EVENTS_MAX", 4)
    monkeypatch.setattr(chains, "FRAME_BYTES_MAX", 1_000)
    frames: list[list[bytes]] = []

    async def submit(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            frames.append(msgspec.msgpack.decode(message.data))
            answers = [answer_to(event) for event in frames[-1]]
            await socket.send_bytes(msgspec.msgpack.encode(answers))
        return socket

    events = [bytes([n]) * size for n, size in enumerate([10] * 9 + [600] * 3 + [2_000] * 2)]

    async def story(chain: Chain) -> None:
        await asyncio.gather(*(chain.submit(event) for event in events))
        assert [event for frame in frames for event in frame] == events
        for frame in frames:
            assert len(frame) <= 4
            assert len(frame) == 1 or sum(map(len, frame)) <= 1_000

    play(story, submit=submit)


def test_events_that_follow_each_other_closely_share_a_frame() -> None:
    frames: list[list[bytes]] = []

    async def submit(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            frames.append(msgspec.msgpack.decode(message.data))
            answers = [answer_to(event) for event in frames[-1]]
            await socket.send_bytes(msgspec.msgpack.encode(answers))
        return socket

    async def story(chain: Chain) -> None:
        await chain.submit(b"first")
        # The answer came at once; the frame after it is not sent yet.
        later = [asyncio.create_task(chain.submit(bytes([number]))) for number in range(5)]
        await asyncio.sleep(0)
        assert len(chain._waiting) == 5
        assert frames == [[b"first"]]
        await asyncio.gather(*later)
        assert frames == [[b"first"], [bytes([number]) for number in range(5)]]

    play(story, submit=submit)


def test_heights_are_waited_for_by_many() -> None:
    async def story(chain: Chain) -> None:
        waiting = [asyncio.create_task(chain.wait_height(height)) for height in (3, 3, 5)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        chain.reached(4)
        chain.reached(2)
        await waiting[0]
        assert not waiting[2].done()
        chain.reached(5)
        await waiting[2]
        await chain.wait_height(5)

    play(story)


def test_members_are_read_at_most_every_few_seconds(tmp_path: Path) -> None:
    async def story(node: Served) -> None:
        async with of_node(node) as chain:
            member = await chain.read_member(OWNER)
            assert member["encryption_keys"] == []
            assert await chain.read_member(OWNER) is member
            assert await refusal(chain.read_member("nobody")) == ("node-not-found", False)

    run(tmp_path, story)
