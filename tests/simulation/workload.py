"""What is on the ledger: a genesis of any number of validators, and events of its members.

Made once in a process for each number of validators and each signature scheme.
"""

from dataclasses import dataclass
from functools import cache

import msgspec

from contracts.engine import Contracts
from ledger.events import Event
from ledger.genesis import Genesis, hash_genesis, verify_genesis
from ledger.governance.actions import Action
from ledger.governance.proposals import GovernanceBalloted, GovernanceProposed
from ledger.keys import SecretKey
from ledger.log import Log
from ledger.quorum.governance import AddValidator, prove_possession
from ledger.registry import Member, Officer
from node.startup import Identity
from tests import builders

VALIDATORS_MAX = 12
EVENTS = 40
EXPIRES_HEIGHT = 900


def name_of(number: int) -> str:
    """Member with the validator of this number."""
    return f"v-{number:02}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A genesis and what every run on it shares. `content` is a store right after the genesis."""

    genesis: Genesis
    network: bytes
    content: dict[bytes, bytes]
    events: tuple[Event, ...]
    contracts: Contracts


class _Recorder:
    """A store that only keeps what is written."""

    def __init__(self) -> None:
        self.data: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self.data.get(key)

    def scan(self, start: bytes, end: bytes, *, reverse: bool = False) -> list[tuple[bytes, bytes]]:
        return sorted((k, v) for k, v in self.data.items() if start <= k < end)

    def write(self, changes: dict[bytes, bytes | None]) -> None:
        self.data.update({key: value for key, value in changes.items() if value is not None})


@cache
def ground(validators: int, *, is_real: bool) -> Ground:
    """The ground of runs with so many validators; `is_real`: signed with Ed25519."""
    genesis = _genesis(validators)
    verify_genesis(genesis)
    store = _Recorder()
    Log(store, genesis)
    network = hash_genesis(genesis)
    events = tuple(
        builders.request(label=f"event {number}", network=network, expires_height=EXPIRES_HEIGHT)
        for number in range(EVENTS)
    )
    return Ground(
        genesis=genesis,
        network=network,
        content=store.data,
        events=events,
        contracts=Contracts(),
    )


def _genesis(validators: int) -> Genesis:
    names = [name_of(number) for number in range(VALIDATORS_MAX)]
    members = [
        Member(
            id=name,
            name_zh=name,
            name_en=name,
            region="320500",
            kind="tax",
            status="active",
            credit=800,
        )
        for name in names
    ]
    admins = [
        Officer(
            key=builders.key_of(name, "admin").public,
            member=name,
            roles=("admin",),
            status="active",
        )
        for name in names
    ]
    base = builders.genesis(delta_ms=300, heartbeat_ms=3_600_000)
    return msgspec.structs.replace(
        base,
        validators=tuple(builders.validator(name) for name in names[:validators]),
        members=tuple(sorted((*base.members, *members), key=lambda member: member.id)),
        officers=tuple(sorted((*base.officers, *admins), key=lambda officer: officer.key)),
    )


@cache
def identity(member: str) -> Identity:
    """Keys of a member's node."""
    return Identity(
        member=member,
        consensus=builders.consensus_key(member),
        cosigning=SecretKey(builders.hash32(f"{member}/cosigning")),
        log=SecretKey(builders.hash32("log")),
        certificate=b"",
    )


def addition(network: bytes, member: str) -> AddValidator:
    """The validator of a member joins."""
    added = builders.validator(member)
    return AddValidator(
        validator=added,
        address=f"{member}.example:7001",
        possession=prove_possession(builders.consensus_key(member), network, added),
    )


def proposal(network: bytes, member: str, actions: tuple[Action, ...], label: str) -> Event:
    """An administrator of `member` proposes."""
    body = GovernanceProposed(
        actions=actions, text="", activate_height=1, ballots_until_height=EXPIRES_HEIGHT
    )
    return builders.sign(
        body,
        member=member,
        role="admin",
        label=label,
        network=network,
        expires_height=EXPIRES_HEIGHT,
    )


def ballot(network: bytes, member: str, of: Event) -> Event:
    """An administrator of `member` approves."""
    body = GovernanceBalloted(proposal=of.digest, approve=True, text="")
    return builders.sign(
        body,
        member=member,
        role="admin",
        network=network,
        expires_height=EXPIRES_HEIGHT,
        label=f"{member} approves {of.digest.hex()}",
    )
