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
    client: Client, path: str, item: type[T], query: Mapping[str, str]
) -> list[T]:
    """Items of all pages, in the node's order. Raises `InvalidAnswer`, `Unreachable`."""
    found: list[T] = []
    cursor: str | None = None
    for _ in range(PAGES_MAX):
        place = {"cursor": cursor} if cursor else {}
        asked = urlencode({**query, **place, "limit": PAGE_ITEMS})
        document = await client.get_json(f"{path}?{asked}")
        try:
            found += msgspec.convert(document.get("items"), list[item])  # type: ignore[valid-type]  # a type at run time
            following = msgspec.convert(document.get("next"), str | None)
        except msgspec.ValidationError as error:
            raise InvalidAnswer("answer-malformed", f"{path}: {error}") from None
        if not following:
            return found
        if following == cursor:
            break
        cursor = following
    raise InvalidAnswer("answer-mismatch", f"{path}: cursor={cursor}")
