"""Acting on a machine with several nodes, of which some are a block behind or do not answer."""

import asyncio
from pathlib import Path

from node.api.context import CONTEXT
from tests import builders
from tests.unit.node.api.harness import Served, run, served
from tools.client import Client
from tools.commands.acting import execute


def url_of(node: Served) -> str:
    host, port = node.address
    return f"http://{host}:{port}"


def test_nodes_of_this_machine_that_are_behind_are_waited_for(tmp_path: Path) -> None:
    event = builders.request()

    async def story(node: Served) -> None:
        async with served(tmp_path / "other") as other, client_of(node) as client:
            acting = asyncio.create_task(execute(client, event, [url_of(other)]))
            while not other.app[CONTEXT]._waits:
                node.service.sign_checkpoint()
                await asyncio.sleep(0)
            assert not acting.done()
            await other.submit(event.data)
            other.service.sign_checkpoint()
            assert (await acting).event == event

    run(tmp_path, story)


def test_a_node_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    event = builders.request()

    async def story(node: Served) -> None:
        async with client_of(node) as client:
            acting = asyncio.create_task(execute(client, event, ["http://127.0.0.1:1"]))
            while not acting.done():
                node.service.sign_checkpoint()
                await asyncio.sleep(0)
            assert acting.result().event == event

    run(tmp_path, story)


def client_of(node: Served) -> Client:
    return Client(url_of(node), builders.genesis())
