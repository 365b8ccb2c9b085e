"""The one state transition. Proposer, validator and auditor run this same code.

`execute` takes a state and the events of a block and returns the changes and the record bytes; it
reads no clock, no configuration, and nothing but its arguments. An event that is refused is a
record too: it uses up its nonce and changes nothing else. `select` is the proposer's way in: the
same steps event by event, leaving out what must not be included.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from contracts.admission import check_event, period_days
from contracts.credit.accounts import Credits
from contracts.decision import Decision, Verdict
from contracts.engine import Contracts, PolicyEngine
from contracts.errors import InvalidInclusion, InvalidTime, RefusedEvent
from contracts.exchange.access import apply_access
from contracts.exchange.incidents import apply_incident
from contracts.exchange.matters import HOUR_MS, Scene, advance, consent_of, read_matters
from contracts.exchange.reciprocity import count_receipt
from contracts.exchange.references import apply_references
from contracts.facts import Act, block_date
from contracts.governance.evidence import apply_evidence
from contracts.governance.proposals import apply_governance
from contracts.governance.schedule import enact_due
from contracts.governance.validators import apply_ready, seal
from contracts.lifecycle import PERMITTED, STATUS_OF_DECISION, STEPS, Step, status_after
from contracts.lookup import (
    find_dataset,
    find_member,
    find_officer,
)
from contracts.registers.sunsets import end_due
from contracts.risk.habits import Habits
from ledger.access.anchors import AccessLogged
from ledger.blocks import RECORDS, Outcome, Record
from ledger.events import (
    Event,
    ShareDelivered,
    ShareOpening,
    ShareReceived,
    ShareRequested,
)
from ledger.exchange.bodies import ShareCorrected, ShareOffered
from ledger.exchange.incidents import DrillRun, IncidentBody
from ledger.exchange.matters import EMPTY_MATTERS, MATTERS, Matters
from ledger.exchange.references import ShareReferenced
from ledger.exchange.risk import NO_RISK, RISKS, Risk
from ledger.quorum.governance import EvidenceEquivocation, ValidatorReady
from ledger.registry import (
    EMPTY_COUNTERS,
    EXCHANGES,
    PAIR_COUNTERS,
    Dataset,
    Exchange,
    Member,
    Officer,
    Validator,
)
from ledger.state import (
    Overlay,
    StateReader,
    counters_key,
    exchange_key,
    matters_key,
    nonce_key,
    risk_key,
)

_COUNTER_MAX = 2**63 - 1
TIME_MS_MAX = 253_402_300_799_999  # end of the year 9999, where calendar dates end


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockInput:
    """What a block is made of. Signatures are verified already.

    `first_index` is the log index of the first record.
    """

    network: bytes
    height: int
    time_ms: int
    first_index: int
    events: tuple[Event, ...]


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Result: the changes, and for each event, in order, its outcome.

    `next_validators`: this is a seal block, and these are the validators of the next epoch.
    """

    overlay: Overlay
    events: tuple[Event, ...]
    outcomes: tuple[Outcome, ...]
    next_validators: tuple[Validator, ...] | None

    @cached_property
    def records(self) -> tuple[bytes, ...]:
        """What the block holds after its header. Who checks a block compares outcomes instead."""
        return tuple(
            [
                RECORDS.encode(Record(entry=2, event=event.data, outcome=outcome))
                for event, outcome in zip(self.events, self.outcomes, strict=True)
            ]
        )


def execute(state: StateReader, block: BlockInput, contracts: Contracts) -> Execution:
    """Execute a block on `state`. Raises `InvalidInclusion` if an event must not be in it.

    Raises `InvalidTime` for a block time after the year 9999.
    """
    run = _Run(state, contracts, block.network, block.height, block.time_ms, block.first_index)
    for place, event in enumerate(block.events):
        try:
            run.apply(event)
        except RefusedEvent as refused:
            raise InvalidInclusion(event.digest, refused, place) from None
    return run.finish()


