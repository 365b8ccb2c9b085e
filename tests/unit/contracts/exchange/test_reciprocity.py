"""Receipts and the dependency index: counted by events, shared out, seen by contracts."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.exchange.reciprocity import (
    WHOLE,
    count_receipt,
    read_dependency,
    read_receipts,
    weigh_dependency,
)
from contracts.lookup import find_exchange
from contracts.shipped import load_shipped
from ledger.events import Event
from ledger.exchange.receipts import NO_RECEIPTS, RECEIPTS, Receipts
from ledger.registry import Contract
from ledger.state import MapState, Overlay, receipts_key
from tests.builders import ASKER, OWNER, deliver, receive, reject, request
from tests.unit.contracts.samples import run, state_after, states

OTHER = "cn-3205-tax"
YEAR = 2026


def received(
    label: str, records: int, provider: str = OWNER, purpose: str = "assessment"
) -> list[Event]:
    asked = request(label=label, provider=provider, purpose=purpose)
    given = deliver(asked, label=label, member=provider)
    return [asked, given, receive(asked, label=f"{label} in", record_count=records)]


def test_receipts_are_counted_for_all_a_provider_and_a_purpose() -> None:
    state = state_after(
        *received("a", 3), *received("b", 4, purpose="audit"), *received("c", 5, OTHER)
    )
    assert read_receipts(state, ASKER, YEAR) == Receipts(exchanges=3, records=12)
    assert read_receipts(state, ASKER, YEAR, OWNER) == Receipts(exchanges=2, records=7)
    assert read_receipts(state, ASKER, YEAR, OWNER, "audit") == Receipts(exchanges=1, records=4)
    assert read_receipts(state, ASKER, YEAR - 1) == NO_RECEIPTS
    assert read_receipts(state, OWNER, YEAR) == NO_RECEIPTS


def test_what_is_rejected_is_not_received_until_it_is() -> None:
    opened = request()
    given, again = deliver(opened), deliver(opened, label="again")
    state = state_after(opened, given, reject(opened))
    assert read_receipts(state, ASKER, YEAR) == NO_RECEIPTS
    state = state_after(opened, given, reject(opened), again, receive(opened))
    assert read_receipts(state, ASKER, YEAR).exchanges == 1


def test_a_sum_stops_where_encoding_ends() -> None:
    opened = request()
    state = state_after(opened, deliver(opened))
    full = Receipts(exchanges=1, records=2**63 - 2)
    state.pairs[receipts_key(ASKER, YEAR)] = RECEIPTS.encode(full)
    exchange = find_exchange(state, opened.digest)
    assert exchange is not None
    overlay = Overlay(state)
    count_receipt(overlay, exchange, 2**40, YEAR)
    assert read_receipts(overlay, ASKER, YEAR).records == 2**63 - 1


def test_the_index_is_the_mean_of_both_shares_rounded_down() -> None:
    share = weigh_dependency(Receipts(exchanges=1, records=2), Receipts(exchanges=3, records=1_000))
    assert (share.exchanges, share.records, share.index) == (333, 2, 167)
    nothing = weigh_dependency(NO_RECEIPTS, NO_RECEIPTS)
    assert (nothing.exchanges, nothing.records, nothing.index) == (0, 0, 0)


COUNTS = st.tuples(st.integers(0, 10**6), st.integers(0, 2**40))


@given(st.lists(COUNTS, min_size=1, max_size=8))
def test_shares_of_all_providers_are_at_most_the_whole(parts: list[tuple[int, int]]) -> None:
    whole = Receipts(exchanges=sum(a for a, _ in parts), records=sum(b for _, b in parts))
    shares = [weigh_dependency(Receipts(exchanges=a, records=b), whole) for a, b in parts]
    assert all(0 <= share.index <= WHOLE for share in shares)
    for name in ("exchanges", "records", "index"):
        total = sum(getattr(share, name) for share in shares)
        assert total <= WHOLE
    if whole.exchanges:
        assert sum(share.exchanges for share in shares) > WHOLE - len(parts)


def with_contract(text: str) -> MapState:
    shipped = load_shipped()
    contracts = (*shipped.contracts, Contract(id="z", text=text))
    return states(policy_set=msgspec.structs.replace(shipped, contracts=contracts))


@pytest.mark.parametrize(("limit", "decision"), [(583, "review"), (584, "permit")])
def test_contracts_see_the_dependency(limit: int, decision: str) -> None:
    state = with_contract(
        f'@id("z") forbid (principal, action == Action::"release", resource) '
        f"when {{ context.dependency >= {limit} }};"
    )
    events = [*received("c", 60, OTHER), *received("a", 40), *received("b", 20)]
    state.pairs.update(run(state, *events).overlay.changes)
    # 2 of 3 exchanges and 60 of 120 records: (666 + 500) / 2.
    assert read_dependency(state, ASKER, OWNER, YEAR).index == 583
    (outcome,) = run(state, request(label="next")).outcomes
    assert outcome.decision == decision


@pytest.mark.parametrize(("reason", "decision"), [("off-hours", "permit"), ("new-purpose", "deny")])
def test_contracts_see_the_reasons_of_a_risk(reason: str, decision: str) -> None:
    state = with_contract(
        '@id("z") forbid (principal, action == Action::"request", resource) '
        f'when {{ context.riskReasons.contains("{reason}") }};'
    )
    state.pairs.update(run(state, request(label="first")).overlay.changes)
    (outcome,) = run(state, request(purpose="audit")).outcomes
    assert outcome.decision == decision
