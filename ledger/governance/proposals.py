"""Events of governance, and the state of a proposal.

Governance events are signed by officers with the role `admin`. A proposal holds 1 to 8 actions of
one class (`ledger.governance.actions`). It is open until a ballot carries it, until so many reject
it that none can, until it is withdrawn, or for as long as ballots count.
"""

from typing import Annotated, Literal

from msgspec import Meta

from ledger.codec import Codec, Value
from ledger.governance.actions import ACTIONS_MAX, Action, VotingRule
from ledger.scalars import Hash32, Identifier, PublicKeyBytes, Text, Uint

WAITING_MAX = 64

Actions = Annotated[tuple[Action, ...], Meta(min_length=1, max_length=ACTIONS_MAX)]


class GovernanceProposed(Value, frozen=True, kw_only=True):
    """A member proposes, and thereby approves. Ballots count up to a height, which is included."""

    actions: Actions
    text: Text
    activate_height: Uint
    ballots_until_height: Uint


class GovernanceBalloted(Value, frozen=True, kw_only=True):
    """A member approves or rejects a proposal, once (once with each key where two are asked)."""

    proposal: Hash32
    approve: bool
    text: Text


class GovernanceWithdrawn(Value, frozen=True, kw_only=True):
    """The proposing member takes its proposal back."""

    proposal: Hash32


class GovernanceAcknowledged(Value, frozen=True, kw_only=True):
    """An administrator of an admitted member accepts what was decided: it is active from now on."""

    proposal: Hash32


ProposalStatus = Literal[
    "open",
    "rejected",
    "withdrawn",
    "waiting",
    "in_force",
    "failed",
    "enacted",
    "sealed",
    "abandoned",
]


class Proposal(Value, frozen=True, kw_only=True):
    """State of a proposal; its id is the digest of the event that proposed it.

    `approved` and `rejected` are the members that said so, sorted; who of them counts is decided
    when they are counted. An open proposal whose `ballots_until_height` is past stays as it is.

    A carried one is `waiting` for its height, then `in_force`, or `failed` if by then it was not
    possible any more. A change of validators is `enacted` when it is carried, and `sealed` when a
    seal block puts it in force, unless another proposal has `abandoned` it.
    """

    status: ProposalStatus
    member: Identifier
    actions: Actions
    activate_height: Uint
    ballots_until_height: Uint
    approved: tuple[Identifier, ...]
    rejected: tuple[Identifier, ...]


class BallotBox(Value, frozen=True, kw_only=True):
    """Keys with which a member has approved a proposal, sorted."""

    officers: tuple[PublicKeyBytes, ...]


class Waiting(Value, frozen=True, kw_only=True):
    """A carried proposal: in force from the block of `height` on."""

    height: Uint
    proposal: Hash32


class Revision(Value, frozen=True, kw_only=True):
    """A change of a thing on the ledger: what decided it, and the first height it is in force."""

    proposal: Hash32
    height: Uint


PROPOSALS = Codec(Proposal, size_bytes_max=131_072)
BALLOT_BOXES = Codec(BallotBox, size_bytes_max=4_096)
WAITINGS = Codec(tuple[Waiting, ...], size_bytes_max=16_384)
REVISIONS = Codec(Revision, size_bytes_max=256)
VOTING_RULES = Codec(VotingRule, size_bytes_max=256)
