"""The rules of record quality: each has a code, and a severity that says what becomes of the row.

`reject`: the row is not sent. `warn`: it is sent as it is, and counted. `fix`: the value was put
into its canonical form, or left out, and the row is sent.
"""

from typing import Literal

Severity = Literal["reject", "warn", "fix"]
SEVERITIES: tuple[Severity, ...] = ("reject", "warn", "fix")

RULES: dict[str, Severity] = {
    # The row as such.
    "row-unreadable": "reject",
    "row-encoding": "reject",
    "row-columns": "reject",
    "row-nested": "reject",
    "key-repeated": "reject",
    "number-unsafe": "reject",
    # What the schema says.
    "missing": "reject",
    "type": "reject",
    "enum": "reject",
    "code-list": "reject",
    "pattern": "reject",
    "length": "reject",
    "range": "reject",
    "character": "reject",
    "field-extra": "reject",
    # Formats.
    "account": "reject",
    "country": "reject",
    "currency": "reject",
    "date": "reject",
    "fen": "reject",
    "iban": "reject",
    "lei": "reject",
    "period": "reject",
    "region": "reject",
    "resident-id": "reject",
    "uscc": "reject",
    # Authorities change the make-up of their numbers more often than libraries follow.
    "tin": "warn",
    # Beyond the limit of the memory for digests, a repeated row may pass.
    "unique-unknown": "warn",
    # Put right on the way.
    "field-unknown": "fix",
    "field-unpermitted": "fix",
    "empty": "fix",
    "width": "fix",
    "space": "fix",
    "case": "fix",
    "separator": "fix",
    "date-form": "fix",
    "amount-form": "fix",
    "code-name": "fix",
}