def select(
    state: StateReader,
    candidates: Iterable[Event],
    *,
    network: bytes,
    height: int,
    time_ms: int,
    first_index: int,
    contracts: Contracts,
    events_max: int,
    bytes_max: int,
) -> tuple[Execution, tuple[Event, ...], tuple[tuple[Event, RefusedEvent], ...]]:
    """Execute as many candidates as fit, in order.

    Returns also those included, and those evicted because no block may include them.
    """
    run = _Run(state, contracts, network, height, time_ms, first_index)
    included: list[Event] = []
    evicted: list[tuple[Event, RefusedEvent]] = []
    size_bytes = 0
    for event in candidates:
        if len(included) == events_max or size_bytes + len(event.data) > bytes_max:
            break
        try:
            run.apply(event)
        except RefusedEvent as refused:
            evicted.append((event, refused))
            continue
        included.append(event)
        size_bytes += len(event.data)
    return run.finish(), tuple(included), tuple(evicted)


class _Run:
    """One execution in progress. What ends on the day of the block is out of force for all of it.

    An event is checked and decided before anything is changed.
    """

    def __init__(
        self,
        state: StateReader,
        contracts: Contracts,
        network: bytes,
        height: int,
        time_ms: int,
        first_index: int,
    ) -> None:
        if time_ms > TIME_MS_MAX:
            raise InvalidTime(time_ms)
        self._overlay = Overlay(state)
        end_due(self._overlay, time_ms)
        self._engine: PolicyEngine = contracts.at(self._overlay)
        self._network = network
        self._height = height
        self._time_ms = time_ms
        self._year = block_date(time_ms).year
        self._first_index = first_index
        self._credits = Credits(self._overlay, height=height, time_ms=time_ms)
        self._habits = Habits(self._overlay, time_ms)
        self._events: list[Event] = []
        self._outcomes: list[Outcome] = []

    def finish(self) -> Execution:
        """The result. What no event does but the end of the block, is done here."""
        self._habits.write()
        self._credits.write()
        enact_due(self._overlay, self._height, time_ms=self._time_ms, network=self._network)
        return Execution(
            next_validators=seal(self._overlay, self._height),
            overlay=self._overlay,
            events=tuple(self._events),
            outcomes=tuple(self._outcomes),
        )

    def apply(self, event: Event) -> None:
        """Execute one event. Raises `RefusedEvent` only if no block may include it."""
        try:
            exchange = check_event(
                self._overlay,
                event,
                network=self._network,
                height=self._height,
                time_ms=self._time_ms,
            )
            if exchange is not None:
                outcome = self._step(event, STEPS[event.kind], exchange)
            else:
                outcome = self._execute(event)
        except RefusedEvent as refused:
            if not refused.recordable:
                raise
            outcome = _refusal(refused.code, None)
        self._overlay.put(nonce_key(event.member, event.nonce), event.digest)
        self._events.append(event)
        self._outcomes.append(outcome)

    def _execute(self, event: Event) -> Outcome:
        body = event.body
        if isinstance(body, ShareOpening):
            return self._open(event, body)
        if isinstance(body, IncidentBody):
            self._credits.count_incident(event, body)
        # What is not about an exchange may read what was counted.
        self._credits.write()
        if isinstance(body, IncidentBody):
            apply_incident(self._overlay, event, body, self._time_ms)
        elif isinstance(body, ValidatorReady):
            apply_ready(self._overlay, event)
        elif isinstance(body, EvidenceEquivocation):
            apply_evidence(self._overlay, event, body)
        elif isinstance(body, AccessLogged):
            apply_access(self._overlay, event, body)
        elif not isinstance(body, DrillRun):
            apply_governance(self._overlay, event, height=self._height)
        return _APPLIED

    def _open(self, event: Event, body: ShareOpening) -> Outcome:
        risk = NO_RISK
        if isinstance(body, ShareOffered):
            action, requester, provider = "offer", body.recipient, event.member
            # The provider itself gives what it offers: nothing is left to review.
            decide = self._engine.decide_step
        else:
            action, requester, provider = "request", event.member, body.provider
            decide = self._engine.decide_request
            risk = self._habits.assess(event, body)
        act = self._act(
            event, action, requester, provider, body.dataset,
            purpose=body.purpose, legal_basis=body.legal_basis, urgency=body.urgency,
            fields=body.fields, subjects=len(body.subjects), period_days=period_days(body),
            retention_days=body.retention_days, same_officer=True, risk=risk,
        )  # fmt: skip
        decision = decide(self._overlay, act, self._time_ms)
        duties = decision.obligations
        exchange = Exchange(
            status=STATUS_OF_DECISION[decision.verdict],
            requester=requester,
            provider=provider,
            dataset=body.dataset,
            purpose=body.purpose,
            legal_basis=body.legal_basis,
            urgency=body.urgency,
            period_days=act.period_days,
            requested_by=event.officer,
            requested_ms=self._time_ms,
            requested_index=self._first_index + len(self._events),
            changed_ms=self._time_ms,
            changed_height=self._height,
            decision=decision.verdict.value,
            deadline_ms=self._time_ms + duties.deadline_hours * HOUR_MS if duties else 0,
            retention_days=duties.retention_days if duties else 0,
            redact=duties.redact if duties else (),
            fields=body.fields,
            subject_count=len(body.subjects),
            commitment=b"",
            record_count=0,
        )
        self._overlay.put(exchange_key(event.digest), EXCHANGES.encode(exchange))
        if isinstance(body, ShareRequested):
            column = {"permit": "permitted", "review": "reviewed", "deny": "denied"}
            self._count(exchange, {"asked": 1, column[decision.verdict]: 1})
            is_denied = decision.verdict is Verdict.DENY
            self._habits.count_request(event, body, is_denied=is_denied)
            if risk.score:
                self._overlay.put(risk_key(event.digest), RISKS.encode(risk))
        for party in (requester, provider):
            self._credits.settle(party)
        return _outcome(decision, decision.verdict, code=_deny_code(decision))

    def _step(self, event: Event, step: Step, exchange: Exchange) -> Outcome:
        id_ = event.exchange
        matters = EMPTY_MATTERS  # what leads to a delivery neither reads nor changes them
        if step.is_holding:
            matters = read_matters(self._overlay, id_, exchange)
        outcome = _APPLIED
        if step.action is not None:
            decision = self._decide_step(event, step.action, exchange, matters)
            if decision.verdict is Verdict.DENY:
                return _refusal(_deny_code(decision), decision)
            outcome = _outcome(decision, "")
        self._overlay.put(exchange_key(id_), self._moved(exchange, event, step))
        if step.is_holding:
            scene = Scene(
                state=self._overlay, event=event, exchange=exchange, time_ms=self._time_ms
            )
            after = MATTERS.encode(advance(matters, scene))
            self._overlay.put(matters_key(id_), after)
            self._credits.count_holding(event, matters)
        else:
            self._count_step(event, exchange)
        return outcome

    def _count_step(self, event: Event, exchange: Exchange) -> None:
        if isinstance(event.body, ShareReferenced):
            apply_references(self._overlay, event, event.body, exchange)
            return
        self._credits.count_step(event, exchange)
        if event.kind == "share.approved":
            self._count(exchange, {"permitted": 1})
        elif event.kind == "share.refused":
            self._count(exchange, {"refused": 1})
            self._habits.count_refusal(exchange.requester, exchange.provider)
        elif isinstance(event.body, ShareDelivered) and exchange.status == PERMITTED:
            # A delivery after a rejection is the same answer once more.
            is_late = self._time_ms > exchange.deadline_ms
            counts = {"delivered": 1, "records": event.body.record_count, "late": int(is_late)}
            self._count(exchange, counts)
        elif isinstance(event.body, ShareReceived):
            count_receipt(self._overlay, exchange, event.body.record_count, self._year)

    def _decide_step(
        self, event: Event, action: str, exchange: Exchange, matters: Matters
    ) -> Decision:
        consent = consent_of(event, matters)
        act = self._act(
            event, action, exchange.requester, exchange.provider, exchange.dataset,
            purpose=consent.purpose if consent else exchange.purpose,
            legal_basis=consent.legal_basis if consent else exchange.legal_basis,
            urgency=exchange.urgency,
            fields=exchange.fields, subjects=exchange.subject_count,
            period_days=exchange.period_days, retention_days=exchange.retention_days,
            same_officer=event.officer == exchange.requested_by,
        )  # fmt: skip
        return self._engine.decide_step(self._overlay, act, self._time_ms)

    def _act(
        self,
        event: Event,
        action: str,
        requester: str,
        provider: str,
        dataset: str,
        *,
        purpose: str,
        legal_basis: str,
        urgency: str,
        fields: tuple[str, ...],
        subjects: int,
        period_days: int,
        retention_days: int,
        same_officer: bool,
        risk: Risk = NO_RISK,
    ) -> Act:
        officer, member, asking, giving, asked = self._overlay.recall(
            _read_parties, event.officer, event.member, requester, provider, dataset
        )
        return Act(
            action=action,
            officer=officer,
            member=member,
            requester=asking,
            provider=giving,
            dataset=asked,
            purpose=purpose,
            legal_basis=legal_basis,
            urgency=urgency,
            fields=fields,
            subjects=subjects,
            period_days=period_days,
            retention_days=retention_days,
            same_officer=same_officer,
            grade=self._credits.grade(event.member),
            provider_grade=self._credits.grade(provider),
            risk=risk,
        )

    def _moved(self, exchange: Exchange, event: Event, step: Step) -> bytes:
        is_requester = event.member == exchange.requester
        values: dict[str, Any] = {
            "status": status_after(step, exchange.status, is_requester=is_requester)
        }
        if step.after is not None:
            values["changed_ms"] = self._time_ms
            values["changed_height"] = self._height
        body = event.body
        if isinstance(body, ShareDelivered | ShareCorrected):
            values["commitment"] = body.commitment
            values["record_count"] = body.record_count
        elif event.kind == "share.approved":
            # The time to answer starts when the review ends.
            values["deadline_ms"] = self._time_ms + exchange.deadline_ms - exchange.requested_ms
        return EXCHANGES.encode(msgspec.structs.replace(exchange, **values))

    def _count(self, exchange: Exchange, amounts: dict[str, int]) -> None:
        key = counters_key(exchange.requester, exchange.provider, exchange.purpose, self._year)
        data = self._overlay.get(key)
        before = EMPTY_COUNTERS if data is None else PAIR_COUNTERS.decode(data)
        # A provider states how many records it delivers, so a sum must stop where encoding ends.
        after = {
            name: min(getattr(before, name) + amount, _COUNTER_MAX)
            for name, amount in amounts.items()
        }
        self._overlay.put(key, PAIR_COUNTERS.encode(msgspec.structs.replace(before, **after)))


