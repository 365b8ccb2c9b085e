"""One way through a verified copy, on which everything that a report says is gathered.

Every number comes from records that are executed again with their recorded decisions, and from the
state that this leads to, whose digest is that of the last block's header.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from contracts.drafts.history import Happened
from contracts.lookup import find_exchange, read_validators
from contracts.risk.habits import read_risk
from ledger.access.anchors import AccessLogged
from ledger.blocks import Header
from ledger.events import ShareRequested
from ledger.exchange.incidents import DrillRun, IncidentReported
from ledger.exchange.risk import Risk
from ledger.governance.proposals import GovernanceProposed
from ledger.state import MapState
from tools.audit.codes import find_code_names
from tools.audit.index.build import covers_all
from tools.audit.period import Period, format_day, format_month
from tools.audit.report.controls import CONTROL_OF_GAP, Controls
from tools.audit.report.findings import AccessFound, Begins, DrillFound, Findings, Ground, ranked
from tools.audit.report.measures import Measures, count
from tools.audit.report.standing import (
    find_contract_titles,
    find_gaps,
    find_grades,
    find_incidents,
    find_keyless,
    find_members,
    read_incidents,
)
from tools.audit.stories import Stories
from tools.contract.past import MapAll, Past
from tools.exits import InvalidInput
from tools.governance.actions import tag_of


def gather(
    past: Past,
    period: Period,
    pair: frozenset[str],
    map_all: MapAll,
    on_progress: Callable[[int, int], None],
    *,
    use_index: bool = False,
) -> Findings:
    """Findings about a period, of everybody or of two members. Raises `Divergence`.

    With `use_index` signatures of events are not verified again where a whole index stands beside
    the copy, which was made by verifying them.

    A period in which the log stood still has a report too: what is overdue does not stand still.

    Raises `InvalidInput` where the log does not reach the period, or a member is unknown.
    """
    gathering = _Gathering(period=period, pair=pair)
    begins: Begins | None = None
    began_ms: int | None = None
    first: Header | None = None
    last: Header | None = None
    if past.begin is not None:
        last = past.begin.start.header
        begins = Begins(height=last.height, time_ms=last.time_ms, entries=past.begin.start.index)
        gathering.resume(past.history.state)
    is_indexed = use_index and covers_all(past.directory, past.copy)
    for block, happened in past.walk(
        map_all, on_progress, with_signatures=not is_indexed, until_ms=period.end_ms
    ):
        last = block.header
        began_ms = last.time_ms if began_ms is None else began_ms
        if first is None and period.has_begun(last.time_ms):
            first = last
        for each in happened:
            gathering.add(each, past.history.state)
    if last is None or (first is None and past.next_ms is None):
        ends = (began_ms or past.next_ms, None if last is None else last.time_ms)
        covered = [format_day(time_ms) for time_ms in ends if time_ms is not None]
        raise InvalidInput("period-empty", " – ".join(covered))
    since = first or last
    ground = Ground(
        network=past.network.hex(),
        name=past.name,
        size=past.checkpoint.size,
        root=past.checkpoint.root.hex(),
        cosigners=past.cosigners,
        signatures="index" if is_indexed else "verified",
        entries=last.tree_size + 1 + last.record_count,
        height=last.height,
        state_digest=last.state_digest.hex(),
        since_ms=since.time_ms,
        until_ms=last.time_ms,
        begins=begins,
    )
    return gathering.finish(past.history.state, ground)


# The least score of each band of risk; a score ends at 100.
RISK_BANDS = (0, 1, 25, 50, 75)


@dataclass(slots=True, kw_only=True)
class _Gathering:
    """Fed record by record; `finish` adds what the state says at the end."""

    period: Period
    pair: frozenset[str]
    stories: Stories = field(default_factory=Stories)
    controls: Controls = field(default_factory=Controls)
    total: Measures = field(default_factory=Measures)
    pairs: dict[tuple[str, str], Measures] = field(default_factory=dict)
    months: dict[str, Measures] = field(default_factory=dict)
    risk: dict[int, Counter[str]] = field(
        default_factory=lambda: {least: Counter() for least in RISK_BANDS}
    )
    risk_reasons: Counter[str] = field(default_factory=Counter)
    contracts: Counter[str] = field(default_factory=Counter)
    not_applied: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    drills: list[DrillFound] = field(default_factory=list)
    anchors: dict[str, list[AccessLogged]] = field(default_factory=dict)
    incidents: dict[bytes, int | None] = field(default_factory=dict)

    def resume(self, before: MapState) -> None:
        """Begin with the exchanges and incidents that a state knows."""
        self.stories = Stories(before)
        for id_, incident in read_incidents(before):
            if self._is_of(incident.member):
                self.incidents[id_] = None

    def add(self, each: Happened, state: MapState) -> None:
        """Take the next record; `state` is that after its block."""
        story = self.stories.add(each)
        event = each.event
        is_between = story is not None and story.is_between(self.pair)
        is_ours = is_between if story is not None else self._is_of(event.member)
        if not is_ours:
            return
        if isinstance(event.body, IncidentReported) and each.outcome.applied:
            self.incidents[event.digest] = each.index
        if not self.period.covers(each.time_ms):
            return
        exchange = None if story is None else find_exchange(state, event.exchange)
        deadline_ms = 0 if exchange is None else exchange.deadline_ms
        self.controls.add(each, story, exchange)
        if not each.outcome.applied:
            self.not_applied[each.outcome.code] += 1
        elif story is None:
            self._add_other(each)
        else:
            self.contracts.update(each.outcome.policies)
            pair = self.pairs.setdefault((story.requester, story.provider), Measures())
            month = self.months.setdefault(format_month(each.time_ms), Measures())
            count(each, story, deadline_ms, (self.total, pair, month))
            if isinstance(event.body, ShareRequested):
                self._add_risk(read_risk(state, event.digest), each.outcome.decision)

    def _add_risk(self, risk: Risk, decision: str) -> None:
        least = max(band for band in RISK_BANDS if band <= risk.score)
        self.risk[least][decision] += 1
        self.risk_reasons.update(reason.code for reason in risk.reasons)

    def _is_of(self, member: str) -> bool:
        return not self.pair or member in self.pair

    def _add_other(self, each: Happened) -> None:
        """What belongs to no exchange."""
        body = each.event.body
        if isinstance(body, DrillRun):
            self.drills.append(
                DrillFound(
                    index=each.index,
                    member=each.event.member,
                    category=body.category,
                    result=body.result,
                    time_ms=each.time_ms,
                )
            )
        elif isinstance(body, AccessLogged):
            self.anchors.setdefault(each.event.member, []).append(body)
        elif isinstance(body, GovernanceProposed):
            self.actions.update(map(tag_of, body.actions))

    def finish(self, state: MapState, ground: Ground) -> Findings:
        """Everything. Raises `InvalidInput` for a member that there is not."""
        everybody, time_ms = find_members(state), ground.until_ms
        for name in sorted(self.pair - everybody.keys()):
            raise InvalidInput("report-member-unknown", name)
        members = {id_: member for id_, member in everybody.items() if self._is_of(id_)}
        stories = {id_: each for id_, each in self.stories.of.items() if each.is_between(self.pair)}
        gaps = find_gaps(state, stories, self.incidents, time_ms)
        for gap in gaps:
            self.controls.miss(CONTROL_OF_GAP[gap.gap], gap.index)
        access = self._access(state)
        for each in access:
            if not each.anchors:
                self.controls.miss("access")
        for _ in find_keyless(state, members.values(), time_ms):
            self.controls.miss("keys")
        grades, changes = find_grades(state, members.values(), self.period, time_ms)
        flows: Counter[tuple[str, str]] = Counter()
        for (requester, provider), measures in self.pairs.items():
            regions = everybody[provider].region, everybody[requester].region
            flows[regions] += measures.counts["received"]
        for measures in (self.total, *self.pairs.values(), *self.months.values()):
            measures.finish()
        return Findings(
            ground=ground,
            period=self.period,
            pair=tuple(sorted(self.pair)),
            members=members,
            total=self.total,
            pairs=dict(sorted(self.pairs.items())),
            months=dict(sorted(self.months.items())),
            flows={regions: count for regions, count in sorted(flows.items()) if count},
            risk={least: dict(counts) for least, counts in self.risk.items()},
            risk_reasons=ranked(self.risk_reasons),
            contracts=ranked(self.contracts),
            contract_titles=find_contract_titles(state),
            code_names=find_code_names(state, self.total.codes),
            not_applied=ranked(self.not_applied),
            actions=ranked(self.actions),
            gaps=gaps,
            incidents=find_incidents(state, self.incidents, self.period),
            drills=tuple(self.drills),
            grades=grades,
            grade_changes=changes,
            access=access,
            controls=tuple(self.controls.of.values()),
        )

    def _access(self, state: MapState) -> tuple[AccessFound, ...]:
        """A row for each node that could anchor its log, and for each that did."""
        nodes = {validator.member for validator in read_validators(state)}
        found = []
        for member in sorted(filter(self._is_of, {*nodes, *self.anchors})):
            anchors = self.anchors.get(member, [])
            found.append(
                AccessFound(
                    member=member,
                    anchors=len(anchors),
                    lines=sum(anchor.entries for anchor in anchors),
                    until_ms=anchors[-1].period_to_ms if anchors else 0,
                )
            )
        return tuple(found)
