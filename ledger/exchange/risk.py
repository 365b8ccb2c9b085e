"""Values about the risk of a request: how it is assessed, what was found, how members used to ask.

A month is counted as `year * 12 + month - 1` of the block's date in UTC.
"""

from typing import Annotated, NamedTuple

from msgspec import Meta

from ledger.codec import Codec, Value
from ledger.scalars import Identifier, Uint

RISK_MAX = 100
RISK_REASONS_MAX = 32
HABIT_MONTHS_MAX = 24
HABIT_USES_MAX = 256
SHARE_WHOLE = 100  # per cent

RiskPoints = Annotated[int, Meta(ge=0, le=RISK_MAX)]
# Only execution writes them: a pattern would cost more to read than everything else of a record.
_Code = Annotated[str, Meta(min_length=1, max_length=64)]
_Hour = Annotated[int, Meta(ge=0, le=24)]


class RiskWeight(Value, frozen=True, kw_only=True):
    """How many points a reason is worth; 0: it never counts."""

    reason: Identifier
    points: RiskPoints


class RiskRules(Value, frozen=True, kw_only=True):
    """How risk is assessed. A reason without a weight here has that of the software's own table.

    Work is from `open_hour` to before `close_hour` in UTC+8; from 0 to 24 it never ends. More than
    `subjects_many` subjects in one request are many. A month is unusual that is beyond
    `usual_share` per cent of the mean of the `months` months before it, and beyond the floor:
    `volume_floor` subjects that a member asks about, `asked_floor` requests to one provider. Denied
    often is who was turned down `denied_floor` times in this month and the last.
    """

    version: Uint
    weights: Annotated[tuple[RiskWeight, ...], Meta(max_length=RISK_REASONS_MAX)]
    open_hour: _Hour
    close_hour: _Hour
    subjects_many: Annotated[int, Meta(ge=1, le=1_000)]
    months: Annotated[int, Meta(ge=1, le=HABIT_MONTHS_MAX)]
    usual_share: Annotated[int, Meta(ge=SHARE_WHOLE, le=100 * SHARE_WHOLE)]
    volume_floor: Annotated[int, Meta(ge=1, le=2**40)]
    asked_floor: Annotated[int, Meta(ge=1, le=2**40)]
    denied_floor: Annotated[int, Meta(ge=1, le=2**40)]


class RiskReason(NamedTuple):
    """Why a request is risky, and what that adds to the score. An array on the wire."""

    code: _Code
    points: RiskPoints


class Risk(Value, frozen=True, kw_only=True):
    """Risk of a request when it was decided; reasons sorted by code. In the state if not 0."""

    score: RiskPoints
    reasons: Annotated[tuple[RiskReason, ...], Meta(max_length=RISK_REASONS_MAX)]
    rules_version: Uint


class AskedMonth(NamedTuple):
    """Requests in a month, subjects in them, and how many were denied or refused. An array."""

    month: Uint
    asked: Uint
    subjects: Uint
    turned_down: Uint


class AskedUse(NamedTuple):
    """A dataset asked for, and for what. An array on the wire."""

    dataset: _Code
    purpose: _Code


class Habit(Value, frozen=True, kw_only=True):
    """How a member used to ask: all others, or one provider; only the latter has `uses`.

    Months without a request are left out; `uses` are in order of their first time.
    """

    months: Annotated[tuple[AskedMonth, ...], Meta(max_length=HABIT_MONTHS_MAX + 1)]
    uses: Annotated[tuple[AskedUse, ...], Meta(max_length=HABIT_USES_MAX)]


RISK_RULES = Codec(RiskRules, size_bytes_max=4_096)
RISKS = Codec(Risk, size_bytes_max=4_096)
HABITS = Codec(Habit, size_bytes_max=65_536)

NO_RISK = Risk(score=0, reasons=(), rules_version=0)
