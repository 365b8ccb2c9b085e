"""What the state knows of an exchange beyond `Exchange`: holders, consents, disputes, a rating.

It is written by the first event that needs it: an exchange that was only received has none.
"""

from typing import Annotated, Literal

from msgspec import Meta

from ledger.codec import Codec, Value
from ledger.exchange.bodies import Stars
from ledger.scalars import Hash32, Identifier, Uint

HOLDERS_MAX = 32
CONSENTS_MAX = 64

ConsentStatus = Literal["asked", "given", "refused"]


class Holding(Value, frozen=True, kw_only=True):
    """What one member holds of a delivery. Times are block times; 0: not, or not yet.

    `commitment` is that of what it holds; `correction_due_ms` until when it owes the
    acknowledgement of a newer one; `until_ms` the end of retention.
    """

    holder: Identifier
    commitment: Hash32
    since_ms: Uint
    until_ms: Uint
    correction_due_ms: Uint
    uses: Uint
    destroyed_ms: Uint


class Consent(Value, frozen=True, kw_only=True):
    """A consent that was asked for; `id` is the digest of the event that asked."""

    id: Hash32
    status: ConsentStatus
    recipient: Identifier
    purpose: Identifier
    legal_basis: Identifier
    due_ms: Uint


class Dispute(Value, frozen=True, kw_only=True):
    """The dispute that is open; `id` is the digest of the event that opened it."""

    id: Hash32
    member: Identifier
    reason: Identifier
    due_ms: Uint


class Rating(Value, frozen=True, kw_only=True):
    """What the requester thinks of the delivery."""

    quality: Stars
    usefulness: Stars


class Matters(Value, frozen=True, kw_only=True):
    """All of it. Holders and consents stand in the order in which they came."""

    holders: Annotated[tuple[Holding, ...], Meta(max_length=HOLDERS_MAX)]
    consents: Annotated[tuple[Consent, ...], Meta(max_length=CONSENTS_MAX)]
    corrections: Uint
    disputes: Uint
    dispute: Dispute | None
    rating: Rating | None


class DeadlineRules(Value, frozen=True, kw_only=True):
    """How long the parties have for what no contract sets a time for."""

    receipt_hours: Annotated[int, Meta(ge=1, le=8_760)]
    use_report_days: Annotated[int, Meta(ge=1, le=3_660)]
    correction_days: Annotated[int, Meta(ge=1, le=3_660)]
    consent_days: Annotated[int, Meta(ge=1, le=3_660)]
    dispute_days: Annotated[int, Meta(ge=1, le=3_660)]
    notice_hours: Annotated[int, Meta(ge=1, le=8_760)]
    remedy_days: Annotated[int, Meta(ge=1, le=3_660)]
    closing_days: Annotated[int, Meta(ge=1, le=3_660)]


# In force until members set others.
DEFAULT_DEADLINES = DeadlineRules(
    receipt_hours=72,
    use_report_days=180,
    correction_days=14,
    consent_days=30,
    dispute_days=30,
    notice_hours=72,
    remedy_days=30,
    closing_days=30,
)
EMPTY_MATTERS = Matters(
    holders=(), consents=(), corrections=0, disputes=0, dispute=None, rating=None
)

MATTERS = Codec(Matters, size_bytes_max=32_768)
DEADLINE_RULES = Codec(DeadlineRules, size_bytes_max=1_024)
