"""Bodies of governance: tagged actions, addresses, sizes, and possession of a key."""

from typing import Any

import msgpack
import pytest

from ledger.errors import InvalidEncoding, InvalidEvent, InvalidSignature
from ledger.events import EVENT_SIZE_BYTES_MAX, Body, parse_event, verify_event
from ledger.genesis import hash_genesis
from ledger.governance.actions import ACTIONS_MAX
from ledger.governance.proposals import (
    PROPOSALS,
    GovernanceBalloted,
    GovernanceProposed,
    Proposal,
)
from ledger.quorum.epochs import EPOCH_PROOFS, EpochProof
from ledger.quorum.evidence import verify_equivocation
from ledger.quorum.governance import (
    AddValidator,
    EvidenceEquivocation,
    KeepValidators,
    RemoveValidator,
    ValidatorReady,
    prove_possession,
    verify_possession,
)
from ledger.quorum.votes import Kind, decode_vote
from ledger.registry import (
    EPOCH_RECORDS,
    PENDINGS,
    VALIDATOR_LISTS,
    EpochRecord,
    Pending,
    PendingChange,
)
from tests.unit.ledger.builders import (
    consensus_secret,
    make_event,
    make_genesis,
    make_validator,
)
from tests.vectors.ledger_cases import event_cases

GENESIS = make_genesis()
NETWORK = hash_genesis(GENESIS)


def adding(**lies: Any) -> AddValidator:
    added = make_validator("center")
    fields: dict[str, Any] = {
        "validator": added,
        "address": "node.example:7001",
        "possession": prove_possession(consensus_secret("center"), NETWORK, added),
    }
    return AddValidator(**(fields | lies))


def proposing(*actions: Any, **lies: Any) -> GovernanceProposed:
    fields: dict[str, Any] = {
        "actions": actions or (adding(),),
        "text": "",
        "activate_height": 0,
        "ballots_until_height": 0,
    }
    return GovernanceProposed(**(fields | lies))


def is_accepted(body: Body) -> bool:
    """Whether a signed event with this body parses; signing parses what it made."""
    try:
        event = make_event(1, body=body)
    except InvalidEvent as error:
        if error.code != "event-body-invalid":
            raise
        return False
    verify_event(parse_event(event.data))
    return True


def test_an_action_names_its_kind_first() -> None:
    event = make_event(
        1, body=proposing(adding(), RemoveValidator(member="west"), KeepValidators())
    )
    envelope = msgpack.unpackb(msgpack.unpackb(event.data)["payload"])
    actions = envelope["body"]["actions"]
    assert [next(iter(action.items())) for action in actions] == [
        ("action", "validator.add"),
        ("action", "validator.remove"),
        ("action", "validator.keep"),
    ]
    assert isinstance(event.body, GovernanceProposed)
    assert event.body.actions[2] == KeepValidators()


@pytest.mark.parametrize(
    "action",
    [
        {"action": "validator.burn"},
        {"action": "validator.remove"},
        {"action": "validator.remove", "member": "West"},
        {"action": "validator.keep", "member": "west"},
        {"member": "west", "action": "validator.remove"},
        {"member": "west"},
        {},
        None,
    ],
    ids=repr,
)
def test_other_actions_are_refused(action: Any) -> None:
    event = make_event(1, body=proposing(RemoveValidator(member="west")))
    body = msgpack.unpackb(msgpack.unpackb(event.data)["payload"])["body"]
    true = {"action": "validator.remove", "member": "west"}
    codec = PROPOSALS
    proposal = msgpack.unpackb(codec.encode(opened(RemoveValidator(member="west"))))
    assert proposal["actions"] == body["actions"] == [true]
    assert codec.decode(msgpack.packb(proposal)).actions[0] == RemoveValidator(member="west")
    with pytest.raises(InvalidEncoding):
        codec.decode(msgpack.packb(proposal | {"actions": [action]}))


def opened(*actions: Any) -> Proposal:
    return Proposal(
        status="open", member="north", actions=actions, activate_height=0,
        ballots_until_height=0, approved=("north",), rejected=(),
    )  # fmt: skip


def test_a_proposal_has_one_to_eight_actions() -> None:
    remove = RemoveValidator(member="west")
    for count, is_allowed in ((0, False), (1, True), (ACTIONS_MAX, True), (9, False)):
        assert is_accepted(proposing(actions=(remove,) * count)) is is_allowed


