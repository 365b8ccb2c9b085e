"""Bounded scalars of the ledger's values: the types that events, registry and blocks share."""

from typing import Annotated, Literal

from msgspec import Meta

TEXT_CHARS_MAX = 500
# Of one request or offer.
SUBJECTS_MAX = 1_000
FIELDS_MAX = 64

Hash32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Nonce = Annotated[bytes, Meta(min_length=16, max_length=16)]
PublicKeyBytes = Annotated[bytes, Meta(min_length=33, max_length=33)]
SignatureBytes = Annotated[bytes, Meta(min_length=65, max_length=65)]
Uint = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**40)]
Identifier = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]*\Z")]
Text = Annotated[str, Meta(max_length=TEXT_CHARS_MAX)]
Date = Annotated[str, Meta(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\Z")]
Urgency = Literal["normal", "urgent", "critical"]
# `host:port`; an IPv6 address stands in brackets. Host names are compared, so lower case only.
PeerAddress = Annotated[
    str,
    Meta(
        max_length=260,
        pattern=(
            r"^(\[[0-9a-f:.]{2,45}\]|[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)"
            r":([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}"
            r"|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])\Z"
        ),
    ),
]
