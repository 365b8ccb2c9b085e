"""What a draft would have decided: recorded requests asked again, in their recorded state.

Only the decisions on requests are asked again. What another decision would have led to (other
counters, other deliveries) is not simulated: every question keeps the facts that it had.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from contracts.decision import Decision
from contracts.drafts.history import Happened
from contracts.engine import Answer, PolicyEngine, Question
from contracts.facts import Act

MEMO_MAX = 400_000

# Where the answer to a question will stand: empty until then.
Cell: TypeAlias = list[Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A recorded decision that the draft would not have made."""

    index: int
    height: int
    exchange: str
    requester: str
    provider: str
    dataset: str
    purpose: str
    old: str
    new: str
    old_policies: tuple[str, ...]
    new_policies: tuple[str, ...]
    old_duties: str
    new_duties: str
    errors: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Tally:
    """Counts of a what-if in progress.

    `reasons` counts requests with the same decision and duties for which other policies would
    stand; they are no changes. `pairs` and `purposes` count changes by (name, old, new).
    """

    requests: int = 0
    changed: int = 0
    reasons: int = 0
    pairs: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    purposes: Counter[tuple[str, str, str]] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Requests to reconsider, and the questions about them that nobody has asked yet."""

    rows: tuple[tuple[Happened, Act, Cell, Cell], ...]
    questions: tuple[Question, ...]
    cells: tuple[Cell, ...]


class Reconsideration:
    """Asks a draft about requests that have happened; identical questions are asked once.

    `prepare` and `finish` are apart so that other processes can answer in between. Batches must be
    finished in the order in which they were prepared.
    """

    def __init__(self, engine: PolicyEngine) -> None:
        self.tally = Tally()
        self._engine = engine
        self._memo: dict[Question, Cell] = {}

    def prepare(self, happened: Iterable[Happened]) -> Batch:
        """The requests among these records, with what must be asked about them."""
        rows = []
        fresh: dict[Question, Cell] = {}
        if len(self._memo) > MEMO_MAX:
            self._memo = {}  # rows keep their cells; other questions are asked once more
        for each in happened:
            if each.act is None or each.facts is None or each.event.kind != "share.requested":
                continue
            cells = []
            for action in ("request", "release"):
                posed = self._engine.pose(each.act, action, each.facts)
                cell = self._memo.get(posed)
                if cell is None:
                    cell = self._memo[posed] = fresh[posed] = []
                cells.append(cell)
            rows.append((each, each.act, cells[0], cells[1]))
        return Batch(rows=tuple(rows), questions=tuple(fresh), cells=tuple(fresh.values()))

    def finish(self, batch: Batch, answers: Sequence[Answer]) -> Iterator[Change]:
        """Changes in a batch, given the answers to its questions."""
        for cell, answer in zip(batch.cells, answers, strict=True):
            cell.append(answer)
        for each, act, asked, released in batch.rows:
            decision = self._engine.conclude_request(act, asked[0], released[0])
            yield from self._compare(each, act, decision)

    def _compare(self, each: Happened, act: Act, decision: Decision) -> Iterator[Change]:
        old, tally = each.outcome, self.tally
        tally.requests += 1
        if (old.decision, old.obligations) == (decision.verdict.value, decision.obligations):
            tally.reasons += old.policies != decision.policies
            return
        change = _change(each, act, decision)
        tally.changed += 1
        tally.pairs[f"{change.requester} → {change.provider}", change.old, change.new] += 1
        tally.purposes[change.purpose, change.old, change.new] += 1
        yield change


def _change(each: Happened, act: Act, decision: Decision) -> Change:
    old = each.outcome
    return Change(
        index=each.index,
        height=each.height,
        exchange=each.event.digest.hex(),
        requester=act.requester.id,
        provider=act.provider.id,
        dataset=act.dataset.id,
        purpose=act.purpose,
        old=old.decision,
        new=decision.verdict.value,
        old_policies=old.policies,
        new_policies=decision.policies,
        old_duties=_duties(old.obligations),
        new_duties=_duties(decision.obligations),
        errors=decision.errors,
    )


def _duties(obligations: msgspec.Struct | None) -> str:
    """Duties as one short text: hours to answer, days to keep, fields left out."""
    if obligations is None:
        return ""
    duties = msgspec.structs.asdict(obligations)
    redacted = "".join(f" -{name}" for name in duties["redact"])
    return f"{duties['deadline_hours']}h {duties['retention_days']}d{redacted}"
