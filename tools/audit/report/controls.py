"""Controls of supervision, each with the evidence that the ledger holds for it.

A control counts records that show it at work and records or duties that are exceptions, and names
some of each by their index in the log: whoever doubts a line looks them up (`tally audit receipt`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from contracts.drafts.history import Happened
from contracts.facts import block_date
from ledger.events import ShareDelivered, ShareOpening
from ledger.exchange.bodies import ShareCorrected, ShareDestroyed, ShareUsed
from ledger.exchange.incidents import DrillRun
from ledger.governance.proposals import GovernanceProposed
from ledger.quorum.governance import EvidenceEquivocation
from ledger.registry import Exchange, LegalBasis
from tools.audit.period import DAY_MS
from tools.audit.stories import Story
from tools.governance.actions import tag_of

SAMPLES_MAX = 6
Verdict = Literal["shown", "exceptions", "nothing"]

# Id, requirement that it answers for, gaps that are its exceptions.
CONTROLS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("legality", "P1", ()),
    ("necessity", "P2", ()),
    ("commitments", "P3", ()),
    ("timeliness", "P4", ("review-without-answer", "permit-without-delivery")),
    ("signatures", "S2", ()),
    ("four-eyes", "T5", ()),
    ("quality", "T3", ("rejection-without-delivery", "delivery-without-receipt")),
    ("use", "X4", ("receipt-without-use",)),
    ("onward", "X4", ("consent-without-answer",)),
    ("retention", "X4", ("retention-without-destruction",)),
    ("corrections", "X4", ("correction-without-acknowledgement",)),
    ("disputes", "X4", ("dispute-without-resolution",)),
    ("governance", "M3", ()),
    ("keys", "S1", ()),
    ("access", "S3", ()),
    ("integrity", "S4", ()),
    (
        "incidents", "S7",
        ("incident-without-notice", "incident-without-remedy", "incident-without-closing"),
    ),
    ("drills", "S7", ()),
)  # fmt: skip
CONTROL_OF_GAP = {gap: id_ for id_, _, gaps in CONTROLS for gap in gaps}

_EVIDENCE = {
    "share.approved": "four-eyes",
    "share.refused": "four-eyes",
    "share.received": "quality",
    "share.rejected": "quality",
    "share.used": "use",
    "share.consent_requested": "onward",
    "share.consent_given": "onward",
    "share.consent_refused": "onward",
    "share.corrected": "corrections",
    "share.correction_acknowledged": "corrections",
    "share.disputed": "disputes",
    "share.dispute_resolved": "disputes",
    "incident.reported": "incidents",
    "incident.notified": "incidents",
    "incident.remedied": "incidents",
    "incident.closed": "incidents",
    "governance.proposed": "governance",
    "governance.balloted": "governance",
    "governance.withdrawn": "governance",
    "governance.acknowledged": "governance",
    "access.logged": "access",
}
_KEY_ACTIONS = ("officer.", "encryption.", "gateway.", "validator.")


@dataclass(slots=True)
class Evidence:
    """How many, and the indexes of the first of them."""

    count: int = 0
    samples: list[int] = field(default_factory=list)

    def add(self, index: int | None) -> None:
        """Count one; a duty has no index."""
        self.count += 1
        if index is not None and len(self.samples) < SAMPLES_MAX:
            self.samples.append(index)


@dataclass(slots=True)
class Control:
    """One control and what was found."""

    id: str
    requirement: str
    evidence: Evidence = field(default_factory=Evidence)
    exceptions: Evidence = field(default_factory=Evidence)

    @property
    def verdict(self) -> Verdict:
        """Whether it was seen at work without an exception, with some, or not at all."""
        if self.exceptions.count:
            return "exceptions"
        return "shown" if self.evidence.count else "nothing"


class Controls:
    """All controls, fed with the records of the period."""

    def __init__(self) -> None:
        self.of = {id_: Control(id_, requirement) for id_, requirement, _ in CONTROLS}

    def add(self, each: Happened, story: Story | None, exchange: Exchange | None) -> None:
        """Weigh a record; `story` as it is after it, `exchange` as it is after its block."""
        self.of["signatures"].evidence.add(each.index)
        if not each.outcome.applied:
            return
        control = _EVIDENCE.get(each.event.kind)
        if control is not None:
            self.of[control].evidence.add(each.index)
        for id_, is_fault in _judge(each, story, exchange):
            found = self.of[id_]
            (found.exceptions if is_fault else found.evidence).add(each.index)

    def miss(self, control: str, index: int | None = None) -> None:
        """Count an exception that no single record shows."""
        self.of[control].exceptions.add(index)


def _judge(
    each: Happened, story: Story | None, exchange: Exchange | None
) -> Iterator[tuple[str, bool]]:
    """Controls that a record is evidence for (False) or an exception from (True)."""
    body = each.event.body
    if isinstance(body, DrillRun):
        yield "drills", body.result != "passed"
    elif isinstance(body, EvidenceEquivocation):
        yield "integrity", True
    elif isinstance(body, GovernanceProposed):
        if any(tag_of(action).startswith(_KEY_ACTIONS) for action in body.actions):
            yield "keys", False
    elif isinstance(body, ShareOpening):
        yield from _judge_opening(each)
    elif story is not None and exchange is not None:
        yield from _judge_step(each, story, exchange)


def _judge_opening(each: Happened) -> Iterator[tuple[str, bool]]:
    outcome = each.outcome
    is_allowed = outcome.decision in ("permit", "review")
    is_founded = covers(each.basis, block_date(each.time_ms))
    yield "legality", not outcome.policy_set or (is_allowed and not is_founded)
    if is_allowed:
        duties = outcome.obligations
        yield "necessity", duties is None or not duties.retention_days


def _judge_step(each: Happened, story: Story, exchange: Exchange) -> Iterator[tuple[str, bool]]:
    event, body = each.event, each.event.body
    if isinstance(body, ShareDelivered | ShareCorrected):
        yield "commitments", False
        if isinstance(body, ShareDelivered) and story.deliveries == 1:
            yield "timeliness", each.time_ms > exchange.deadline_ms
    elif event.kind == "share.approved":
        if event.officer == story.officer:
            yield "four-eyes", True
    elif isinstance(body, ShareUsed):
        if body.consent:
            yield "onward", False
    elif isinstance(body, ShareDestroyed) and event.member == story.requester:
        until_ms = story.received_ms + exchange.retention_days * DAY_MS
        yield "retention", each.time_ms > until_ms


def covers(basis: LegalBasis | None, day: date) -> bool:
    """Whether a legal basis, as it was registered, was in force on a day."""
    return basis is not None and basis.in_force_from <= day.isoformat() <= basis.in_force_to
