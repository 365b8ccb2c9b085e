"""Codes that need history: one message with exactly that fault; a refusal changes nothing.

Documents are those of `reference("a")`; the owner delivers to the asker in the exchange `OPEN`.
"""

import pytest

from contracts.admission import check_event
from contracts.errors import RefusedEvent
from contracts.exchange.references import (
    Fault,
    describe_faults,
    find_document,
    find_message,
    jurisdictions_of,
)
from contracts.words import LANGUAGES, catalogue
from ledger.events import EVENT_SIZE_BYTES_MAX, Event
from ledger.exchange.references import REFERENCES_MAX, Reference
from ledger.state import MapState
from tests.builders import (
    ASKER,
    HEIGHT,
    NETWORK,
    OWNER,
    TIME_MS,
    deliver,
    hash32,
    receive,
    reject,
    request,
)
from tests.exchanges import (
    HELD,
    KEY_ID,
    OPEN,
    OTHER,
    correct,
    refer,
    reference,
    reference_keys,
)
from tests.registers import sunset
from tests.unit.contracts.governance.parts import after, passed
from tests.unit.contracts.samples import run, state_after

SECOND = request(label="second")
# The asker gives, and the owner asks.
ELSEWHERE = request(label="elsewhere", member=OWNER, provider=ASKER)
FROM_OTHER = request(label="from another", provider=OTHER)
TO_OTHER = request(label="to another", member=OTHER)
AGAIN = (deliver(OPEN), reject(OPEN))
NEW, NEWER = reference("b", "corrected", "a"), reference("c", "corrected", "b")


def told(state: MapState, event: Event) -> tuple[str, str]:
    """Code and detail of a refusal, which changes nothing but the nonce; empty: applied."""
    execution = run(state, event)
    (outcome,) = execution.outcomes
    if outcome.applied:
        check_event(state, event, network=NETWORK, height=HEIGHT, time_ms=TIME_MS)
        return "", ""
    with pytest.raises(RefusedEvent) as caught:
        check_event(state, event, network=NETWORK, height=HEIGHT, time_ms=TIME_MS)
    assert outcome.code == caught.value.code
    assert len(execution.overlay.changes) == 1
    return caught.value.code, caught.value.detail


def with_keys(*events: Event) -> MapState:
    """State in which the key of 2024 and of 2023 is registered, then events of the next block."""
    keys = reference_keys(y2023=KEY_ID, y2024=KEY_ID)
    state = state_after(OPEN, SECOND, ELSEWHERE, FROM_OTHER, TO_OTHER, *keys)
    execution = run(state, *events)
    assert all(outcome.applied for outcome in execution.outcomes), execution.outcomes
    state.pairs.update(execution.overlay.changes)
    return state


def two(*references: Reference, **changed: object) -> Event:
    """The second message, in the second exchange of the same two members."""
    return refer(SECOND, *references, **{"message": "2", **changed})


