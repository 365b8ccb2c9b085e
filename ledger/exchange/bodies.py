"""Bodies of events about exchanges that somebody offers, and about what becomes of a delivery.

    share.offered                     the provider opens the exchange, without being asked
    share.used                        the data was used, for the purpose or with a consent
    share.consent_requested           another purpose, or another recipient; its digest names it
    share.consent_given, .consent_refused
    share.corrected                   a delivery that supersedes the one that was received
    share.correction_acknowledged     by every holder, for itself
    share.destroyed                   by every holder, for itself
    share.disputed                    opens a dispute, or adds to the one that is open
    share.dispute_resolved
    share.rated                       how good and how useful a delivery was

A holder is the requester, and every recipient that a use with a consent has handed the data to.
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from ledger.codec import Value
from ledger.scalars import (
    FIELDS_MAX,
    SUBJECTS_MAX,
    Count,
    Date,
    Hash32,
    Identifier,
    Text,
    Uint,
    Urgency,
)

Manner = Literal["spontaneous", "automatic"]
DisputeOutcome = Literal["accepted", "settled", "withdrawn"]
# Empty: for the purpose that the exchange was opened for.
ConsentRef = Annotated[bytes, Meta(max_length=32)]
Stars = Annotated[int, Meta(ge=1, le=5)]


class ShareOffered(Value, frozen=True, kw_only=True):
    """A provider opens an exchange. Automatic exchange in bulk names no subjects."""

    recipient: Identifier
    manner: Manner
    dataset: Identifier
    purpose: Identifier
    legal_basis: Identifier
    fields: Annotated[tuple[Identifier, ...], Meta(min_length=1, max_length=FIELDS_MAX)]
    period_from: Date
    period_to: Date
    subjects: Annotated[tuple[Hash32, ...], Meta(max_length=SUBJECTS_MAX)]
    urgency: Urgency
    retention_days: Annotated[int, Meta(ge=1, le=36_500)]
    case: Annotated[str, Meta(max_length=64)]


class ShareUsed(Value, frozen=True, kw_only=True):
    """The data behind `commitment` was used; `outcome` is the category of what came of it.

    With a `consent` (32 bytes) it was used for that purpose, or handed to that recipient.
    """

    exchange: Hash32
    commitment: Hash32
    outcome: Identifier
    consent: ConsentRef
    text: Text


class ShareConsentRequested(Value, frozen=True, kw_only=True):
    """The requester asks to use the data for `purpose`; a `recipient` other than it gets a copy."""

    exchange: Hash32
    recipient: Identifier
    purpose: Identifier
    legal_basis: Identifier
    text: Text


class ShareConsentGiven(Value, frozen=True, kw_only=True):
    """An approver of the provider agrees."""

    exchange: Hash32
    consent: Hash32
    text: Text


class ShareConsentRefused(Value, frozen=True, kw_only=True):
    """An approver of the provider does not agree."""

    exchange: Hash32
    consent: Hash32
    reason: Identifier
    text: Text


class ShareCorrected(Value, frozen=True, kw_only=True):
    """The provider delivers anew; what was behind `supersedes` is not to be relied upon."""

    exchange: Hash32
    supersedes: Hash32
    reason: Identifier
    commitment: Hash32
    record_count: Count
    schema_version: Annotated[int, Meta(ge=1, le=65_535)]
    quality_digest: Hash32
    size_bytes: Count
    outbox_until_ms: Uint
    text: Text


class ShareCorrectionAcknowledged(Value, frozen=True, kw_only=True):
    """A holder has replaced what it held by the correction behind `commitment`."""

    exchange: Hash32
    commitment: Hash32


class ShareDestroyed(Value, frozen=True, kw_only=True):
    """A holder attests that nothing of the data, of its keys and of its blinds is left."""

    exchange: Hash32
    commitment: Hash32
    method: Identifier
    text: Text


class ShareDisputed(Value, frozen=True, kw_only=True):
    """One party contests the exchange; while that is open, both may add to it."""

    exchange: Hash32
    reason: Identifier
    text: Text


class ShareDisputeResolved(Value, frozen=True, kw_only=True):
    """The other party accepts, or the party that opened the dispute settles or withdraws it."""

    exchange: Hash32
    dispute: Hash32
    outcome: DisputeOutcome
    text: Text


class ShareRated(Value, frozen=True, kw_only=True):
    """What the requester thinks of a delivery, from 1 (worst) to 5 (best)."""

    exchange: Hash32
    quality: Stars
    usefulness: Stars
    text: Text


HoldingStep: TypeAlias = (
    ShareUsed
    | ShareConsentRequested
    | ShareConsentGiven
    | ShareConsentRefused
    | ShareCorrected
    | ShareCorrectionAcknowledged
    | ShareDestroyed
    | ShareDisputed
    | ShareDisputeResolved
    | ShareRated
)
