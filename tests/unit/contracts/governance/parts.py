"""Actions, votes and blocks on the test network, in few words."""

from contracts.admission import check_event
from contracts.errors import RefusedEvent
from contracts.execute import Execution
from contracts.governance.effects import find_faults
from contracts.lookup import find_proposal
from ledger.custody.encryption import ENCRYPTION_KEY_BYTES, MLKEM768_X25519, X25519_BYTES
from ledger.events import Event
from ledger.governance.actions import (
    Action,
    AddOfficer,
    AdmitMember,
    Application,
    OfficerKey,
    prove_key,
    sign_application,
)
from ledger.governance.keys import SetEncryptionKey, SetGateway
from ledger.governance.proposals import GovernanceAcknowledged, Proposal
from ledger.keys import SecretKey
from ledger.registry import OFFICERS, Officer, Role
from ledger.state import MapState, StateReader, officer_key
from tests.builders import (
    HEIGHT,
    NETWORK,
    TIME_MS,
    VALIDATORS,
    ballot,
    hash32,
    key_of,
    propose,
    sign,
)
from tests.certificates import der_of
from tests.unit.contracts.samples import run, states

NEW = "cn-4403-tax"
ASIDE = "de-tax"  # a member without a validator
FIRST, SECOND, THIRD, FOURTH = VALIDATORS


def second_admin(member: str) -> SecretKey:
    return SecretKey(hash32(f"{member}/second admin"))


def with_second_admins(*members: str) -> MapState:
    """A fresh network in which these members have two administrators."""
    state = states()
    for member in members:
        key = second_admin(member).public
        officer = Officer(key=key, member=member, roles=("admin",), status="active")
        state.pairs[officer_key(key)] = OFFICERS.encode(officer)
    return state


def proved(key: SecretKey, member: str, *roles: Role, network: bytes = NETWORK) -> OfficerKey:
    return OfficerKey(key=key.public, roles=roles, possession=prove_key(key, network, member))


def application(member: str = NEW, *, network: bytes = NETWORK, **changed: object) -> AdmitMember:
    """An agency's application with an administrator and a requester."""
    roles: tuple[Role, ...] = ("admin", "requester")
    keys = [proved(key_of(member, role), member, role, network=network) for role in roles]
    values: dict[str, object] = {
        "id": member,
        "name_zh": member,
        "name_en": member,
        "region": "440300",
        "kind": "tax",
        "contact": "",
        "keys": tuple(sorted(keys, key=lambda officer: officer.key)),
    }
    asked = Application(**{**values, **changed})
    return sign_application(key_of(member, "admin"), network, asked)


def fresh_officer(member: str, *roles: Role, label: str = "fresh") -> AddOfficer:
    return AddOfficer(member=member, officer=proved(SecretKey(hash32(label)), member, *roles))


def encryption_bytes(label: str) -> bytes:
    """A key that anybody can seal to: coefficients of 0, and a point that is not of small order."""
    start = bytes([MLKEM768_X25519]) + bytes(ENCRYPTION_KEY_BYTES - 1 - 2 * X25519_BYTES)
    return start + hash32(label) + b"\x09" + bytes(X25519_BYTES - 1)


def recipient(member: str = FIRST, label: str = "one", not_after: str = "") -> SetEncryptionKey:
    return SetEncryptionKey(member=member, key=encryption_bytes(label), not_after=not_after)


def gateway(
    member: str = FIRST, address: str = "gate.example.org:8443", labels: tuple[str, ...] = ("one",)
) -> SetGateway:
    return SetGateway(member=member, address=address, certificates=tuple(map(der_of, labels)))


def acknowledge(proposal: Event, member: str = NEW, **changed: object) -> Event:
    body = GovernanceAcknowledged(proposal=proposal.digest)
    return sign(body, **{"member": member, "role": "admin", **changed})


def votes(proposal: Event, *members: str) -> tuple[Event, ...]:
    """The proposal and the approving ballots of these members."""
    return (proposal, *(ballot(proposal, member) for member in members))


def passed(*actions: Action, **changed: object) -> tuple[Event, ...]:
    """A proposal and ballots of a quorum."""
    return votes(propose(*actions, **changed), SECOND, THIRD)


def block(state: MapState, *events: Event, height: int = HEIGHT) -> Execution:
    """One block on the state, which moves on."""
    execution = run(state, *events, height=height)
    state.pairs.update(execution.overlay.changes)
    return execution


def codes(execution: Execution) -> list[str]:
    return [outcome.code for outcome in execution.outcomes]


def after(*events: Event, state: MapState | None = None, height: int = HEIGHT) -> MapState:
    """The state after one block whose events are all applied."""
    state = states() if state is None else state
    execution = block(state, *events, height=height)
    assert all(outcome.applied for outcome in execution.outcomes), codes(execution)
    return state


def refusal(
    state: StateReader, event: Event, height: int = HEIGHT, *, time_ms: int = TIME_MS
) -> RefusedEvent:
    try:
        check_event(state, event, network=NETWORK, height=height, time_ms=time_ms)
    except RefusedEvent as refused:
        return refused
    raise AssertionError("it is not refused")


def faults(state: StateReader, *actions: Action) -> list[str]:
    return [fault.code for fault in find_faults(state, actions, network=NETWORK)]


def found(state: StateReader, event: Event) -> Proposal:
    proposal = find_proposal(state, event.digest)
    assert proposal is not None
    return proposal
