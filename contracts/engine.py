"""The Cedar engine: policy sets parsed once, validated strictly, asked many times.

`request` and `release` allowed: permit. `request` only: review by an approver of the provider.
Neither: deny. What the engine cannot evaluate is a deny with its reason, never an allow. The hash
of a policy set covers the engine's version and the schema: another engine is another policy set.
"""

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cedarpy
import msgspec

from contracts.decision import Decision, Reason, Verdict
from contracts.errors import InvalidPolicySet
from contracts.facts import (
    Act,
    FactReader,
    build_context,
    cedar_request,
    dataset_name,
    entities_of,
)
from contracts.slices import find_reading, slice_policies, stand_in_for
from ledger.blocks import Obligations, Outcome
from ledger.registry import POLICY_SETS, PolicySet
from ledger.scalars import Identifier
from ledger.state import POLICY_SET_KEY, StateReader

ENGINE_VERSION = "cedarpy-4.12.2"
ACTIONS = ("request", "release", "offer", "approve", "deliver", "use", "forward")
POLICY_SET_DOMAIN = b"tallystick/policy-set/v1\0"
_ENGINES_MAX = 8
_HANDLES_MAX = 4_096
_ANSWERS_MAX = 4_096
_DECISIONS_MAX = 4_096
# Cedar parses and evaluates by recursion without a bound: 250 brackets deep overflow a stack of
# 2 MiB and kill the process. These bounds stand in front of it and are far above any real policy;
# bounding what one statement holds cannot be tricked as counting depth could.
POLICIES_MAX = 64
STATEMENT_BRACKETS_MAX = 64
STATEMENT_WORDS_MAX = 400
# A string that does not end reaches to the end of the text: looking for its end again at each quote
# would take seconds.
_WORD = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|//[^\r\n]*|\w+|[^\w\s]', re.DOTALL)
_POLICY_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_KNOWN_ANNOTATIONS = frozenset(
    ("id", "title_zh", "title_en", "basis", "redact", "deadline_hours", "retention_days")
)
# A request is decided by two answers.
_ASKED_FOR = {"request": ("request", "release")}
_DUTIES = frozenset(("redact", "deadline_hours", "retention_days"))

