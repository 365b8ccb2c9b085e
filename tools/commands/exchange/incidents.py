"""`tally officer incident` and `tally officer drill`."""

import hashlib
from pathlib import Path
from typing import Annotated, Any

import click
import msgspec
from msgspec import Meta

from ledger.exchange.incidents import (
    DrillRun,
    IncidentClosed,
    IncidentNotified,
    IncidentRemedied,
    IncidentReported,
    IncidentStatus,
    Severity,
)
from ledger.scalars import Identifier
from tools.client import Client
from tools.commands.acting import Place, act, parse_hash, place_options
from tools.commands.exchange.pages import fetch_pages
from tools.exits import InvalidInput
from tools.mirror import read_genesis
from tools.options import WordCommand, WordGroup, option
from tools.output import emit, format_table, run
from tools.words import say

REPORT_BYTES_MAX = 268_435_456
_TEXT = option("--text", default="", help="option.comment")


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """What a node says of an incident; unproven."""

    incident: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    status: IncidentStatus
    member: Identifier
    severity: Severity
    category: Identifier
    partners: tuple[Identifier, ...]
    notified: tuple[Identifier, ...]
    reported_ms: int
    remedied_ms: int
    closed_ms: int
    closed_by: str


@click.group("incident", cls=WordGroup, help="help.officer_incident")
def incident() -> None:
    """Group."""


@incident.command("report", help="help.incident_report")
@option("--category", required=True, help="option.incident_category")
@option(
    "--severity",
    type=click.Choice(["low", "medium", "high", "critical"]),
    required=True,
    help="option.severity",
)
@option("--discovered-on", required=True, help="option.discovered_on")
@option("--partner", "partners", multiple=True, help="option.partner")
@option("--exchange", "exchanges", multiple=True, help="option.incident_exchange")
@_TEXT
@place_options("approver")
def report(place: Place, as_json: bool, **values: Any) -> None:
    """Report a breach or failure, with every partner that it touches."""
    body = IncidentReported(
        category=values["category"],
        severity=values["severity"],
        discovered_on=values["discovered_on"],
        partners=tuple(sorted(frozenset(values["partners"]))),
        exchanges=tuple(sorted(frozenset(map(parse_hash, values["exchanges"])))),
        text=values["text"],
    )
    act(place, body, as_json)


@incident.command("confirm", help="help.incident_confirm")
@click.argument("about", metavar="INCIDENT")
@_TEXT
@place_options("approver")
def confirm(place: Place, about: str, text: str, as_json: bool) -> None:
    """Confirm that this member knows of the incident."""
    act(place, IncidentNotified(incident=parse_hash(about), text=text), as_json)


@incident.command("remedy", help="help.incident_remedy")
@click.argument("about", metavar="INCIDENT")
@option("--measures", required=True, help="option.measures")
@place_options("approver")
def remedy(place: Place, about: str, measures: str, as_json: bool) -> None:
    """Say what was done about it."""
    act(place, IncidentRemedied(incident=parse_hash(about), measures=measures), as_json)


@incident.command("close", help="help.incident_close")
@click.argument("about", metavar="INCIDENT")
@_TEXT
@place_options("admin")
def close(place: Place, about: str, text: str, as_json: bool) -> None:
    """Close an incident of another member."""
    act(place, IncidentClosed(incident=parse_hash(about), text=text), as_json)


@incident.command("list", help="help.incident_list")
@option("--all", "is_all", is_flag=True, help="option.incident_all")
@place_options(None)
def list_incidents(place: Place, is_all: bool, as_json: bool) -> None:
    """List incidents, open ones unless all are asked for."""

    async def fetch() -> list[Listed]:
        async with Client(place.url, read_genesis(place.genesis)) as client:
            return await fetch_pages(client, "/v1/incidents", Listed, {})

    found = [
        each
        for each in run(fetch())
        if (is_all or each.status != "closed")
        and (not place.member or place.member in (each.member, *each.partners))
    ]
    columns = ("incident", "status", "member", "severity", "category", "partners")
    rows = [
        [
            each.incident,
            say(f"incident.{each.status}"),
            each.member,
            each.severity,
            each.category,
            ", ".join(
                name if name in each.notified else say("incident.unconfirmed", member=name)
                for name in each.partners
            ),
        ]
        for each in found
    ]
    head = [say(f"column.{name}") for name in columns]
    text = format_table(head, rows) if rows else say("incident.none")
    emit(as_json, {"verified": False, "incidents": found}, text)


@click.command("drill", cls=WordCommand, help="help.officer_drill")
@option("--category", required=True, help="option.drill_category")
@option("--result", type=click.Choice(["passed", "failed"]), required=True, help="option.result")
@option("--held-on", required=True, help="option.held_on")
@option("--minutes", type=click.IntRange(0, 100_000), required=True, help="option.minutes")
@option(
    "--report",
    "report_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="option.drill_report",
)
@_TEXT
@place_options("admin")
def drill(place: Place, report_file: Path, as_json: bool, **values: Any) -> None:
    """Record an emergency drill; the report stays here, its digest goes on the log."""
    body = DrillRun(
        category=values["category"],
        result=values["result"],
        held_on=values["held_on"],
        duration_minutes=values["minutes"],
        report_digest=_hash_file(report_file),
        text=values["text"],
    )
    act(place, body, as_json)


def _hash_file(path: Path) -> bytes:
    try:
        if path.stat().st_size > REPORT_BYTES_MAX:
            raise InvalidInput("file-too-large", f"{path}: {REPORT_BYTES_MAX}")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise InvalidInput("file-unreadable", f"{path}: {error.strerror}") from None


COMMANDS = (incident, drill)
