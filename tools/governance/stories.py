"""A proposal as a story: who proposed what, what it changes, who said what, what is missing.

The proposal itself is read from its record, which is verified; what it would change now, and the
ballots, are the node's word.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from contracts.words import proposal_word
from ledger.events import Event
from ledger.governance.proposals import GovernanceProposed
from tools.client import Client
from tools.exits import InvalidAnswer, NotFound
from tools.governance.actions import format_actions
from tools.governance.answers import Status, Told, parse
from tools.governance.changes import format_changes
from tools.output import printable
from tools.words import catalogue, language, say, tell_detail

KEY_SHOWN = 24
BEHIND_S_MAX = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """The verified event of a proposal, and what the node tells of it."""

    event: Event
    told: Told
    document: dict[str, Any]

    @property
    def body(self) -> GovernanceProposed:
        """What was proposed."""
        assert isinstance(self.event.body, GovernanceProposed), "fetch_story has checked it"
        return self.event.body


async def fetch_story(client: Client, digest: bytes) -> Story:
    """Story of a proposal. Raises `InvalidAnswer`, `NotFound`."""
    document = await _fetch_proposal(client, f"/v1/proposals/{digest.hex()}")
    told = parse(document, Told)
    record = await client.fetch_record(told.index)
    is_proposal = isinstance(record.event.body, GovernanceProposed)
    if record.event.digest != digest or not is_proposal:
        raise InvalidAnswer("answer-mismatch", f"#{told.index}")
    return Story(event=record.event, told=told, document=document)


async def _fetch_proposal(client: Client, path: str) -> dict[str, Any]:
    """What the node says of a proposal. Raises `NotFound` if it does not come to know it soon.

    The node may be a block behind the one that recorded it, and not have heard of it: each block
    that becomes final meanwhile is a reason to ask again.
    """
    height = parse(await client.get_json("/v1/status"), Status).height
    try:
        return await client.get_json(path)
    except NotFound as error:
        unknown = error
    try:
        async with asyncio.timeout(BEHIND_S_MAX):
            async for _ in client.watch_indexes(after_height=height):
                with suppress(NotFound):
                    return await client.get_json(path)
    except TimeoutError:
        pass
    raise unknown


def format_story(story: Story) -> str:
    """The whole story."""
    return "\n".join(_lines(story))


def format_votes(told: Told) -> str:
    """How the voting stands, ballots left out."""
    return "\n".join((tell_status(told.status), *_count_votes(told)))


def _lines(story: Story) -> Iterator[str]:
    told, body = story.told, story.body
    yield say(
        "story.head",
        digest=story.event.digest.hex(),
        status=tell_status(told.status),
        member=printable(story.event.member),
        index=told.index,
        height=told.height,
        action_class=tell_class(told.action_class),
    )
    yield format_actions(body.actions, beside=told.changes)
    if body.text:
        yield say("governance.text", text=printable(body.text))
    if told.changes:
        yield say("story.changes")
        yield format_changes(told.changes)
    for fault in told.faults:
        detail = printable(tell_detail(fault.code, fault.detail))
        yield say("story.fault", code=printable(fault.code), detail=detail)
    yield from _tell_votes(told)


def _tell_votes(told: Told) -> Iterator[str]:
    for ballot in told.ballots:
        verb = "approves" if ballot.approve else "rejects"
        yield say(
            f"story.{verb}",
            height=ballot.height,
            index=ballot.index,
            member=printable(ballot.member),
            officer=printable(ballot.officer[:KEY_SHOWN]),
            text=printable(f"  {ballot.text}" if ballot.text else ""),
        )
    yield from _count_votes(told)


def _count_votes(told: Told) -> Iterator[str]:
    yield say(
        "story.count",
        approved=len(told.approved),
        needed=told.needed,
        voters=len(told.voters),
        names=_names(told.approved),
        rejected=_names(told.rejected),
    )
    if told.factors > 1:
        yield say("story.factors", factors=told.factors)
    if told.own:
        yield say("governance.own")
    if told.pending_second_key:
        yield say("story.second", names=_names(told.pending_second_key))
    if told.status == "open":
        yield say("story.until", height=told.ballots_until_height, names=_names(told.missing))
    if told.effective_height is not None:
        yield say("story.effective", height=told.effective_height)


def _names(names: tuple[str, ...]) -> str:
    return printable(", ".join(names)) or "-"


def tell_status(status: str) -> str:
    """The state of a proposal in words."""
    if status == "expired":
        return say("story.expired")
    try:
        return proposal_word(status, "zh" if language() == "zh" else "en")
    except KeyError:
        return printable(status)


def tell_class(name: str) -> str:
    """A class of actions in words."""
    return printable(catalogue(language()).get(f"class.{name}", name))
