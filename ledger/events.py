"""Signed events: the envelope, the bodies of exchanges, and the signature.

A signed event is the canonical map `{payload, signature}`: `payload` is the canonical encoding of
`Envelope`, `signature` is made by the officer's key over `EVENT_DOMAIN || payload`. The `digest` of
an event is SHA-256 of the whole signed event: it names the event in proposals, in the API and, for
`share.requested` and `share.offered`, the exchange that it opens. A client knows it before it
submits.

`Envelope.nonce` (16 bytes, chosen by the client) makes submission idempotent: one nonce of one
member names one event for ever. `expires_height` bounds how long an event may wait: it is never
executed in a block above that height, so after it the outcome is known.

Most events are signed by an officer of a member. What a node itself says (`NodeBody`) is signed
with its consensus key, which then stands in the place of the officer's.

Taxpayers appear only as commitments: HMAC-SHA-256 under a fresh 256-bit blind which never reaches
the ledger. No identifier, and no hash that could be guessed, stands in a body.
"""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta

from ledger.access.anchors import AccessLogged
from ledger.codec import Codec, Value
from ledger.errors import InvalidEncoding, InvalidEvent, InvalidKey, InvalidSignature
from ledger.exchange.bodies import (
    HoldingStep,
    ShareConsentGiven,
    ShareConsentRefused,
    ShareConsentRequested,
    ShareCorrected,
    ShareCorrectionAcknowledged,
    ShareDestroyed,
    ShareDisputed,
    ShareDisputeResolved,
    ShareOffered,
    ShareRated,
    ShareUsed,
)
from ledger.exchange.incidents import (
    DrillRun,
    IncidentBody,
    IncidentClosed,
    IncidentNotified,
    IncidentRemedied,
    IncidentReported,
    IncidentStep,
)
from ledger.exchange.references import ShareReferenced
from ledger.governance.proposals import (
    GovernanceAcknowledged,
    GovernanceBalloted,
    GovernanceProposed,
    GovernanceWithdrawn,
)
from ledger.keys import Signer, verify_signature
from ledger.quorum.governance import EvidenceEquivocation, ValidatorReady
from ledger.scalars import (
    FIELDS_MAX,
    SUBJECTS_MAX,
    Count,
    Date,
    Hash32,
    Identifier,
    Nonce,
    PublicKeyBytes,
    SignatureBytes,
    Text,
    Uint,
    Urgency,
)

EVENT_DOMAIN = b"tallystick/event/v1\0"
EVENT_SIZE_BYTES_MAX = 60_000


class ShareRequested(Value, frozen=True, kw_only=True):
    """A requester asks a provider for records of one dataset."""

    provider: Identifier
    dataset: Identifier
    purpose: Identifier
    legal_basis: Identifier
    fields: Annotated[tuple[Identifier, ...], Meta(min_length=1, max_length=FIELDS_MAX)]
    period_from: Date
    period_to: Date
    subjects: Annotated[tuple[Hash32, ...], Meta(min_length=1, max_length=SUBJECTS_MAX)]
    urgency: Urgency
    retention_days: Annotated[int, Meta(ge=1, le=36_500)]
    case: Annotated[str, Meta(max_length=64)]


class ShareApproved(Value, frozen=True, kw_only=True):
    """An approver of the provider allows an exchange that is under review."""

    exchange: Hash32
    comment: Text


class ShareRefused(Value, frozen=True, kw_only=True):
    """An approver of the provider refuses an exchange that is under review."""

    exchange: Hash32
    reason: Identifier
    text: Text


class ShareWithdrawn(Value, frozen=True, kw_only=True):
    """The requester takes an exchange back before delivery."""

    exchange: Hash32
    text: Text


class ShareDelivered(Value, frozen=True, kw_only=True):
    """The provider has put the sealed payload into its outbox; only commitments are recorded."""

    exchange: Hash32
    commitment: Hash32
    record_count: Count
    schema_version: Annotated[int, Meta(ge=1, le=65_535)]
    quality_digest: Hash32
    size_bytes: Count
    outbox_until_ms: Uint


class ShareReceived(Value, frozen=True, kw_only=True):
    """The requester opened and validated the payload behind `commitment`."""

    exchange: Hash32
    commitment: Hash32
    record_count: Count


class ShareRejected(Value, frozen=True, kw_only=True):
    """The requester rejects a delivery with standard status codes."""

    exchange: Hash32
    commitment: Hash32
    code_set: Identifier
    codes: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=99_999)], ...], Meta(min_length=1, max_length=64)
    ]
    text: Text


