"""Bodies about who gives and who takes."""

from contracts.exchange.reciprocity import weigh_dependency
from ledger.exchange.receipts import Receipts
from ledger.registry import PairCounters
from node.api.schemas.base import Body


class PairBody(Body, frozen=True, kw_only=True):
    """What one member asked of another in a year (UTC) for a purpose, and what came of it.

    `asked` are requests, `answered` first deliveries (`late` of them after the deadline), offers
    included. `records_sent` is what the provider says, `received` and `records_received` what the
    requester confirms.
    """

    requester: str
    provider: str
    purpose: str
    year: int
    asked: int
    permitted: int
    reviewed: int
    denied: int
    refused: int
    answered: int
    in_time: int
    late: int
    records_sent: int
    received: int
    records_received: int


class PairPage(Body, frozen=True, kw_only=True):
    """A page of pairs; `next` is the cursor of the next page, or null at the end."""

    items: list[PairBody]
    next: str | None


class SourceBody(Body, frozen=True, kw_only=True):
    """What came from one provider, and its share of everything, in thousandths.

    `index` is the mean of the shares of exchanges and of records.
    """

    provider: str
    exchanges: int
    records: int
    exchange_share: int
    record_share: int
    index: int


class DependencyBody(Body, frozen=True, kw_only=True):
    """Where a member's incoming data of a year (UTC) came from; a page of providers."""

    member: str
    year: int
    exchanges: int
    records: int
    items: list[SourceBody]
    next: str | None


def pair_body(
    names: tuple[str, str, str], year: int, counters: PairCounters, receipts: Receipts
) -> PairBody:
    """JSON shape of the counters of a pair; `names` are requester, provider and purpose."""
    requester, provider, purpose = names
    return PairBody(
        requester=requester,
        provider=provider,
        purpose=purpose,
        year=year,
        asked=counters.asked,
        permitted=counters.permitted,
        reviewed=counters.reviewed,
        denied=counters.denied,
        refused=counters.refused,
        answered=counters.delivered,
        in_time=counters.delivered - counters.late,
        late=counters.late,
        records_sent=counters.records,
        received=receipts.exchanges,
        records_received=receipts.records,
    )


def source_body(provider: str, part: Receipts, whole: Receipts) -> SourceBody:
    """JSON shape of what came from one provider."""
    share = weigh_dependency(part, whole)
    return SourceBody(
        provider=provider,
        exchanges=part.exchanges,
        records=part.records,
        exchange_share=share.exchanges,
        record_share=share.records,
        index=share.index,
    )
