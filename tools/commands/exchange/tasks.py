"""`tally officer tasks`: who owes what by when."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

import click
import msgspec
from msgspec import Meta

from contracts.errors import InvalidMoment
from contracts.exchange.duties import GAPS, look_ahead
from ledger.scalars import Identifier
from tools.client import Client
from tools.commands.acting import Place, note_freezes, place_options
from tools.commands.exchange.pages import fetch_pages
from tools.exits import InvalidAnswer, InvalidInput
from tools.mirror import read_genesis
from tools.options import WordCommand, option
from tools.output import emit, format_table, run, tell_time
from tools.words import language, say

TimeMs = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]  # to the end of the year 9999


class Owed(msgspec.Struct, frozen=True, kw_only=True):
    """What a member owes, as a node says; an auditor computes it afresh."""

    member: Identifier
    gap: Identifier
    kinds: tuple[str, ...]
    due_ms: TimeMs
    is_overdue: bool


class Task(Owed, frozen=True, kw_only=True):
    """What a member owes in an exchange or after an incident."""

    subject: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    about: Literal["exchange", "incident"]


@click.command("tasks", cls=WordCommand, help="help.officer_tasks")
@option("--overdue", "is_overdue", is_flag=True, help="option.overdue")
@option("--at", default="", help="option.tasks_at")
@place_options(None)
def tasks(place: Place, is_overdue: bool, at: str, as_json: bool) -> None:
    """List open duties by due time; those of one member with --member."""
    note_freezes(place)
    query = {"member": place.member} if place.member else {}
    if is_overdue:
        query["overdue"] = "true"

    async def fetch() -> tuple[list[Task], int]:
        async with Client(place.url, read_genesis(place.genesis)) as client:
            as_of_ms = await _look_ahead(client, at) if at else 0
            if as_of_ms:
                # The same for all pages, whatever blocks come meanwhile.
                query["at"] = _format_moment(as_of_ms)
            return await fetch_pages(client, "/v1/tasks", Task, query), as_of_ms

    found, as_of_ms = run(fetch())
    ahead = {"as_of_ms": as_of_ms} if as_of_ms else {}
    text = say("tasks.ahead", as_of=tell_time(as_of_ms)) + "\n" if as_of_ms else ""
    emit(as_json, {"verified": False, **ahead, "tasks": found}, text + tell_tasks(found))


async def _look_ahead(client: Client, at: str) -> int:
    """The block time that is meant. Raises `InvalidAnswer`, `InvalidInput`."""
    page = await client.get_json("/v1/tasks?limit=1")
    try:
        return look_ahead(at, msgspec.convert(page.get("time_ms"), TimeMs))
    except msgspec.ValidationError as error:
        raise InvalidAnswer("answer-malformed", f"/v1/tasks: {error}") from None
    except InvalidMoment:
        raise InvalidInput("moment-invalid", f"--at {at}") from None


def _format_moment(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms // 1_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1_000:03}Z"


def tell_tasks(found: Sequence[Task], none: str = "tasks.none") -> str:
    """Tasks as a table; `none` is what to say where there are none."""
    columns = ("due", "task", "member", "about", "subject")
    rows = [
        [
            _due(each),
            _gap_word(each.gap),
            each.member,
            say(f"tasks.{each.about}"),
            each.subject,
        ]
        for each in found
    ]
    head = [say(f"column.{name}") for name in columns]
    return format_table(head, rows) if rows else say(none)


def tell_owed(duty: Owed) -> str:
    """A duty in a line."""
    return say("trace.owed", gap=_gap_word(duty.gap), member=duty.member, due=_due(duty))


def _due(duty: Owed) -> str:
    day = f"{datetime.fromtimestamp(duty.due_ms / 1000, UTC):%Y-%m-%d %H:%M}Z"
    return f"{day} {say('tasks.overdue')}" if duty.is_overdue else day


def _gap_word(gap: str) -> str:
    """A gap in words; one of a newer node than this program stays as it is."""
    known = GAPS.get(gap)
    if known is None:
        return gap
    return known.zh if language() == "zh" else known.en


COMMANDS = (tasks,)
