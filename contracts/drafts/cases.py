"""Tables of cases beside policies: facts, and the decision that they must lead to.

A table is TOML. `[defaults]` and each `[[case]]` hold the same keys; a case overrides the table's
defaults, which override the built-in ones (a tax authority in grade A asks another for one public
field, on a basis that is in force). What a case needs not say is left out:

    [defaults]
    purpose = "assessment"
    category = "filing"

    [[case]]
    name = "many subjects"
    subjects = 201
    expect = "deny"
    policies = ["necessity.subjects"]

Keys: `name`, `expect` (permit, review or deny) and optional `policies`, `redact`,
`deadline_hours`, `retention_days` say what is expected. `action` (request by default), `kind`,
`grade`, `roles`, `region` of the acting member, `owner_kind`, `own` (the actor is of the owner),
`category`, `dataset_hours`, and every fact of the context by its name in the schema are asked.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from contracts.decision import Decision
from contracts.drafts.probe import probe_act, probe_context, probe_member
from contracts.engine import PolicyEngine
from contracts.errors import ContractError
from contracts.facts import Act
from ledger.registry import Dataset, MemberKind, Officer, Role

CASES_MAX = 1_000
TABLE_CHARS_MAX = 262_144
Action = Literal["request", "offer", "approve", "deliver", "use", "forward"]
Grade = Literal["A", "B", "C", "D"]
Short = Annotated[str, Meta(min_length=1, max_length=120)]
Number = Annotated[int, Meta(ge=0, le=2**40)]

_EXPECTED = ("name", "expect", "policies", "redact", "deadline_hours", "retention_days")


class InvalidCases(ContractError):
    """A table of cases cannot be read; the text names the place."""


class Actor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who acts on what, apart from the facts of the context."""

    action: Action = "request"
    kind: MemberKind = "tax"
    grade: Grade = "A"
    roles: tuple[Role, ...] = ("requester",)
    region: Annotated[str, Meta(min_length=2, max_length=6)] = "110000"
    owner_kind: MemberKind = "tax"
    own: bool = False
    category: Short = "registration"
    dataset_hours: Annotated[int, Meta(ge=1, le=8_760)] = 72


class Expected(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a case expects; None: nothing is said about it."""

    name: Short
    expect: Literal["permit", "review", "deny"]
    policies: tuple[str, ...] | None = None
    redact: tuple[str, ...] | None = None
    deadline_hours: Number | None = None
    retention_days: Number | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A question with its expected decision."""

    expected: Expected
    act: Act
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What a case expects of `what` and what was found, both as text."""

    what: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """A case with the decision; without differences it holds."""

    case: Case
    decision: Decision
    differences: tuple[Difference, ...]


def parse_cases(text: str) -> tuple[Case, ...]:
    """Cases of a table. Raises `InvalidCases`."""
    if len(text) > TABLE_CHARS_MAX:
        raise InvalidCases(f"more than {TABLE_CHARS_MAX} characters")
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidCases(str(error)) from None
    unknown = sorted(document.keys() - {"defaults", "case"})
    if unknown:
        raise InvalidCases(f"unknown key {unknown[0]}")
    defaults, rows = document.get("defaults", {}), document.get("case", [])
    if not isinstance(defaults, dict) or not isinstance(rows, list) or not rows:
        raise InvalidCases("no [[case]]")
    if len(rows) > CASES_MAX:
        raise InvalidCases(f"{len(rows)} cases, at most {CASES_MAX}")
    cases = tuple(_parse_case(number, defaults, row) for number, row in enumerate(rows, start=1))
    names = [case.expected.name for case in cases]
    for name in names:
        if names.count(name) > 1:
            raise InvalidCases(f"case {name!r} stands twice")
    return cases


def _parse_case(number: int, defaults: Mapping[str, Any], row: object) -> Case:
    if not isinstance(row, dict):
        raise InvalidCases(f"case {number}: not a table")
    merged = {**defaults, **row}
    label = f"case {number} ({row.get('name', '-')})"
    try:
        expected = msgspec.convert(_part(merged, _EXPECTED), Expected)
        actor = msgspec.convert(_part(merged, Actor.__struct_fields__), Actor)
        facts = {
            name: value
            for name, value in merged.items()
            if name not in (*_EXPECTED, *Actor.__struct_fields__)
        }
        return _build(expected, actor, facts)
    except (msgspec.ValidationError, InvalidCases) as error:
        raise InvalidCases(f"{label}: {error}") from None


def _part(merged: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: merged[name] for name in names if name in merged}


def _build(expected: Expected, actor: Actor, given: Mapping[str, Any]) -> Case:
    plain = probe_act()
    owner = msgspec.structs.replace(plain.provider, kind=actor.owner_kind)
    member = owner if actor.own else plain.member
    member = msgspec.structs.replace(member, kind=actor.kind, region=actor.region)
    officer = Officer(
        key=plain.officer.key, member=member.id, roles=tuple(sorted(actor.roles)), status="active"
    )
    dataset: Dataset = msgspec.structs.replace(
        plain.dataset, category=actor.category, deadline_hours=actor.dataset_hours
    )
    act = probe_act(
        action=actor.action,
        officer=officer,
        member=member,
        requester=probe_member() if actor.own else member,
        provider=member if actor.own else owner,
        dataset=dataset,
        grade=actor.grade,
        provider_grade=actor.grade if actor.own else plain.provider_grade,
    )
    facts = _fill(probe_context(act), given)
    act = msgspec.structs.replace(
        act, fields=tuple(facts["fields"]), retention_days=facts["retentionDays"]
    )
    return Case(expected=expected, act=act, facts=facts)


def _fill(facts: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in given.items():
        if name not in facts:
            raise InvalidCases(f"unknown key {name}")
        wanted: Any = type(facts[name])
        if wanted is list:
            wanted = list[str]
        elif wanted is int:
            wanted = Annotated[int, Meta(ge=-(2**50), le=2**50)]
        facts[name] = msgspec.convert(value, wanted)
    return facts


def run_case(engine: PolicyEngine, case: Case) -> CaseResult:
    """Ask a policy set and compare."""
    judge = engine.judge_request if case.act.action == "request" else engine.judge_step
    decision = judge(case.act, case.facts)
    return CaseResult(case=case, decision=decision, differences=_compare(case.expected, decision))


def _compare(expected: Expected, decision: Decision) -> tuple[Difference, ...]:
    duties = decision.obligations
    found: dict[str, Any] = {"expect": decision.verdict.value, "policies": decision.policies}
    for name in ("redact", "deadline_hours", "retention_days"):
        found[name] = None if duties is None else getattr(duties, name)
    differences = []
    for name, value in found.items():
        wanted = getattr(expected, name)
        if wanted is not None and _text(wanted) != _text(value):
            differences.append(Difference(what=name, expected=_text(wanted), found=_text(value)))
    return tuple(differences)


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(sorted(value)) or "-"
    return "-" if value is None else str(value)
