"""`tally reciprocity`: who gives and who takes, as a table, a document and a picture."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import click
import msgspec
from msgspec import Meta

from contracts.exchange.reciprocity import weigh_dependency
from ledger.exchange.receipts import Receipts
from ledger.scalars import Identifier, Uint
from tools.client import Client
from tools.commands.acting import Place, place_options
from tools.commands.exchange.matrix import Cell, draw_matrix
from tools.commands.exchange.pages import fetch_pages
from tools.mirror import read_genesis
from tools.options import WordCommand, option
from tools.output import emit, format_table, run
from tools.words import say

COLUMNS = (
    "requester", "provider", "asked", "permitted", "turned_down", "in_time", "late",
    "records_sent", "received", "records_received",
)  # fmt: skip
_COUNTS = (
    "asked", "permitted", "denied", "refused", "answered", "in_time", "late", "records_sent",
    "received", "records_received",
)  # fmt: skip
_SHARES = ("requester", "provider", "exchange_share", "record_share", "dependency")
Year = Annotated[int, Meta(ge=1_970, le=9_999)]


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted of an ordered pair, as a node says; an auditor counts it afresh."""

    requester: Identifier
    provider: Identifier
    purpose: Identifier
    year: Year
    asked: Uint
    permitted: Uint
    denied: Uint
    refused: Uint
    answered: Uint
    in_time: Uint
    late: Uint
    records_sent: Uint
    received: Uint
    records_received: Uint

    @property
    def turned_down(self) -> int:
        """Denied by the contracts, or refused by an approver."""
        return self.denied + self.refused


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """How far a requester depends on a provider, in thousandths."""

    requester: str
    provider: str
    exchange_share: int
    record_share: int
    dependency: int


@click.command("reciprocity", cls=WordCommand, help="help.reciprocity")
@option("--year", type=click.IntRange(1_970, 9_999), help="option.reciprocity_year")
@option("--purpose", default="", help="option.reciprocity_purpose")
@option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="option.reciprocity_svg")
@place_options(None)
def command(place: Place, year: int | None, purpose: str, svg: Path | None, as_json: bool) -> None:
    """Show the counters of all pairs, or those of one member with --member."""

    async def fetch() -> list[Pair]:
        async with Client(place.url, read_genesis(place.genesis)) as client:
            query = {} if year is None else {"year": str(year)}
            return await fetch_pages(client, "/v1/reciprocity", Pair, query)

    scope = Scope(year=year, purpose=purpose, member=place.member)
    document, text = tell_pairs(run(fetch()), scope, svg)
    emit(as_json, {"verified": False, **document}, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which counters are meant: of a year (None: the newest), a purpose, a member (empty: all)."""

    year: int | None
    purpose: str
    member: str


def tell_pairs(found: list[Pair], scope: Scope, svg: Path | None) -> tuple[dict[str, Any], str]:
    """Counters as a document and as text, and as a picture in the file `svg`."""
    purpose = scope.purpose
    year = scope.year or max((each.year for each in found), default=None)
    found = [each for each in found if each.year == year]
    sums = sum_pairs(each for each in found if purpose in ("", each.purpose))
    shown = [each for each in sums if scope.member in ("", each.requester, each.provider)]
    sources = list_sources(sum_pairs(found), scope.member)
    title = say(
        "reciprocity.title", year=year or "-", purpose=purpose or say("reciprocity.all_purposes")
    )
    if svg is not None:
        svg.write_text(draw_pairs(title, shown), encoding="utf-8")
    document = {
        "year": year,
        "purpose": purpose,
        "pairs": [{**msgspec.structs.asdict(each), "purpose": purpose} for each in shown],
        "dependency": sources,
    }
    return document, _format(title, shown, sources)


def sum_pairs(pairs: Iterable[Pair]) -> list[Pair]:
    """Ordered pairs with the counters of all their purposes added up, sorted."""
    sums: dict[tuple[str, str], Pair] = {}
    for pair in pairs:
        names = (pair.requester, pair.provider)
        known = sums.get(names)
        if known is None:
            sums[names] = pair
            continue
        added = {name: getattr(known, name) + getattr(pair, name) for name in _COUNTS}
        sums[names] = msgspec.structs.replace(known, **added)
    return [sums[names] for names in sorted(sums)]


def list_sources(pairs: list[Pair], member: str) -> list[Source]:
    """How far each member (or one) depends on each other, the most dependent first."""
    found = []
    for pair in pairs:
        if member not in ("", pair.requester) or not pair.received:
            continue
        share = weigh_dependency(
            _receipts([pair]), _receipts(each for each in pairs if each.requester == pair.requester)
        )
        found.append(
            Source(
                requester=pair.requester,
                provider=pair.provider,
                exchange_share=share.exchanges,
                record_share=share.records,
                dependency=share.index,
            )
        )
    return sorted(found, key=lambda each: (-each.dependency, each.requester, each.provider))


def _receipts(pairs: Iterable[Pair]) -> Receipts:
    exchanges = records = 0
    for pair in pairs:
        exchanges += pair.received
        records += pair.records_received
    return Receipts(exchanges=exchanges, records=records)


def draw_pairs(title: str, pairs: list[Pair]) -> str:
    """The matrix of pairs as SVG."""
    names = sorted({name for each in pairs for name in (each.requester, each.provider)})
    cells = {}
    for each in pairs:
        words = msgspec.structs.asdict(each)
        cells[each.requester, each.provider] = Cell(
            value=each.answered,
            first=f"{each.answered} / {each.asked}",
            second=say("reciprocity.cell", **words),
            title=say("reciprocity.title_of_cell", **words),
        )
    return draw_matrix(title, say("reciprocity.legend"), names, cells)


def _format(title: str, pairs: list[Pair], sources: list[Source]) -> str:
    if not pairs:
        return say("reciprocity.none")
    rows = [[str(getattr(each, name)) for name in COLUMNS] for each in pairs]
    lines = [title, "", format_table([say(f"column.{name}") for name in COLUMNS], rows)]
    if sources:
        shares = [[str(getattr(each, name)) for name in _SHARES] for each in sources]
        lines += ["", say("reciprocity.dependency")]
        lines.append(format_table([say(f"column.{name}") for name in _SHARES], shares))
    return "\n".join(lines)
