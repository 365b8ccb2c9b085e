"""The anchor of a node's access log: one digest stands for every line up to it.

A node signs `AccessLogged` with its consensus key. `digest` is the hash of the last line that the
anchor covers (`ledger.access.lines`), `entries` how many lines came since the anchor before it,
`previous` the digest of that anchor, or zeros. Each line carries the hash of the line before, so
whoever holds the lines can compare all of them with the ledger. Whose node it is, the event's
envelope says; the state keeps the last anchor of each member.
"""

from typing import Annotated

from msgspec import Meta

from ledger.codec import Codec, Value
from ledger.scalars import Hash32, Uint

NO_ANCHOR = bytes(32)


class AccessLogged(Value, frozen=True, kw_only=True):
    """A node vouches for the lines that its access log got in a period."""

    period_from_ms: Uint
    period_to_ms: Uint
    entries: Annotated[int, Meta(ge=1, le=2**40)]
    digest: Hash32
    previous: Hash32


class AccessAnchor(Value, frozen=True, kw_only=True):
    """The last anchor of a member: its digest, where its period ends, all lines so far."""

    digest: Hash32
    period_to_ms: Uint
    entries: Uint


ACCESS_ANCHORS = Codec(AccessAnchor, size_bytes_max=256)
