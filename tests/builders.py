"""A small network for tests and events in it; each keyword lies about exactly one field."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from contracts.shipped import load_shipped
from ledger.access.anchors import NO_ANCHOR, AccessLogged
from ledger.events import (
    Body,
    Event,
    ShareApproved,
    ShareDelivered,
    ShareReceived,
    ShareRefused,
    ShareRejected,
    ShareRequested,
    ShareWithdrawn,
    sign_event,
)
from ledger.genesis import Genesis, genesis_state, hash_genesis
from ledger.governance.actions import Action
from ledger.governance.proposals import (
    GovernanceBalloted,
    GovernanceProposed,
    GovernanceWithdrawn,
)
from ledger.keys import SecretKey
from ledger.quorum.governance import (
    AddValidator,
    EvidenceEquivocation,
    RemoveValidator,
    ValidatorReady,
    prove_possession,
)
from ledger.quorum.lists import hash_validator_list
from ledger.quorum.votes import Kind, Subject, Vote, encode_vote, signed_vote
from ledger.registry import (
    Dataset,
    DatasetField,
    Freeze,
    LegalBasis,
    Member,
    Officer,
    Parameters,
    PolicySet,
    Purpose,
    Role,
    Validator,
)
from ledger.state import MapState

TIME_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
HEIGHT = 7
OUTBOX_UNTIL_MS = TIME_MS + 30 * 86_400_000
ROLES: tuple[Role, ...] = ("requester", "approver", "provider", "admin")
# id: (region, kind, credit). The first four are validators.
MEMBERS = {
    "cn-3205-tax": ("320500", "tax", 860),
    "cn-3301-bank": ("330100", "provider", 780),
    "cn-3301-tax": ("330100", "tax", 920),
    "cn-3302-tax": ("330200", "tax", 890),
    "de-tax": ("DE", "foreign", 880),
}
ASKER, OWNER = "cn-3301-tax", "cn-3302-tax"


def hash32(label: str) -> bytes:
    """32 bytes that depend on the label alone."""
    return hashlib.sha256(label.encode()).digest()


@cache
def key_of(member: str, role: str) -> SecretKey:
    """The known key of a member's officer with one role."""
    return SecretKey(hash32(f"{member}/{role}"))


def parameters(**changed: int) -> Parameters:
    """Parameters of the test network."""
    base = Parameters(
        block_events_max=1_000,
        block_bytes_max=4_194_304,
        delta_ms=200,
        heartbeat_ms=60_000,
        precision_ms=500,
        message_delay_ms=2_000,
        expiry_blocks_max=1_000,
    )
    return msgspec.structs.replace(base, **changed)


def member(id_: str, **changed: object) -> Member:
    """A member of the test network."""
    region, kind, credit = MEMBERS[id_]
    base = Member(
        id=id_, name_zh=id_, name_en=id_, region=region, kind=kind, status="active", credit=credit
    )
    return msgspec.structs.replace(base, **changed)


def officers() -> tuple[Officer, ...]:
    """One officer for each role of each member, sorted by key."""
    found = [
        Officer(key=key_of(id_, role).public, member=id_, roles=(role,), status="active")
        for id_ in MEMBERS
        for role in ROLES
    ]
    return tuple(sorted(found, key=lambda officer: officer.key))


def dataset(id_: str, **sensitivities: str) -> Dataset:
    """A dataset whose fields are the keyword names, with `_` for `-`, and their sensitivities."""
    return Dataset(
        id=id_,
        version=1,
        name_zh=id_,
        name_en=id_,
        category=id_,
        fields=tuple(
            DatasetField(
                id=name.replace("_", "-"), name_zh=name, name_en=name, sensitivity=sensitivity
            )
            for name, sensitivity in sensitivities.items()
        ),
        deadline_hours=72,
    )


def legal_basis(id_: str, **changed: object) -> LegalBasis:
    """A legal basis in force that covers everything."""
    base = LegalBasis(
        id=id_, title_zh=id_, title_en=id_, article="6", authority="test",
        in_force_from="2001-05-01", in_force_to="2099-12-31",
        parties=(), purposes=(), categories=(),
    )  # fmt: skip
    return msgspec.structs.replace(base, **changed)


