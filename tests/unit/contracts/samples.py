"""Short ways to execute events on the test network."""

from contracts.engine import Contracts
from contracts.execute import BlockInput, Execution, execute
from ledger.events import Event
from ledger.state import MapState, StateReader
from tests import builders

CONTRACTS = Contracts()


def states(**changed: object) -> MapState:
    """State of a fresh network."""
    return builders.world(**changed).state


def run(
    state: StateReader, *events: Event, height: int = builders.HEIGHT,
    time_ms: int = builders.TIME_MS,
) -> Execution:  # fmt: skip
    """Execute one block."""
    block = BlockInput(
        network=builders.NETWORK, height=height, time_ms=time_ms, first_index=1, events=events
    )
    return execute(state, block, CONTRACTS)


def state_after(*events: Event, **changed: object) -> MapState:
    """State after one block with `events`, every one of which must be applied."""
    state = states(**changed)
    execution = run(state, *events)
    assert all(outcome.applied for outcome in execution.outcomes), execution.outcomes
    state.pairs.update(execution.overlay.changes)
    return state
