"""Replay: verify a whole copy of a log and execute every block of it again.

Steps 1 to 8 are those of `ledger.verify`. Then, block by block from the genesis state:

9. outcomes    The contract engine is the one named in the header, the block keeps the limits in the
               parameters, and executing its events gives the record bytes that stand in the log,
               every outcome included.
10. state      The state after the block has the digest in the header, and the epoch ends with the
               block, and with which validators after it, exactly where the header says so.

The state is held in memory. The first fault ends the replay as `Divergence`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from contracts.engine import ENGINE_VERSION, Contracts
from contracts.errors import ContractError
from contracts.execute import BlockInput, Execution, execute
from contracts.lookup import read_parameters
from ledger.blocks import RECORDS, Outcome
from ledger.events import parse_event
from ledger.genesis import Genesis, genesis_state
from ledger.quorum.lists import hash_validator_list
from ledger.state import MapState, StateDigest, apply_changes
from ledger.tlog.checkpoint import Checkpoint
from ledger.verify import (
    BlockEntries,
    LogCopy,
    MapEvents,
    Progress,
    Read,
    Step,
    diverge,
    no_progress,
    open_copy,
    read_blocks,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """What a replay without divergence has proven.

    `epoch` is that of the last block; `decisions` counts permit, review and deny, `refused` the
    events that were not applied.
    """

    network: bytes
    epoch: int
    checkpoint: Checkpoint
    cosigners: tuple[str, ...]
    entries: int
    blocks: int
    events: int
    decisions: dict[str, int]
    refused: int
    last_time_ms: int
    state_digest: bytes


def replay(
    read: Read,
    *,
    genesis: Genesis | None = None,
    network: bytes | None = None,
    map_events: MapEvents = map,
    on_progress: Callable[[Progress], None] = no_progress,
) -> ReplayReport:
    """Steps 1 to 10 over a whole copy. Raises `Divergence`."""
    copy = open_copy(read, genesis=genesis, network=network)  # 1, 2, 3
    machine = _Machine(copy)
    blocks = events = refused = 0
    last_time_ms = copy.genesis.time_ms
    decisions = {"permit": 0, "review": 0, "deny": 0}
    for block in read_blocks(copy, map_events):  # 4, 5, 6, 7, 8
        execution = machine.execute(block)  # 9, 10
        blocks += 1
        events += len(block.records)
        last_time_ms = block.header.time_ms
        for outcome in execution.outcomes:
            refused += not outcome.applied
            if outcome.decision:
                decisions[outcome.decision] += 1
        done = block.index + 1 + len(block.records)
        on_progress(Progress(done=done, total=copy.checkpoint.size))
    return ReplayReport(
        network=copy.network,
        epoch=copy.epochs.epoch_of(copy.checkpoint.size),
        checkpoint=copy.checkpoint,
        cosigners=copy.cosigners,
        entries=copy.checkpoint.size,
        blocks=blocks,
        events=events,
        decisions=decisions,
        refused=refused,
        last_time_ms=last_time_ms,
        state_digest=StateDigest(machine.accumulator).digest(),
    )


class _Machine:
    """The state that execution has reached."""

    def __init__(self, copy: LogCopy) -> None:
        self._network = copy.network
        self._contracts = Contracts()
        self._state = MapState(genesis_state(copy.genesis))
        digest = StateDigest()
        for key, value in self._state.pairs.items():
            digest.add(key, value)
        self.accumulator = digest.encode()

    def execute(self, block: BlockEntries) -> Execution:
        """Steps 9 and 10 for one block; the state moves on only if both hold."""
        execution = self._execute(block)
        for at, (found, made) in enumerate(zip(block.records, execution.records, strict=True)):
            if found != made:  # 9
                expected, stands = _describe(made), _describe(found)
                diverge(Step.OUTCOMES, block.index + 1 + at, expected, stands)
        digest = apply_changes(self.accumulator, execution.overlay)
        if digest.digest() != block.header.state_digest:  # 10
            diverge(
                Step.STATE,
                block.index,
                f"state_digest {digest.digest().hex()}",
                block.header.state_digest.hex(),
            )
        sealed = execution.next_validators
        following = b"" if sealed is None else hash_validator_list(sealed)
        if following != block.header.next_validators:  # 10
            diverge(
                Step.STATE,
                block.index,
                _describe_seal(following),
                _describe_seal(block.header.next_validators),
            )
        self._state.pairs.update(execution.overlay.changes)
        self.accumulator = digest.encode()
        return execution

    def _execute(self, block: BlockEntries) -> Execution:
        header = block.header
        if header.engine != ENGINE_VERSION:  # 9
            diverge(Step.OUTCOMES, block.index, f"engine {ENGINE_VERSION}", header.engine)
        events = tuple(parse_event(RECORDS.decode(data).event) for data in block.records)
        limits = read_parameters(self._state)
        size_bytes = sum(len(event.data) for event in events)
        if len(events) > limits.block_events_max or size_bytes > limits.block_bytes_max:  # 9
            diverge(
                Step.OUTCOMES,
                block.index,
                f"at most {limits.block_events_max} events, {limits.block_bytes_max} bytes",
                f"{len(events)} events, {size_bytes} bytes",
            )
        given = BlockInput(
            network=self._network,
            height=header.height,
            time_ms=header.time_ms,
            first_index=block.index + 1,
            events=events,
        )
        try:
            return execute(self._state, given, self._contracts)
        except ContractError as error:
            diverge(Step.OUTCOMES, block.index, "events that a block may include", str(error))


def _describe_seal(next_validators: bytes) -> str:
    if not next_validators:
        return "a block that does not end its epoch"
    return f"a seal block with next_validators {next_validators.hex()}"


def _describe(record: bytes) -> str:
    outcome: Outcome = RECORDS.decode(record).outcome
    verb = "applied" if outcome.applied else f"refused {outcome.code}"
    decision = f", {outcome.decision} by {list(outcome.policies)}" if outcome.decision else ""
    policy_set = outcome.policy_set.hex()[:16]
    return f"{verb}{decision}, obligations {outcome.obligations}, policy set {policy_set!r}"
