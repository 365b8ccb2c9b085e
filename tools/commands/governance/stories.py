"""`tally admin proposals`, `proposal`, `rules`, `history`, `frozen`: what was decided, and how."""

from collections.abc import Iterator
from typing import Any, get_args
from urllib.parse import quote

import click
import msgspec

from contracts.governance.catalogue import target_of
from ledger.genesis import Genesis
from ledger.governance.actions import Action
from ledger.governance.proposals import ProposalStatus
from tools.client import Client
from tools.commands.acting import Place, parse_hash, place_options
from tools.commands.exchange.pages import fetch_pages
from tools.exits import InvalidAnswer
from tools.governance.answers import History, Rules, Status, Summary, parse
from tools.governance.changes import compare, tell_target
from tools.governance.stories import (
    Story,
    fetch_story,
    format_story,
    tell_class,
    tell_status,
)
from tools.mirror import read_genesis
from tools.options import WordCommand, option
from tools.output import Bar, emit, format_table, printable, progress, run
from tools.words import catalogue, language, say

STATUSES = [*get_args(ProposalStatus), "expired"]


@click.command("proposals", cls=WordCommand, help="help.admin_proposals")
@option("--status", type=click.Choice(STATUSES), help="option.status")
@place_options(None)
def proposals(place: Place, status: str | None, as_json: bool) -> None:
    """List proposals, newest last."""

    async def fetch() -> list[dict[str, Any]]:
        async with Client(place.url, read_genesis(place.genesis)) as client:
            return await fetch_proposals(client, status)

    found = run(fetch())
    items = [parse(each, Summary) for each in found]
    columns = ("index", "digest", "class", "actions", "member", "status", "approvals", "until")
    head = [say(f"column.{name}") for name in columns]
    text = format_table(head, [_row(each) for each in items])
    emit(as_json, {"proposals": found}, text if found else say("story.none"))


async def fetch_proposals(client: Client, status: str | None = None) -> list[dict[str, Any]]:
    """All summaries, in log order."""
    query = {"status": status} if status else {}
    found = await fetch_pages(client, "/v1/proposals", dict[str, Any], query, limit=100)
    return sorted(found, key=lambda each: parse(each, Summary).index)


def _row(item: Summary) -> list[str]:
    words = catalogue(language())
    actions = [words.get(f"action.{tag.replace('.', '_')}", tag) for tag in item.actions]
    cells = [
        str(item.index),
        item.digest,
        tell_class(item.action_class),
        ", ".join(actions),
        item.member,
        tell_status(item.status),
        f"{len(item.approved)}/{item.needed}",
        str(item.ballots_until_height),
    ]
    return [printable(cell) for cell in cells]


@click.command("proposal", cls=WordCommand, help="help.admin_proposal")
@click.argument("digest")
@place_options(None)
def proposal(place: Place, digest: str, as_json: bool) -> None:
    """Show everything about a proposal."""

    async def fetch() -> Story:
        async with Client(place.url, read_genesis(place.genesis)) as client:
            return await fetch_story(client, parse_hash(digest))

    story = run(fetch())
    emit(as_json, story.document, format_story(story))


@click.command("rules", cls=WordCommand, help="help.admin_rules")
@place_options(None)
def rules(place: Place, as_json: bool) -> None:
    """Show whose votes carry what."""

    async def fetch() -> dict[str, Any]:
        async with Client(place.url, read_genesis(place.genesis)) as client:
            return await client.get_json("/v1/rules")

    document = run(fetch())
    told = parse(document, Rules)
    head = [say(f"column.{name}") for name in ("class", "needed", "share", "factors")]
    count = len(told.voters)
    rows = [
        [
            tell_class(each.action_class),
            f"{each.needed}/{count}",
            f"> {each.share}/1000",
            str(each.factors),
        ]
        for each in told.rules
    ]
    voters = say("governance.voters", count=count, names=printable(", ".join(told.voters)))
    emit(as_json, document, f"{format_table(head, rows)}\n{voters}\n{say('governance.own_rule')}")