DeliveryStep: TypeAlias = (
    ShareApproved
    | ShareRefused
    | ShareWithdrawn
    | ShareReferenced
    | ShareDelivered
    | ShareReceived
    | ShareRejected
)
ShareStep: TypeAlias = DeliveryStep | HoldingStep
ShareOpening: TypeAlias = ShareRequested | ShareOffered
GovernanceStep: TypeAlias = GovernanceBalloted | GovernanceWithdrawn | GovernanceAcknowledged
GovernanceBody: TypeAlias = GovernanceProposed | GovernanceStep
NodeBody: TypeAlias = ValidatorReady | EvidenceEquivocation | AccessLogged
Body: TypeAlias = ShareOpening | ShareStep | IncidentBody | DrillRun | GovernanceBody | NodeBody

# The same as sets: looking a type up in a union of twenty costs more than the rest of a check.
SHARE_OPENINGS: frozenset[type] = frozenset(get_args(ShareOpening))
SHARE_STEPS: frozenset[type] = frozenset(get_args(ShareStep))

BODY_TYPES: dict[tuple[str, int], type[Body]] = {
    ("share.requested", 1): ShareRequested,
    ("share.approved", 1): ShareApproved,
    ("share.refused", 1): ShareRefused,
    ("share.withdrawn", 1): ShareWithdrawn,
    ("share.referenced", 1): ShareReferenced,
    ("share.delivered", 1): ShareDelivered,
    ("share.received", 1): ShareReceived,
    ("share.rejected", 1): ShareRejected,
    ("share.offered", 1): ShareOffered,
    ("share.used", 1): ShareUsed,
    ("share.consent_requested", 1): ShareConsentRequested,
    ("share.consent_given", 1): ShareConsentGiven,
    ("share.consent_refused", 1): ShareConsentRefused,
    ("share.corrected", 1): ShareCorrected,
    ("share.correction_acknowledged", 1): ShareCorrectionAcknowledged,
    ("share.destroyed", 1): ShareDestroyed,
    ("share.disputed", 1): ShareDisputed,
    ("share.dispute_resolved", 1): ShareDisputeResolved,
    ("share.rated", 1): ShareRated,
    ("incident.reported", 1): IncidentReported,
    ("incident.notified", 1): IncidentNotified,
    ("incident.remedied", 1): IncidentRemedied,
    ("incident.closed", 1): IncidentClosed,
    ("drill.run", 1): DrillRun,
    ("governance.proposed", 1): GovernanceProposed,
    ("governance.balloted", 1): GovernanceBalloted,
    ("governance.withdrawn", 1): GovernanceWithdrawn,
    ("governance.acknowledged", 1): GovernanceAcknowledged,
    ("validator.ready", 1): ValidatorReady,
    ("evidence.equivocation", 1): EvidenceEquivocation,
    ("access.logged", 1): AccessLogged,
}
_KIND_OF = {type_: key for key, type_ in BODY_TYPES.items()}
_BODIES = {
    key: Codec(type_, size_bytes_max=EVENT_SIZE_BYTES_MAX) for key, type_ in BODY_TYPES.items()
}


class Envelope(Value, frozen=True, kw_only=True):
    """What the officer signs; `body` is the canonical encoding of the body of `kind`."""

    version: Literal[1]
    network: Hash32
    kind: Annotated[str, Meta(max_length=64)]
    kind_version: Annotated[int, Meta(ge=1, le=255)]
    member: Identifier
    officer: PublicKeyBytes
    nonce: Nonce
    expires_height: Uint
    body: msgspec.Raw


class SignedEvent(Value, frozen=True, kw_only=True):
    """Payload bytes and the officer's signature over them."""

    payload: Annotated[bytes, Meta(max_length=EVENT_SIZE_BYTES_MAX)]
    signature: SignatureBytes


