"""What members confirmed to have received: the side of reciprocity that the provider cannot say."""

from ledger.codec import MemoCodec, Value
from ledger.scalars import Uint


class Receipts(Value, frozen=True, kw_only=True):
    """Exchanges that a member received, and the records in them, as it counted them.

    In a year (of block time, UTC): from one provider for one purpose, from one provider, or all.
    """

    exchanges: Uint
    records: Uint


RECEIPTS = MemoCodec(Receipts, size_bytes_max=64, kept=1_024)

NO_RECEIPTS = Receipts(exchanges=0, records=0)
