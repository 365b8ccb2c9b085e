"""Pages of a node's answers: all of them, in order, and never in a circle."""

import asyncio
from typing import Any

import msgspec
import pytest

from tests import builders
from tests.unit.tools.test_doctor import serving
from tools.client import Client
from tools.commands.exchange.pages import fetch_pages
from tools.exits import InvalidAnswer


def page(*items: object, following: object) -> tuple[int, bytes]:
    return 200, msgspec.json.encode({"items": items, "next": following})


def fetch(answers: dict[str, tuple[int, bytes]], item: Any = int) -> list[Any]:
    async def story(url: str) -> list[Any]:
        async with Client(url, builders.genesis()) as client:
            return await fetch_pages(client, "/v1/things", item, {"member": "a b"}, limit=2)

    with serving(answers) as url:
        return asyncio.run(story(url))


FIRST = "/v1/things?member=a+b&limit=2"


def later(cursor: str) -> str:
    return f"/v1/things?member=a+b&cursor={cursor}&limit=2"


def test_items_of_all_pages_come_in_their_order() -> None:
    answers = {FIRST: page(1, 2, following="x"), later("x"): page(3, following=None)}
    assert fetch(answers) == [1, 2, 3]


def test_pages_that_go_in_a_circle_are_an_error() -> None:
    answers = {
        FIRST: page(1, following="x"),
        later("x"): page(2, following="y"),
        later("y"): page(3, following="x"),
    }
    with pytest.raises(InvalidAnswer) as caught:
        fetch(answers)
    assert caught.value.code == "answer-mismatch"


@pytest.mark.parametrize("answer", [page("one", following=None), page(1, following=7)])
def test_items_and_cursors_have_their_types(answer: tuple[int, bytes]) -> None:
    with pytest.raises(InvalidAnswer) as caught:
        fetch({FIRST: answer})
    assert caught.value.code == "answer-malformed"