_ENVELOPES = Codec(Envelope, size_bytes_max=EVENT_SIZE_BYTES_MAX)
_SIGNED = Codec(SignedEvent, size_bytes_max=EVENT_SIZE_BYTES_MAX)


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A parsed event. `parse_event` alone does not check the signature: `verify_event` does."""

    digest: bytes
    data: bytes
    payload: bytes
    signature: bytes
    network: bytes
    kind: str
    kind_version: int
    member: str
    officer: bytes
    nonce: bytes
    expires_height: int
    body: Body

    @property
    def exchange(self) -> bytes:
        """Digest of the event that opened the exchange of this event; empty: there is none."""
        body_type = type(self.body)
        if body_type in SHARE_OPENINGS:
            return self.digest
        return self.body.exchange if body_type in SHARE_STEPS else b""  # type: ignore[union-attr]  # by its type

    @property
    def subject(self) -> bytes:
        """Digest of the event that opened what this one belongs to.

        That is an exchange, a proposal or an incident; empty where there is none. A log lists
        events by it.
        """
        if isinstance(self.body, GovernanceProposed | IncidentReported):
            return self.digest
        if isinstance(self.body, IncidentStep):
            return self.body.incident
        if isinstance(self.body, GovernanceStep):
            return self.body.proposal
        return self.exchange


def hash_event(data: bytes) -> bytes:
    """Digest (32 bytes) of the bytes of a signed event."""
    return hashlib.sha256(data).digest()


def parse_event(data: bytes) -> Event:
    """Event of canonical signed-event bytes. Raises `InvalidEvent` with a stable code."""
    if len(data) > EVENT_SIZE_BYTES_MAX:
        raise InvalidEvent(
            "event-too-large", f"{len(data)} bytes, at most {EVENT_SIZE_BYTES_MAX} are allowed"
        )
    try:
        signed = _SIGNED.decode(data)
        envelope = _ENVELOPES.decode(signed.payload)
    except InvalidEncoding as error:
        raise InvalidEvent("event-malformed", str(error)) from None
    codec = _BODIES.get((envelope.kind, envelope.kind_version))
    if codec is None:
        raise InvalidEvent("event-kind-unknown", f"{envelope.kind} version {envelope.kind_version}")
    try:
        body = codec.decode(bytes(envelope.body))
    except InvalidEncoding as error:
        raise InvalidEvent("event-body-invalid", f"{envelope.kind}: {error}") from None
    return _make_event(data, signed, envelope, body)


def parse_events(items: Sequence[bytes]) -> list[Event]:
    """The events of several canonical encodings, faster than one by one.

    Raises as `parse_event` does for the first that is none.
    """
    try:
        signed = _SIGNED.decode_all(items)
        envelopes = _ENVELOPES.decode_all([each.payload for each in signed])
        bodies = _parse_bodies(envelopes)
    except InvalidEncoding:
        return [parse_event(data) for data in items]
    return list(map(_make_event, items, signed, envelopes, bodies))


def _parse_bodies(envelopes: Sequence[Envelope]) -> list[Body]:
    """Their bodies, those of one kind at once. Raises `InvalidEncoding`."""
    places: dict[tuple[str, int], list[int]] = {}
    for at, envelope in enumerate(envelopes):
        places.setdefault((envelope.kind, envelope.kind_version), []).append(at)
    found: dict[int, Body] = {}
    for kind, those in places.items():
        codec = _BODIES.get(kind)
        if codec is None:
            raise InvalidEncoding(f"event kind {kind[0]} version {kind[1]}")
        bodies = codec.decode_all([bytes(envelopes[at].body) for at in those])
        found.update(zip(those, bodies, strict=True))
    return [found[at] for at in range(len(envelopes))]


def _make_event(data: bytes, signed: SignedEvent, envelope: Envelope, body: Body) -> Event:
    return Event(
        digest=hash_event(data),
        data=data,
        payload=signed.payload,
        signature=signed.signature,
        network=envelope.network,
        kind=envelope.kind,
        kind_version=envelope.kind_version,
        member=envelope.member,
        officer=envelope.officer,
        nonce=envelope.nonce,
        expires_height=envelope.expires_height,
        body=body,
    )


def verify_event(event: Event) -> None:
    """Check the officer's signature. Raises `InvalidEvent` with code `signature-invalid`."""
    verify_payload(event.officer, event.payload, event.signature)


def verify_payload(officer: bytes, payload: bytes, signature: bytes) -> None:
    """Check the signature of an event, given its parts. Raises as `verify_event` does."""
    try:
        verify_signature(officer, EVENT_DOMAIN, payload, signature)
    except (InvalidKey, InvalidSignature) as error:
        raise InvalidEvent("signature-invalid", str(error)) from None


def sign_event(
    key: Signer,
    *,
    network: bytes,
    member: str,
    nonce: bytes,
    expires_height: int,
    body: Body,
) -> Event:
    """Signed event over `body` by the officer who holds `key`. Raises `InvalidEvent`."""
    kind, kind_version = _KIND_OF[type(body)]
    try:
        payload = _ENVELOPES.encode(
            Envelope(
                version=1,
                network=network,
                kind=kind,
                kind_version=kind_version,
                member=member,
                officer=key.public,
                nonce=nonce,
                expires_height=expires_height,
                body=msgspec.Raw(_BODIES[kind, kind_version].encode(body)),
            )
        )
        signature = key.sign(EVENT_DOMAIN, payload)
        data = _SIGNED.encode(SignedEvent(payload=payload, signature=signature))
    except InvalidEncoding as error:
        raise InvalidEvent("event-too-large", str(error)) from None
    return parse_event(data)
