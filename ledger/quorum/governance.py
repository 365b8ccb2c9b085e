r"""How a network governs its validators: bodies of events, and the state of a proposal.

Governance events are signed by officers with the role `admin`. A proposal holds 1 to 8 actions, a
tagged union (`action` comes first), so later actions can be added:

    validator.add      a member's validator joins; its consensus key signs `possession_message`
    validator.remove   the member's validator leaves
    validator.keep     the pending change of the list is abandoned

Node events are signed with a node's consensus key: `ValidatorReady` says that the node holds the
log and can vote in the next epoch, `EvidenceEquivocation` carries two votes that no honest
validator signs together (CONSENSUS R12), each in the encoding of `ledger.quorum.votes`.
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from ledger.codec import Codec, Value
from ledger.keys import Signer, verify_signature
from ledger.quorum.votes import VOTE_BYTES_MAX
from ledger.registry import Validator
from ledger.scalars import Hash32, Identifier, PeerAddress, SignatureBytes, Text, Uint

POSSESSION_DOMAIN = b"tallystick/possession/v1\0"
ACTIONS_MAX = 8

VoteBytes = Annotated[bytes, Meta(min_length=1, max_length=VOTE_BYTES_MAX)]

_VALIDATORS = Codec(Validator, size_bytes_max=4_096)


class AddValidator(Value, frozen=True, kw_only=True, tag_field="action", tag="validator.add"):
    """The validator joins the next list; peers reach it at `address`."""

    validator: Validator
    address: PeerAddress
    possession: SignatureBytes


class RemoveValidator(Value, frozen=True, kw_only=True, tag_field="action", tag="validator.remove"):
    """The validator of a member leaves the next list."""

    member: Identifier


class KeepValidators(Value, frozen=True, kw_only=True, tag_field="action", tag="validator.keep"):
    """The pending change is abandoned: the list stays as it is."""


Action: TypeAlias = AddValidator | RemoveValidator | KeepValidators


class GovernanceProposed(Value, frozen=True, kw_only=True):
    """A member proposes, and thereby approves. Ballots count up to a height, which is included."""

    actions: Annotated[tuple[Action, ...], Meta(min_length=1, max_length=ACTIONS_MAX)]
    text: Text
    activate_height: Uint
    ballots_until_height: Uint


class GovernanceBalloted(Value, frozen=True, kw_only=True):
    """A member approves or rejects a proposal, once."""

    proposal: Hash32
    approve: bool
    text: Text


class GovernanceWithdrawn(Value, frozen=True, kw_only=True):
    """The proposing member takes its proposal back."""

    proposal: Hash32


class ValidatorReady(Value, frozen=True, kw_only=True):
    """A validator of the pending list can take part in `next_epoch`.

    `set_hash` names the list, `synced_height` the height up to which the node holds the log: for
    people, no rule depends on it.
    """

    next_epoch: Uint
    set_hash: Hash32
    synced_height: Uint


class EvidenceEquivocation(Value, frozen=True, kw_only=True):
    """Two contradictory votes of one validator in one view."""

    first: VoteBytes
    second: VoteBytes


ProposalStatus = Literal["open", "enacted", "sealed", "abandoned", "withdrawn"]


class Proposal(Value, frozen=True, kw_only=True):
    """State of a proposal; its id is the digest of the event that proposed it.

    `approved` and `rejected` are the members that said so, sorted; who of them counts is decided
    when they are counted. An open proposal whose `ballots_until_height` is past stays as it is. One
    that was enacted is pending until a seal block puts it in force, or another abandons it.
    """

    status: ProposalStatus
    member: Identifier
    actions: Annotated[tuple[Action, ...], Meta(min_length=1, max_length=ACTIONS_MAX)]
    activate_height: Uint
    ballots_until_height: Uint
    approved: tuple[Identifier, ...]
    rejected: tuple[Identifier, ...]


PROPOSALS = Codec(Proposal, size_bytes_max=65_536)


def possession_message(network: bytes, validator: Validator) -> bytes:
    """What the consensus key of a new validator signs under `POSSESSION_DOMAIN`."""
    return network + _VALIDATORS.encode(validator)


def prove_possession(key: Signer, network: bytes, validator: Validator) -> bytes:
    """Signature (65 bytes) by the holder of the validator's consensus key."""
    return key.sign(POSSESSION_DOMAIN, possession_message(network, validator))


def verify_possession(network: bytes, action: AddValidator) -> None:
    """Check `action.possession`. Raises `InvalidKey` or `InvalidSignature`."""
    validator = action.validator
    message = possession_message(network, validator)
    verify_signature(validator.consensus_key, POSSESSION_DOMAIN, message, action.possession)