DATASETS = (
    dataset("account", account_number="secret", balance_fen="secret", currency="public"),
    dataset("filing", uscc="internal", tax_type="public"),
    dataset("invoice", number="internal", buyer_phone="personal"),
    dataset("registration", uscc="internal", name="public", representative="personal"),
)
BASES = (
    legal_basis("all"),
    legal_basis("ended", in_force_to="2020-12-31"),
    legal_basis("only-account", categories=("account",)),
    legal_basis("only-audit", purposes=("audit",)),
    legal_basis("only-others", parties=("cn-3205-tax", "de-tax")),
)
PURPOSES = (
    "assessment", "audit", "automatic-exchange", "collection", "criminal", "refund-control",
    "statistics",
)  # fmt: skip


def validator(id_: str, **changed: object) -> Validator:
    """A validator; its certificate is a placeholder for tests without links."""
    base = Validator(
        member=id_,
        consensus_key=consensus_key(id_).public,
        cosigning_key=SecretKey(hash32(f"{id_}/cosigning")).public,
        tls_certificate=hash32(f"{id_}/tls"),
    )
    return msgspec.structs.replace(base, **changed)


@cache
def consensus_key(id_: str) -> SecretKey:
    """The known consensus key of a member's validator."""
    return SecretKey(hash32(f"{id_}/consensus"))


