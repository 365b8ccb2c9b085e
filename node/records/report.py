"""The quality report of one source: counts by rule and field, numbers of example rows, no values.

Canonical bytes are those of `ledger.codec`; `digest` is what a delivery puts on the ledger as
`quality_digest`: SHA-256 over the domain and the bytes. Rows count from 1, the first row of names
not among them. `rejected + duplicates + accepted == rows`.
"""

import hashlib
from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from ledger.codec import Codec, Value
from ledger.scalars import Identifier
from node.records.rules import RULES

REPORT_DOMAIN = b"tallystick/quality/v1\0"
EXAMPLES_MAX = 5
REPORT_BYTES_MAX = 262_144

Count = Annotated[int, Meta(ge=0)]


class RuleCount(Value, frozen=True, kw_only=True):
    """How often a rule was broken or applied in a field; empty `field` is the row as such."""

    rule: str
    severity: str
    field: str
    count: Count
    rows: tuple[Count, ...]


class Report(Value, frozen=True, kw_only=True):
    """What became of the rows of a source. `fields` are those permitted, sorted."""

    version: Count
    dataset: Identifier
    schema_version: Count
    fields: tuple[str, ...]
    rows: Count
    accepted: Count
    rejected: Count
    duplicates: Count
    fixed: Count
    warned: Count
    rules: tuple[RuleCount, ...]


_CODEC = Codec(Report, size_bytes_max=REPORT_BYTES_MAX)


def encode_report(report: Report) -> bytes:
    """Canonical bytes."""
    return _CODEC.encode(report)


def decode_report(data: bytes) -> Report:
    """The report of canonical bytes, or `InvalidEncoding`."""
    return _CODEC.decode(data)


def hash_report(report: Report) -> bytes:
    """The `quality_digest` of a delivery."""
    return hashlib.sha256(REPORT_DOMAIN + encode_report(report)).digest()


class Tally:
    """Counts while rows pass."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], int] = {}
        self.examples: dict[tuple[str, str], list[int]] = {}

    def count(self, rule: str, field: str, row: int) -> None:
        """One more in this row."""
        key = rule, field
        number = self.counts.get(key, 0) + 1
        self.counts[key] = number
        if number <= EXAMPLES_MAX:
            self.examples.setdefault(key, []).append(row)

    def rows(self) -> Iterable[RuleCount]:
        """Sorted by severity as declared, rule, field."""
        order = ("reject", "warn", "fix")
        keys = sorted(self.counts, key=lambda key: (order.index(RULES[key[0]]), key))
        for rule, field in keys:
            yield RuleCount(
                rule=rule,
                severity=RULES[rule],
                field=field,
                count=self.counts[rule, field],
                rows=tuple(self.examples[rule, field]),
            )