# An act as far as a decision depends on it: action, entities, facts.
_Case = tuple[str, str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyInfo:
    """What a policy's annotations say. None: no such obligation."""

    id: str
    contract: str
    effect: str
    title_zh: str
    title_en: str
    redact: tuple[str, ...]
    deadline_hours: int | None
    retention_days: int | None
    basis: str


def hash_policy_set(policy_set: PolicySet) -> bytes:
    """Hash of a policy set with its schema and engine version."""
    return hashlib.sha256(POLICY_SET_DOMAIN + POLICY_SETS.encode(policy_set)).digest()


def validate_policy_set(policy_set: PolicySet) -> tuple[PolicyInfo, ...]:
    """Information on every policy. Raises `InvalidPolicySet` with every fault found."""
    faults: list[str] = []
    infos: list[PolicyInfo] = []
    if policy_set.engine != ENGINE_VERSION:
        faults.append(f"made for engine {policy_set.engine}, this is {ENGINE_VERSION}")
    try:
        check_size(policy_set.schema)
        schema = cedarpy.Schema.from_str(policy_set.schema)
    except (ValueError, InvalidPolicySet) as error:
        raise InvalidPolicySet((*faults, f"schema: {error}")) from None
    for contract in policy_set.contracts:
        try:
            check_size(contract.text)
            infos += _read_policies(contract.id, contract.text)
            result = cedarpy.validate_policies(contract.text, schema)
        except (ValueError, InvalidPolicySet) as error:
            faults.append(f"{contract.id}: {error}")
            continue
        faults += [f"{contract.id}: {error}" for error in result.errors]
    ids = [info.id for info in infos]
    faults += [f"policy id {name} stands twice" for name in sorted(ids) if ids.count(name) > 1]
    if len(infos) > POLICIES_MAX:
        faults.append(f"{len(infos)} policies, at most {POLICIES_MAX} are allowed")
    if faults:
        raise InvalidPolicySet(tuple(faults))
    return tuple(infos)


def check_size(text: str) -> None:
    """Refuse text that Cedar's parser could not stand. Raises `InvalidPolicySet`."""
    openings = words = 0
    for word in _WORD.findall(text):
        words += 1
        openings += word in "([{"
        if word == ";":
            openings = words = 0
        if openings > STATEMENT_BRACKETS_MAX:
            raise InvalidPolicySet(
                (f"a statement has more than {STATEMENT_BRACKETS_MAX} opening brackets",)
            )
        if words > STATEMENT_WORDS_MAX:
            raise InvalidPolicySet((f"a statement has more than {STATEMENT_WORDS_MAX} words",))


def _read_policies(contract: str, text: str) -> list[PolicyInfo]:
    document = json.loads(cedarpy.policies_to_json_str(text))
    if document.get("templates"):
        raise InvalidPolicySet(("templates are not allowed",))
    policies = document.get("staticPolicies", {})
    return [read_policy(contract, policy) for _, policy in sorted(policies.items())]


def _policies_by_id(policy_set: PolicySet) -> dict[str, dict[str, Any]]:
    """Cedar JSON of every policy of a validated set, by its `@id`."""
    documents = (
        json.loads(cedarpy.policies_to_json_str(contract.text)) for contract in policy_set.contracts
    )
    return {
        policy["annotations"]["id"]: policy
        for document in documents
        for policy in document.get("staticPolicies", {}).values()
    }


def read_policy(contract: str, policy: dict[str, Any]) -> PolicyInfo:
    """Annotations of a policy in Cedar's JSON form. Raises `InvalidPolicySet`."""
    notes = {name: value or "" for name, value in policy.get("annotations", {}).items()}
    name = notes.get("id", "")
    if not _POLICY_ID.fullmatch(name):
        raise InvalidPolicySet((f'every policy needs @id("{contract}"), at most 64 characters',))
    if name != contract and not name.startswith(contract + "."):
        raise InvalidPolicySet((f'every policy needs @id("{contract}") or @id("{contract}.…")',))
    unknown = sorted(notes.keys() - _KNOWN_ANNOTATIONS)
    if unknown:
        raise InvalidPolicySet((f"{name}: unknown annotation @{unknown[0]}",))
    if policy["effect"] == "forbid" and not notes.keys().isdisjoint(_DUTIES):
        raise InvalidPolicySet((f"{name}: only a permit carries duties",))
    return PolicyInfo(
        id=name,
        contract=contract,
        effect=policy["effect"],
        title_zh=notes.get("title_zh", name),
        title_en=notes.get("title_en", name),
        redact=_field_ids(name, notes.get("redact")),
        deadline_hours=_number(name, notes.get("deadline_hours")),
        retention_days=_number(name, notes.get("retention_days")),
        basis=notes.get("basis", ""),
    )


def _field_ids(name: str, text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    try:
        return msgspec.convert(sorted(text.split(",")), tuple[Identifier, ...])
    except msgspec.ValidationError:
        raise InvalidPolicySet((f"{name}: {text!r} is not a list of fields (a,b,c)",)) from None


def _number(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise InvalidPolicySet((f"{name}: {text!r} is not a number of hours or days",))
    return int(text)


class PolicyEngine:
    """One policy set, parsed. Its answers are pure functions of the state and the act."""

    def __init__(self, policy_set: PolicySet) -> None:
        self.infos = {info.id: info for info in validate_policy_set(policy_set)}
        self.hash = hash_policy_set(policy_set)
        self._reason_of = {
            info.id: Reason(
                id=info.id, title_zh=info.title_zh, title_en=info.title_en, basis=info.basis
            )
            for info in self.infos.values()
        }
        policies = _policies_by_id(policy_set)
        self._slices = {name: slice_policies(policies, name, ACTIONS) for name in ACTIONS}
        self._readers = {name: _make_reader(policies, name) for name in ACTIONS}
        self._schema = cedarpy.Schema.from_str(policy_set.schema)
        self._entities: OrderedDict[str, cedarpy.Entities] = OrderedDict()
        self._answers: OrderedDict[Question, Answer] = OrderedDict()
        self._decisions: OrderedDict[_Case, Decision] = OrderedDict()

    def decide_request(self, state: StateReader, act: Act, time_ms: int) -> Decision:
        """Permit, review or deny a request."""
        return self._remember("request", state, act, time_ms)

    def judge_request(self, act: Act, context: Mapping[str, Any]) -> Decision:
        """Permit, review or deny a request, given the facts."""
        return self._decide("request", act, context)

    def conclude_request(self, act: Act, asked: "Answer", released: "Answer") -> Decision:
        """The decision that the answers for `request` and `release` make."""
        errors = tuple(sorted(frozenset(asked.errors + released.errors)))
        if errors or not asked.is_allowed:
            return self._decision(Verdict.DENY, act, asked.policies, errors)
        if not released.is_allowed:
            return self._decision(Verdict.REVIEW, act, asked.policies + released.policies, ())
        return self._decision(Verdict.PERMIT, act, asked.policies + released.policies, ())

    def decide_step(self, state: StateReader, act: Act, time_ms: int) -> Decision:
        """Permit or deny a later act of an exchange (approve, deliver, ...)."""
        return self._remember(act.action, state, act, time_ms)

    def judge_step(self, act: Act, context: Mapping[str, Any]) -> Decision:
        """Permit or deny a later act of an exchange, given the facts."""
        return self._decide(act.action, act, context)

    def _remember(self, action: str, state: StateReader, act: Act, time_ms: int) -> Decision:
        """The decision on all that it depends on, from memory if it was made before."""
        facts = self._readers[action].read(state, act, time_ms)
        case = (action, entities_of(act), facts)
        decision = self._decisions.get(case)
        if decision is None:
            context = build_context(state, act, time_ms)
            decision = self._decisions[case] = self._decide(action, act, context)
            if len(self._decisions) > _DECISIONS_MAX:
                self._decisions.popitem(last=False)
        return decision

    def _decide(self, action: str, act: Act, context: Mapping[str, Any]) -> Decision:
        answers = [self.ask(act, name, context) for name in _ASKED_FOR.get(action, (action,))]
        if action == "request":
            return self.conclude_request(act, *answers)
        (answer,) = answers
        verdict = Verdict.PERMIT if answer.is_allowed else Verdict.DENY
        return self._decision(verdict, act, answer.policies, answer.errors)

    def recall(self, outcome: Outcome) -> Decision | None:
        """The decision behind a recorded outcome; None if another policy set made it, or none."""
        if outcome.policy_set != self.hash or not outcome.decision:
            return None
        return Decision(
            verdict=Verdict(outcome.decision),
            policies=outcome.policies,
            policy_set=self.hash,
            obligations=outcome.obligations,
            errors=(outcome.code,) if outcome.code == "contract-error" else (),
            reasons=self._reasons(outcome.policies),
        )

    def _reasons(self, names: tuple[str, ...]) -> tuple[Reason, ...]:
        return tuple([self._reason_of[name] for name in names])

    def ask(self, act: Act, action: str, context: Mapping[str, Any]) -> "Answer":
        """Cedar's answer about one action."""
        posed = self.pose(act, action, context)
        answer = self._answers.get(posed)
        if answer is None:
            answer = self._answers[posed] = self._answer((posed,))[0]
            if len(self._answers) > _ANSWERS_MAX:
                self._answers.popitem(last=False)
        return answer

    def pose(self, act: Act, action: str, context: Mapping[str, Any]) -> "Question":
        """All that the answer about one action depends on."""
        return Question(
            action=action,
            officer=act.officer.key.hex(),
            dataset=dataset_name(act),
            entities=entities_of(act),
            facts=msgspec.json.encode(self._slices[action].pick(context)).decode(),
        )

    def ask_all(self, questions: Sequence["Question"]) -> list["Answer"]:
        """Answers in the order of the questions; those about the same parties are asked at once."""
        groups: dict[tuple[str, str], list[int]] = {}
        for at, each in enumerate(questions):
            groups.setdefault((each.action, each.entities), []).append(at)
        found: dict[int, Answer] = {}
        for places in groups.values():
            answers = self._answer([questions[at] for at in places])
            found.update(zip(places, answers, strict=True))
        return [found[at] for at in range(len(questions))]

    def _answer(self, asked: Sequence["Question"]) -> list["Answer"]:
        # No schema is passed: the policies are validated against it, and a test validates what
        # `facts` builds; checking every question again would double the cost.
        action, entities = asked[0].action, asked[0].entities
        try:
            results = cedarpy.is_authorized_batch(
                [cedar_request(each.officer, action, each.dataset, each.facts) for each in asked],
                self._slices[action].policies,
                self._handle(entities),
            )
        except ValueError as error:
            if len(asked) > 1:
                return [answer for each in asked for answer in self._answer((each,))]
            return [Answer(is_allowed=False, policies=(), errors=(str(error),))]
        return [_read_answer(result) for result in results]

    def _handle(self, text: str) -> cedarpy.Entities:
        handle = self._entities.get(text)
        if handle is None:
            handle = cedarpy.Entities.from_json_str(text, self._schema)
            self._entities[text] = handle
            if len(self._entities) > _HANDLES_MAX:
                self._entities.popitem(last=False)
        return handle

    def _decision(
        self, verdict: Verdict, act: Act, policies: tuple[str, ...], errors: tuple[str, ...]
    ) -> Decision:
        # Cedar skips a policy that fails, which could be a forbid: then no reason counts.
        names = () if errors else tuple(sorted(frozenset(policies)))
        is_open = verdict is not Verdict.DENY
        return Decision(
            verdict=verdict,
            policies=names,
            policy_set=self.hash,
            obligations=self._obligations(act, names) if is_open else None,
            errors=errors,
            reasons=self._reasons(names),
        )

    def _obligations(self, act: Act, policies: tuple[str, ...]) -> Obligations:
        """The strictest of the determining permits, the dataset's deadline and what was asked."""
        infos = [self.infos[name] for name in policies if self.infos[name].effect == "permit"]
        hours = [info.deadline_hours for info in infos if info.deadline_hours is not None]
        days = [info.retention_days for info in infos if info.retention_days is not None]
        redacted = frozenset(field for info in infos for field in info.redact)
        return Obligations(
            redact=tuple(field for field in act.fields if field in redacted),
            deadline_hours=min([*hours, act.dataset.deadline_hours]),
            retention_days=min([*days, act.retention_days]),
        )


def _make_reader(policies: Mapping[str, dict[str, Any]], action: str) -> FactReader:
    """Reader of what the policies behind a decision about `action` read."""
    reading = find_reading(policies, _ASKED_FOR.get(action, (action,)), ACTIONS)
    stand_in = {name: partial(stand_in_for, marks) for name, marks in reading.marks.items()}
    return FactReader(reading.facts, stand_in)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A question to Cedar: who asks for what, the entities around them, the facts that count."""

    action: str
    officer: str
    dataset: str
    entities: str
    facts: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What Cedar says of one action: the ids of the determining policies, or errors."""

    is_allowed: bool
    policies: tuple[str, ...]
    errors: tuple[str, ...]


def _read_answer(result: cedarpy.AuthzResult) -> Answer:
    errors = tuple(sorted(result.diagnostics.errors))
    policies = tuple(result.diagnostics.reasons)
    is_allowed = result.decision == cedarpy.Decision.Allow and not errors
    return Answer(is_allowed, policies, errors)


class Contracts:
    """Engines by the exact bytes of the policy set in a state; bounded, parsed once each."""

    def __init__(self) -> None:
        self._engines: OrderedDict[bytes, PolicyEngine] = OrderedDict()

    def at(self, state: StateReader) -> PolicyEngine:
        """Engine of the policy set in force in `state`."""
        data = state.get(POLICY_SET_KEY)
        assert data is not None, "a state without contracts was not made from a genesis"
        engine = self._engines.get(data)
        if engine is None:
            engine = PolicyEngine(POLICY_SETS.decode(data))
            self._engines[data] = engine
            if len(self._engines) > _ENGINES_MAX:
                self._engines.popitem(last=False)
        return engine