def genesis(
    *,
    members: tuple[Member, ...] | None = None,
    freezes: tuple[Freeze, ...] = (),
    policy_set: PolicySet | None = None,
    **parameters_changed: int,
) -> Genesis:
    """A network of five members, four of them validators, under the shipped contracts."""
    ids = sorted(MEMBERS)
    return Genesis(
        version=1,
        name="test",
        origin="test.example/log",
        time_ms=TIME_MS - 86_400_000,
        log_key=SecretKey(hash32("log")).public,
        parameters=parameters(**parameters_changed),
        validators=tuple(validator(id_) for id_ in ids[:4]),
        members=members or tuple(member(id_) for id_ in ids),
        officers=officers(),
        datasets=DATASETS,
        legal_bases=BASES,
        purposes=tuple(Purpose(id=id_, name_zh=id_, name_en=id_) for id_ in PURPOSES),
        freezes=freezes,
        policy_set=policy_set or load_shipped(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A network's id and state."""

    network: bytes
    state: MapState


def world(**changed: object) -> World:
    """State of a genesis; the network id stays that of the plain genesis."""
    return World(
        network=NETWORK,
        state=MapState(genesis_state(genesis(**changed))),
    )


def sign(
    body: Body,
    *,
    member: str,
    role: str,
    label: str = "",
    network: bytes | None = None,
    expires_height: int = HEIGHT + 100,
    key: SecretKey | None = None,
) -> Event:
    """A signed event; its nonce depends on `label` and the body."""
    return sign_event(
        key or key_of(member, role),
        network=NETWORK if network is None else network,
        member=member,
        nonce=hash32(label or repr(body))[:16],
        expires_height=expires_height,
        body=body,
    )


ENVELOPE = ("member", "role", "label", "network", "expires_height", "key")


def request(*, subject_count: int = 1, **changed: object) -> Event:
    """A request for registration data that is permitted at once."""
    envelope = {name: changed.pop(name) for name in ENVELOPE if name in changed}
    body = ShareRequested(
        provider=OWNER,
        dataset="registration",
        purpose="assessment",
        legal_basis="all",
        fields=("uscc", "name"),
        period_from="2024-01-01",
        period_to="2024-12-31",
        subjects=tuple(hash32(f"subject {number}") for number in range(subject_count)),
        urgency="normal",
        retention_days=1_000,
        case="case",
    )
    body = msgspec.structs.replace(body, **changed)
    return sign(body, **{"member": ASKER, "role": "requester", **envelope})


def reviewed_request(**changed: object) -> Event:
    """A request that goes to review: it names a secret field."""
    base = {"dataset": "account", "purpose": "audit", "fields": ("account-number",)}
    return request(**{**base, **changed})


def _step(body: Body, member: str, role: str, changed: dict[str, object]) -> Event:
    envelope = {name: changed.pop(name) for name in ENVELOPE if name in changed}
    body = msgspec.structs.replace(body, **changed)
    return sign(body, **{"member": member, "role": role, **envelope})


def approve(of: Event, **changed: object) -> Event:
    """The owner's approver allows the exchange."""
    return _step(ShareApproved(exchange=of.digest, comment=""), OWNER, "approver", changed)


def refuse(of: Event, **changed: object) -> Event:
    """The owner's approver refuses the exchange."""
    body = ShareRefused(exchange=of.digest, reason="not-held", text="")
    return _step(body, OWNER, "approver", changed)


def withdraw(of: Event, **changed: object) -> Event:
    """The requester takes the exchange back."""
    return _step(ShareWithdrawn(exchange=of.digest, text=""), ASKER, "requester", changed)


def deliver(of: Event, **changed: object) -> Event:
    """The owner delivers three records."""
    body = ShareDelivered(
        exchange=of.digest,
        commitment=hash32("payload"),
        record_count=3,
        schema_version=1,
        quality_digest=hash32("quality"),
        size_bytes=100,
        outbox_until_ms=OUTBOX_UNTIL_MS,
    )
    return _step(body, OWNER, "provider", changed)


def receive(of: Event, **changed: object) -> Event:
    """The requester confirms the delivery."""
    body = ShareReceived(exchange=of.digest, commitment=hash32("payload"), record_count=3)
    return _step(body, ASKER, "requester", changed)


def reject(of: Event, **changed: object) -> Event:
    """The requester rejects the delivery."""
    body = ShareRejected(
        exchange=of.digest,
        commitment=hash32("payload"),
        code_set="tallystick-1",
        codes=(50007,),
        text="",
    )
    return _step(body, ASKER, "requester", changed)


def add_validator(id_: str, **changed: object) -> AddValidator:
    """The member's validator joins; its key says so, whatever `changed` claims of the rest."""
    added = validator(id_)
    base = AddValidator(
        validator=added,
        address=f"{id_}.example:7001",
        possession=prove_possession(consensus_key(id_), NETWORK, added),
    )
    return msgspec.structs.replace(base, **changed)


def remove_validator(id_: str) -> RemoveValidator:
    """The member's validator leaves."""
    return RemoveValidator(member=id_)


def propose(*actions: Action, **changed: object) -> Event:
    """An administrator of the first member proposes."""
    body = GovernanceProposed(
        actions=actions, text="", activate_height=HEIGHT, ballots_until_height=HEIGHT + 100
    )
    return _step(body, VALIDATORS[0], "admin", changed)


def ballot(of: Event, member: str, **changed: object) -> Event:
    """An administrator of the member approves the proposal."""
    body = GovernanceBalloted(proposal=of.digest, approve=True, text="")
    return _step(body, member, "admin", changed)


def take_back(of: Event, **changed: object) -> Event:
    """The proposing member withdraws."""
    return _step(GovernanceWithdrawn(proposal=of.digest), VALIDATORS[0], "admin", changed)


def carried(*actions: Action, **changed: object) -> tuple[Event, ...]:
    """A proposal and the ballots that carry it in epoch 0, in order."""
    proposal = propose(*actions, **changed)
    return (proposal, *(ballot(proposal, member) for member in VALIDATORS[1:3]))


def ready(member: str, following: Iterable[str], **changed: object) -> Event:
    """The member's node is ready for epoch 1, whose validators are those of `following`."""
    validators = tuple(validator(id_) for id_ in sorted(following))
    body = ValidatorReady(
        next_epoch=1, set_hash=hash_validator_list(validators), synced_height=HEIGHT
    )
    return _step(body, member, "node", {"key": consensus_key(member), **changed})


def vote(member: str, block: str = "", *, kind: Kind = Kind.NOTARIZE, **changed: int) -> Vote:
    """A vote of epoch 0 for the block of that name, really signed."""
    named: dict[str, Any] = {"epoch": 0, "view": 9, **changed}
    signer = named.pop("signer", VALIDATORS.index(member) if member in VALIDATORS else 0)
    if kind is not Kind.NULLIFY:
        named = {"height": 5, "parent_view": 8, "block_hash": hash32(block), **named}
    subject = Subject(kind=kind, **named)
    signature = consensus_key(member).sign_raw(signed_vote(NETWORK, subject))
    return Vote(subject=subject, signer=signer, signature=signature)


def accuse(first: Vote, second: Vote, /, **changed: object) -> Event:
    """The first validator's node hands in evidence."""
    member = str(changed.pop("member", VALIDATORS[0]))
    body = EvidenceEquivocation(first=encode_vote(first), second=encode_vote(second))
    return _step(body, member, "node", {"key": consensus_key(member), **changed})


def anchor(**changed: object) -> Event:
    """The first validator's node anchors its access log."""
    member = str(changed.pop("member", VALIDATORS[0]))
    body = AccessLogged(
        period_from_ms=TIME_MS,
        period_to_ms=TIME_MS + 1,
        entries=3,
        digest=hash32("the last line"),
        previous=NO_ANCHOR,
    )
    return _step(body, member, "node", {"key": consensus_key(member), **changed})


VALIDATORS = sorted(MEMBERS)[:4]
NETWORK = hash_genesis(genesis())
