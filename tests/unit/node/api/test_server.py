"""Every error is a problem; limits hold; health, metrics and the document of the interface."""

import ast
import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from openapi_spec_validator import validate

from ledger.errors import CorruptStore
from node import node as node_module
from node.api import server
from node.api.openapi import Route
from node.api.problems import Problem
from node.api.routes import ROUTES
from node.api.schemas.reasons import REASONS
from node.service import Reason
from tests import builders
from tests.unit.node.api.harness import ENGLISH, MSGPACK, Served, run

PROBLEM_KEYS = {"type", "title", "status", "detail", "code", "advice", "instance"}


def test_problems_come_in_the_language_asked_for(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        chinese = await node.get_json("/nowhere", status=404)
        assert set(chinese) >= PROBLEM_KEYS
        assert chinese["code"] == "route-unknown"
        assert chinese["title"] == "没有这个地址"
        assert chinese["instance"] == "/nowhere"
        english = await node.get_json(
            "/nowhere", status=404, headers={"Accept-Language": "zh;q=0.3, en-GB;q=0.8"}
        )
        assert english["title"] == "No such route"

    run(data_dir, story)


def test_a_wrong_method_names_the_right_ones(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        async with node.client.delete("/v1/events") as response:
            assert response.status == 405
            assert response.headers["Allow"] == "POST"
            assert (await response.json(content_type=None))["code"] == "method-not-allowed"
        # A route with a parameter in its last place does not answer for it.
        for method in ("GET", "HEAD", "OPTIONS"):
            async with node.client.request(method, "/v1/events/batch") as response:
                assert (response.status, response.headers["Allow"]) == (405, "POST")

    run(data_dir, story)


def test_damage_in_the_store_stops_the_node(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        node.service.failure = CorruptStore("checksum mismatch")
        body = await node.submit(builders.request().data, status=503)
        assert body["code"] == "node-not-ready"
        assert node.service.fatal is node.service.failure

    run(data_dir, story)


def test_an_unexpected_error_is_logged_counted_and_the_connection_survives(
    data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(node: Served) -> None:
        node.service.failure = RuntimeError("secret detail")
        body = await node.submit(builders.request().data, status=500)
        assert body["code"] == "internal-error"
        assert "secret" not in json.dumps(body)
        assert body["error_id"] in caplog.text
        node.service.failure = None
        assert (await node.submit(builders.request().data))["state"] == "final"
        assert node.metrics.registry.get_sample_value("tallystick_unexpected_errors_total") == 1

    run(data_dir, story)


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"\x16\x03\x01\x02\x00garbage\r\n\r\n", 400, "request-malformed"),
        (b"GET / HTTP/9.9\r\n\r\n", 400, "request-malformed"),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431, "headers-too-large"),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 20_000 + b"\r\n\r\n", 431, "headers-too-large"),
    ],
)
def test_bytes_that_are_not_http_get_a_problem(
    data_dir: Path, data: bytes, status: int, code: str
) -> None:
    async def story(node: Served) -> None:
        head, _, body = (await node.raw(data)).partition(b"\r\n\r\n")
        assert int(head.split(b" ")[1]) == status, head
        assert json.loads(body)["code"] == code

    run(data_dir, story)


def test_slow_bodies_and_silent_connections_end(data_dir: Path) -> None:
    start = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/msgpack\r\n"

    async def story(node: Served) -> None:
        answer = await node.raw(start + b"Content-Length: 100\r\n\r\nabc")
        assert b"408" in answer.split(b"\r\n")[0]
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "body-timeout"
        assert await node.raw(b"GET /healthz HTT") == b""
        assert (await node.get_json("/healthz"))["status"] == "alive"

    run(data_dir, story, body_timeout_s=0.2, idle_timeout_s=0.5)


