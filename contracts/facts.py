"""The facts that contracts are asked with: Cedar entities and context, from the state alone.

Pure functions of the state and the act. Dates are compared as ISO 8601 text; the date of a block
is that of its time in UTC.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec

from contracts.exchange.incidents import read_open
from contracts.exchange.reciprocity import read_dependency
from contracts.lookup import find_legal_basis, read_counters, read_freezes
from ledger.exchange.risk import NO_RISK, Risk
from ledger.registry import Dataset, Grade, LegalBasis, Member, Officer
from ledger.state import StateReader

_DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1)


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One act to be judged: who does what to whose dataset, for what.

    The grades of the acting member and of the provider are those of the block's time. Only a
    request has a risk.
    """

    action: str
    officer: Officer
    member: Member
    requester: Member
    provider: Member
    dataset: Dataset
    purpose: str
    legal_basis: str
    urgency: str
    fields: tuple[str, ...]
    subjects: int
    period_days: int
    retention_days: int
    same_officer: bool
    grade: Grade
    provider_grade: Grade
    risk: Risk = NO_RISK


def block_date(time_ms: int) -> date:
    """UTC date of a block time."""
    return _date_of(time_ms // _DAY_MS)


@lru_cache(1_024)
def _date_of(day: int) -> date:
    return _EPOCH + timedelta(days=day)


def question(act: Act, action: str, context: str) -> dict[str, Any]:
    """Cedar request of an act; `context` is JSON."""
    return cedar_request(act.officer.key.hex(), action, dataset_name(act), context)


def dataset_name(act: Act) -> str:
    """Id of the Cedar resource of an act."""
    return f"{act.provider.id}/{act.dataset.id}"


def cedar_request(officer: str, action: str, dataset: str, context: str) -> dict[str, Any]:
    """Cedar request of an officer (key in hex) about a dataset; `context` is JSON."""
    return {
        "principal": {"type": "Officer", "id": officer},
        "action": {"type": "Action", "id": action},
        "resource": {"type": "Dataset", "id": dataset},
        "context": context,
    }


def build_context(state: StateReader, act: Act, time_ms: int) -> dict[str, Any]:
    """Cedar context of an act at block time `time_ms`: all facts."""
    facts: dict[str, Any] = {
        "purpose": act.purpose,
        "urgency": act.urgency,
        "legalBasis": act.legal_basis,
        "fields": list(act.fields),
        "subjects": act.subjects,
        "periodDays": act.period_days,
        "retentionDays": act.retention_days,
        "sameOfficer": act.same_officer,
        "risk": act.risk.score,
        "riskReasons": [reason.code for reason in act.risk.reasons],
        "timeMs": time_ms,
    }
    for names, look_up in _LOOKUPS:
        facts.update(zip(names, look_up(state, act, time_ms), strict=True))
    return facts


class FactReader:
    """Reads of acts what certain policies read, as a value to compare: equal ones, equal context.

    `wanted` names facts, None all; `stand_in` gives for one of them the value that policies cannot
    tell from it.
    """

    def __init__(
        self, wanted: Collection[str] | None, stand_in: Mapping[str, Callable[[Any], Any]]
    ) -> None:
        names = _PLAIN if wanted is None else [name for name in _PLAIN if name in wanted]
        # What an obligation depends on is read always: so there are several, and a tuple.
        self._plain = attrgetter(*_OF_DUTIES, *(_PLAIN[name] for name in names))
        self._lookups = [
            look_up
            for found, look_up in _LOOKUPS
            if wanted is None or not frozenset(found).isdisjoint(wanted)
        ]
        looked_up = [name for found, each in _LOOKUPS if each in self._lookups for name in found]
        places = enumerate((*_OF_DUTIES, *names, *looked_up))
        self._stand_in = [(at, stand_in[name]) for at, name in places if name in stand_in]
        self._has_time = wanted is None or "timeMs" in wanted

    def read(self, state: StateReader, act: Act, time_ms: int) -> tuple[Any, ...]:
        """The facts of an act, and what else a decision about it depends on but its parties."""
        facts = list(self._plain(act))
        for look_up in self._lookups:
            facts += look_up(state, act, time_ms)
        for at, stand_in in self._stand_in:
            facts[at] = stand_in(facts[at])
        if self._has_time:
            facts.append(time_ms)
        return tuple(facts)


def entities_of(act: Act) -> str:
    """Cedar entities of the questions about an act, as JSON text."""
    return _entities_json(
        act.officer, act.member, act.provider, act.dataset, act.grade, act.provider_grade
    )


# Memoised by grades, not scores: a score changes with every answer, a grade seldom.
@lru_cache(4_096)
def _entities_json(
    officer: Officer,
    member: Member,
    provider: Member,
    dataset: Dataset,
    grade: Grade,
    provider_grade: Grade,
) -> str:
    members = {member.id: (member, grade), provider.id: (provider, provider_grade)}
    entities: list[dict[str, Any]] = [
        _entity("Member", id_, _member_attributes(*each), ())
        for id_, each in sorted(members.items())
    ]
    roles = [{"type": "Role", "id": role} for role in officer.roles]
    entities += [_entity("Role", role, {}, ()) for role in officer.roles]
    attributes = {"key": officer.key.hex(), "member": _reference("Member", member.id)}
    entities.append(_entity("Officer", officer.key.hex(), attributes, roles))
    entities.append(_entity("Category", dataset.category, {}, ()))
    name = f"{provider.id}/{dataset.id}"
    owner = {"id": dataset.id, "owner": _reference("Member", provider.id)}
    category = [{"type": "Category", "id": dataset.category}]
    entities.append(_entity("Dataset", name, owner, category))
    return json.dumps(entities)


def _entity(
    type_: str, id_: str, attributes: dict[str, Any], parents: Sequence[dict[str, str]]
) -> dict[str, Any]:
    return {"uid": {"type": type_, "id": id_}, "attrs": attributes, "parents": list(parents)}


def _reference(type_: str, id_: str) -> dict[str, Any]:
    return {"__entity": {"type": type_, "id": id_}}


def _member_attributes(member: Member, grade: Grade) -> dict[str, Any]:
    return {
        "id": member.id,
        "kind": member.kind,
        "region": member.region,
        "grade": grade,
    }


def _basis_facts(state: StateReader, act: Act, time_ms: int) -> tuple[bool, ...]:
    basis = find_legal_basis(state, act.legal_basis)
    if basis is None:
        return (False, False, False, False)
    return _judge_basis(
        basis, act.purpose, act.dataset.category, act.requester.id, act.provider.id,
        block_date(time_ms),
    )  # fmt: skip


@lru_cache(4_096)
def _judge_basis(
    basis: LegalBasis, purpose: str, category: str, requester: str, provider: str, day: date
) -> tuple[bool, ...]:
    parties, categories = basis.parties, basis.categories
    return (
        basis.in_force_from <= day.isoformat() <= basis.in_force_to,
        not basis.purposes or purpose in basis.purposes,
        not categories or category in categories,
        not parties or (requester in parties and provider in parties),
    )


def _sensitive_fields(_: StateReader, act: Act, __: int) -> tuple[int, ...]:
    return _count_levels(act.dataset, act.fields)


@lru_cache(4_096)
def _count_levels(dataset: Dataset, fields: tuple[str, ...]) -> tuple[int, ...]:
    levels = [field.sensitivity for field in dataset.fields if field.id in fields]
    return levels.count("personal"), levels.count("secret")


def _balance(state: StateReader, act: Act, time_ms: int) -> tuple[int, ...]:
    year = block_date(time_ms).year
    taken = read_counters(state, act.requester.id, act.provider.id, act.purpose, year)
    given = read_counters(state, act.provider.id, act.requester.id, act.purpose, year)
    return (taken.delivered - given.delivered,)


def _dependency(state: StateReader, act: Act, time_ms: int) -> tuple[int, ...]:
    year = block_date(time_ms).year
    return (read_dependency(state, act.requester.id, act.provider.id, year).index,)


def _open_incidents(state: StateReader, act: Act, _: int) -> tuple[int, ...]:
    """Open incidents that either party has reported, or that touch it."""
    asking, giving = read_open(state, act.requester.id), read_open(state, act.provider.id)
    return (asking.reported + asking.touching + giving.reported + giving.touching,)


def _frozen(state: StateReader, act: Act, _: int) -> tuple[bool, ...]:
    for freeze in read_freezes(state):
        if (
            freeze.requester in ("", act.requester.id)
            and freeze.provider in ("", act.provider.id)
            and freeze.dataset in ("", act.dataset.id)
        ):
            return (True,)
    return (False,)


# Facts that are attributes of an act, and of which.
_PLAIN = {
    "purpose": "purpose",
    "urgency": "urgency",
    "legalBasis": "legal_basis",
    "fields": "fields",
    "subjects": "subjects",
    "periodDays": "period_days",
    "retentionDays": "retention_days",
    "sameOfficer": "same_officer",
    "risk": "risk.score",
    "riskReasons": "risk.reasons",
}
_OF_DUTIES = ("fields", "retention_days", "dataset.deadline_hours")
# Facts that take a look at the state or at all fields of a dataset, and how they are found.
_LOOKUPS: tuple[tuple[tuple[str, ...], Callable[[StateReader, Act, int], tuple[Any, ...]]], ...] = (
    (
        ("basisInForce", "basisCoversPurpose", "basisCoversCategory", "basisCoversParties"),
        _basis_facts,
    ),
    (("personalFields", "secretFields"), _sensitive_fields),
    (("balance",), _balance),
    (("dependency",), _dependency),
    (("frozen",), _frozen),
    (("openIncidents",), _open_incidents),
)
