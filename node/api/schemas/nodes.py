"""Bodies about the network, its nodes, and what is wrong: problems and reasons."""

from typing import Literal

import msgspec

from ledger import registry
from ledger.exchange.matters import DeadlineRules
from ledger.genesis import Genesis
from ledger.keys import format_public_key
from node.api.schemas.base import Body, fields_of
from node.hooks.delivery import HookState
from node.oversight.expiry import Kind
from node.oversight.overseer import Oversight
from node.service import NodeStatus


class ValidatorBody(Body, frozen=True, kw_only=True):
    """A voting node."""

    member: str
    consensus_key: str
    cosigning_key: str
    tls_certificate: str


class NetworkBody(Body, frozen=True, kw_only=True):
    """Identity of the network, and the parameters and deadlines in force."""

    network: str
    name: str
    origin: str
    log_key: str
    time_ms: int
    validators: tuple[ValidatorBody, ...]
    parameters: dict[str, int]
    deadlines: dict[str, int]


class PeerBody(Body, frozen=True, kw_only=True):
    """A peer as this node sees it."""

    member: str
    connected: bool
    final_height: int
    last_seen_ms_ago: int


class FreezeBody(Body, frozen=True, kw_only=True):
    """An emergency freeze; an empty text stands for all."""

    requester: str
    provider: str
    dataset: str
    reason: str


class ExpiringBody(Body, frozen=True, kw_only=True):
    """What ends within 60, 30 or 7 days; `ends` is its last day (UTC)."""

    kind: Kind
    id: str
    ends: str
    days_left: int
    within_days: int


class HookBody(Body, frozen=True, kw_only=True):
    """A webhook: the height it goes on from, what it took since the start, and what it refuses."""

    id: str
    height: int
    delivered: int
    failures: int
    last_error: str
    last_delivered_ms: int


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
    epoch: int
    is_validator: bool
    dropped_frames: int
    dropped_messages: int
    evidence: int
    proposals_open: int
    freezes: tuple[FreezeBody, ...]
    expiring: tuple[ExpiringBody, ...]
    peers: tuple[PeerBody, ...]
    hooks: tuple[HookBody, ...]


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


def validator_body(validator: registry.Validator) -> ValidatorBody:
    """JSON shape of a validator."""
    return ValidatorBody(
        member=validator.member,
        consensus_key=format_public_key(validator.consensus_key),
        cosigning_key=format_public_key(validator.cosigning_key),
        tls_certificate=validator.tls_certificate.hex(),
    )


def node_body(status: NodeStatus, oversight: Oversight, hooks: tuple[HookState, ...]) -> NodeBody:
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
        epoch=status.epoch,
        is_validator=status.is_validator,
        dropped_frames=status.dropped_frames,
        dropped_messages=status.dropped_messages,
        evidence=status.evidence,
        proposals_open=len(oversight.open),
        freezes=msgspec.convert(oversight.freezes, tuple[FreezeBody, ...], from_attributes=True),
        expiring=msgspec.convert(
            oversight.expiring, tuple[ExpiringBody, ...], from_attributes=True
        ),
        peers=msgspec.convert(status.peers, tuple[PeerBody, ...], from_attributes=True),
        hooks=msgspec.convert(hooks, tuple[HookBody, ...], from_attributes=True),
    )


def network_body(
    genesis: Genesis,
    network: bytes,
    validators: tuple[registry.Validator, ...],
    parameters: registry.Parameters,
    deadlines: DeadlineRules,
) -> NetworkBody:
    """JSON shape of the network's identity, parameters and deadlines."""
    return NetworkBody(
        network=network.hex(),
        name=genesis.name,
        origin=genesis.origin,
        log_key=format_public_key(genesis.log_key),
        time_ms=genesis.time_ms,
        validators=tuple(validator_body(validator) for validator in validators),
        parameters=fields_of(parameters),
        deadlines=fields_of(deadlines),
    )
