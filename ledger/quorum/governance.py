r"""How a network governs its validators: actions of proposals, and what nodes report.

Actions are part of the union of `ledger.governance.actions` (`action` comes first in each):

    validator.add      a member's validator joins; its consensus key signs `possession_message`
    validator.remove   the member's validator leaves
    validator.keep     the pending change of the list is abandoned

Node events are signed with a node's consensus key: `ValidatorReady` says that the node holds the
log and can vote in the next epoch, `EvidenceEquivocation` carries two votes that no honest
validator signs together (CONSENSUS R12), each in the encoding of `ledger.quorum.votes`.
"""

from typing import Annotated

from msgspec import Meta

from ledger.codec import Codec, Value
from ledger.keys import Signer, verify_signature
from ledger.quorum.votes import VOTE_BYTES_MAX
from ledger.registry import Validator
from ledger.scalars import Hash32, Identifier, PeerAddress, SignatureBytes, Uint

POSSESSION_DOMAIN = b"tallystick/possession/v1\0"

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