# Name: what comes before, the event, its code, the detail.
CASES: dict[str, tuple[tuple[Event, ...], Event, int, str]] = {
    "message used in another exchange": (
        (refer(OPEN),), refer(SECOND, reference("z")), 50009, "50009"
    ),
    "message used by another agency": (
        (refer(OPEN),),
        refer(FROM_OTHER, reference("z"), member=OTHER), 50009, "50009",
    ),
    "message used for an earlier delivery": (
        (refer(OPEN), *AGAIN), refer(OPEN, reference("z")), 50009, "50009"
    ),
    "message for another jurisdiction": ((), refer(OPEN, receiving="DE"), 50012, "50012"),
    "document used": ((refer(OPEN),), two(reference("z"), reference("a")), 80000, "80000 at 2"),
    "document used by another agency": (
        (refer(OPEN),),
        refer(FROM_OTHER, member=OTHER, message="2"), 80000, "80000 at 1",
    ),
    "document twice in one message": (
        (), refer(OPEN, reference("a"), reference("a")), 80000, "80000 at 2"
    ),
    "correction of the unknown": ((), two(NEW), 80002, "80002 at 1"),
    "correction of what another agency sent": (
        (refer(FROM_OTHER, member=OTHER, message="2"),), refer(OPEN, NEW), 80002, "80002 at 1"
    ),
    "correction of what another agency had": (
        (refer(TO_OTHER, message="2"),), refer(OPEN, NEW), 80002, "80002 at 1"
    ),
    "correction of the same message": (
        (refer(OPEN), two(NEW)), two(NEWER), 80002, "80002 at 1"
    ),
    "correction of what was corrected": (
        (refer(OPEN), two(NEW)),
        refer(OPEN, reference("c", "corrected", "a"), message="3"), 80003, "80003 at 1",
    ),
    "correction of what was deleted": (
        (refer(OPEN), two(reference("b", "deleted", "a"))),
        refer(OPEN, reference("c", "corrected", "a"), message="3"), 80003, "80003 at 1",
    ),
    "correction of a deletion": (
        (refer(OPEN), two(reference("b", "deleted", "a"))),
        refer(OPEN, NEWER, message="3"), 80003, "80003 at 1",
    ),
    "new data that corrects": (
        (refer(OPEN),), two(reference("b", "new", "a")), 80004, "80004 at 1"
    ),
    "resent data that corrects": (
        (refer(OPEN),), two(reference("a", "resend", "a")), 80004, "80004 at 1"
    ),
    "correction of nothing": ((), two(reference("b", "corrected")), 80005, "80005 at 1"),
    "deletion of nothing": ((), two(reference("b", "deleted")), 80005, "80005 at 1"),
    "new and corrected": ((refer(OPEN),), two(NEW, reference("z")), 80010, "80010 at 2"),
    "new, later corrected": (
        (refer(OPEN), two(reference("z"))), two(NEW), 80010, "80010 at 1"
    ),
    "corrected twice": (
        (refer(OPEN),), two(NEW, reference("c", "deleted", "a")), 80011, "80011 at 2"
    ),
    "corrected twice, in parts": (
        (refer(OPEN), two(NEW)), two(reference("c", "deleted", "a")), 80011, "80011 at 1"
    ),
    "parts of two periods": (
        (refer(OPEN),), refer(OPEN, reference("z"), period="2023-12-31"), 80012, "80012"
    ),
    "correction of another period": (
        (refer(OPEN),), two(NEW, period="2023-12-31"), 80012, "80012 at 1"
    ),
    "resend of the unknown": ((), two(reference("a", "resend")), 80013, "80013 at 1"),
    "resend of what another agency sent": (
        (refer(OPEN),),
        refer(FROM_OTHER, reference("a", "resend"), member=OTHER, message="2"),
        80013, "80013 at 1",
    ),
    "resend of what was corrected": (
        (refer(OPEN), two(NEW)),
        refer(OPEN, reference("a", "resend"), message="3"), 80014, "80014 at 1",
    ),
    "resend of a deletion": (
        (refer(OPEN), two(reference("b", "deleted", "a"))),
        refer(OPEN, reference("b", "resend"), message="3"), 80014, "80014 at 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_one_fault_is_told_with_its_code_and_place(name: str) -> None:
    before, event, code, detail = CASES[name]
    assert told(with_keys(*before), event) == (f"oecd-{code}", detail)


def test_every_code_has_a_case_and_words() -> None:
    codes = {f"oecd-{code}" for _, _, code, _ in CASES.values()}
    for language in LANGUAGES:
        worded = catalogue(language)["codes"]
        assert {code for code in worded if code.startswith("oecd-")} == codes


GOOD: dict[str, tuple[tuple[Event, ...], Event]] = {
    "new": ((), refer(OPEN, *(reference(str(n)) for n in range(REFERENCES_MAX)))),
    "the next part": ((refer(OPEN),), refer(OPEN, reference("z"))),
    "a new message after a rejection": (
        (refer(OPEN), *AGAIN), refer(OPEN, reference("z"), message="2")
    ),
    "before a correction": (
        (refer(OPEN), deliver(OPEN), receive(OPEN)), refer(OPEN, NEW, message="2")
    ),
    "correction": ((refer(OPEN),), two(NEW)),
    "correction of a correction": ((refer(OPEN), two(NEW)), refer(OPEN, NEWER, message="3")),
    "deletion": ((refer(OPEN),), two(reference("b", "deleted", "a"))),
    "resend": ((refer(OPEN),), two(reference("a", "resend"))),
    "resend beside new data": ((refer(OPEN),), two(reference("a", "resend"), reference("z"))),
    "resend beside corrections": (
        (refer(OPEN, reference("a"), reference("f")),), two(reference("f", "resend"), NEW)
    ),
    "the region itself": ((), refer(OPEN, receiving="330100")),
    "the other way": ((), refer(ELSEWHERE, member=ASKER)),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_what_is_right_is_recorded(name: str) -> None:
    before, event = GOOD[name]
    state = with_keys(*before)
    assert told(state, event) == ("", "")
    state.pairs.update(run(state, event).overlay.changes)
    message = find_message(state, event.body.message)
    assert message is not None
    for each in event.body.references:
        document = find_document(state, each.document)
        assert document is not None
        assert document.is_deletion is (each.indicator == "deleted")
        if each.corrected:
            corrected = find_document(state, each.corrected)
            assert corrected is not None
            assert corrected.successor == each.document


def test_parts_of_one_message_are_counted_together() -> None:
    state = with_keys(refer(OPEN), refer(OPEN, reference("y"), reference("z")))
    message = find_message(state, hash32("message 1"))
    assert message is not None
    assert (message.documents, message.content, message.period) == (3, "new", "2024-12-31")


def test_all_faults_are_told_up_to_a_bound() -> None:
    faults = (reference("a"), reference("b", "corrected"), reference("c", "resend"))
    code, detail = told(with_keys(refer(OPEN)), two(*faults, receiving="DE"))
    assert (code, detail) == ("oecd-50012", "50012; 80000 at 1; 80005 at 2; 80010 at 2; 80013 at 3")
    many = [Fault(code=80000, place=place) for place in range(1, 23)]
    assert describe_faults(many).endswith("19, 20; 2 more")


def test_a_whole_part_fits_into_an_event() -> None:
    long = (reference(f"n{number}", "corrected", f"o{number}") for number in range(REFERENCES_MAX))
    assert len(refer(OPEN, *long).data) < EVENT_SIZE_BYTES_MAX


def test_the_key_of_the_year_is_what_members_have_registered() -> None:
    state = state_after(OPEN)
    assert told(state, refer(OPEN)) == ("reference-key-unset", "2024")
    state = with_keys()
    other = told(state, refer(OPEN, key_id=bytes(32)))
    assert other == ("reference-key-differs", f"2024: {KEY_ID.hex()}")
    unset = told(state, refer(OPEN, period="2025-12-31"))
    assert unset == ("reference-key-unset", "2025")


def test_a_list_of_keys_that_has_ended_has_no_key() -> None:
    state = with_keys()
    ended = sunset("code-list/reference-keys", "2020-01-01")
    after(*passed(ended), state=state, height=HEIGHT + 1)
    after(state=state, height=HEIGHT + 2)
    with pytest.raises(RefusedEvent, match="reference-key-unset"):
        check_event(state, refer(OPEN), network=NETWORK, height=HEIGHT + 3, time_ms=TIME_MS)


@pytest.mark.parametrize(
    ("region", "known"),
    [("DE", ("DE",)), ("330100", ("330100", "CN")), ("810000", ("810000", "HK")), ("de", ("DE",))],
)
def test_jurisdictions(region: str, known: tuple[str, ...]) -> None:
    assert jurisdictions_of(region) == known


def test_two_agencies_meet_in_one_log() -> None:
    """Both name documents, one corrects its own, neither can use or correct the other's."""
    state = with_keys(refer(OPEN), refer(ELSEWHERE, reference("e"), member=ASKER, message="e"))
    theirs = refer(ELSEWHERE, reference("x", "corrected", "a"), member=ASKER, message="f")
    mine = refer(SECOND, reference("y", "corrected", "e"), message="g")
    execution = run(state, theirs, mine, two(NEW), refer(ELSEWHERE, member=ASKER, message="h"))
    codes = [outcome.code for outcome in execution.outcomes]
    assert codes == ["oecd-80002", "oecd-80002", "", "oecd-80000"]


def test_a_correction_of_the_delivery_follows_its_references() -> None:
    state = with_keys(refer(OPEN), *HELD[1:], refer(OPEN, NEW, message="2"), correct(OPEN))
    assert told(state, refer(OPEN, reference("z"), message="2"))[0] == "oecd-50009"
