"""What all proposals share: options, the dry run, and sending or drafting."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ledger.events import Event
from ledger.governance.actions import Action
from ledger.governance.proposals import GovernanceProposed
from tools.client import Client, Moment
from tools.commands.acting import Place, act, place_options
from tools.exits import InvalidInput, RefusedEvent
from tools.governance.actions import check_action, format_actions
from tools.governance.answers import Preview, Seats, parse
from tools.governance.changes import Change, format_changes
from tools.governance.drafts import GovernanceBody, encode_draft, format_draft, make_draft
from tools.governance.stories import tell_class
from tools.mirror import read_genesis
from tools.options import option
from tools.output import emit, note, printable, run
from tools.words import say

BALLOT_BLOCKS = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Grounds of a proposal, from when it holds, how long ballots count; only try, or insist."""

    text: str
    activate_height: int
    ballot_blocks: int | None
    dry_run: bool
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A proposal that the node found possible: what it does, and the body to sign."""

    body: GovernanceProposed
    preview: Preview
    document: dict[str, Any]
    moment: Moment


def proposal_options(*, force: bool = False) -> Callable[[Callable[..., None]], Callable[..., Any]]:
    """Options of a proposal: the function gets a `Place` and `Terms`."""

    def decorate(function: Callable[..., None]) -> Callable[..., Any]:
        def wrapped(
            text: str, activate_height: int, ballot_blocks: int | None, dry_run: bool, **rest: Any
        ) -> None:
            terms = Terms(
                text=text,
                activate_height=activate_height,
                ballot_blocks=ballot_blocks,
                dry_run=dry_run,
                force=bool(rest.pop("force", False)),
            )
            function(terms=terms, **rest)

        wrapped.__doc__ = function.__doc__
        wrapped.__name__ = function.__name__
        decorated = place_options("admin", drafts=True)(wrapped)
        if force:
            decorated = option("--force", is_flag=True, help="option.force")(decorated)
        decorated = option("--dry-run", is_flag=True, help="option.dry_run")(decorated)
        decorated = option("--ballot-blocks", type=click.IntRange(1), help="option.ballot_blocks")(
            decorated
        )
        decorated = option(
            "--activate-height", type=click.IntRange(0), default=0, help="option.activate_height"
        )(decorated)
        return option("--text", default="", help="option.proposal_text")(decorated)

    return decorate


def propose(place: Place, actions: Sequence[Action], terms: Terms, as_json: bool) -> None:
    """Ask what the change would do; refuse what cannot be or would stop the network; propose."""
    prepared = prepare(place, actions, terms)
    if terms.dry_run:
        emit(as_json, document_of(prepared), describe(prepared))
        return
    note(describe(prepared))
    deliver(
        place, prepared.body, as_json, changes=prepared.preview.changes, moment=prepared.moment,
        done="admin.proposed",
    )  # fmt: skip


def prepare(place: Place, actions: Sequence[Action], terms: Terms) -> Prepared:
    """The proposal, found possible by the node. Raises `InvalidInput`, `RefusedEvent`."""
    checked = [check_action(action) for action in actions]
    genesis = read_genesis(place.genesis)

    async def ask() -> tuple[dict[str, Any], Moment]:
        async with Client(place.url, genesis) as client:
            moment = await client.fetch_moment()
            return await client.preview_proposal(checked, place.member), moment

    document, moment = run(ask())
    preview = parse(document, Preview)
    for fault in preview.faults:
        raise RefusedEvent(fault.code, fault.detail, title=fault.title, advice=fault.advice)
    body = GovernanceProposed(
        actions=tuple(checked),
        text=terms.text,
        activate_height=terms.activate_height,
        ballots_until_height=moment.height + ballot_blocks(terms, moment),
    )
    prepared = Prepared(body=body, preview=preview, document=document, moment=moment)
    seats = preview.validators
    if seats is not None and not (seats.has_live_quorum or terms.force or terms.dry_run):
        raise RefusedEvent("no-live-quorum", describe(prepared))
    return prepared


def ballot_blocks(terms: Terms, moment: Moment) -> int:
    """For how many blocks ballots count."""
    return terms.ballot_blocks or min(BALLOT_BLOCKS, moment.expiry_blocks_max // 2)


def document_of(prepared: Prepared) -> dict[str, Any]:
    """A dry run for `--json`; what concerns validators stands in it as it always did."""
    return {**(prepared.document["validators"] or {}), **prepared.document}


def describe(prepared: Prepared) -> str:
    """What would change, and whose votes carry it."""
    preview = prepared.preview
    actions = format_actions(prepared.body.actions, beside=preview.changes)
    lines = [actions, _describe_votes(preview)]
    if preview.validators is not None:
        lines.append(describe_validators(preview.validators))
    if preview.changes:
        lines.append(format_changes(preview.changes))
    return "\n".join(lines)


def _describe_votes(preview: Preview) -> str:
    if preview.own:
        return say("governance.own")
    kind = tell_class(preview.action_class)
    told = say("governance.votes", action_class=kind, needed=preview.needed, voters=preview.voters)
    if preview.factors > 1:
        told += "\n" + say("story.factors", factors=preview.factors)
    return told


def describe_validators(seats: Seats) -> str:
    """What the network would be after the change."""
    names = ("added", "removed", "heard", "silent", "unlinked")
    lists = {name: printable(", ".join(getattr(seats, name))) or "-" for name in names}
    return say(
        "admin.preview",
        count=len(seats.members),
        quorum=seats.quorum,
        online=len(seats.heard),
        **lists,
    )


def deliver(
    place: Place,
    body: GovernanceBody,
    as_json: bool,
    *,
    done: str,
    moment: Moment,
    proposal: Event | None = None,
    changes: Sequence[Change] = (),
) -> None:
    """Sign and send, or write the draft that another machine signs."""
    if place.draft is None:
        act(place, body, as_json, done=done)
        return
    document = write_draft(
        place, place.draft, body, moment=moment, proposal=proposal, changes=changes
    )
    emit(as_json, document, say("draft.written", path=place.draft))


def write_draft(
    place: Place,
    path: Path,
    body: GovernanceBody,
    *,
    moment: Moment,
    proposal: Event | None = None,
    changes: Sequence[Change] = (),
) -> dict[str, Any]:
    """Write a draft to a new file; what was written, for `--json`."""
    draft = make_draft(
        body,
        genesis=read_genesis(place.genesis),
        member=place.member,
        moment=moment,
        proposal=proposal,
        changes=changes,
    )
    note(format_draft(draft))
    try:
        with path.open("xb") as file:
            file.write(encode_draft(draft))
    except FileExistsError:
        raise InvalidInput("file-exists", str(path)) from None
    return {
        "draft": str(path),
        "kind": draft.kind,
        "member": draft.member,
        "network": draft.network.hex(),
        "nonce": draft.nonce.hex(),
        "expires_height": draft.expires_height,
    }
