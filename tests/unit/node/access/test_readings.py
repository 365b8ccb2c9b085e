"""What is noted of answers of a served node, and what is not."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import ServerDisconnectedError

from ledger.access.lines import Line, parse_line
from node.access.files import Files
from node.access.log import AccessLog
from node.access.readings import AGENT_CHARS_MAX, NOT_NOTED
from node.api.routes import ROUTES
from tests.builders import request
from tests.unit.node.access.test_files import check_chain, lines_of
from tests.unit.node.access.test_log import Gated
from tests.unit.node.api.harness import Served, served

UNKNOWN = "0" * 64


def play(folder: Path, story: Callable[[Served, AccessLog], Awaitable[None]]) -> list[Line]:
    """Run a story against a served node; the lines that it left."""

    async def main() -> None:
        access = AccessLog(Files(folder / "access"))
        access.start()
        try:
            async with asyncio.timeout(30), served(folder, access=access) as node:
                await story(node, access)
        finally:
            access.close()

    asyncio.run(main())
    check_chain(folder / "access")
    return [parse_line(line) for line in lines_of(folder / "access")]


def test_a_reading_is_noted_with_its_ids_and_status(tmp_path: Path) -> None:
    async def story(node: Served, access: AccessLog) -> None:
        await node.submit(request().data)
        headers = {"User-Agent": "curl/8 é" + "x" * 999}
        await node.get_json("/v1/entries/0", headers=headers)
        await node.get_json(f"/v1/requests/{UNKNOWN}", status=404)
        await node.get_json("/v1/requests?member=cn-3301-tax&limit=1")
        await node.get_json("/v1/history/dataset/account")
        await node.get_json("/v1/reciprocity?requester=cn-3301-tax&year=2026")

    lines = play(tmp_path, story)
    assert [(line.route, line.ids, line.status) for line in lines] == [
        ("readEntry", {"index": "0"}, 200),
        ("readRequest", {"exchange": UNKNOWN}, 404),
        ("listRequests", {"member": "cn-3301-tax"}, 200),
        ("readHistory", {"target": "dataset/account"}, 200),
        ("listPairs", {"requester": "cn-3301-tax"}, 200),
    ]
    assert lines[0].address == "127.0.0.1"
    assert lines[0].agent.startswith("curl/8 ")
    assert len(lines[0].agent) == AGENT_CHARS_MAX
    assert lines[0].agent.isascii()


def test_what_is_no_name_is_not_written(tmp_path: Path) -> None:
    async def story(node: Served, access: AccessLog) -> None:
        for path in ("/v1/requests?member=%E5%BC%A0%E4%B8%89", "/v1/requests?member=a%20b"):
            await node.get_json(path, status=400)
        await node.get_json("/v1/members/%3Cb%3E", status=400)

    assert [line.ids for line in play(tmp_path, story)] == [
        {"member": "?"}, {"member": "?"}, {"member": "?"},
    ]  # fmt: skip


def test_health_figures_and_submissions_are_not_noted(tmp_path: Path) -> None:
    async def story(node: Served, access: AccessLog) -> None:
        await node.submit(request().data)
        for path in ("/healthz", "/readyz", "/v1/status", "/openapi.json", "/v1/diagnosis"):
            await node.get_json(path)
        await node.get_json("/v1/nowhere", status=404)
        host, port = node.metrics_address
        async with node.client.get(f"http://{host}:{port}/metrics") as response:
            assert response.status == 200

    assert play(tmp_path, story) == []


def test_a_stream_and_a_tile_are_noted_when_they_begin(tmp_path: Path) -> None:
    async def story(node: Served, access: AccessLog) -> None:
        await node.submit(request().data)
        async with node.client.get("/v1/stream?member=cn-3301-tax") as response:
            await response.content.readline()
            assert access.noted == 1
        async with node.client.get("/log/tile/0/000.p/1") as response:
            assert response.status == 200
        async with node.client.head("/v1/network") as response:
            assert response.status == 200

    lines = play(tmp_path, story)
    assert [(line.route, line.ids) for line in lines] == [
        ("streamBlocks", {"member": "cn-3301-tax"}),
        ("readTile", {"path": "0/000.p/1"}),
        ("readNetwork", {}),
    ]


def test_every_route_is_noted_or_named(tmp_path: Path) -> None:
    names = {route.name for route in ROUTES if route.listener == "api"}
    assert names > NOT_NOTED


def test_a_node_whose_access_log_cannot_be_written_serves_no_readers(tmp_path: Path) -> None:
    async def main() -> None:
        files = Gated(tmp_path / "access")
        files.error = OSError(28, "No space left on device")
        access = AccessLog(files)
        access.start()
        try:
            async with asyncio.timeout(30), served(tmp_path, access=access) as node:
                await node.get_json("/v1/network")  # it fails while this one is under way
                while node.service.fatal is None:  # noqa: ASYNC110 - the node has no event for it
                    await asyncio.sleep(0.001)
                assert "No space left" in str(node.service.fatal)
                with pytest.raises(ServerDisconnectedError):
                    await node.get_json("/v1/network")
        finally:
            access.close()

    asyncio.run(main())
