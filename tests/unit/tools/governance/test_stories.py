"""Stories of proposals from a node that does not know them yet, or never will."""

import asyncio
from pathlib import Path

import pytest

from node.api.context import CONTEXT
from tests import builders
from tests.builders import propose
from tests.unit.node.api.governance.proposing import freeze
from tests.unit.node.api.harness import Served, run
from tools.client import Client
from tools.exits import NotFound
from tools.governance import stories
from tools.governance.stories import fetch_story, format_votes
from tools.words import select_language


def client_of(node: Served) -> Client:
    host, port = node.address
    return Client(f"http://{host}:{port}", builders.genesis())


def test_a_node_that_is_a_block_behind_is_waited_for(tmp_path: Path) -> None:
    event = propose(freeze())

    async def story(node: Served) -> None:
        async with client_of(node) as client:
            asked = asyncio.create_task(fetch_story(client, event.digest))
            # Until it follows the stream of blocks.
            while not node.app[CONTEXT]._waits:  # noqa: ASYNC110 - nobody tells of a new stream
                await asyncio.sleep(0)
            # Blocks of other events come first, and the node has not heard of the proposal.
            await node.submit(builders.request().data)
            assert not asked.done()
            await node.submit(event.data)
            node.service.sign_checkpoint()
            found = await asked
        assert found.event == event

    run(tmp_path, story)


def test_a_proposal_that_nobody_made_is_waited_for_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stories, "BEHIND_S_MAX", 0.2)

    async def story(node: Served) -> None:
        async with client_of(node) as client:
            with pytest.raises(NotFound) as caught:
                await fetch_story(client, bytes(32))
        assert caught.value.code == "proposal-not-found"

    run(tmp_path, story)


def test_after_a_ballot_stands_how_the_voting_stands(tmp_path: Path) -> None:
    event = propose(freeze())

    async def story(node: Served) -> None:
        await node.submit(event.data)
        node.service.sign_checkpoint()
        async with client_of(node) as client:
            told = (await fetch_story(client, event.digest)).told
        select_language(["--lang", "en"])
        status, count, until = format_votes(told).split("\n")
        assert status == "open"
        assert count.startswith("1 approve (")
        assert until.startswith("Ballots count up to height ")

    run(tmp_path, story)
