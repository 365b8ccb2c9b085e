"""Bodies of record schemas, code lists and sunset dates."""

from ledger.governance.registers import Sunset
from node.api.schemas.base import Body


class RecordSchemaBody(Body, frozen=True, kw_only=True):
    """One version of what a record of a dataset must be; `text` is a subset of JSON Schema."""

    dataset: str
    version: int
    text: str


class CodeBody(Body, frozen=True, kw_only=True):
    """One code of a list."""

    code: str
    name_zh: str
    name_en: str


class CodeListBody(Body, frozen=True, kw_only=True):
    """Codes, sorted, with who issues them and where they are published."""

    id: str
    version: int
    name_zh: str
    name_en: str
    authority: str
    source: str
    codes: tuple[CodeBody, ...]


class SunsetBody(Body, frozen=True, kw_only=True):
    """From `date` on (UTC, by the time of blocks) `target` is out of force.

    `proposal` decided it; `ended` once a block has that date.
    """

    target: str
    date: str
    proposal: str
    ended: bool


class RecordSchemaPage(Body, frozen=True, kw_only=True):
    """A page of record schemas."""

    items: list[RecordSchemaBody]
    next: str | None


class CodeListPage(Body, frozen=True, kw_only=True):
    """A page of code lists."""

    items: list[CodeListBody]
    next: str | None


class SunsetsBody(Body, frozen=True, kw_only=True):
    """All sunset dates, sorted by target."""

    items: list[SunsetBody]


def sunset_body(sunset: Sunset) -> SunsetBody:
    """JSON shape of a sunset date."""
    return SunsetBody(
        target=sunset.target,
        date=sunset.date,
        proposal=sunset.proposal.hex(),
        ended=sunset.ended,
    )
