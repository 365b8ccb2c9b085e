"""`tally admin ballot`, `withdraw`, and signing without a network: `sign`, `submit`."""

import sys
from pathlib import Path

import click

from ledger.errors import InvalidEvent
from ledger.events import Event
from ledger.genesis import hash_genesis
from ledger.governance.proposals import (
    GovernanceAcknowledged,
    GovernanceBalloted,
    GovernanceProposed,
    GovernanceWithdrawn,
)
from ledger.keys import fingerprint
from tools.client import Client, Moment, VerifiedRecord
from tools.commands.acting import Place, execute, parse_hash, place_options, report
from tools.commands.governance.proposing import deliver
from tools.custody.passphrase import Ways, passphrase_options
from tools.custody.signer import open_signer
from tools.exits import InvalidInput, RefusedEvent, ToolError
from tools.governance.answers import Status, parse
from tools.governance.drafts import Vote, format_draft, read_draft, read_signed, sign_draft
from tools.governance.stories import (
    Story,
    fetch_story,
    format_story,
    format_votes,
    tell_status,
)
from tools.mirror import read_genesis
from tools.options import WordCommand, common, option
from tools.output import confirm, emit, note, run
from tools.words import say

FILE = click.Path(path_type=Path, dir_okay=False)
_yes = option("--yes", is_flag=True, help="option.yes_vote")
_out = option("--out", "-o", type=FILE, required=True, help="option.out_signed")
_DONE: dict[type, str] = {
    GovernanceProposed: "admin.proposed",
    GovernanceBalloted: "admin.balloted",
    GovernanceWithdrawn: "admin.withdrawn",
    GovernanceAcknowledged: "member.acknowledged",
}


@click.command("ballot", cls=WordCommand, help="help.admin_ballot")
@click.argument("proposal")
@option("--reject", is_flag=True, help="option.reject")
@option("--text", default="", help="option.proposal_text")
@_yes
@place_options("admin", drafts=True)
def ballot(place: Place, proposal: str, reject: bool, text: str, yes: bool, as_json: bool) -> None:
    """Vote on a proposal."""
    body = GovernanceBalloted(proposal=parse_hash(proposal), approve=not reject, text=text)
    decide(place, body, as_json, yes=yes)


@click.command("withdraw", cls=WordCommand, help="help.admin_withdraw")
@click.argument("proposal")
@_yes
@place_options("admin", drafts=True)
def withdraw(place: Place, proposal: str, yes: bool, as_json: bool) -> None:
    """Take one's own proposal back."""
    decide(place, GovernanceWithdrawn(proposal=parse_hash(proposal)), as_json, yes=yes)


def decide(place: Place, body: Vote, as_json: bool, *, yes: bool) -> None:
    """Show what a proposal would change, ask, then sign: nobody signs what it has not seen."""

    async def fetch() -> tuple[Story, Moment]:
        async with Client(place.url, read_genesis(place.genesis)) as client:
            story = await fetch_story(client, body.proposal)
            return story, await client.fetch_moment()

    story, moment = run(fetch())
    note(format_story(story))
    counts = not isinstance(body, GovernanceAcknowledged)
    if counts and story.told.status not in ("open", "expired"):
        # What has expired the network itself refuses, by its own height.
        raise RefusedEvent("proposal-closed", tell_status(story.told.status))
    if place.draft is None:
        _ask(body, yes)
    deliver(
        place, body, as_json, moment=moment, proposal=story.event, changes=story.told.changes,
        done=_DONE[type(body)],
    )  # fmt: skip
    if place.draft is None and counts:
        note(format_votes(run(fetch())[0].told))


def _ask(body: Vote, yes: bool) -> None:
    """On a terminal a person says yes. Raises `ToolError` otherwise."""
    if yes or not sys.stdin.isatty():
        return
    verb = "withdraw"
    if isinstance(body, GovernanceBalloted):
        verb = "approve" if body.approve else "reject"
    elif isinstance(body, GovernanceAcknowledged):
        verb = "acknowledge"
    if not confirm(say(f"governance.ask_{verb}")):
        raise ToolError("not-signed", body.proposal.hex())


@click.command("sign", cls=WordCommand, help="help.admin_sign")
@click.argument("draft", type=FILE)
@option("--key", required=True, help="option.key")
@passphrase_options
@option("--genesis", type=FILE, required=True, help="option.genesis")
@_out
@_yes
@common
def sign(
    draft: Path, key: str, ways: Ways, genesis: Path, out: Path, yes: bool, as_json: bool
) -> None:
    """Sign a draft; needs no network."""
    founding = read_genesis(genesis)
    content = read_draft(draft)
    if content.network != hash_genesis(founding):
        raise InvalidInput("wrong-network", f"{draft}: {content.network.hex()}")
    note(format_draft(content))
    if not (yes or not sys.stdin.isatty() or confirm(say("draft.ask"))):
        raise ToolError("not-signed", str(draft))
    signer = open_signer(key, ways)
    try:
        event = sign_draft(content, signer)
    except InvalidEvent as error:
        raise InvalidInput("signing-draft-invalid", f"{draft}: {error}") from None
    try:
        with out.open("xb") as file:
            file.write(event.data)
    except FileExistsError:
        raise InvalidInput("file-exists", str(out)) from None
    document = {
        "signed": str(out),
        "digest": event.digest.hex(),
        "kind": event.kind,
        "member": event.member,
        "fingerprint": fingerprint(signer.public),
        "expires_height": event.expires_height,
    }
    emit(as_json, document, say("draft.signed", **document))


@click.command("submit", cls=WordCommand, help="help.admin_submit")
@click.argument("signed", type=FILE)
@place_options(None)
def submit(place: Place, signed: Path, as_json: bool) -> None:
    """Send a signed event, and verify its receipt."""
    event = read_signed(signed)
    record = run(_submit(place, event))
    report(place, record, as_json, done=_DONE.get(type(event.body), "officer.done"))


async def _submit(place: Place, event: Event) -> VerifiedRecord:
    async with Client(place.url, read_genesis(place.genesis)) as client:
        if event.network != client.network:
            raise InvalidInput("wrong-network", event.network.hex())
        height = parse(await client.get_json("/v1/status"), Status).height
        if height >= event.expires_height:
            raise InvalidInput("event-expired", f"{event.expires_height} <= {height}")
        return await execute(client, event, place.others)


COMMANDS = (ballot, withdraw, sign, submit)