def test_a_body_that_breaks_off_is_no_error_of_the_node(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has gone reads no answer, so what would have been answered is looked at here."""
    answered: asyncio.Queue[str] = asyncio.Queue()
    respond = server._respond

    def watch(request: web.BaseRequest, problem: Problem) -> web.Response:
        answered.put_nowait(problem.code)
        return respond(request, problem)

    monkeypatch.setattr(server, "_respond", watch)
    start = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/msgpack\r\n"

    async def story(node: Served) -> None:
        reader, writer = await asyncio.open_connection(*node.address)
        writer.write(start + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(b"abc")
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(10):
            assert await answered.get() == "body-truncated"

    run(data_dir, story)


def test_a_chunked_body_is_cut_off_at_its_limit(data_dir: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 10_000

    async def story(node: Served) -> None:
        async with node.client.post("/v1/events", data=chunks(), headers=MSGPACK) as response:
            assert response.status == 413

    run(data_dir, story)


def test_connections_beyond_the_limit_are_told_so(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        opened = [await asyncio.open_connection(*node.address) for _ in range(3)]
        for reader, writer in opened:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        refused = await node.raw(b"")
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 1" in refused
        assert b"too-many-connections" in refused
        for _, writer in opened:
            writer.close()
            await writer.wait_closed()

    run(data_dir, story, connections_per_address_max=3)


def test_many_connections_at_once(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        async with aiohttp.ClientSession(
            f"http://127.0.0.1:{node.address[1]}", connector=aiohttp.TCPConnector(limit=200)
        ) as client:

            async def ask() -> int:
                async with client.get("/healthz") as response:
                    return response.status

            assert set(await asyncio.gather(*(ask() for _ in range(400)))) == {200}

    run(data_dir, story)


def test_an_address_that_asks_too_often_is_slowed(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        for _ in range(3):
            await node.get_json("/healthz")
        async with node.client.get("/healthz", headers=ENGLISH) as response:
            assert response.status == 429
            assert int(response.headers["Retry-After"]) >= 1
            assert (await response.json(content_type=None))["code"] == "rate-limited"

    run(data_dir, story, requests_per_s=1, requests_burst=3)


def test_readiness_gives_reasons_and_waits(data_dir: Path) -> None:
    reason = Reason(code="quorum-unreachable", values={"members": "a, b"})

    async def story(node: Served) -> None:
        node.service.set_reasons(reason)
        body = await node.get_json("/readyz", status=503)
        assert body["code"] == "node-not-ready"
        advice = "请检查这些节点是否运行、其节点间端口是否可达。"
        assert body["reasons"] == [{"code": reason.code, "detail": "未连接 a, b", "advice": advice}]
        assert body["detail"] == "未连接 a, b"
        body = await node.get_json("/readyz", status=503, headers=ENGLISH)
        advice = "Check that these nodes run and that their peer ports can be reached."
        assert body["reasons"] == [
            {"code": reason.code, "detail": "no connection to a, b", "advice": advice}
        ]
        asked = asyncio.create_task(node.get_json("/readyz?wait=10"))
        await node.get_json("/healthz")
        node.service.set_reasons()
        assert (await asked)["status"] == "ready"
        assert (await node.get_json("/v1/status"))["member"] == "cn-3301-tax"

    run(data_dir, story)


def test_metrics_have_a_listener_of_their_own(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        await node.submit(builders.request().data)
        async for block in node.service.subscribe(1):
            node.metrics.on_block(block)
            break
        await node.get_json("/metrics", status=404)
        host, port = node.metrics_address
        async with node.client.get(f"http://{host}:{port}/metrics") as response:
            text = await response.text()
        # Counted where events are admitted, once, and not again by the interface.
        assert 'tallystick_submissions_total{code="",state="pending"} 1.0' in text
        assert 'tallystick_decisions_total{decision="permit"} 1.0' in text
        assert "tallystick_finality_seconds_count 1.0" in text
        assert "tallystick_height 1.0" in text
        assert 'route="/v1/events",status="200"' in text

    run(data_dir, story)


def test_stopping_does_not_wait_for_clients_that_wait(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        node.service.hold = True
        event = builders.request()
        asked = asyncio.create_task(node.submit(event.data, status=202, Prefer="wait=30"))
        await node.service.wait_pending(1)
        async with asyncio.timeout(20):
            await node.app.shutdown()
            assert (await asked)["state"] == "pending"

    run(data_dir, story)


def test_every_route_is_documented_and_back(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        document = await node.get_json("/openapi.json")
        validate(document)
        documented = {
            (method.upper(), path) for path, row in document["paths"].items() for method in row
        }
        registered = {
            (route.method, route.resource.canonical)
            for route in node.app.router.routes()
            if route.resource is not None and route.method not in ("HEAD", "*")
        }
        assert documented == registered | {("GET", "/metrics")}
        for operation in (op for row in document["paths"].values() for op in row.values()):
            assert operation["summary"]
            assert operation["responses"]

    run(data_dir, story)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_the_table_has_words_in_both_languages_and_one_name_each(route: Route) -> None:
    assert any("一" <= letter <= "鿿" for letter in route.zh)
    assert route.en.isascii()
    assert [other.name for other in ROUTES].count(route.name) == 1


def test_every_reason_has_the_same_places_in_both_languages() -> None:
    place = re.compile(r"\{[a-z_]+\}")
    for code, texts in REASONS.items():
        zh, en = (f"{each.detail} {each.advice}" for each in (texts["zh"], texts["en"]))
        assert sorted(place.findall(zh)) == sorted(place.findall(en)), code


def test_every_reason_that_a_node_gives_has_words() -> None:
    tree = ast.parse(Path(node_module.__file__).read_text("utf-8"))
    given = {
        keyword.value.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Reason"
        for keyword in call.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant)
    }
    assert given == REASONS.keys()
