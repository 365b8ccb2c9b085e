"""Bodies about proposals: rules of voting, dry runs, summaries, a proposal in full, histories."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from contracts.governance.catalogue import class_of
from contracts.governance.faults import Fault
from contracts.words import Language
from ledger.events import Event
from ledger.governance.actions import VotingRule
from ledger.governance.proposals import Actions, GovernanceBalloted, GovernanceProposed, Proposal
from ledger.keys import format_public_key
from node.api.schemas.base import Body, fields_of
from node.api.schemas.governance.changes import StateChangeBody
from node.api.schemas.governance.validators import FaultBody, PreviewBody, fault_body

Status = Literal[
    "open",
    "expired",
    "rejected",
    "withdrawn",
    "waiting",
    "in_force",
    "failed",
    "enacted",
    "sealed",
    "abandoned",
]


class PreviewProposal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Actions as in a proposal, 1 to 8, and who would propose; byte strings in base64."""

    actions: Actions
    member: Annotated[str, msgspec.Meta(max_length=64)] = ""


class RuleBody(Body, frozen=True, kw_only=True):
    """How votes of a class count: more than `share` thousandths, today `needed` voters.

    `factors` is how many administrators' keys of a member make up its approval.
    """

    action_class: str = msgspec.field(name="class")
    share: int
    factors: int
    needed: int


class RulesBody(Body, frozen=True, kw_only=True):
    """Who votes today, and the rules in force."""

    voters: tuple[str, ...]
    rules: list[RuleBody]


class ProposalPreviewBody(Body, frozen=True, kw_only=True):
    """What actions would do now. With `faults` they are not possible; `validators` only if asked.

    `own`: two administrators of the member that proposes suffice. Actions that do not belong
    together have no class, and nothing is `needed`.
    """

    action_class: str = msgspec.field(name="class")
    needed: int
    voters: int
    factors: int
    own: bool
    faults: list[FaultBody]
    changes: list[StateChangeBody]
    validators: PreviewBody | None


class ProposalSummaryBody(Body, frozen=True, kw_only=True):
    """A proposal in a list. `index` and `height` are where it stands in the log."""

    digest: str
    status: Status
    member: str
    action_class: str = msgspec.field(name="class")
    text: str
    actions: tuple[str, ...]
    activate_height: int
    ballots_until_height: int
    approved: tuple[str, ...]
    rejected: tuple[str, ...]
    needed: int
    index: int
    height: int


class ProposalPage(Body, frozen=True, kw_only=True):
    """A page of proposals, in the order of their digests."""

    items: list[ProposalSummaryBody]
    next: str | None


class BallotBody(Body, frozen=True, kw_only=True):
    """A ballot that counted, at its place in the log."""

    event: str
    index: int
    height: int
    member: str
    officer: str
    approve: bool
    text: str


class ProposalBody(Body, frozen=True, kw_only=True):
    """A proposal in full. What is `needed`, and by whom, is as of now.

    `effective_height` is the height from which a carried one is in force, else null. `changes` and
    `faults` are a dry run of one that is open or waits. `missing` are voters that have not voted,
    `pending_second_key` those whose approval counts once another administrator gives it too.
    """

    digest: str
    status: Status
    member: str
    action_class: str = msgspec.field(name="class")
    text: str
    actions: list[dict[str, Any]]
    index: int
    height: int
    activate_height: int
    effective_height: int | None
    ballots_until_height: int
    needed: int
    factors: int
    own: bool
    voters: tuple[str, ...]
    approved: tuple[str, ...]
    rejected: tuple[str, ...]
    pending_second_key: tuple[str, ...]
    missing: tuple[str, ...]
    ballots: list[BallotBody]
    faults: list[FaultBody]
    changes: list[StateChangeBody]


class RevisionBody(Body, frozen=True, kw_only=True):
    """A change: the proposal that decided it, and the first height at which it is in force."""

    proposal: str
    height: int


class HistoryBody(Body, frozen=True, kw_only=True):
    """Changes of one thing since genesis, newest last."""

    target: str
    revisions: list[RevisionBody]


def rule_body(rule: VotingRule, needed: int) -> RuleBody:
    """JSON shape of a rule of voting."""
    return RuleBody(
        action_class=rule.action_class, share=rule.share, factors=rule.factors, needed=needed
    )


def summary_body(
    proposal: Proposal,
    event: Event,
    body: GovernanceProposed,
    *,
    status: Status,
    needed: int,
    index: int,
    height: int,
) -> ProposalSummaryBody:
    """JSON shape of a proposal in a list; `event` proposed it."""
    return ProposalSummaryBody(
        digest=event.digest.hex(),
        status=status,
        member=proposal.member,
        action_class=class_of(proposal.actions[0]),
        text=body.text,
        actions=tuple(str(fields_of(action)["action"]) for action in proposal.actions),
        activate_height=proposal.activate_height,
        ballots_until_height=proposal.ballots_until_height,
        approved=proposal.approved,
        rejected=proposal.rejected,
        needed=needed,
        index=index,
        height=height,
    )


def ballot_body(event: Event, body: GovernanceBalloted, *, index: int, height: int) -> BallotBody:
    """JSON shape of a ballot."""
    return BallotBody(
        event=event.digest.hex(),
        index=index,
        height=height,
        member=event.member,
        officer=format_public_key(event.officer),
        approve=body.approve,
        text=body.text,
    )


def fault_bodies(faults: Sequence[Fault], language: Language) -> list[FaultBody]:
    """JSON shapes of why a change is not possible."""
    return [fault_body(fault.code, fault.detail, language) for fault in faults]
