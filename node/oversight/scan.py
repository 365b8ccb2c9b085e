"""All pairs of the final state under a prefix, read in pages."""

from collections.abc import Iterator

from ledger.log import Log

SCAN_PAIRS = 500


def scan_pairs(log: Log, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Pairs with keys that begin with `prefix`, in key order."""
    start = prefix
    while True:
        page = log.scan_state(prefix, start, SCAN_PAIRS)
        yield from page
        if len(page) < SCAN_PAIRS:
            return
        start = page[-1][0] + b"\0"
