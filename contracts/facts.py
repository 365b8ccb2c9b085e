"""The facts that contracts are asked with: Cedar entities and context, from the state alone.

Pure functions of the state and the act. Dates are compared as ISO 8601 text; the date of a block
is that of its time in UTC.
"""

import json
from collections.abc import Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import msgspec

from contracts.exchange.incidents import read_open
from contracts.lookup import find_legal_basis, read_counters, read_freezes
from ledger.registry import Dataset, Grade, LegalBasis, Member, Officer
from ledger.state import StateReader

_DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1)


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One act to be judged: who does what to whose dataset, for what.

    The grades of the acting member and of the provider are those of the block's time.
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


def block_date(time_ms: int) -> date:
    """UTC date of a block time."""
    return _EPOCH + timedelta(days=time_ms // _DAY_MS)


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
    """Cedar context of an act at block time `time_ms`."""
    today = block_date(time_ms)
    basis = find_legal_basis(state, act.legal_basis)
    personal, secret = _count_sensitive(act.dataset, act.fields)
    return {
        "purpose": act.purpose,
        "urgency": act.urgency,
        "legalBasis": act.legal_basis,
        **_basis_facts(basis, act, today.isoformat()),
        "fields": list(act.fields),
        "personalFields": personal,
        "secretFields": secret,
        "subjects": act.subjects,
        "periodDays": act.period_days,
        "retentionDays": act.retention_days,
        "balance": _balance(state, act, today.year),
        "frozen": _is_frozen(state, act),
        "openIncidents": _open_incidents(state, act),
        "sameOfficer": act.same_officer,
        "timeMs": time_ms,
    }


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


def _basis_facts(basis: LegalBasis | None, act: Act, today: str) -> dict[str, bool]:
    if basis is None:
        names = ("InForce", "CoversPurpose", "CoversCategory", "CoversParties")
        return {f"basis{name}": False for name in names}
    parties = basis.parties
    covers_parties = not parties or (act.requester.id in parties and act.provider.id in parties)
    categories = basis.categories
    return {
        "basisInForce": basis.in_force_from <= today <= basis.in_force_to,
        "basisCoversPurpose": not basis.purposes or act.purpose in basis.purposes,
        "basisCoversCategory": not categories or act.dataset.category in categories,
        "basisCoversParties": covers_parties,
    }


def _count_sensitive(dataset: Dataset, fields: tuple[str, ...]) -> tuple[int, int]:
    levels = [field.sensitivity for field in dataset.fields if field.id in fields]
    return levels.count("personal"), levels.count("secret")


def _balance(state: StateReader, act: Act, year: int) -> int:
    taken = read_counters(state, act.requester.id, act.provider.id, act.purpose, year)
    given = read_counters(state, act.provider.id, act.requester.id, act.purpose, year)
    return taken.delivered - given.delivered


def _open_incidents(state: StateReader, act: Act) -> int:
    """Open incidents that either party has reported, or that touch it."""
    found = (read_open(state, each.id) for each in (act.requester, act.provider))
    return sum(each.reported + each.touching for each in found)


def _is_frozen(state: StateReader, act: Act) -> bool:
    return any(
        freeze.requester in ("", act.requester.id)
        and freeze.provider in ("", act.provider.id)
        and freeze.dataset in ("", act.dataset.id)
        for freeze in read_freezes(state)
    )
