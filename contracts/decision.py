"""The decision of the contracts on one act, and its explanation in words."""

from dataclasses import dataclass
from enum import StrEnum

from ledger.blocks import Obligations


class Verdict(StrEnum):
    """What the contracts say about a request."""

    PERMIT = "permit"
    REVIEW = "review"
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A verdict with the ids of the determining policies (sorted) and the facts it stands on.

    `errors`: what the engine could not evaluate; then the verdict is deny. `obligations` are those
    of the determining permits, the strictest of each kind.
    """

    verdict: Verdict
    policies: tuple[str, ...]
    policy_set: bytes
    obligations: Obligations | None
    errors: tuple[str, ...]

    def __bool__(self) -> bool:
        """Refused: a decision is not a truth value, `deny` would count as true."""
        raise TypeError("compare Decision.verdict, do not use a Decision as a truth value")
