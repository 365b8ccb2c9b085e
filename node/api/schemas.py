"""Typed bodies of the API, and how the node's values become them.

One struct is one JSON shape and one schema of `/openapi.json`. Byte strings are lower-case hex,
except signed events, which are base64 as in the request.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import msgspec

from contracts.engine import hash_policy_set
from ledger import registry
from ledger.blocks import Header, Outcome, Record
from ledger.events import Event
from ledger.genesis import Genesis
from ledger.keys import format_public_key
from node.service import EventStatus, FinalBlock, NodeStatus, Reason

_ENCODER = msgspec.json.Encoder()
B = TypeVar("B", bound="Body")


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every response body."""


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


class RequestBody(Body, frozen=True, kw_only=True):
    """An exchange with its records, oldest first."""

    state: ExchangeBody
    history: list[RecordBody]


class RequestPage(Body, frozen=True, kw_only=True):
    """A page of exchanges; `next` is the cursor of the next page, or null at the end."""

    items: list[ExchangeBody]
    next: str | None


class MemberBody(Body, frozen=True, kw_only=True):
    """An agency."""

    id: str
    name_zh: str
    name_en: str
    region: str
    kind: str
    status: str
    credit: int


class OfficerBody(Body, frozen=True, kw_only=True):
    """A key of a member with its roles."""

    key: str
    member: str
    roles: tuple[str, ...]
    status: str


class FieldBody(Body, frozen=True, kw_only=True):
    """One field of a dataset."""

    id: str
    name_zh: str
    name_en: str
    sensitivity: str


class DatasetBody(Body, frozen=True, kw_only=True):
    """A kind of records."""

    id: str
    version: int
    name_zh: str
    name_en: str
    category: str
    fields: tuple[FieldBody, ...]
    deadline_hours: int


class LegalBasisBody(Body, frozen=True, kw_only=True):
    """A statute or agreement; empty lists mean all."""

    id: str
    title_zh: str
    title_en: str
    article: str
    authority: str
    in_force_from: str
    in_force_to: str
    parties: tuple[str, ...]
    purposes: tuple[str, ...]
    categories: tuple[str, ...]


class PurposeBody(Body, frozen=True, kw_only=True):
    """What shared information may be used for."""

    id: str
    name_zh: str
    name_en: str


class MemberPage(Body, frozen=True, kw_only=True):
    """A page of members."""

    items: list[MemberBody]
    next: str | None


class OfficerPage(Body, frozen=True, kw_only=True):
    """A page of officers."""

    items: list[OfficerBody]
    next: str | None


class DatasetPage(Body, frozen=True, kw_only=True):
    """A page of datasets."""

    items: list[DatasetBody]
    next: str | None


class LegalBasisPage(Body, frozen=True, kw_only=True):
    """A page of legal bases."""

    items: list[LegalBasisBody]
    next: str | None


class PurposePage(Body, frozen=True, kw_only=True):
    """A page of purposes."""

    items: list[PurposeBody]
    next: str | None


class ContractBody(Body, frozen=True, kw_only=True):
    """One Cedar policy file."""

    id: str
    text: str


class ContractsBody(Body, frozen=True, kw_only=True):
    """The contracts in force; `hash` covers engine, schema and texts."""

    version: int
    hash: str
    engine: str
    schema: str
    contracts: tuple[ContractBody, ...]


class ValidatorBody(Body, frozen=True, kw_only=True):
    """A voting node."""

    member: str
    consensus_key: str
    cosigning_key: str
    tls_certificate: str


class NetworkBody(Body, frozen=True, kw_only=True):
    """Identity of the network and the parameters in force."""

    network: str
    name: str
    origin: str
    log_key: str
    time_ms: int
    validators: tuple[ValidatorBody, ...]
    parameters: dict[str, int]


class PeerBody(Body, frozen=True, kw_only=True):
    """A peer as this node sees it."""

    member: str
    connected: bool
    final_height: int
    last_seen_ms_ago: int


class NodeBody(Body, frozen=True, kw_only=True):
    """Present state of the node."""

    member: str
    network: str
    height: int
    view: int
    leader: str
    tree_size: int
    checkpoint_size: int
    pending: int
    syncing: bool
    peers: tuple[PeerBody, ...]


class BlockBody(Body, frozen=True, kw_only=True):
    """A final block on the stream."""

    height: int
    time_ms: int
    block_hash: str
    first_index: int
    records: list[RecordBody]


