"""The checker of chaos runs sees what it is there for."""

import pytest

from ledger.blocks import RECORDS, Outcome, Record
from ledger.events import Event
from tests.builders import accuse, request, vote
from tests.e2e.chaos.checker import check_once, check_silence
from tests.e2e.chaos.load import Sent
from tests.e2e.chaos.world import Violation

OUTCOME = Outcome(
    applied=True, code="", decision="permit", policies=(), policy_set=b"", obligations=None
)
ONE, TWO = request(label="one"), request(label="two")


def entry(event: Event) -> bytes:
    return RECORDS.encode(Record(entry=2, event=event.data, outcome=OUTCOME))


def sent(event: Event, *indexes: int) -> dict[bytes, Sent]:
    return {event.digest: Sent(event=event, sent_s=0, claims={(index, 1) for index in indexes})}


def test_what_was_acknowledged_and_stands_there_once_is_fine() -> None:
    check_once({**sent(ONE, 0), **sent(TWO, 1)}, [entry(ONE), entry(TWO)])


def test_what_a_node_writes_by_itself_is_fine() -> None:
    own = accuse(vote("cn-3301-tax", "one"), vote("cn-3301-tax", "other"))
    check_once(sent(ONE, 0), [entry(ONE), entry(own)])


@pytest.mark.parametrize(
    ("told", "entries"),
    [
        (sent(ONE, 0), []),
        (sent(ONE, 0), [entry(ONE), entry(ONE)]),
        (sent(ONE, 0), [entry(TWO), entry(ONE)]),
        (sent(ONE, 0, 1), [entry(ONE)]),
        (sent(ONE, 0), [entry(ONE), entry(TWO)]),
        ({**sent(ONE, 0), **sent(TWO)}, [entry(ONE)]),
    ],
    ids=["lost", "twice", "elsewhere", "told two places", "from nowhere", "never final"],
)
def test_everything_else_is_not(told: dict[bytes, Sent], entries: list[bytes]) -> None:
    with pytest.raises(Violation):
        check_once(told, entries)


def test_tracebacks_and_evidence_against_the_innocent_are_seen() -> None:
    evidence = '{"event": "two contradictory votes", "member": "a"}\n'
    check_silence("b", "", ())
    check_silence("b", evidence, ("a",))
    for text in (evidence, "Traceback (most recent call last):\n"):
        with pytest.raises(Violation):
            check_silence("b", text, ("c",))
