"""Ballots that counted on a proposal, however many that did not lie between them in the log."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from contracts.lookup import find_proposal
from ledger.blocks import RECORDS
from ledger.events import Event, parse_event
from ledger.governance.proposals import BALLOT_BOXES, GovernanceBalloted
from ledger.state import ballot_box_key
from node.api.schemas.governance import proposals as bodies
from node.service import Service

# Records that are read at once, before others have their turn, and boxes likewise.
CHUNK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballots:
    """Ballots that counted, in log order, and the height of the last word on a proposal."""

    counted: list[bodies.BallotBody]
    decided_height: int


async def read_ballots(service: Service, digest: bytes, charge: Callable[[], None]) -> Ballots:
    """The ballots on a proposal that is on the ledger.

    Ballots that were refused stand under the proposal too, as many as anybody cared to sign. The
    state knows how many counted: the log is read until these are found. `charge` is called for
    each further chunk, so that whoever has the node read much pays for it; it may raise.
    """
    index, _ = opening_of(service, digest)
    found: list[bodies.BallotBody] = []
    height = service.block_height_of(index)
    while len(found) < _count_ballots(service, digest):
        indexes = service.exchange_indexes(digest, index + 1, CHUNK)
        assert indexes, "the ballots that the state counts are in the log"
        for index in indexes:
            record = RECORDS.decode(service.read_entries(index, 1)[0])
            event = parse_event(record.event)
            if record.outcome.applied and isinstance(event.body, GovernanceBalloted):
                height = service.block_height_of(index)
                found.append(bodies.ballot_body(event, event.body, index=index, height=height))
        if len(indexes) == CHUNK:
            charge()
            await asyncio.sleep(0)
    return Ballots(counted=found, decided_height=height)


def opening_of(service: Service, digest: bytes) -> tuple[int, Event]:
    """The event that proposed, and its place in the log."""
    index = service.event_status(digest).index
    record = RECORDS.decode(service.read_entries(index, 1)[0])
    return index, parse_event(record.event)


def _count_ballots(service: Service, digest: bytes) -> int:
    """Ballots that count: one for each rejection, and one for each key but that which proposed."""
    proposal = find_proposal(service.state(), digest)
    assert proposal is not None, "the ledger forgets no proposal"
    count, prefix = len(proposal.rejected) - 1, ballot_box_key(digest, "")
    start = prefix
    while pairs := service.scan_state(prefix, start, CHUNK):
        count += sum(len(BALLOT_BOXES.decode(value).officers) for _, value in pairs)
        start = pairs[-1][0] + b"\0"
    return count
