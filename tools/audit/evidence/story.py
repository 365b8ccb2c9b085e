"""What the entries of a bundle tell: the events of one exchange, and the votes behind its signers.

An entry is a block header, an event of the exchange, or an event of governance that was applied;
nothing else belongs into a bundle. A record stands in the block whose header comes before it, so
height and time of every event are proven by the receipts of the two.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

from contracts.drafts.history import Happened
from ledger.blocks import HEADERS, RECORDS, Header, Outcome, Record, is_header
from ledger.errors import LedgerError
from ledger.events import Event, GovernanceBody, ShareOpening, parse_event, verify_event
from tools.audit.evidence.facts import Asked
from tools.exits import InvalidAnswer


def invalid_bundle(detail: str) -> InvalidAnswer:
    """The error of a bundle that contradicts itself."""
    return InvalidAnswer("bundle-invalid", detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A record in its block."""

    index: int
    header: Header
    event: Event
    outcome: Outcome

    @property
    def height(self) -> int:
        """Height of the block."""
        return self.header.height

    @property
    def time_ms(self) -> int:
        """Time of the block."""
        return self.header.time_ms

    def happened(self, asked: Asked | None) -> Happened:
        """The record with what the contracts were asked."""
        return Happened(
            index=self.index,
            height=self.height,
            time_ms=self.time_ms,
            event=self.event,
            outcome=self.outcome,
            act=None if asked is None else asked.act,
            facts=None if asked is None else asked.facts,
            basis=None if asked is None else asked.basis,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Events of the exchange and of governance, each in the order of the log."""

    events: tuple[Told, ...]
    governance: tuple[Told, ...]

    @property
    def opening(self) -> ShareOpening:
        """The body of the event that opened the exchange."""
        body = self.events[0].event.body
        assert isinstance(body, ShareOpening), "read_story has checked it"
        return body

    @property
    def members(self) -> tuple[str, ...]:
        """Requester and provider first, then everybody else who signed."""
        first, body = self.events[0].event.member, self.opening
        other = getattr(body, "provider", "") or getattr(body, "recipient", "")
        names = [first, other, *(told.event.member for told in self.events)]
        return tuple(dict.fromkeys(names))


def read_story(entries: Mapping[int, bytes], exchange: bytes, network: bytes) -> Story:
    """The story that proven entries tell, by index. Raises `InvalidAnswer`.

    Each event is one of this network, signed by the key that it names.
    """
    headers: dict[int, Header] = {}
    records: dict[int, Record] = {}
    for index, data in sorted(entries.items()):
        try:
            if is_header(data):
                headers[index] = HEADERS.decode(data)
            else:
                records[index] = RECORDS.decode(data)
        except LedgerError as error:
            raise invalid_bundle(f"#{index}: {error}") from None
    for index, header in headers.items():
        if (header.tree_size, header.network) != (index, network):
            raise invalid_bundle(f"#{index}: the header of another place or network")
    places = sorted(headers)
    told = [_tell(index, record, places, headers, network) for index, record in records.items()]
    events = tuple(each for each in told if each.event.exchange == exchange)
    others = tuple(each for each in told if each.event.exchange != exchange)
    for each in others:
        if not isinstance(each.event.body, GovernanceBody) or not each.outcome.applied:
            raise invalid_bundle(f"#{each.index}: {each.event.kind} has no place here")
    if not events or events[0].event.digest != exchange:
        raise invalid_bundle(f"the event {exchange.hex()} is missing")
    return Story(events=events, governance=others)


def _tell(
    index: int, record: Record, places: list[int], headers: dict[int, Header], network: bytes
) -> Told:
    at = bisect_left(places, index) - 1
    header = headers[places[at]] if at >= 0 else None
    if header is None or index > places[at] + header.record_count:
        raise invalid_bundle(f"#{index}: the header of its block is missing")
    try:
        event = parse_event(record.event)
        verify_event(event)
    except LedgerError as error:
        raise invalid_bundle(f"#{index}: {error}") from None
    if event.network != network:
        raise invalid_bundle(f"#{index}: signed for network {event.network.hex()[:16]}")
    return Told(index=index, header=header, event=event, outcome=record.outcome)
