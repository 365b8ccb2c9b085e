"""The records of a copy, verified on the way, that some filters let pass."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from contracts.lookup import find_exchange
from contracts.replay import Beginning
from ledger.blocks import Outcome
from ledger.events import Event, ShareOpening
from ledger.verify import LogCopy, MapEvents, read_blocks
from tools.audit.index.build import parties_of
from tools.audit.left import NOTHING_BEFORE
from tools.audit.period import Period


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A record and its place. `is_wanted`: the filters let it pass."""

    index: int
    height: int
    time_ms: int
    event: Event
    outcome: Outcome
    is_wanted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What is wanted; `kinds` and `member` may be empty: all."""

    kinds: Collection[str] = ()
    member: str = ""
    from_height: int = 1
    period: Period = field(default_factory=Period)


def read_rows(
    copy: LogCopy,
    filters: Filters,
    map_events: MapEvents = map,
    begin: Beginning | None = None,
) -> Iterator[Row]:
    """Records up to the end of the period, also those that nobody wants. Raises `Divergence`.

    Later records name an exchange by the digest of its first: so all are seen, or begun with a
    state that knows the exchanges before.
    """
    parties: dict[bytes, frozenset[str]] = {}
    before = NOTHING_BEFORE if begin is None else begin.state
    start = None if begin is None else begin.start
    for block in read_blocks(copy, map_events, start=start):
        height, time_ms = block.header.height, block.header.time_ms
        if filters.period.is_over(time_ms):
            return
        is_due = height >= filters.from_height and filters.period.has_begun(time_ms)
        rows = zip(block.events, block.outcomes, strict=True)
        for index, (event, outcome) in enumerate(rows, start=block.index + 1):
            if isinstance(event.body, ShareOpening):
                parties[event.digest] = frozenset(parties_of(event))
            elif event.exchange not in parties and (known := find_exchange(before, event.exchange)):
                parties[event.exchange] = frozenset((known.requester, known.provider))
            concerned = parties.get(event.exchange, frozenset()) | {event.member}
            yield Row(
                index=index,
                height=height,
                time_ms=time_ms,
                event=event,
                outcome=outcome,
                is_wanted=is_due
                and (not filters.kinds or event.kind in filters.kinds)
                and (not filters.member or filters.member in concerned),
            )
