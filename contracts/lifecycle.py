r"""The lifecycle of an exchange as a table: who may do what, in which state, and what follows.

(opening) --permit--> permitted --delivered--> delivered --received--> received --used--> used
  |                         ^  \                  |  ^                 \_______________/
  |--review--> in_review ---'   withdrawn     rejected--' (delivered again)           |
  |               |  \                                                            destroyed
  '--deny--> denied  refused, withdrawn

What is not a state of its own (consents, corrections, disputes, a rating) are the matters of an
exchange: `contracts.exchange.matters`. Steps about them leave the state as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ledger.events import BODY_TYPES
from ledger.exchange.bodies import HoldingStep
from ledger.registry import Role

Side = Literal["requester", "provider", "holder"]

PERMITTED = "permitted"
IN_REVIEW = "in_review"
DENIED = "denied"
REFUSED = "refused"
WITHDRAWN = "withdrawn"
DELIVERED = "delivered"
RECEIVED = "received"
REJECTED = "rejected"
USED = "used"
DESTROYED = "destroyed"

STATUSES = (
    PERMITTED, IN_REVIEW, DENIED, REFUSED, WITHDRAWN, DELIVERED, RECEIVED, REJECTED, USED, DESTROYED
)  # fmt: skip
_HELD = (RECEIVED, USED)
# An onward recipient may hold a copy for longer than the requester.
_HELD_BY_OTHERS = (RECEIVED, USED, DESTROYED)
# Before a delivery, and before the correction of one.
_REFERENCED = (PERMITTED, REJECTED, *_HELD_BY_OTHERS)
_CONTESTABLE = (REFUSED, DELIVERED, REJECTED, RECEIVED, USED, DESTROYED)

STATUS_OF_DECISION = {"permit": PERMITTED, "review": IN_REVIEW, "deny": DENIED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who may take a step: an officer with this role, of the member on this side."""

    side: Side
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One row: an event kind in an open exchange. `after` None: the state stays as it is."""

    kind: str
    actors: tuple[Actor, ...]
    before: tuple[str, ...]
    after: str | None
    action: str | None
    """Cedar action that the contracts are asked for, or None."""
    is_holding: bool
    """Whether it is one of the steps that move the matters of an exchange."""


REQUESTER = Actor(side="requester", role="requester")
PROVIDER = Actor(side="provider", role="provider")
APPROVER = Actor(side="provider", role="approver")
HOLDER = Actor(side="holder", role="requester")


def _row(
    kind: str,
    actors: Actor | tuple[Actor, ...],
    before: tuple[str, ...],
    after: str | None,
    action: str | None = None,
) -> Step:
    several = actors if isinstance(actors, tuple) else (actors,)
    return Step(
        kind=kind,
        actors=several,
        before=before,
        after=after,
        action=action,
        is_holding=BODY_TYPES[kind, 1] in get_args(HoldingStep),
    )


STEPS: dict[str, Step] = {
    step.kind: step
    for step in (
        _row("share.approved", APPROVER, (IN_REVIEW,), PERMITTED, "approve"),
        _row("share.refused", APPROVER, (IN_REVIEW,), REFUSED),
        _row("share.withdrawn", REQUESTER, (IN_REVIEW, PERMITTED), WITHDRAWN),
        _row("share.referenced", PROVIDER, _REFERENCED, None),
        _row("share.delivered", PROVIDER, (PERMITTED, REJECTED), DELIVERED, "deliver"),
        _row("share.received", REQUESTER, (DELIVERED,), RECEIVED),
        _row("share.rejected", REQUESTER, (DELIVERED,), REJECTED),
        _row("share.used", REQUESTER, _HELD, USED, "use"),
        _row("share.consent_requested", REQUESTER, _HELD, None),
        _row("share.consent_given", APPROVER, _HELD, None, "forward"),
        _row("share.consent_refused", APPROVER, _HELD, None),
        _row("share.corrected", PROVIDER, _HELD_BY_OTHERS, None, "deliver"),
        _row("share.correction_acknowledged", HOLDER, _HELD_BY_OTHERS, None),
        _row("share.destroyed", HOLDER, _HELD_BY_OTHERS, DESTROYED),
        _row("share.disputed", (REQUESTER, APPROVER), _CONTESTABLE, None),
        _row("share.dispute_resolved", (REQUESTER, APPROVER), _CONTESTABLE, None),
        _row("share.rated", REQUESTER, _HELD_BY_OTHERS, None),
    )
}


# Steps that answer an earlier one, or that are taken once: what must outnumber what so far.
_ANSWERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "share.consent_given": (
        ("share.consent_requested",), ("share.consent_given", "share.consent_refused")
    ),
    "share.consent_refused": (
        ("share.consent_requested",), ("share.consent_given", "share.consent_refused")
    ),
    "share.correction_acknowledged": (("share.corrected",), ()),
    "share.dispute_resolved": (("share.disputed",), ("share.dispute_resolved",)),
}  # fmt: skip
_ONCE = ("share.rated",)


def next_steps(status: str, done: Sequence[str] = ()) -> tuple[Step, ...]:
    """Steps that may follow in `status` after applied events of the kinds `done`, in table order.

    An answer may follow only where something is open. Which holder owes what, the duties tell.
    """
    return tuple(
        step for step in STEPS.values() if status in step.before and _may_follow(step.kind, done)
    )


def _may_follow(kind: str, done: Sequence[str]) -> bool:
    if kind in _ONCE:
        return kind not in done
    asked, answered = _ANSWERS.get(kind, (None, ()))
    return asked is None or sum(map(done.count, asked)) > sum(map(done.count, answered))


def status_after(step: Step, status: str, *, is_requester: bool) -> str:
    """State after a step. A copy that another holder destroys does not end the exchange."""
    if step.after is None or (step.after == DESTROYED and not is_requester):
        return status
    return step.after
