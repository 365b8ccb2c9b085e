"""What members register besides datasets and rules: record schemas, code lists, sunset dates.

A record schema is JSON text in the closed subset of `contracts.registers.schema`; each version
stays. A code list is replaced by its next version. Editions that are in use side by side are lists
of their own: `oecd-crs-sm-2.0`, `oecd-crs-sm-3.0`.

A sunset names what ends, as `kind/id` (a record schema with its version, `record-schema/account@2`;
the parameters, of which there is one set, `parameters`), and the first day (UTC, by the time of
blocks) on which it is out of force.
"""

from typing import Annotated

from msgspec import Meta

from ledger.codec import Codec, Value
from ledger.registry import Name
from ledger.scalars import Date, Hash32, Identifier

RECORD_SCHEMA_CHARS_MAX = 59_000
CODES_MAX = 1_000
SUNSETS_MAX = 128

Version = Annotated[int, Meta(ge=1, le=65_535)]
CodeText = Annotated[
    str, Meta(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*\Z")
]
SunsetTarget = Annotated[
    str,
    Meta(
        max_length=90,
        pattern=(
            r"^(parameters|(contract|dataset|purpose|code-list)/[a-z0-9][a-z0-9._-]{0,63}"
            r"|record-schema/[a-z0-9][a-z0-9._-]{0,63}@[1-9][0-9]{0,4})\Z"
        ),
    ),
]


class RecordSchema(Value, frozen=True, kw_only=True):
    """What a record of a dataset must be; its names in zh and en stand in the text."""

    dataset: Identifier
    version: Version
    text: Annotated[str, Meta(min_length=1, max_length=RECORD_SCHEMA_CHARS_MAX)]


class Code(Value, frozen=True, kw_only=True):
    """One code of a list."""

    code: CodeText
    name_zh: Name
    name_en: Name


class CodeList(Value, frozen=True, kw_only=True):
    """Codes, sorted, with who issues them and where they are published."""

    id: Identifier
    version: Version
    name_zh: Name
    name_en: Name
    authority: Name
    source: Annotated[str, Meta(max_length=200)]
    codes: Annotated[tuple[Code, ...], Meta(min_length=1, max_length=CODES_MAX)]


class Sunset(Value, frozen=True, kw_only=True):
    """From `date` on `target` is out of force; `ended` once a block has that date."""

    target: SunsetTarget
    date: Date
    proposal: Hash32
    ended: bool


RECORD_SCHEMAS = Codec(RecordSchema, size_bytes_max=65_536)
CODE_LISTS = Codec(CodeList, size_bytes_max=65_536)
SUNSETS = Codec(tuple[Sunset, ...], size_bytes_max=65_536)