@click.command("history", cls=WordCommand, help="help.admin_history")
@click.argument("target")
@place_options(None)
def history(place: Place, target: str, as_json: bool) -> None:
    """Show every version of a thing on the ledger, and how it differs from the one before."""
    genesis = read_genesis(place.genesis)

    async def fetch(bar: Bar) -> list[tuple[int, Story]]:
        async with Client(place.url, genesis) as client:
            document = await client.get_json(f"/v1/history/{quote(target)}")
            revisions = parse(document, History).revisions
            found = []
            for done, revision in enumerate(revisions, start=1):
                story = await fetch_story(client, parse_hash(revision.proposal))
                found.append((revision.height, story))
                bar(done, len(revisions))
            return found

    with progress("governance.reading") as bar:
        found = run(fetch(bar))
    versions = list(_versions(target, genesis, found))
    lines = [line for version in versions for line in version.lines]
    text = "\n".join([tell_target(target), *lines]) if lines else say("governance.no_history")
    documents = [version.document for version in versions]
    emit(as_json, {"target": target, "versions": documents}, text)


class _Version(msgspec.Struct, frozen=True, kw_only=True):
    document: dict[str, Any]
    lines: list[str]


def _versions(target: str, genesis: Genesis, found: list[tuple[int, Story]]) -> Iterator[_Version]:
    before = _value_in_genesis(target, genesis)
    for height, story in found:
        actions = [each for each in story.body.actions if target_of(each) == target]
        if not actions:
            raise InvalidAnswer("answer-mismatch", story.event.digest.hex())
        for action in actions:
            after = _value_of(action)
            different = list(compare(before, after))
            head = say(
                "governance.version",
                height=height,
                member=story.event.member,
                digest=story.event.digest.hex(),
                text=printable(f"  {story.body.text}" if story.body.text else ""),
            )
            yield _Version(
                document={
                    "height": height,
                    "proposal": story.event.digest.hex(),
                    "member": story.event.member,
                    "text": story.body.text,
                    "approved": list(story.told.approved),
                    "difference": different,
                },
                lines=[head, *(f"    {line}" for line in different)],
            )
            before = after


def _value_of(action: Action) -> Any:
    """What an action sets, without its frame: `{"action": .., "dataset": X}` gives X."""
    fields = msgspec.to_builtins(action, builtin_types=(bytes,))
    fields.pop("action")
    return next(iter(fields.values())) if len(fields) == 1 else fields


def _value_in_genesis(target: str, genesis: Genesis) -> Any:
    """The first version of what genesis names; None for the rest."""
    kind, _, name = target.partition("/")
    if kind == "parameters":
        return msgspec.to_builtins(genesis.parameters)
    if kind == "schema":
        return genesis.policy_set.schema
    named: dict[str, tuple[Any, ...]] = {
        "contract": genesis.policy_set.contracts,
        "dataset": genesis.datasets,
        "basis": genesis.legal_bases,
        "purpose": genesis.purposes,
    }
    values = [each for each in named.get(kind, ()) if each.id == name]
    return msgspec.to_builtins(values[0]) if values else None


@click.command("frozen", cls=WordCommand, help="help.admin_frozen")
@place_options(None)
def frozen(place: Place, as_json: bool) -> None:
    """Show what is frozen."""

    async def fetch() -> dict[str, Any]:
        async with Client(place.url, read_genesis(place.genesis)) as client:
            return await client.get_json("/v1/status")

    found = parse(run(fetch()), Status).freezes
    names = ("requester", "provider", "dataset", "reason")
    head = [say(f"column.{name}") for name in names]
    rows = [[printable(getattr(each, name)) or "*" for name in names] for each in found]
    text = format_table(head, rows) if found else say("governance.nothing_frozen")
    emit(as_json, {"freezes": msgspec.to_builtins(found)}, text)


COMMANDS = (proposals, proposal, rules, history, frozen)
