"""Reference ids of reported documents on the ledger: the body of `share.referenced`, the state.

A message of the Common Reporting Standard has an id (MessageRefId), and so has every document in it
(DocRefId); a correction or a deletion names the document that it replaces (CorrDocRefId). Whether
an id was used before, by whom and for what, no single agency can tell. Members share one secret of
32 bytes for each year of reporting periods, and put on the ledger only

    HMAC-SHA-256(secret, "tallystick/reference/v1" 00 kind 00 id)      kind: "message", "document"

so members see that two ids are equal, and whoever has no secret cannot guess one. The secret of a
year is that of the year in which the reporting period ends: a correction names a document of the
same period, hence the same secret. `key_id` is SHA-256("tallystick/reference-key/v1" 00 secret).
Which key counts for a year, members vote on: the code list `reference-keys` has the year as code
and the key id, in hex, as both names.
"""

from typing import Annotated, Literal

from msgspec import Meta

from ledger.codec import Codec, Value
from ledger.scalars import Count, Date, Hash32, Identifier

REFERENCES_MAX = 256
REFERENCE_KEYS = "reference-keys"

# ISO 3166 alpha-2, or a region of GB/T 2260 where members of one country exchange.
Jurisdiction = Annotated[str, Meta(max_length=6, pattern=r"^([A-Z]{2}|[0-9]{2,6})\Z")]
Indicator = Literal["new", "corrected", "deleted", "resend"]
# Of a message; empty: it only sends again.
Content = Literal["", "new", "correction"]
# Empty: there is none.
ReferenceOrNone = Annotated[bytes, Meta(max_length=32)]


class Reference(Value, frozen=True, kw_only=True):
    """One document of a message; `corrected` is the document that it corrects or deletes."""

    document: Hash32
    indicator: Indicator
    corrected: ReferenceOrNone


class ShareReferenced(Value, frozen=True, kw_only=True):
    """The provider names the documents of the message that it is about to deliver.

    A message with more than `REFERENCES_MAX` documents takes several events with one `message`.
    `period` is the last day of the reporting period.
    """

    exchange: Hash32
    key_id: Hash32
    message: Hash32
    period: Date
    receiving: Jurisdiction
    references: Annotated[tuple[Reference, ...], Meta(min_length=1, max_length=REFERENCES_MAX)]


class Message(Value, frozen=True, kw_only=True):
    """A message id that was used.

    `delivered` is what had been delivered in the exchange before it (32 bytes), or empty.
    """

    exchange: Hash32
    provider: Identifier
    requester: Identifier
    period: Date
    content: Content
    delivered: ReferenceOrNone
    documents: Count


class Document(Value, frozen=True, kw_only=True):
    """A document id that was used; `successor` is what corrected or deleted it, empty: nothing."""

    message: Hash32
    is_deletion: bool
    successor: ReferenceOrNone


MESSAGES = Codec(Message, size_bytes_max=1_024)
DOCUMENTS = Codec(Document, size_bytes_max=512)
