"""The story of each exchange, told by its records in the order of the log.

Times are block times; 0: not, or not yet. What the state knows already (its status, what it is
about) is not repeated here, except for the parties.
"""

from dataclasses import dataclass

from contracts.drafts.history import Happened
from contracts.exchange.matters import find_holding, read_matters
from contracts.lifecycle import DELIVERED, PERMITTED
from ledger.events import Event, ShareDelivered, ShareOpening, ShareRejected, ShareStep
from ledger.exchange.bodies import ShareOffered, ShareRated
from ledger.registry import EXCHANGES, Exchange
from ledger.state import MapState, exchange_key
from tools.audit.index.build import parties_of
from tools.audit.left import NOTHING_BEFORE, scan

REQUESTED = "requested"


@dataclass(slots=True, kw_only=True)
class Story:
    """One exchange. `permitted_ms` is when the contracts or an approver allowed it.

    `answered_ms` is when an approver answered a review; `delivered_ms` the newest delivery,
    `first_delivered_ms` the one that answered the request.
    """

    index: int
    height: int
    officer: bytes
    requester: str
    provider: str
    manner: str
    decision: str
    opened_ms: int
    permitted_ms: int = 0
    answered_ms: int = 0
    first_delivered_ms: int = 0
    delivered_ms: int = 0
    received_ms: int = 0
    used_ms: int = 0
    destroyed_ms: int = 0
    deliveries: int = 0
    rejections: int = 0
    corrections: int = 0
    disputes: int = 0
    quality: int = 0
    usefulness: int = 0

    def is_between(self, pair: frozenset[str]) -> bool:
        """Whether these two are its parties; an empty `pair` is everybody."""
        return not pair or pair == {self.requester, self.provider}


class Stories:
    """All stories, by the id of the exchange; those that began before as `before` tells them."""

    def __init__(self, before: MapState = NOTHING_BEFORE) -> None:
        self.of: dict[bytes, Story] = {
            id_: _resume(before, id_, exchange)
            for id_, exchange in scan(before, exchange_key(b""), EXCHANGES.decode)
        }

    def add(self, each: Happened) -> Story | None:
        """Tell on by a record. Returns the story that it belongs to, if it is of an exchange.

        A record that was not applied changes nothing.
        """
        event, body = each.event, each.event.body
        if isinstance(body, ShareOpening):
            if not each.outcome.applied:
                return None
            story = self.of[event.digest] = _begin(each)
            return story
        if not isinstance(body, ShareStep):
            return None
        known = self.of.get(body.exchange)
        if known is not None and each.outcome.applied:
            _go_on(known, event, each.time_ms)
        return known


def _resume(state: MapState, id_: bytes, exchange: Exchange) -> Story:
    """An exchange from before, with all that what may follow is measured from.

    What is past for good is not told: when a review was answered, once data was delivered.
    """
    changed_ms = exchange.changed_ms
    permitted_ms = exchange.requested_ms if exchange.decision == "permit" else 0
    if exchange.status == PERMITTED:
        permitted_ms = changed_ms
    holding = find_holding(read_matters(state, id_, exchange), exchange.requester)
    return Story(
        index=exchange.requested_index,
        height=0,
        officer=exchange.requested_by,
        requester=exchange.requester,
        provider=exchange.provider,
        manner="",
        decision=exchange.decision,
        opened_ms=exchange.requested_ms,
        permitted_ms=permitted_ms,
        delivered_ms=changed_ms if exchange.status == DELIVERED else 0,
        received_ms=0 if holding is None else holding.since_ms,
        deliveries=1 if exchange.commitment else 0,
    )


def _begin(each: Happened) -> Story:
    event, body = each.event, each.event.body
    requester, provider = parties_of(event)
    return Story(
        index=each.index,
        height=each.height,
        officer=event.officer,
        requester=requester,
        provider=provider,
        manner=body.manner if isinstance(body, ShareOffered) else REQUESTED,
        decision=each.outcome.decision,
        opened_ms=each.time_ms,
        permitted_ms=each.time_ms if each.outcome.decision == "permit" else 0,
    )


def _go_on(story: Story, event: Event, time_ms: int) -> None:
    match event.kind:
        case "share.approved":
            story.answered_ms = story.permitted_ms = time_ms
        case "share.refused":
            story.answered_ms = time_ms
        case "share.received":
            story.received_ms = time_ms
        case "share.used":
            story.used_ms = story.used_ms or time_ms
        case "share.destroyed" if event.member == story.requester:
            story.destroyed_ms = time_ms
        case "share.corrected":
            story.corrections += 1
        case "share.disputed":
            story.disputes += 1
    body = event.body
    if isinstance(body, ShareDelivered):
        story.first_delivered_ms = story.first_delivered_ms or time_ms
        story.delivered_ms = time_ms
        story.deliveries += 1
    elif isinstance(body, ShareRejected):
        story.rejections += 1
    elif isinstance(body, ShareRated):
        story.quality, story.usefulness = body.quality, body.usefulness
