"""A log with changes of grade: contracts decide otherwise from one event to the next."""

import msgspec
import pytest

from contracts.credit.accounts import read_changes, read_credit
from contracts.lookup import find_member
from ledger.blocks import RECORDS, Outcome
from ledger.errors import Divergence
from ledger.events import Event, ShareDelivered
from ledger.lthash.digest import apply_changes
from ledger.registry import CREDITS
from ledger.state import Overlay, credit_key
from tests.unit.contracts.test_replay import add_executed, make_cedar_genesis, replay_chain
from tests.unit.ledger.builders import (
    MEMBERS,
    ChainBuilder,
    make_event,
    make_member,
    make_request,
    officer_secret,
)

DAY_MS = 86_400_000
WINDOW_MS = 360 * DAY_MS


def of_south(number: int, chain: ChainBuilder) -> Event:
    """South asks north."""
    body = make_request(provider="north")
    secret = officer_secret("south")
    return make_event(number, network=chain.network, member="south", secret=secret, body=body)


def of_north(number: int, chain: ChainBuilder) -> Event:
    """North asks south."""
    return make_event(number, network=chain.network)


def answer(number: int, chain: ChainBuilder, opened: Event) -> Event:
    """North answers south."""
    body = ShareDelivered(
        exchange=opened.digest,
        commitment=bytes(32),
        record_count=1,
        schema_version=1,
        quality_digest=bytes(32),
        size_bytes=1,
        outbox_until_ms=0,
    )
    return make_event(number, network=chain.network, body=body)


def outcomes_of(records: tuple[bytes, ...]) -> list[Outcome]:
    return [RECORDS.decode(data).outcome for data in records]


@pytest.fixture
def chain() -> ChainBuilder:
    """North, at 609, answers late between two requests; a window later it is forgiven."""
    credit = {"north": 609, "south": 900}
    members = tuple(
        msgspec.structs.replace(make_member(id_), credit=credit.get(id_, 500)) for id_ in MEMBERS
    )
    chain = ChainBuilder(make_cedar_genesis(members=members))
    opened = of_south(1, chain)
    add_executed(chain, (opened,))
    late = answer(3, chain, opened)
    events = (of_north(2, chain), late, of_north(4, chain))
    decided = outcomes_of(add_executed(chain, events, time_ms=chain.time_ms + 4 * DAY_MS))
    assert [each.decision for each in decided] == ["permit", "", "review"]
    assert "credit.review" in decided[2].policies
    later = add_executed(chain, (of_north(5, chain),), time_ms=chain.time_ms + WINDOW_MS)
    assert outcomes_of(later)[0].decision == "permit"
    return chain


def test_replay_of_a_log_with_changes_of_grade_is_valid(chain: ChainBuilder) -> None:
    report = replay_chain(chain)
    assert report.decisions == {"permit": 3, "review": 1, "deny": 0}
    north = find_member(chain.state, "north")
    assert north is not None
    credit = read_credit(chain.state, north, chain.time_ms)[0]
    fallen, risen = read_changes(chain.state, "north", credit.changes, 10)[::-1]
    assert (fallen.before, fallen.after, fallen.reason, fallen.height) == ("B", "C", "behaviour", 2)
    assert (risen.before, risen.after, risen.reason, risen.height) == ("C", "B", "window", 3)
    assert [each.event for each in fallen.causes] == [each.event for each in risen.causes]
    assert sum(each.points for each in (*fallen.causes, *risen.causes)) == 0


def test_a_log_whose_state_has_another_score_diverges(chain: ChainBuilder) -> None:
    """A whole quorum lies about one score: nothing but the state digest can show it."""
    data = chain.state.pairs[credit_key("north")]
    credit = CREDITS.decode(data)
    lie = Overlay(chain.state)
    lie.put(credit_key("north"), CREDITS.encode(msgspec.structs.replace(credit, score=1_000)))
    digest = apply_changes(chain.accumulator, lie)
    add_executed(chain, (), state_digest=digest.digest())
    with pytest.raises(Divergence) as caught:
        replay_chain(chain)
    assert caught.value.step_name == "state"
