"""Invented questions: acts and facts of the kinds that a network can ask a policy set with.

They come from the builder that real questions come from, so a new fact is in them by itself.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from contracts.drafts.bounds import FACT_MAX
from contracts.facts import Act, build_context
from ledger.genesis import Genesis, genesis_state
from ledger.registry import (
    Dataset,
    DatasetField,
    LegalBasis,
    Member,
    Officer,
    Parameters,
    PolicySet,
)
from ledger.state import MapState

TIME_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
# No schema can know these names; one that lists what may be asked for refuses the question.
_ASKER, _OWNER, _OTHER = "probe-asker-5e1f", "probe-owner-c07a", "probe-other-91d2"


def probe_member(id_: str = _ASKER, **changed: object) -> Member:
    """A tax authority in good standing."""
    base = Member(
        id=id_, name_zh=id_, name_en=id_, region="110000", kind="tax", status="active", credit=900
    )
    return msgspec.structs.replace(base, **changed)


def probe_act(**changed: object) -> Act:
    """A requester of one tax authority asks another for one public field."""
    asker, owner = probe_member(), probe_member(_OWNER)
    officer = Officer(
        key=b"\x01" + bytes(32), member=asker.id, roles=("requester",), status="active"
    )
    field = DatasetField(id=_OTHER, name_zh="f", name_en="f", sensitivity="public")
    dataset = Dataset(
        id=_OTHER, version=1, name_zh="d", name_en="d", category=_OTHER, fields=(field,),
        deadline_hours=72,
    )  # fmt: skip
    base = Act(
        action="request", officer=officer, member=asker, requester=asker, provider=owner,
        dataset=dataset, purpose=_OTHER, legal_basis=_OTHER, urgency="normal", fields=(_OTHER,),
        subjects=1, period_days=365, retention_days=180, same_officer=False,
        grade="A", provider_grade="A",
    )  # fmt: skip
    return msgspec.structs.replace(base, **changed)


def probe_context(act: Act, time_ms: int = TIME_MS) -> dict[str, Any]:
    """Facts of an act on a network where its legal basis is in force and nothing has happened."""
    return build_context(_state(act), act, time_ms)


def probe_questions(action: str) -> Iterator[tuple[Act, dict[str, Any]]]:
    """Acts and facts at the edges: small, large and negative numbers, all true, all false."""
    edges = ((0, False, "A"), (1, True, "B"), (FACT_MAX, True, "D"), (-FACT_MAX, False, "C"))
    for number, truth, grade in edges:
        act = probe_act(action=action, grade=grade)
        facts = probe_context(act)
        for name, value in facts.items():
            if isinstance(value, bool):
                facts[name] = truth
            elif isinstance(value, int):
                facts[name] = number
        yield act, facts


def _state(act: Act) -> MapState:
    basis = LegalBasis(
        id=act.legal_basis, title_zh="b", title_en="b", article="", authority="b",
        in_force_from="0001-01-01", in_force_to="9999-12-31", parties=(), purposes=(),
        categories=(),
    )  # fmt: skip
    members = {member.id: member for member in (act.member, act.requester, act.provider)}
    genesis = Genesis(
        version=1, name="probe", origin="probe.example", time_ms=0, log_key=bytes(33),
        parameters=_PARAMETERS, validators=(), members=tuple(members.values()),
        officers=(act.officer,), datasets=(act.dataset,), legal_bases=(basis,), purposes=(),
        freezes=(), policy_set=PolicySet(version=0, engine="", schema="", contracts=()),
    )  # fmt: skip
    return MapState(genesis_state(genesis))


_PARAMETERS = Parameters(
    block_events_max=1, block_bytes_max=65_536, delta_ms=10, heartbeat_ms=1_000, precision_ms=10,
    message_delay_ms=10, expiry_blocks_max=10,
)  # fmt: skip