class HealthBody(Body, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["alive", "ready"]


class ReasonBody(Body, frozen=True, kw_only=True):
    """One reason why the node is not ready."""

    code: str
    detail: str
    advice: str


class ProblemBody(Body, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457 problem; `code` is stable, the texts follow `Accept-Language`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    advice: str
    instance: str
    digest: str = ""
    error_id: str = ""
    retry_after_s: int = 0
    reasons: tuple[ReasonBody, ...] = ()


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


def status_body(status: EventStatus) -> StatusBody:
    """JSON shape of an event's status."""
    return StatusBody(
        digest=status.digest.hex(),
        state=status.state.value,
        code=status.code,
        detail=status.detail,
        index=status.index,
        height=status.height,
        outcome=None if status.outcome is None else outcome_body(status.outcome),
    )


def event_body(event: Event) -> EventBody:
    """JSON shape of an event."""
    fields = msgspec.to_builtins(event.body, builtin_types=(bytes,))
    return EventBody(
        digest=event.digest.hex(),
        kind=event.kind,
        kind_version=event.kind_version,
        member=event.member,
        officer=format_public_key(event.officer),
        nonce=event.nonce.hex(),
        expires_height=event.expires_height,
        exchange=event.exchange.hex(),
        body={name: _hex(value) for name, value in fields.items()},
    )


def header_body(header: Header) -> HeaderBody:
    """JSON shape of a header."""
    return msgspec.convert(_fields(header), HeaderBody)


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
    fields = _fields(state)
    fields["exchange"] = exchange.hex()
    fields["requested_by"] = format_public_key(state.requested_by)
    return msgspec.convert(fields, ExchangeBody)


def shape_of(body_type: type[B]) -> Callable[[msgspec.Struct], B]:
    """How a registry value without byte strings becomes a body with the same fields."""
    return lambda value: msgspec.convert(_fields(value), body_type)


def officer_body(officer: registry.Officer) -> OfficerBody:
    """JSON shape of an officer."""
    return OfficerBody(
        key=format_public_key(officer.key),
        member=officer.member,
        roles=tuple(officer.roles),
        status=officer.status,
    )


def validator_body(validator: registry.Validator) -> ValidatorBody:
    """JSON shape of a validator."""
    return ValidatorBody(
        member=validator.member,
        consensus_key=format_public_key(validator.consensus_key),
        cosigning_key=format_public_key(validator.cosigning_key),
        tls_certificate=validator.tls_certificate.hex(),
    )


def node_body(status: NodeStatus) -> NodeBody:
    """JSON shape of the node's state."""
    return NodeBody(
        member=status.member,
        network=status.network.hex(),
        height=status.height,
        view=status.view,
        leader=status.leader,
        tree_size=status.tree_size,
        checkpoint_size=status.checkpoint_size,
        pending=status.pending,
        syncing=status.syncing,
        peers=msgspec.convert(status.peers, tuple[PeerBody, ...], from_attributes=True),
    )


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


def contracts_body(policies: registry.PolicySet) -> ContractsBody:
    """JSON shape of the policy set in force."""
    return ContractsBody(
        version=policies.version,
        hash=hash_policy_set(policies).hex(),
        engine=policies.engine,
        schema=policies.schema,
        contracts=tuple(
            ContractBody(id=contract.id, text=contract.text) for contract in policies.contracts
        ),
    )


def network_body(
    genesis: Genesis,
    network: bytes,
    validators: tuple[registry.Validator, ...],
    parameters: registry.Parameters,
) -> NetworkBody:
    """JSON shape of the network's identity and parameters."""
    return NetworkBody(
        network=network.hex(),
        name=genesis.name,
        origin=genesis.origin,
        log_key=format_public_key(genesis.log_key),
        time_ms=genesis.time_ms,
        validators=tuple(validator_body(validator) for validator in validators),
        parameters=_fields(parameters),
    )


def encode_json(body: Body) -> bytes:
    """JSON bytes of a body."""
    return _ENCODER.encode(body)


def reason_bodies(reasons: tuple[Reason, ...]) -> tuple[ReasonBody, ...]:
    """JSON shapes of the reasons why a node is not ready."""
    return tuple(
        ReasonBody(code=reason.code, detail=reason.detail, advice=reason.advice)
        for reason in reasons
    )


def _fields(value: msgspec.Struct) -> dict[str, Any]:
    fields = msgspec.to_builtins(value, builtin_types=(bytes,))
    return {name: _hex(field) for name, field in fields.items()}


def _hex(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return [_hex(item) for item in value]
    if isinstance(value, dict):
        return {name: _hex(item) for name, item in value.items()}
    return value
