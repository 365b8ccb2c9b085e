"""Gateways beside the nodes of one machine, of which some are a block behind."""

import asyncio
from pathlib import Path

from node.api.context import CONTEXT
from tests import builders
from tests.unit.node.api.harness import Served, run
from tools.gateway.local import wait_everywhere


def test_a_node_that_is_a_block_behind_is_waited_for(tmp_path: Path) -> None:
    async def story(node: Served) -> None:
        host, port = node.address
        urls = [f"http://{host}:{port}"]
        waiting = asyncio.create_task(wait_everywhere(urls, builders.genesis(), 1))
        while not node.app[CONTEXT]._waits:
            await asyncio.sleep(0)
            assert not waiting.done(), waiting
        await node.submit(builders.request().data)
        node.service.sign_checkpoint()
        await waiting

    run(tmp_path, story)
