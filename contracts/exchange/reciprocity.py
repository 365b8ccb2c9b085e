"""Who gives and who takes: receipts counted, and how far a member depends on one other.

Counters of requests, answers and records sent stand with the pair, purpose and year
(`PairCounters`): the provider says how many records it sends. What arrived, the requester says
(`Receipts`). The dependency index is the share of a member's incoming data of a year that comes
from one other, in thousandths, never rounded up: the mean of its shares of exchanges and records.
"""

from dataclasses import dataclass

import msgspec

from ledger.exchange.receipts import NO_RECEIPTS, RECEIPTS, Receipts
from ledger.registry import Exchange
from ledger.state import Overlay, StateReader, receipts_key

WHOLE = 1_000
_COUNT_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """Shares of the exchanges and records that one provider sent, and the index, in thousandths."""

    exchanges: int
    records: int
    index: int


def read_receipts(
    state: StateReader, requester: str, year: int, provider: str = "", purpose: str = ""
) -> Receipts:
    """What a member received in a year: of everybody, of a provider, for a purpose."""
    data = state.get(receipts_key(requester, year, provider, purpose))
    return NO_RECEIPTS if data is None else RECEIPTS.decode(data)


def count_receipt(overlay: Overlay, exchange: Exchange, records: int, year: int) -> None:
    """Count a delivery that the requester has received."""
    requester, provider = exchange.requester, exchange.provider
    for names in ((), (provider,), (provider, exchange.purpose)):
        key = receipts_key(requester, year, *names)
        data = overlay.get(key)
        before = NO_RECEIPTS if data is None else RECEIPTS.decode(data)
        after = msgspec.structs.replace(
            before,
            exchanges=before.exchanges + 1,
            # A requester states how many records it counts: a sum stops where encoding ends.
            records=min(before.records + records, _COUNT_MAX),
        )
        overlay.put(key, RECEIPTS.encode(after))


def weigh_dependency(part: Receipts, whole: Receipts) -> Dependency:
    """How much of the `whole` of a member's receipts the `part` from one provider is."""
    exchanges = _share(part.exchanges, whole.exchanges)
    records = _share(part.records, whole.records)
    return Dependency(exchanges=exchanges, records=records, index=(exchanges + records) // 2)


def read_dependency(state: StateReader, requester: str, provider: str, year: int) -> Dependency:
    """How far a member depends on a provider in a year."""
    part = read_receipts(state, requester, year, provider)
    return weigh_dependency(part, read_receipts(state, requester, year))


def _share(part: int, whole: int) -> int:
    return part * WHOLE // whole if whole else 0