def test_the_largest_proposal_is_an_event_and_a_state() -> None:
    """Else an admitted proposal could stop every node."""
    name = "m" * 64
    added = make_validator("x", member=name, tls_certificate=bytes(2_048))
    action = adding(
        validator=added,
        address="a" * 200 + ":65535",
        possession=prove_possession(consensus_secret("x"), NETWORK, added),
    )
    body = proposing(*[action] * ACTIONS_MAX, text="字" * 500)
    event = make_event(1, body=body)
    assert len(event.data) < EVENT_SIZE_BYTES_MAX
    names = tuple(f"{at:02}" + "m" * 62 for at in range(30))
    proposal = Proposal(
        status="abandoned", member=name, actions=body.actions, activate_height=2**63 - 1,
        ballots_until_height=2**63 - 1, approved=names, rejected=names,
    )  # fmt: skip
    assert PROPOSALS.decode(PROPOSALS.encode(proposal)) == proposal
    many = tuple(make_validator("x", member=each, tls_certificate=bytes(2_048)) for each in names)
    assert VALIDATOR_LISTS.decode(VALIDATOR_LISTS.encode(many)) == many
    record = EpochRecord(epoch=2**63 - 1, first_height=2**63 - 1, validators=many)
    assert EPOCH_RECORDS.decode(EPOCH_RECORDS.encode(record)) == record
    change = PendingChange(
        proposal=bytes(32), validators=many, set_hash=bytes(32), activate_height=0, ready=names
    )
    assert PENDINGS.decode(PENDINGS.encode(Pending(change=change))).change == change
    proof = EpochProof(
        version=1, epoch=2**63 - 1, validators=many, header=bytes(2_048), index=2**63 - 1,
        path=(bytes(32),) * 63, checkpoint=bytes(65_536),
    )  # fmt: skip
    assert EPOCH_PROOFS.decode(EPOCH_PROOFS.encode(proof)) == proof


@pytest.mark.parametrize(
    ("address", "is_allowed"),
    [
        ("node.example:7001", True),
        ("n:1", True),
        ("10.0.0.1:65535", True),
        ("[2001:db8::1]:7001", True),
        ("node.example", False),
        ("node.example:", False),
        ("node.example:0", False),
        ("node.example:07001", False),
        ("node.example:65536", False),
        ("node.example:700001", False),
        ("Node.example:7001", False),
        ("-node:7001", False),
        ("node.:7001", False),
        ("2001:db8::1:7001", False),
        (" node:7001", False),
        ("node:7001\n", False),
        ("node/path:7001", False),
        ("user@node:7001", False),
        ("n\u00f6de:7001", False),
        ("node:\u0667001", False),
        ("a" * 256 + ":7001", False),
    ],
)
def test_an_address_is_a_host_and_a_port(address: str, is_allowed: bool) -> None:
    assert is_accepted(proposing(adding(address=address))) is is_allowed


@pytest.mark.parametrize(
    "body",
    [
        proposing(activate_height=-1),
        proposing(ballots_until_height=2**63),
        proposing(text="t" * 501),
        GovernanceBalloted(proposal=bytes(31), approve=True, text=""),
        GovernanceBalloted(proposal=bytes(32), approve=1, text=""),  # type: ignore[arg-type]  # the lie
        ValidatorReady(next_epoch=-1, set_hash=bytes(32), synced_height=0),
        ValidatorReady(next_epoch=1, set_hash=b"", synced_height=0),
        EvidenceEquivocation(first=b"", second=b"x"),
        EvidenceEquivocation(first=b"x", second=bytes(132)),
    ],
    ids=lambda body: type(body).__name__,
)
def test_lying_bodies_are_refused(body: Body) -> None:
    assert not is_accepted(body)


def test_possession_is_proven_by_the_consensus_key_alone() -> None:
    verify_possession(NETWORK, adding())
    for other in ("east", "west"):
        stolen = prove_possession(consensus_secret(other), NETWORK, make_validator("center"))
        with pytest.raises(InvalidSignature):
            verify_possession(NETWORK, adding(possession=stolen))
    with pytest.raises(InvalidSignature):
        verify_possession(bytes(32), adding())
    with pytest.raises(InvalidSignature):
        verify_possession(NETWORK, adding(validator=make_validator("center", member="east")))


def test_the_frozen_evidence_is_evidence() -> None:
    """Its votes are spelled out byte by byte in the vectors, not made by this code."""
    body = parse_event(event_cases()["evidence.equivocation"]).body
    assert isinstance(body, EvidenceEquivocation)
    first, second = decode_vote(body.first), decode_vote(body.second)
    assert (first.subject.kind, first.subject.view, first.signer) == (Kind.NOTARIZE, 9, 2)
    verify_equivocation(NETWORK, GENESIS.validators, first, second)
