"""What a report says, as values."""

from dataclasses import dataclass
from typing import Literal, TypeVar

from ledger.registry import Member
from tools.audit.codes import Names
from tools.audit.period import DAY_MS, Period, format_day
from tools.audit.report.controls import Control
from tools.audit.report.measures import Measures

K = TypeVar("K", str, tuple[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class GapFound:
    """An overdue duty of the exchange or incident `of`.

    `index` is that of the record that opened it; None: of an incident, and before what is left.
    """

    gap: str
    member: str
    due_ms: int
    index: int | None
    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentFound:
    """An incident that was reported in the period, or was open in it. Times 0: not yet."""

    id: str
    member: str
    category: str
    severity: str
    status: str
    partners: int
    notified: int
    reported_ms: int
    remedied_ms: int
    closed_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillFound:
    """A drill in the period."""

    index: int
    member: str
    category: str
    result: str
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeFound:
    """A member's credit at the end of the period."""

    member: str
    score: int
    grade: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeChanged:
    """A change of grade in the period."""

    member: str
    before: str
    after: str
    score: int
    reason: str
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessFound:
    """What a node vouched for of its access log in the period; without an anchor all are zero."""

    member: str
    anchors: int
    lines: int
    until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the report stands on: the log's checkpoint, and the last block that it looks at.

    `signatures` of events were verified for this report, or when the index was made.

    `entries` is how many entries of the log this block ends with; times are those of the first
    block that was looked at and of the last one. `begins` tells of a pruned mirror: the walk began
    with the state after a block, and what went before is known as far as this state tells.
    """

    network: str
    name: str
    size: int
    root: str
    cosigners: tuple[str, ...]
    signatures: Literal["verified", "index"]
    entries: int
    height: int
    state_digest: str
    since_ms: int
    until_ms: int
    begins: "Begins | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begins:
    """After which block a walk began, and how many entries that block ends with."""

    height: int
    time_ms: int
    entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All of it. Pairs are (requester, provider); `flows` count receipts between two regions.

    `risk` counts requests by the least score of their band and by decision; `risk_reasons` why.
    `contract_titles` are those of the contracts in force at the end.
    """

    ground: Ground
    period: Period
    pair: tuple[str, ...]
    members: dict[str, Member]
    total: Measures
    pairs: dict[tuple[str, str], Measures]
    months: dict[str, Measures]
    flows: dict[tuple[str, str], int]
    risk: dict[int, dict[str, int]]
    risk_reasons: dict[str, int]
    contracts: dict[str, int]
    contract_titles: dict[str, tuple[str, str]]
    code_names: Names
    not_applied: dict[str, int]
    actions: dict[str, int]
    gaps: tuple[GapFound, ...]
    incidents: tuple[IncidentFound, ...]
    drills: tuple[DrillFound, ...]
    grades: tuple[GradeFound, ...]
    grade_changes: tuple[GradeChanged, ...]
    access: tuple[AccessFound, ...]
    controls: tuple[Control, ...]

    @property
    def days(self) -> tuple[str, str]:
        """The first and the last day of the period, or of the log where it has none."""
        start_ms, end_ms = self.period.start_ms, self.period.end_ms
        return (
            format_day(self.ground.since_ms if start_ms is None else start_ms),
            format_day(self.ground.until_ms if end_ms is None else end_ms - DAY_MS),
        )


def ranked(counts: dict[K, int]) -> dict[K, int]:
    """The most frequent first."""
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
