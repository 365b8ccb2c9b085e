"""`tally admin`: change the validators of a network by vote, each signed on its own machine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ledger.governance.actions import Action
from ledger.governance.proposals import (
    GovernanceBalloted,
    GovernanceProposed,
    GovernanceWithdrawn,
)
from ledger.quorum.governance import KeepValidators, RemoveValidator
from tools.client import Client
from tools.commands.acting import Place, act, parse_hash, place_options
from tools.exits import RefusedEvent
from tools.found.command import command as found
from tools.founding import read_application
from tools.mirror import read_genesis
from tools.output import WordGroup, emit, format_table, option, run
from tools.words import say

BALLOT_BLOCKS = 50_000


@click.group(cls=WordGroup, help="help.admin")
def command() -> None:
    """Group."""


command.add_command(found)


@command.command("validators", help="help.admin_validators")
@place_options(None)
def validators(place: Place, as_json: bool) -> None:
    """Show the validators in force and the change that waits, if there is one."""

    async def fetch() -> dict[str, Any]:
        async with Client(place.url, read_genesis(place.genesis)) as client:
            return await client.get_json("/v1/validators")

    document = run(fetch())
    lines = [say("admin.epoch", **document), _format_seats(document["validators"])]
    pending = document["pending"]
    if pending is not None:
        ready, missing = (", ".join(pending[name]) or "-" for name in ("ready", "missing"))
        words = {**pending, "ready": ready, "missing": missing}
        lines += ["", say("admin.pending", **words), _format_seats(pending["validators"])]
    emit(as_json, document, "\n".join(lines))


def _format_seats(seats: list[dict[str, Any]]) -> str:
    head = [say(f"column.{name}") for name in ("member", "hearing", "consensus_key")]
    rows = [
        [seat["member"], say(f"admin.{seat['hearing']}"), seat["consensus_key"]] for seat in seats
    ]
    return format_table(head, rows)


@command.group("validator", cls=WordGroup, help="help.admin_validator")
def validator() -> None:
    """Group."""


def _proposal_options(function: Callable[..., None]) -> Callable[..., None]:
    """Options of every proposal."""
    decorated = place_options("admin")(function)
    decorated = option("--force", is_flag=True, help="option.force")(decorated)
    decorated = option("--dry-run", is_flag=True, help="option.dry_run")(decorated)
    decorated = option(
        "--activate-height", type=click.IntRange(0), default=0, help="option.activate_height"
    )(decorated)
    return option("--text", default="", help="option.proposal_text")(decorated)


@validator.command("add", help="help.admin_validator_add")
@click.argument("application", type=click.Path(path_type=Path, dir_okay=False))
@_proposal_options
def add(place: Place, application: Path, **values: Any) -> None:
    """Propose that a node joins."""
    _propose(place, read_application(application), **values)


@validator.command("remove", help="help.admin_validator_remove")
@click.argument("leaving")
@_proposal_options
def remove(place: Place, leaving: str, **values: Any) -> None:
    """Propose that a member's node leaves."""
    _propose(place, RemoveValidator(member=leaving), **values)


@validator.command("keep", help="help.admin_validator_keep")
@_proposal_options
def keep(place: Place, **values: Any) -> None:
    """Propose to abandon the change that waits."""
    _propose(place, KeepValidators(), **values)


@command.command("ballot", help="help.admin_ballot")
@click.argument("proposal")
@option("--reject", is_flag=True, help="option.reject")
@option("--text", default="", help="option.proposal_text")
@place_options("admin")
def ballot(place: Place, proposal: str, reject: bool, text: str, as_json: bool) -> None:
    """Vote on a proposal."""
    body = GovernanceBalloted(proposal=parse_hash(proposal), approve=not reject, text=text)
    act(place, body, as_json, done="admin.balloted")


@command.command("withdraw", help="help.admin_withdraw")
@click.argument("proposal")
@place_options("admin")
def withdraw(place: Place, proposal: str, as_json: bool) -> None:
    """Take one's own proposal back."""
    body = GovernanceWithdrawn(proposal=parse_hash(proposal))
    act(place, body, as_json, done="admin.withdrawn")


def _propose(
    place: Place,
    action: Action,
    *,
    text: str,
    activate_height: int,
    dry_run: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Ask what the change would do; refuse what cannot be or would stop the network; propose."""

    async def ask() -> tuple[dict[str, Any], int]:
        async with Client(place.url, read_genesis(place.genesis)) as client:
            height = (await client.get_json("/v1/status"))["height"]
            return await client.preview_actions([action]), int(height)

    preview, height = run(ask())
    for fault in preview["faults"]:
        code, words = fault["code"], {name: fault[name] for name in ("title", "advice")}
        raise RefusedEvent(code, fault["detail"], **words)
    if dry_run:
        emit(as_json, preview, _describe(preview))
        return
    if not preview["has_live_quorum"] and not force:
        raise RefusedEvent("no-live-quorum", _describe(preview))
    click.echo(_describe(preview), err=True)
    body = GovernanceProposed(
        actions=(action,),
        text=text,
        activate_height=activate_height,
        ballots_until_height=height + BALLOT_BLOCKS,
    )
    act(place, body, as_json, done="admin.proposed")


def _describe(preview: dict[str, Any]) -> str:
    """What the network would be after the change."""
    names = ("added", "removed", "heard", "silent", "unlinked")
    lists = {name: ", ".join(preview[name]) or "-" for name in names}
    count = len(preview["members"])
    return say(
        "admin.preview",
        count=count,
        quorum=preview["quorum"],
        online=len(preview["heard"]),
        **lists,
    )
