"""What a node says of an exchange: who owes what by when, and what is frozen for it."""

from pathlib import Path
from typing import Any

import pytest

from tests import builders
from tests.unit.node.api.harness import Served, run
from tools.client import Client
from tools.commands.exchange.standing import describe_standing, document_of, fetch_standing
from tools.exits import InvalidAnswer
from tools.words import select_language


def client_of(node: Served) -> Client:
    host, port = node.address
    return Client(f"http://{host}:{port}", builders.genesis())


def test_a_permit_says_what_its_provider_owes_by_when(tmp_path: Path) -> None:
    select_language(["--lang", "en"])
    event = builders.request()

    async def ask(node: Served) -> None:
        await node.submit(event.data)
        async with client_of(node) as client:
            standing = await fetch_standing(client, event.exchange.hex())
        document = document_of(standing)
        assert [each["gap"] for each in document["duties"]] == ["permit-without-delivery"]
        assert document["duties"][0]["member"] == builders.OWNER
        assert document["freezes"] == ()
        (line,) = describe_standing(standing)
        assert line.startswith(f"Owed: a permit without a delivery · {builders.OWNER}, until ")

    run(tmp_path, ask)


def test_a_freeze_of_the_pair_is_told_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = builders.request()
    pair = {"requester": builders.ASKER, "provider": "", "dataset": "", "reason": "leak"}
    other = {**pair, "requester": "nobody"}

    async def ask(node: Served) -> None:
        await node.submit(event.data)
        async with client_of(node) as client:
            get_json = client.get_json

            async def answer(path: str) -> dict[str, Any]:
                found = await get_json(path)
                return {**found, "freezes": [pair, other]} if path == "/v1/status" else found

            monkeypatch.setattr(client, "get_json", answer)
            standing = await fetch_standing(client, event.exchange.hex())
        assert document_of(standing)["freezes"] == (pair,)

    run(tmp_path, ask)


def test_nonsense_from_a_node_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(node: Served) -> None:
        async with client_of(node) as client:

            async def answer(path: str) -> dict[str, Any]:
                return {"state": {"requester": "a"}, "duties": [], "path": path}

            monkeypatch.setattr(client, "get_json", answer)
            with pytest.raises(InvalidAnswer) as refused:
                await fetch_standing(client, "ab" * 32)
        assert refused.value.code == "answer-malformed"

    run(tmp_path, ask)
