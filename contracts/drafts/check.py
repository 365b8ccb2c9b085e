"""Whether a policy set may ever be enacted: every fault, with its place.

`find_policy_set_faults` is pure and total: whatever the texts hold, it returns, in a time bounded
by their size, and the same on every node. A set without faults can be asked every question that a
network asks, and no answer fails (`contracts.drafts.bounds` says why).

1. The set is canonical, made for this engine, its contracts sorted, none twice, not too many.
2. The schema is bounded, parses, lists no entities, and fits what `contracts.facts` builds.
3. Each statement is bounded, parses, has its annotations, validates strictly, cannot fail.
4. The engine takes the whole set and answers invented questions about every action.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import cedarpy
import msgspec

from contracts.drafts.bounds import find_excess
from contracts.drafts.places import (
    NOWHERE,
    Place,
    Statement,
    find_id,
    find_named,
    find_open_string,
    find_parse_fault,
    place_of,
    split_statements,
    words_of,
)
from contracts.drafts.probe import probe_questions
from contracts.engine import (
    ACTIONS,
    ENGINE_VERSION,
    POLICIES_MAX,
    PolicyEngine,
    check_size,
    read_policy,
)
from contracts.errors import ContractError, InvalidPolicySet
from contracts.facts import entities_of, question
from ledger.errors import InvalidEncoding
from ledger.registry import POLICY_SETS, PolicySet

SCHEMA = "schema"
FAULTS_MAX = 100
_ANYTHING = "permit (principal, action, resource);"
_POLICY = re.compile(r"^for policy `[^`]*`, ")
_ACTION = re.compile(r'( in context)? for Action::"[^"]*"')

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a set may not be enacted. `code` has its words in `contracts.drafts.words`.

    `contract` is the id of a contract, `schema`, or empty: the whole set. `policy` is empty where
    it is not known.
    """

    code: str
    contract: str
    policy: str
    place: Place
    detail: str


def find_policy_set_faults(policy_set: PolicySet) -> tuple[Fault, ...]:
    """Every fault found, in the order of the texts, at most `FAULTS_MAX`; empty: it may be enacted.

    Raises nothing, whatever the set holds.
    """
    faults: list[Fault] = []
    try:
        for fault in _find_faults(policy_set):
            faults.append(fault)
            if len(faults) == FAULTS_MAX:
                break
    except BaseException as error:
        if not _is_of_the_engine(error):
            raise
        faults.append(_about("engine-failed", "", str(error)))
    return tuple(faults)


