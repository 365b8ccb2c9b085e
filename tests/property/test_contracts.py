"""Any sequence of events: refusals change only their nonce, and selection equals execution."""

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.execute import select
from ledger.events import Event
from ledger.lthash.digest import StateDigest, apply_changes, hash_state
from ledger.state import MapState, nonce_key
from tests import builders
from tests.builders import HEIGHT, NETWORK, TIME_MS
from tests.unit.contracts.samples import CONTRACTS, run, states

OPENED = (builders.request(label="p"), builders.reviewed_request(label="r"))
STEPS = (
    builders.approve,
    builders.refuse,
    builders.withdraw,
    builders.deliver,
    builders.receive,
    builders.reject,
)


@st.composite
def events(draw: st.DrawFn) -> Event:
    opened = draw(st.sampled_from(OPENED))
    if draw(st.integers(0, 3)) == 0:
        return opened
    lie = draw(
        st.sampled_from(
            ({}, {"role": "requester"}, {"expires_height": 1}, {"member": "cn-3205-tax"})
        )
    )
    label = str(draw(st.integers(0, 2)))
    return draw(st.sampled_from(STEPS))(opened, label=label, **lie)


@settings(max_examples=150, deadline=None)
@given(st.lists(events(), max_size=12))
def test_refused_events_change_nothing_but_their_nonce(sequence: list[Event]) -> None:
    state = MapState(states().pairs)
    for event in sequence:
        before = dict(state.pairs)
        execution, included, evicted = select(
            state, [event], network=NETWORK, height=HEIGHT, time_ms=TIME_MS, first_index=1,
            contracts=CONTRACTS, events_max=10, bytes_max=1 << 20,
        )  # fmt: skip
        assert state.pairs == before
        assert len(included) + len(evicted) == 1
        if evicted:
            assert execution.overlay.changes == {}
            continue
        nonce = {nonce_key(event.member, event.nonce): event.digest}
        changes = execution.overlay.changes
        assert changes.items() >= nonce.items()
        assert (changes == nonce) is (not execution.outcomes[0].applied)
        state.pairs.update(changes)


@settings(max_examples=60, deadline=None)
@given(st.lists(events(), max_size=12))
def test_what_a_proposer_selects_every_validator_executes_alike(sequence: list[Event]) -> None:
    built, included, _ = select(
        states(), sequence, network=NETWORK, height=HEIGHT, time_ms=TIME_MS, first_index=1,
        contracts=CONTRACTS, events_max=10, bytes_max=1 << 20,
    )  # fmt: skip
    checked = run(states(), *included)
    assert checked.records == built.records
    assert checked.overlay.changes == built.overlay.changes


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(events(), max_size=4), max_size=4))
def test_digest_of_changes_equals_the_digest_of_the_whole_state(
    blocks: list[list[Event]],
) -> None:
    state = MapState(states().pairs)
    whole = StateDigest()
    for pair in state.pairs.items():
        whole.add(*pair)
    accumulator = whole.encode()
    for number, sequence in enumerate(blocks):
        execution, _, _ = select(
            state, sequence, network=NETWORK, height=HEIGHT + number, time_ms=TIME_MS + number,
            first_index=1, contracts=CONTRACTS, events_max=10, bytes_max=1 << 20,
        )  # fmt: skip
        digest = apply_changes(accumulator, execution.overlay)
        state.pairs.update(execution.overlay.changes)
        accumulator = digest.encode()
        assert digest.digest() == hash_state(state.pairs.items())
