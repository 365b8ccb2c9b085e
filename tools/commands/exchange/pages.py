"""All items of a route that answers in pages, checked for their shape; nothing here is proven."""

from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from tools.client import Client
from tools.exits import InvalidAnswer

PAGE_ITEMS = 500
PAGES_MAX = 10_000

T = TypeVar("T")


async def fetch_pages(
    client: Client, path: str, item: type[T], query: Mapping[str, str], *, limit: int = PAGE_ITEMS
) -> list[T]:
    """Items of all pages, in the node's order. Raises `InvalidAnswer`, `Unreachable`."""
    found: list[T] = []
    cursor, turned = "", set[str]()
    for _ in range(PAGES_MAX):
        place = {"cursor": cursor} if cursor else {}
        asked = urlencode({**query, **place, "limit": limit})
        document = await client.get_json(f"{path}?{asked}")
        try:
            found += msgspec.convert(document.get("items"), list[item])  # type: ignore[valid-type]  # a type at run time
            following = msgspec.convert(document.get("next"), str | None)
        except msgspec.ValidationError as error:
            raise InvalidAnswer("answer-malformed", f"{path}: {error}") from None
        if not following:
            return found
        cursor = following
        if cursor in turned:
            break
        turned.add(cursor)
    raise InvalidAnswer("answer-mismatch", f"{path}: cursor={cursor}")
