r"""The lifecycle of an exchange as a table: who may do what, in which state, and what follows.

(request) --permit--> permitted --delivered--> delivered --received--> received
    |                     ^  \                   |  ^
    |--review--> in_review   withdrawn      rejected--'  (delivered again)
    |               |  \
    '--deny--> denied  refused, withdrawn
"""

from dataclasses import dataclass
from typing import Literal

from ledger.registry import Role

Side = Literal["requester", "provider"]

PERMITTED = "permitted"
IN_REVIEW = "in_review"
DENIED = "denied"
REFUSED = "refused"
WITHDRAWN = "withdrawn"
DELIVERED = "delivered"
RECEIVED = "received"
REJECTED = "rejected"

STATUSES = (
    PERMITTED, IN_REVIEW, DENIED, REFUSED, WITHDRAWN, DELIVERED, RECEIVED, REJECTED
)  # fmt: skip

STATUS_OF_DECISION = {"permit": PERMITTED, "review": IN_REVIEW, "deny": DENIED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One row: an event kind in an open exchange."""

    kind: str
    side: Side
    role: Role
    before: tuple[str, ...]
    after: str
    action: str | None
    """Cedar action that the contracts are asked for, or None."""


STEPS: dict[str, Step] = {
    step.kind: step
    for step in (
        Step(
            kind="share.approved", side="provider", role="approver",
            before=(IN_REVIEW,), after=PERMITTED, action="approve",
        ),
        Step(
            kind="share.refused", side="provider", role="approver",
            before=(IN_REVIEW,), after=REFUSED, action=None,
        ),
        Step(
            kind="share.withdrawn", side="requester", role="requester",
            before=(IN_REVIEW, PERMITTED), after=WITHDRAWN, action=None,
        ),
        Step(
            kind="share.delivered", side="provider", role="provider",
            before=(PERMITTED, REJECTED), after=DELIVERED, action="deliver",
        ),
        Step(
            kind="share.received", side="requester", role="requester",
            before=(DELIVERED,), after=RECEIVED, action=None,
        ),
        Step(
            kind="share.rejected", side="requester", role="requester",
            before=(DELIVERED,), after=REJECTED, action=None,
        ),
    )
}  # fmt: skip


def next_steps(status: str) -> tuple[Step, ...]:
    """Steps that may follow in `status`, in table order."""
    return tuple(step for step in STEPS.values() if status in step.before)