def _read_parties(
    state: StateReader, key: bytes, acting: str, requester: str, provider: str, dataset: str
) -> tuple[Officer, Member, Member, Member, Dataset]:
    """Who acts, who asks whom, and for what: `check_event` has found them all."""
    officer, member = find_officer(state, key), find_member(state, acting)
    asking, giving = find_member(state, requester), find_member(state, provider)
    asked = find_dataset(state, dataset)
    assert officer is not None, "check_event has found it"
    assert member is not None, "check_event has found it"
    assert asking is not None, "check_event has found it"
    assert giving is not None, "check_event has found it"
    assert asked is not None, "check_event has found it"
    return officer, member, asking, giving, asked


def _deny_code(decision: Decision) -> str:
    if decision.verdict is not Verdict.DENY:
        return ""
    return "contract-error" if decision.errors else "contract-denied"


def _outcome(decision: Decision | None, verdict: str, code: str = "") -> Outcome:
    return Outcome(
        applied=True,
        code=code,
        decision=verdict,  # type: ignore[arg-type]  # a Verdict's value is one of the literals
        policies=decision.policies if decision is not None else (),
        policy_set=decision.policy_set if decision is not None else b"",
        obligations=decision.obligations if decision is not None and verdict else None,
    )


def _refusal(code: str, decision: Decision | None) -> Outcome:
    return Outcome(
        applied=False,
        code=code,
        decision="",
        policies=decision.policies if decision is not None else (),
        policy_set=decision.policy_set if decision is not None else b"",
        obligations=None,
    )


_APPLIED = _outcome(None, "")
