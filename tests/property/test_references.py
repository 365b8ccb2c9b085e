"""The judge of reference ids against a naive twin, which keeps the whole history as a list."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from contracts.admission import check_event
from contracts.errors import RefusedEvent
from contracts.exchange.references import find_document
from ledger.events import Event
from ledger.exchange.references import Reference
from tests.builders import ASKER, HEIGHT, NETWORK, OWNER, TIME_MS, deliver, hash32, reject, request
from tests.exchanges import OTHER, refer, reference, reference_keys
from tests.unit.contracts.samples import run, state_after

# Name: the exchange, its provider.
EXCHANGES = {
    "first": (request(label="first"), OWNER),
    "second": (request(label="second"), OWNER),
    "back": (request(label="back", member=OWNER, provider=ASKER), ASKER),
    "third": (request(label="third", member=OTHER), OWNER),
}
REQUESTERS = {"first": ASKER, "second": ASKER, "back": OWNER, "third": OTHER}
DOCUMENTS = "abcdefgh"
NAMES = st.sampled_from(DOCUMENTS)
# Most are what a careful sender writes, else nothing would ever be recorded.
REFERENCES = st.one_of(
    st.builds(reference, NAMES),
    st.builds(reference, NAMES, st.sampled_from(("corrected", "deleted")), NAMES),
    st.builds(reference, NAMES, st.just("resend")),
    st.builds(
        reference,
        NAMES,
        st.sampled_from(("new", "corrected", "deleted", "resend")),
        st.sampled_from(("", "a")),
    ),
)


@dataclass
class Line:
    """One document as it was named once."""

    message: str
    exchange: str
    period: str
    reference: Reference


@dataclass
class Twin:
    """Every document that was ever named; each question walks through all of them."""

    lines: list[Line] = field(default_factory=list)
    deliveries: dict[str, int] = field(default_factory=dict)
    messages: dict[str, tuple[str, int, str]] = field(default_factory=dict)

    def judge(self, message: str, exchange: str, period: str, named: list[Reference]) -> set[int]:
        codes = set()
        is_next = False
        if message in self.messages:
            where, delivery, said = self.messages[message]
            is_next = (where, delivery) == (exchange, self.deliveries.get(exchange, 0))
            if not is_next:
                codes.add(50009)
            elif said != period:
                codes.add(80012)
        lines = list(self.lines)
        for each in named:
            line = Line(message, exchange, period, each)
            found = self._codes(lines, line)
            lines += [] if found else [line]
            codes |= found
        own = [*named, *(each.reference for each in self.lines if each.message == message)]
        kinds = {each.indicator in ("corrected", "deleted") for each in own if
                 each.indicator != "resend"}  # fmt: skip
        return codes | ({80010} if len(kinds) == 2 else set())

    def _codes(self, lines: list[Line], line: Line) -> set[int]:
        each = line.reference
        names = [
            known for known in lines
            if known.reference.document == each.document and known.reference.indicator != "resend"
        ]  # fmt: skip
        if each.indicator == "resend":
            found = {80004} if each.corrected else set()
            reached = [known for known in names if self._reached(known, line)]
            if not reached:
                return found | {80013}
            return found | ({80014} if self._is_over(lines, reached[0]) else set())
        if names:
            return {80000}
        if each.indicator == "new":
            return {80004} if each.corrected else set()
        if not each.corrected:
            return {80005}
        targets = [
            known for known in lines
            if known.reference.document == each.corrected and known.reference.indicator != "resend"
            and self._reached(known, line)
        ]  # fmt: skip
        if not targets:
            return {80002}
        replacing = self._replacing(lines, targets[0])
        if replacing:
            return {80011 if replacing[0].message == line.message else 80003}
        if targets[0].reference.indicator == "deleted":
            return {80003}
        return {80012} if targets[0].period != line.period else set()

    def _reached(self, known: Line, line: Line) -> bool:
        sides = [(EXCHANGES[each.exchange][1], REQUESTERS[each.exchange]) for each in (known, line)]
        return known.message != line.message and sides[0] == sides[1]

    def _replacing(self, lines: list[Line], target: Line) -> list[Line]:
        return [known for known in lines if known.reference.corrected == target.reference.document]

    def _is_over(self, lines: list[Line], target: Line) -> bool:
        return bool(self._replacing(lines, target)) or target.reference.indicator == "deleted"

    def record(self, message: str, exchange: str, period: str, named: list[Reference]) -> None:
        delivery = self.deliveries.get(exchange, 0)
        self.messages.setdefault(message, (exchange, delivery, period))
        self.lines += [Line(message, exchange, period, each) for each in named]


class Referring(RuleBasedStateMachine):
    """Messages of two agencies in four exchanges, with deliveries that are rejected in between."""

    def __init__(self) -> None:
        super().__init__()
        keys = reference_keys(y2023=hash32("reference key"), y2024=hash32("reference key"))
        self.state = state_after(*(opened for opened, _ in EXCHANGES.values()), *keys)
        self.twin = Twin()
        self.count = 0

    @rule(
        message=st.sampled_from("12345678"),
        exchange=st.sampled_from(("first", "first", "second", "second", "back", "third")),
        period=st.sampled_from(("2024-12-31",) * 4 + ("2023-12-31",)),
        named=st.lists(REFERENCES, min_size=1, max_size=2),
    )
    def name_documents(
        self, message: str, exchange: str, period: str, named: list[Reference]
    ) -> None:
        receiving = {"second": "330100"}.get(exchange, "CN")
        expected = self.twin.judge(message, exchange, period, named)
        event = self._event(refer, exchange, *named, message=message, period=period,
                            receiving=receiving)  # fmt: skip
        codes = self._codes(event)
        assert codes == expected
        before = dict(self.state.pairs)
        self._run(event)
        if not expected:
            self.twin.record(message, exchange, period, named)
        else:
            changed = {key for key in self.state.pairs if self.state.pairs[key] != before.get(key)}
            assert {key[:2] for key in changed} == {b"i/"}

    @rule(exchange=st.sampled_from(sorted(EXCHANGES)))
    def deliver_and_reject(self, exchange: str) -> None:
        number = self.twin.deliveries.get(exchange, 0) + 1
        payload = hash32(f"{exchange} {number}")
        self._run(self._event(deliver, exchange, commitment=payload))
        role = {"member": REQUESTERS[exchange]}
        self._run(self._event(reject, exchange, commitment=payload, **role))
        self.twin.deliveries[exchange] = number

    @invariant()
    def documents_are_those_of_the_twin(self) -> None:
        for name in DOCUMENTS:
            digest = hash32(f"document {name}")
            known = [
                line for line in self.twin.lines
                if line.reference.document == digest and line.reference.indicator != "resend"
            ]  # fmt: skip
            document = find_document(self.state, digest)
            assert (document is not None) is bool(known)
            if document is not None:
                over = self.twin._replacing(self.twin.lines, known[0])
                assert document.successor == (over[0].reference.document if over else b"")

    def _event(self, make: Any, exchange: str, *parts: Any, **changed: Any) -> Event:
        self.count += 1
        opened, provider = EXCHANGES[exchange]
        named = {"member": provider, "label": str(self.count), **changed}
        return make(opened, *parts, **named)

    def _run(self, event: Event) -> None:
        self.state.pairs.update(run(self.state, event).overlay.changes)

    def _codes(self, event: Event) -> set[int]:
        try:
            check_event(self.state, event, network=NETWORK, height=HEIGHT, time_ms=TIME_MS)
        except RefusedEvent as refused:
            parts = refused.detail.split("; ")
            codes = {int(part.split(" ")[0]) for part in parts}
            if refused.code == f"oecd-{min(codes)}":
                return codes
        return set()


TestReferring = Referring.TestCase
TestReferring.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
