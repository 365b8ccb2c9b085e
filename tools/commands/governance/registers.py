"""Proposing record schemas, code lists and sunset dates, and showing what ends soon."""

from pathlib import Path
from typing import Any

import click

from ledger.governance.actions import SetCodeList, SetRecordSchema, SetSunset
from ledger.governance.registers import CodeList, RecordSchema
from tools.client import Client
from tools.commands.acting import Place, place_options
from tools.commands.governance.proposing import Terms, proposal_options, propose
from tools.exits import InvalidUsage
from tools.governance.actions import read_text, read_value
from tools.governance.answers import ExpiringLine, Status, Sunsets, parse
from tools.governance.changes import tell_target
from tools.mirror import read_genesis
from tools.options import WordCommand, WordGroup, option
from tools.output import emit, format_table, printable, run
from tools.words import catalogue, language, say

_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))

record_schema = WordGroup("record-schema", help="help.propose_record_schema")
code_list = WordGroup("code-list", help="help.propose_code_list")


@record_schema.command("set", help="help.propose_record_schema_set")
@_file
@option("--dataset", required=True, help="option.dataset")
@option("--version", type=click.IntRange(1, 65_535), required=True, help="option.record_version")
@proposal_options()
def set_record_schema(
    place: Place, file: Path, dataset: str, version: int, terms: Terms, as_json: bool
) -> None:
    """What records of a dataset must be, the next version."""
    schema = RecordSchema(dataset=dataset, version=version, text=read_text(file))
    propose(place, [SetRecordSchema(record_schema=schema)], terms, as_json)


@code_list.command("set", help="help.propose_code_list_set")
@_file
@proposal_options()
def set_code_list(place: Place, file: Path, terms: Terms, as_json: bool) -> None:
    """A code list, or its next version."""
    propose(place, [SetCodeList(code_list=read_value(file, CodeList))], terms, as_json)


@click.command("sunset", cls=WordCommand, help="help.propose_sunset")
@click.argument("target")
@option("--date", help="option.sunset_date")
@option("--never", is_flag=True, help="option.sunset_never")
@proposal_options()
def sunset(
    place: Place, target: str, date: str | None, never: bool, terms: Terms, as_json: bool
) -> None:
    """A thing is out of force from a day on, or has no end."""
    if (date is None) is not never:
        raise InvalidUsage("sunset-date", date or "-")
    propose(place, [SetSunset(target=target, date=date)], terms, as_json)


@click.command("expiring", cls=WordCommand, help="help.admin_expiring")
@place_options(None)
def expiring(place: Place, as_json: bool) -> None:
    """Show what ends soon, and every sunset date."""

    async def fetch() -> tuple[dict[str, Any], dict[str, Any]]:
        async with Client(place.url, read_genesis(place.genesis)) as client:
            return await client.get_json("/v1/status"), await client.get_json("/v1/sunsets")

    status, listed = run(fetch())
    soon, sunsets = parse(status, Status).expiring, parse(listed, Sunsets).items
    lines = []
    if soon:
        head = [say(f"column.{name}") for name in ("what", "ends", "days_left")]
        rows = [[_tell_ending(each), printable(each.ends), str(each.days_left)] for each in soon]
        lines.append(format_table(head, rows))
    else:
        lines.append(say("governance.nothing_expires"))
    if sunsets:
        head = [say(f"column.{name}") for name in ("what", "sunset", "state")]
        rows = [
            [
                tell_target(each.target),
                printable(each.date),
                say("governance.ended" if each.ended else "governance.in_force"),
            ]
            for each in sunsets
        ]
        lines += ["", format_table(head, rows)]
    emit(
        as_json,
        {"expiring": status.get("expiring", []), "sunsets": listed["items"]},
        "\n".join(lines),
    )


def _tell_ending(line: ExpiringLine) -> str:
    words = catalogue(language()).get(f"ending.{line.kind}", line.kind)
    return printable(f"{words} {line.id}".strip())


GROUPS = (record_schema, code_list, sunset)
COMMANDS = (expiring,)
