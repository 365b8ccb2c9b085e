"""`tally audit export`: a verified copy in forms that other programs read."""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click

from ledger.errors import Divergence
from ledger.events import BODY_TYPES
from ledger.export.cloudevents import cloud_event, encode_cloud_event
from ledger.genesis import Genesis
from ledger.verify import LogCopy, MapEvents, open_copy
from tools.audit.divergence import diverged
from tools.audit.export.prov import write_prov
from tools.audit.export.records import Filters, Row, read_rows
from tools.audit.export.sheets import write_csv, write_parquet
from tools.audit.export.statements import ProvJson, ProvJsonLd, ProvJsonLdInline
from tools.audit.export.tables import EXCHANGES, RECORDS, TABLES, RecordRows, Table, exchange_row
from tools.audit.left import NOTHING_BEFORE, begin_left
from tools.audit.period import make_period, period_options
from tools.audit.stories import Stories
from tools.contract.past import Past
from tools.exits import InvalidUsage
from tools.mirror import (
    check_writable,
    copy_at,
    event_map,
    folder_reader,
    new_file,
    read_genesis,
)
from tools.options import WordCommand, common, jobs_option, option
from tools.output import emit, note, progress
from tools.words import say

KINDS = sorted({kind for kind, _ in BODY_TYPES})
FORMATS = ("csv", "parquet", "prov", "prov-jsonld", "cloudevents")
CLOUDEVENTS_SCHEMA = "cloudevents/1.0"
SHOWN_ROWS = 1_024  # so many between two pictures of the bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is exported of which copy, and how."""

    directory: Path
    genesis: Genesis | None
    format: str
    table: Table
    filters: Filters
    is_inline: bool
    for_excel: bool

    @property
    def schema(self) -> str:
        """Name and version of what is written."""
        named = {
            "cloudevents": CLOUDEVENTS_SCHEMA,
            "prov": ProvJson.schema,
            "prov-jsonld": ProvJsonLd.schema,
        }
        return named.get(self.format, self.table.schema)