def _is_of_the_engine(error: BaseException) -> bool:
    """Whether an error comes from the texts; a panic of Cedar is not even an `Exception`."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def _about(
    code: str, contract: str, detail: str, *, policy: str = "", place: Place = NOWHERE
) -> Fault:
    return Fault(code=code, contract=contract, policy=policy, place=place, detail=detail)


def _find_faults(policy_set: PolicySet) -> Iterator[Fault]:
    try:
        policy_set = POLICY_SETS.decode(POLICY_SETS.encode(policy_set))  # 1
    except (InvalidEncoding, TypeError) as error:
        yield _about("set-malformed", "", str(error))
        return
    found = 0
    for fault in _set_faults(policy_set):
        found += 1
        yield fault
    schema = yield from _schema_faults(policy_set.schema)  # 2
    if found or schema is None:
        return
    seen: set[str] = set()
    for contract in policy_set.contracts:
        for fault in _contract_faults(contract.id, contract.text, schema, seen):  # 3
            found += 1
            yield fault
    if not found:
        yield from _whole_faults(policy_set)  # 4


def _set_faults(policy_set: PolicySet) -> Iterator[Fault]:
    if policy_set.engine != ENGINE_VERSION:
        detail = f"{policy_set.engine or '-'}, not {ENGINE_VERSION}"
        yield _about("engine-other", "", detail)
    ids = [contract.id for contract in policy_set.contracts]
    if not ids:
        yield _about("set-empty", "", "no contract")
    if ids != sorted(ids):
        yield _about("set-unsorted", "", ", ".join(ids)[:200])
    for name, count in sorted(Counter(ids).items()):
        if count > 1:
            yield _about("contract-repeated", name, name)
    count = 0
    for contract in policy_set.contracts:
        if find_open_string(contract.text) is None:
            count += len(split_statements(contract.text))
    if max(count, len(ids)) > POLICIES_MAX:
        yield _about("policies-many", "", f"{max(count, len(ids))}, at most {POLICIES_MAX}")


def _schema_faults(text: str) -> Generator[Fault, None, cedarpy.Schema | None]:
    """Faults of the schema; returns it parsed where it can be used."""
    offset = find_open_string(text)
    if offset is not None:
        yield _about("string-open", SCHEMA, "", place=place_of(text, offset))
        return None
    for statement in split_statements(text):
        for fault in _size_faults(SCHEMA, text, statement):
            yield fault
            return None
    for word in words_of(text):
        if word.text == "enum":
            yield _about("schema-lists", SCHEMA, "enum", place=place_of(text, word.start))
            return None
    try:
        schema = cedarpy.Schema.from_str(text)
    except ValueError as error:
        place = place_of(text, _find_in_schema(text, str(error)))
        yield _about("schema-unreadable", SCHEMA, str(error), place=place)
        return None
    for complaint in _misfits(schema):
        yield _about("schema-unfit", SCHEMA, complaint)
        return None
    return schema


def _find_in_schema(text: str, complaint: str) -> int:
    words = tuple(words_of(text))
    whole = Statement(text=text, start=0, words=words)
    if not words:
        return 0
    if "unexpected" in complaint:
        return find_parse_fault(whole, _schema_complaint)
    return find_named(whole, complaint)


def _schema_complaint(text: str) -> str | None:
    """What the grammar says of a schema, or None; names that are not known yet do not count."""
    try:
        cedarpy.Schema.from_str(text)
    except ValueError as error:
        return str(error) if "unexpected" in str(error) else None
    return None


def _misfits(schema: cedarpy.Schema) -> Iterator[str]:
    """Complaints of the schema about what the network would ask."""
    for action in ACTIONS:
        for act, facts in probe_questions(action):
            text = entities_of(act)
            context = msgspec.json.encode(facts).decode()
            try:
                entities = cedarpy.Entities.from_json_str(text, schema)
                asked = question(act, action, context)
                result = cedarpy.is_authorized(asked, _ANYTHING, entities, schema)
            except ValueError as error:
                yield f"{action}: {error}"
                continue
            if not result.allowed or result.diagnostics.errors:
                yield f"{action}: {'; '.join(sorted(result.diagnostics.errors)) or 'not allowed'}"


def _size_faults(contract: str, text: str, statement: Statement) -> Iterator[Fault]:
    try:
        check_size(statement.text)
    except InvalidPolicySet as error:
        place = place_of(text, statement.start)
        yield _about("statement-large", contract, error.faults[0], place=place)


def _contract_faults(
    contract: str, text: str, schema: cedarpy.Schema, seen: set[str]
) -> Iterator[Fault]:
    """Faults of one contract; `seen` collects the ids of policies of the whole set."""
    offset = find_open_string(text)
    if offset is not None:
        yield _about("string-open", contract, "", place=place_of(text, offset))
        return
    statements = split_statements(text)
    if not statements:
        yield _about("contract-empty", contract, contract)
    for statement in statements:
        yield from _statement_faults(contract, text, statement, schema)
        name = find_id(statement)
        if name in seen:
            place = place_of(text, statement.start)
            yield _about("policy-repeated", contract, name, policy=name, place=place)
        if name:
            seen.add(name)


def _statement_faults(
    contract: str, text: str, statement: Statement, schema: cedarpy.Schema
) -> Iterator[Fault]:
    for fault in _size_faults(contract, text, statement):
        yield fault
        return
    complaint = _complaint(statement.text)
    if complaint is not None:
        if complaint.startswith("unexpected"):
            offset = find_parse_fault(statement, _complaint)
        else:
            offset = find_named(statement, complaint)
        yield _about("policy-unreadable", contract, complaint, place=place_of(text, offset))
        return
    document = json.loads(cedarpy.policies_to_json_str(statement.text))
    start = place_of(text, statement.start)
    policies = list(document.get("staticPolicies", {}).values())
    if document.get("templates") or len(policies) != 1:
        yield _about("policy-template", contract, "?principal, ?resource", place=start)
        return
    try:
        name = read_policy(contract, policies[0]).id
    except InvalidPolicySet as error:
        yield _about("annotation-invalid", contract, error.faults[0], place=start)
        return
    yield from _meaning_faults(contract, text, statement, (name, policies[0]), schema)


def _meaning_faults(
    contract: str,
    text: str,
    statement: Statement,
    policy: tuple[str, dict[str, Any]],
    schema: cedarpy.Schema,
) -> Iterator[Fault]:
    name, document = policy
    result = cedarpy.validate_policies(statement.text, schema)
    complaints = frozenset(
        _ACTION.sub(r"\1", _POLICY.sub("", error.error)) for error in result.errors
    )
    for complaint in sorted(complaints):
        place = place_of(text, find_named(statement, complaint))
        yield _about("policy-invalid", contract, complaint, policy=name, place=place)
    for code, detail in sorted(frozenset(find_excess(document))):
        place = place_of(text, find_named(statement, f"`{detail}`"))
        yield _about(code, contract, detail, policy=name, place=place)


def _complaint(text: str) -> str | None:
    """What the parser says of a text, or None."""
    try:
        cedarpy.policies_to_json_str(text)
    except ValueError as error:
        return str(error)
    return None


def _whole_faults(policy_set: PolicySet) -> Iterator[Fault]:
    engine = _try(lambda: PolicyEngine(policy_set))
    if isinstance(engine, str):
        yield _about("engine-failed", "", engine)
        return
    for action in ACTIONS:
        for act, facts in probe_questions(action):
            judge = engine.judge_request if action == "request" else engine.judge_step
            decision = judge(act, facts)
            if decision.errors:
                yield _about("probe-failed", "", f"{action}: {'; '.join(decision.errors)}")
                return


def _try(make: Callable[[], T]) -> T | str:
    """What `make` returns, or what it complains of."""
    try:
        return make()
    except (ContractError, ValueError) as error:
        return str(error)
