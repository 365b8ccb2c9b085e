"""What the state says at the end of a period: gaps, incidents, credit, keys."""

from collections.abc import Iterable, Iterator, Mapping

from contracts.credit.accounts import read_changes, read_credit
from contracts.engine import validate_policy_set
from contracts.exchange.duties import Duty, exchange_duties, incident_duties
from contracts.exchange.matters import read_deadlines, read_matters
from contracts.lookup import find_exchange, find_last_day
from ledger.exchange.incidents import INCIDENTS, Incident
from ledger.governance.keys import is_over
from ledger.registry import MEMBERS, OFFICERS, POLICY_SETS, Member
from ledger.state import POLICY_SET_KEY, MapState
from tools.audit.left import scan
from tools.audit.period import Period, format_day
from tools.audit.report.findings import GapFound, GradeChanged, GradeFound, IncidentFound
from tools.audit.stories import Story

GRADE_CHANGES_MAX = 1_000


def find_gaps(
    state: MapState,
    stories: Mapping[bytes, Story],
    incidents: Mapping[bytes, int | None],
    time_ms: int,
) -> tuple[GapFound, ...]:
    """Everything overdue at a block time in these exchanges and incidents, oldest first.

    `incidents` has the index of the record that reported each, where that was seen.
    """
    rules, found = read_deadlines(state), []
    for id_, story in stories.items():
        exchange = find_exchange(state, id_)
        assert exchange is not None, "what was opened is in the state"
        duties = exchange_duties(exchange, read_matters(state, id_, exchange), rules)
        found += _overdue(duties, time_ms, story.index, id_)
    for id_, incident in read_incidents(state):
        if id_ in incidents:
            found += _overdue(incident_duties(incident, rules), time_ms, incidents[id_], id_)
    return tuple(sorted(found, key=_gap_order))


def _gap_order(gap: GapFound) -> tuple[int, int, str, str, str]:
    return gap.due_ms, _place(gap.index), gap.gap, gap.member, gap.of


def _place(index: int | None) -> int:
    return -1 if index is None else index


def _overdue(duties: Iterable[Duty], time_ms: int, index: int | None, id_: bytes) -> list[GapFound]:
    return [
        GapFound(gap=duty.gap, member=duty.member, due_ms=duty.due_ms, index=index, of=id_.hex())
        for duty in duties
        if duty.is_overdue(time_ms)
    ]


def find_incidents(
    state: MapState, incidents: Mapping[bytes, int | None], period: Period
) -> tuple[IncidentFound, ...]:
    """Of these incidents those that were open in the period, in the order of the log."""
    found = []
    for id_, incident in read_incidents(state):
        was_closed_before = incident.closed_ms and not period.has_begun(incident.closed_ms)
        if id_ not in incidents or was_closed_before:
            continue
        made = IncidentFound(
            id=id_.hex(),
            member=incident.member,
            category=incident.category,
            severity=incident.severity,
            status=incident.status,
            partners=len(incident.partners),
            notified=len(incident.notified),
            reported_ms=incident.reported_ms,
            remedied_ms=incident.remedied_ms,
            closed_ms=incident.closed_ms,
        )
        found.append(((incident.reported_ms, _place(incidents[id_])), made))
    return tuple(made for _, made in sorted(found, key=lambda pair: pair[0]))


def read_incidents(state: MapState) -> Iterator[tuple[bytes, Incident]]:
    """All incidents in a state by their ids."""
    return scan(state, b"I/", INCIDENTS.decode)


def find_members(state: MapState) -> dict[str, Member]:
    """All members by id, in the order of their ids."""
    return {member.id: member for _, member in scan(state, b"m/", MEMBERS.decode)}


def find_contract_titles(state: MapState) -> dict[str, tuple[str, str]]:
    """Titles in zh and en of the policies in force, by their ids."""
    policy_set = POLICY_SETS.decode(state.pairs[POLICY_SET_KEY])
    return {each.id: (each.title_zh, each.title_en) for each in validate_policy_set(policy_set)}


def find_grades(
    state: MapState, members: Iterable[Member], period: Period, time_ms: int
) -> tuple[tuple[GradeFound, ...], tuple[GradeChanged, ...]]:
    """The credit of members at a block time, and the changes of grade in the period."""
    grades, changes = [], []
    for member in members:
        credit, standing = read_credit(state, member, time_ms)
        grades.append(GradeFound(member=member.id, score=standing.score, grade=standing.grade))
        changes += [
            GradeChanged(
                member=member.id,
                before=change.before,
                after=change.after,
                score=change.score_after,
                reason=change.reason,
                time_ms=change.time_ms,
            )
            for change in read_changes(state, member.id, credit.changes, GRADE_CHANGES_MAX)
            if period.covers(change.time_ms)
        ]
    return tuple(grades), tuple(sorted(changes, key=lambda each: (each.time_ms, each.member)))


def find_keyless(state: MapState, members: Iterable[Member], time_ms: int) -> list[str]:
    """Active members of whose officers none has a key in force."""
    day = format_day(time_ms)
    holders = {
        officer.member
        for key, officer in scan(state, b"o/", OFFICERS.decode)
        if officer.status == "active" and not is_over(find_last_day(state, key), day)
    }
    return [each.id for each in members if each.status == "active" and each.id not in holders]
