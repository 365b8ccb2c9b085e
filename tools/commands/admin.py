"""`tally admin`: what members decide by vote, each signed on its own machine."""

from pathlib import Path
from typing import Any

import click

from ledger.quorum.governance import KeepValidators, RemoveValidator
from tools.client import Client
from tools.commands.acting import Place, place_options
from tools.commands.governance import ballots, propose, registers, stories
from tools.commands.governance.proposing import Terms, proposal_options
from tools.commands.governance.proposing import propose as propose_actions
from tools.found.command import command as found
from tools.founding import read_application
from tools.mirror import read_genesis
from tools.options import WordGroup
from tools.output import emit, format_table, run
from tools.words import say


@click.group(cls=WordGroup, help="help.admin")
def command() -> None:
    """Group."""


command.add_command(found)
command.add_command(propose.command)
for _each in (*ballots.COMMANDS, *stories.COMMANDS, *registers.COMMANDS):
    command.add_command(_each)


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


@validator.command("add", help="help.admin_validator_add")
@click.argument("application", type=click.Path(path_type=Path, dir_okay=False))
@proposal_options(force=True)
def add(place: Place, application: Path, terms: Terms, as_json: bool) -> None:
    """Propose that a node joins."""
    propose_actions(place, [read_application(application)], terms, as_json)


@validator.command("replace", help="help.admin_validator_replace")
@click.argument("application", type=click.Path(path_type=Path, dir_okay=False))
@proposal_options(force=True)
def replace(place: Place, application: Path, terms: Terms, as_json: bool) -> None:
    """Propose that a member's node has other keys."""
    successor = read_application(application)
    leaving = RemoveValidator(member=successor.validator.member)
    propose_actions(place, [leaving, successor], terms, as_json)


@validator.command("remove", help="help.admin_validator_remove")
@click.argument("leaving")
@proposal_options(force=True)
def remove(place: Place, leaving: str, terms: Terms, as_json: bool) -> None:
    """Propose that a member's node leaves."""
    propose_actions(place, [RemoveValidator(member=leaving)], terms, as_json)


@validator.command("keep", help="help.admin_validator_keep")
@proposal_options(force=True)
def keep(place: Place, terms: Terms, as_json: bool) -> None:
    """Propose to abandon the change that waits."""
    propose_actions(place, [KeepValidators()], terms, as_json)