@click.command("export", cls=WordCommand, help="help.audit_export")
@click.argument("where")
@option("--format", "format_", type=click.Choice(FORMATS), required=True, help="option.export_as")
@option("--table", type=click.Choice(list(TABLES)), help="option.export_table")
@option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="option.export_kind")
@option("--member", default="", help="option.export_member")
@period_options
@option("--from-height", type=click.IntRange(1), default=1, help="option.export_from")
@option("--inline", "is_inline", is_flag=True, help="option.export_inline")
@option("--excel", "for_excel", is_flag=True, help="option.export_excel")
@option("--out", "-o", type=click.Path(path_type=Path, dir_okay=False), help="option.export_out")
@option("--genesis", type=click.Path(path_type=Path, dir_okay=False), help="option.genesis")
@jobs_option
@common
def export(
    where: str,
    format_: str,
    table: str | None,
    kinds: tuple[str, ...],
    member: str,
    first: str | None,
    last: str | None,
    from_height: int,
    is_inline: bool,
    for_excel: bool,
    out: Path | None,
    genesis: Path | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Write records or exchanges."""
    _check(format_, table, kinds, out)
    if is_inline and format_ != "prov-jsonld":
        raise InvalidUsage("export-no-context", f"--format {format_} --inline")
    if for_excel and format_ != "csv":
        raise InvalidUsage("export-not-excel", f"--format {format_} --excel")
    if out is not None:
        check_writable(out)
    founding = read_genesis(genesis) if genesis else None
    if founding is None:
        note(say("audit.unpinned"))
    filters = Filters(
        kinds=kinds, member=member, from_height=from_height, period=make_period(first, last)
    )
    with copy_at(where, founding) as directory, event_map(jobs) as map_events:
        wanted = Wanted(
            directory=directory,
            genesis=founding,
            format=format_,
            table=TABLES[table or RECORDS.name],
            filters=filters,
            is_inline=is_inline,
            for_excel=for_excel,
        )
        with nullcontext(sys.stdout.buffer) if out is None else new_file(out) as file:
            try:
                count = write(wanted, file, map_events)
            except Divergence as error:
                raise diverged(error) from None
    if not count:
        note(say("export.nothing"))
    if out is not None:
        document = {"schema": wanted.schema, "rows": count, "file": str(out)}
        emit(as_json, document, say("export.written", **document))


def _check(format_: str, table: str | None, kinds: tuple[str, ...], out: Path | None) -> None:
    if table is not None and format_ not in ("csv", "parquet"):
        raise InvalidUsage("export-no-table", f"--format {format_} --table {table}")
    if table == EXCHANGES.name and kinds:
        raise InvalidUsage("export-no-kinds", f"--table {table} --kind {kinds[0]}")
    if format_ == "parquet" and out is None:
        raise InvalidUsage("export-needs-file", f"--format {format_}")


def write(wanted: Wanted, file: IO[bytes], map_events: MapEvents) -> int:
    """Write what is wanted. Returns how many rows. Raises `Divergence`."""
    begin_at = begin_left(wanted.directory, wanted.filters.period, wanted.filters.from_height)
    if wanted.table is EXCHANGES:
        past = Past(wanted.directory, wanted.genesis, begin_at)
        rows = exchange_rows(past, wanted.filters, map_events)
        return _write_table(wanted, rows, past.network, file)
    copy = open_copy(folder_reader(wanted.directory), genesis=wanted.genesis)
    begin = begin_at(copy)
    before = NOTHING_BEFORE if begin is None else begin.state
    found = _shown(read_rows(copy, wanted.filters, map_events, begin), copy.checkpoint.size)
    if wanted.format in ("prov", "prov-jsonld"):
        linked = ProvJsonLdInline if wanted.is_inline else ProvJsonLd
        form = ProvJson if wanted.format == "prov" else linked
        return write_prov(found, copy.network, form, file, before)
    if wanted.format == "cloudevents":
        return _write_cloud_events(copy, found, file)
    records = RecordRows(before)
    # A row is made of every record, since later ones name an exchange by its first.
    made = ((row.is_wanted, records.row(row)) for row in found)
    return _write_table(wanted, (row for is_wanted, row in made if is_wanted), copy.network, file)


def _shown(rows: Iterator[Row], size: int) -> Iterator[Row]:
    """The rows, with a progress bar."""
    with progress("export.reading") as bar:
        for count, row in enumerate(rows):
            if count % SHOWN_ROWS == 0:
                bar(row.index, size)
            yield row


def _write_table(
    wanted: Wanted, rows: Iterator[tuple[Any, ...]], network: bytes, file: IO[bytes]
) -> int:
    if wanted.format == "csv":
        return write_csv(wanted.table, rows, file, for_excel=wanted.for_excel)
    return write_parquet(wanted.table, rows, file, {"tallystick.network": network.hex()})


def _write_cloud_events(copy: LogCopy, rows: Iterator[Row], file: IO[bytes]) -> int:
    count = 0
    for row in rows:
        if row.is_wanted:
            event = cloud_event(
                network=copy.network,
                index=row.index,
                height=row.height,
                time_ms=row.time_ms,
                event=row.event,
                outcome=row.outcome,
            )
            file.write(encode_cloud_event(event) + b"\n")
            count += 1
    return count


def exchange_rows(past: Past, filters: Filters, map_events: MapEvents) -> Iterator[tuple[Any, ...]]:
    """Exchanges that were opened in the period, as the state is at its end."""
    stories, time_ms = Stories(), 0
    with progress("export.reading") as bar:
        for block, happened in past.walk(map_events, bar, until_ms=filters.period.end_ms):
            time_ms = block.header.time_ms
            for each in happened:
                stories.add(each)
    for id_, story in stories.of.items():
        if (
            filters.period.covers(story.opened_ms)
            and story.height >= filters.from_height
            and filters.member in ("", story.requester, story.provider)
        ):
            yield exchange_row(past.history.state, id_, story, time_ms)
