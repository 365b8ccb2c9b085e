"""Bodies about events, records, entries, blocks and exchanges."""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from contracts.words import Language
from contracts.words.sentences import tell
from ledger import registry
from ledger.blocks import Header, Outcome, Record
from ledger.events import Event
from ledger.keys import format_public_key
from node.api.schemas.base import Body, fields_of
from node.service import EventStatus, FinalBlock


class SubmitEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One signed event in base64."""

    event: bytes


class SubmitBatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Signed events in base64, at most 1,000."""

    events: list[bytes]


class ObligationsBody(Body, frozen=True, kw_only=True):
    """Duties that a permit carries."""

    redact: tuple[str, ...]
    deadline_hours: int
    retention_days: int


class OutcomeBody(Body, frozen=True, kw_only=True):
    """What executing an event did."""

    applied: bool
    code: str
    decision: str
    policies: tuple[str, ...]
    policy_set: str
    obligations: ObligationsBody | None


class StatusBody(Body, frozen=True, kw_only=True):
    """Where an event is; `index` and `height` are -1 until it is final."""

    digest: str
    state: Literal["pending", "final", "refused", "unknown"]
    code: str
    detail: str
    index: int
    height: int
    outcome: OutcomeBody | None


class BatchBody(Body, frozen=True, kw_only=True):
    """One status for each submitted event, in order."""

    results: list[StatusBody]


class StreamAnswer(Body, frozen=True, kw_only=True):
    """One answer on the submission WebSocket (MessagePack; `digest` is a byte string)."""

    digest: bytes
    state: Literal["final", "refused"]
    code: str
    index: int
    height: int
    decision: str
    retry_after_s: int


class HeaderBody(Body, frozen=True, kw_only=True):
    """A block header."""

    version: int
    network: str
    epoch: int
    height: int
    view: int
    parent_view: int
    proposer: int
    time_ms: int
    parent_hash: str
    tree_size: int
    tree_root: str
    record_count: int
    records_root: str
    state_digest: str
    engine: str
    validators_hash: str
    next_validators: str


class EventBody(Body, frozen=True, kw_only=True):
    """A signed event, decoded; `body` has the fields of its kind."""

    digest: str
    kind: str
    kind_version: int
    member: str
    officer: str
    nonce: str
    expires_height: int
    exchange: str
    body: dict[str, Any]


class EntryBody(Body, frozen=True, kw_only=True):
    """A log entry: a header, or an event with its outcome; `data` is its exact bytes."""

    index: int
    height: int
    kind: Literal["header", "record"]
    leaf_hash: str
    data: str
    header: HeaderBody | None
    event: EventBody | None
    outcome: OutcomeBody | None


class RecordBody(Body, frozen=True, kw_only=True):
    """An event and its outcome at its place in the log."""

    index: int
    height: int
    event: EventBody
    outcome: OutcomeBody


class ExchangeBody(Body, frozen=True, kw_only=True):
    """Present state of an exchange; times are block times in milliseconds."""

    exchange: str
    status: str
    requester: str
    provider: str
    dataset: str
    purpose: str
    legal_basis: str
    urgency: str
    period_days: int
    requested_by: str
    requested_ms: int
    requested_index: int
    changed_ms: int
    changed_height: int
    decision: str
    deadline_ms: int
    retention_days: int
    redact: tuple[str, ...]
    fields: tuple[str, ...]
    subject_count: int
    commitment: str
    record_count: int


class RequestPage(Body, frozen=True, kw_only=True):
    """A page of exchanges; `next` is the cursor of the next page, or null at the end."""

    items: list[ExchangeBody]
    next: str | None


class BlockBody(Body, frozen=True, kw_only=True):
    """A final block on the stream."""

    height: int
    time_ms: int
    block_hash: str
    first_index: int
    records: list[RecordBody]


def outcome_body(outcome: Outcome) -> OutcomeBody:
    """JSON shape of an outcome."""
    duties = outcome.obligations
    return OutcomeBody(
        applied=outcome.applied,
        code=outcome.code,
        decision=outcome.decision,
        policies=outcome.policies,
        policy_set=outcome.policy_set.hex(),
        obligations=None
        if duties is None
        else ObligationsBody(
            redact=duties.redact,
            deadline_hours=duties.deadline_hours,
            retention_days=duties.retention_days,
        ),
    )


def status_body(status: EventStatus, language: Language) -> StatusBody:
    """JSON shape of an event's status."""
    return StatusBody(
        digest=status.digest.hex(),
        state=status.state.value,
        code=status.code,
        detail=tell(status.detail, language, status.code),
        index=status.index,
        height=status.height,
        outcome=None if status.outcome is None else outcome_body(status.outcome),
    )


def event_body(event: Event) -> EventBody:
    """JSON shape of an event."""
    return EventBody(
        digest=event.digest.hex(),
        kind=event.kind,
        kind_version=event.kind_version,
        member=event.member,
        officer=format_public_key(event.officer),
        nonce=event.nonce.hex(),
        expires_height=event.expires_height,
        exchange=event.exchange.hex(),
        body=fields_of(event.body),
    )


def header_body(header: Header) -> HeaderBody:
    """JSON shape of a header."""
    return msgspec.convert(fields_of(header), HeaderBody)


def record_body(index: int, height: int, event: Event, outcome: Outcome) -> RecordBody:
    """JSON shape of a record at its place."""
    return RecordBody(
        index=index, height=height, event=event_body(event), outcome=outcome_body(outcome)
    )


def entry_body(
    *,
    index: int,
    height: int,
    data: bytes,
    leaf_hash: bytes,
    entry: Header | Record,
    event: Event | None,
) -> EntryBody:
    """JSON shape of an entry; `event` is the parsed event of a record."""
    is_record = isinstance(entry, Record)
    return EntryBody(
        index=index,
        height=height,
        kind="record" if is_record else "header",
        leaf_hash=leaf_hash.hex(),
        data=data.hex(),
        header=header_body(entry) if isinstance(entry, Header) else None,
        event=None if event is None else event_body(event),
        outcome=outcome_body(entry.outcome) if isinstance(entry, Record) else None,
    )


def exchange_body(exchange: bytes, state: registry.Exchange) -> ExchangeBody:
    """JSON shape of an exchange."""
    fields = fields_of(state)
    fields["exchange"] = exchange.hex()
    fields["requested_by"] = format_public_key(state.requested_by)
    return msgspec.convert(fields, ExchangeBody)


def block_body(block: FinalBlock, keep: Callable[[Event], bool] | None = None) -> BlockBody:
    """JSON shape of a final block, with the records that `keep` accepts (all without it)."""
    height = block.header.height
    return BlockBody(
        height=height,
        time_ms=block.header.time_ms,
        block_hash=block.block_hash.hex(),
        first_index=block.first_index,
        records=[
            record_body(record.index, height, record.event, record.outcome)
            for record in block.records
            if keep is None or keep(record.event)
        ],
    )
