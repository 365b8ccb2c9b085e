"""Replay: verify a copy of a log and execute its blocks again.

Steps 1 to 8 are those of `ledger.verify`. Then, block by block:

9. outcomes    The contract engine is the one named in the header, the block keeps the limits in the
               parameters, and executing its events gives the record bytes that stand in the log,
               every outcome included. Executing checks each event against the state at its height:
               members, officers and their roles, votes and what they enact, the decision by the
               contract set then in force, the proofs in evidence, the chains of access logs.
10. state      The state after the block has the digest in the header, and the epoch ends with the
               block, and with which validators after it, exactly where the header says so. What
               was late, and what it cost, stands in the state.

The state is held in memory. The first fault ends the replay as `Divergence`.

A replay may begin after any block with the state after that block, once that has the digest in its
header (`begin_after`), and may end before the log does. So it can be shared out: the parts prove
the whole when each ends at the `Point` where the next begins, the first begins at the genesis, and
the last ends with the log.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from contracts.decision import Verdict
from contracts.engine import ENGINE_VERSION, Contracts
from contracts.errors import ContractError, InvalidInclusion
from contracts.execute import BlockInput, Execution, execute
from contracts.lookup import read_parameters
from ledger.blocks import Outcome
from ledger.catchup.statefile import read_head, read_state
from ledger.errors import InvalidProof
from ledger.genesis import Genesis, genesis_state
from ledger.lthash.digest import StateDigest, apply_changes, sum_pairs
from ledger.quorum.lists import hash_validator_list
from ledger.state import MapState
from ledger.tlog.checkpoint import Checkpoint
from ledger.verify import (
    BlockEntries,
    LogCopy,
    MapEvents,
    Progress,
    Read,
    Start,
    Step,
    diverge,
    no_progress,
    open_copy,
    read_blocks,
    read_start,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The end of a block; height 0 is the genesis, whose hash is the network id.

    `entries` is the size of the log there.
    """

    height: int
    block_hash: bytes
    entries: int
    state_digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """Where a replay begins: the end of a proven block, and the state there."""

    start: Start
    state: MapState
    accumulator: bytes

    @property
    def point(self) -> Point:
        """Where it is."""
        header = self.start.header
        return Point(
            height=header.height,
            block_hash=self.start.block_hash,
            entries=self.start.index,
            state_digest=header.state_digest,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """What a replay without divergence has proven, from `first` to `last`.

    `epoch` is that of the checkpoint. `decisions` counts permit, review and deny, `refused` the
    events that were not applied, `acts` all events by the first word of their kind.
    """

    network: bytes
    epoch: int
    checkpoint: Checkpoint
    cosigners: tuple[str, ...]
    first: Point
    last: Point
    blocks: int
    events: int
    decisions: dict[str, int]
    acts: dict[str, int]
    refused: int
    last_time_ms: int

    @property
    def entries(self) -> int:
        """Entries executed."""
        return self.last.entries - self.first.entries

    @property
    def state_digest(self) -> bytes:
        """Digest of the state reached."""
        return self.last.state_digest


def no_states(point: Point, index: int, state: MapState) -> None:
    """Keep no state."""
    del point, index, state


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
    return replay_part(copy, map_events=map_events, on_progress=on_progress)


def genesis_point(copy: LogCopy) -> Point:
    """Where a replay begins that has no `Beginning`."""
    return Machine(copy, None).point


def begin_after(copy: LogCopy, read: Callable[[int], bytes]) -> Beginning:
    """Begin with the state in a file (`ledger.catchup.statefile`), proven by the copy.

    Raises `InvalidEncoding` or `InvalidProof` for a file that is not a state of this log, and
    `Divergence` for a copy whose entries are not under its checkpoint.
    """
    head = read_head(read)
    if head.network != copy.network:
        raise InvalidProof(f"a state of network {head.network.hex()}")
    start = read_start(copy, head.index)
    if start.header.height != head.height:
        raise InvalidProof(f"entry {head.index} begins block {start.header.height}")
    state, accumulator = read_state(read, start.index, start.header.state_digest)
    return Beginning(start=start, state=state, accumulator=accumulator)


def replay_part(
    copy: LogCopy,
    *,
    begin: Beginning | None = None,
    height_max: int | None = None,
    map_events: MapEvents = map,
    on_progress: Callable[[Progress], None] = no_progress,
    on_state: Callable[[Point, int, MapState], None] = no_states,
) -> ReplayReport:
    """Steps 4 to 10 from `begin`, or the genesis, to the block of `height_max`, or the end.

    After each block `on_state` gets the point reached, the entry of the block's header and the
    state, which it must not change. Raises `Divergence`.
    """
    machine = Machine(copy, begin)
    first = machine.point
    blocks = events = 0
    last_time_ms = begin.start.header.time_ms if begin else copy.genesis.time_ms
    kinds: Counter[str] = Counter()
    decisions: Counter[str] = Counter()
    applied: Counter[bool] = Counter()
    start = begin.start if begin else None
    for block in read_blocks(copy, map_events, start=start, height_max=height_max):  # 4 to 8
        execution = machine.execute(block)  # 9, 10
        blocks += 1
        events += len(block.records)
        last_time_ms = block.header.time_ms
        kinds.update([event.kind for event in block.events])
        decisions.update([outcome.decision for outcome in execution.outcomes])
        applied.update([outcome.applied for outcome in execution.outcomes])
        on_state(machine.point, block.index, machine.state)
        on_progress(Progress(done=block.end, total=copy.checkpoint.size))
    acts: Counter[str] = Counter()
    for kind, count in kinds.items():
        acts[kind.partition(".")[0]] += count
    return ReplayReport(
        network=copy.network,
        epoch=copy.epochs.epoch_of(copy.checkpoint.size),
        checkpoint=copy.checkpoint,
        cosigners=copy.cosigners,
        first=first,
        last=machine.point,
        blocks=blocks,
        events=events,
        decisions={verdict.value: decisions[verdict.value] for verdict in Verdict},
        acts=dict(acts),
        refused=applied[False],
        last_time_ms=last_time_ms,
    )


class Machine:
    """The state that execution has reached, and where: `begin`, or the genesis at first."""

    def __init__(self, copy: LogCopy, begin: Beginning | None) -> None:
        self._network = copy.network
        self._contracts = Contracts()
        if begin is None:
            self.state = MapState(genesis_state(copy.genesis))
            self._accumulator = sum_pairs(list(self.state.pairs.items()))
            digest = StateDigest(self._accumulator).digest()
            self.point = Point(height=0, block_hash=copy.network, entries=0, state_digest=digest)
        else:
            self.state, self._accumulator = begin.state, begin.accumulator
            self.point = begin.point

    def execute(self, block: BlockEntries) -> Execution:
        """Steps 9 and 10 for one block; the state moves on only if both hold."""
        execution = self._execute(block)
        # Records are canonical (8), so equal outcomes are equal bytes.
        if execution.outcomes != block.outcomes:  # 9
            self._diverge_in_outcome(block, execution)
        digest = apply_changes(self._accumulator, execution.overlay)
        verify_state(block, digest)  # 10
        sealed = execution.next_validators
        following = b"" if sealed is None else hash_validator_list(sealed)
        if following != block.header.next_validators:  # 10
            diverge(
                Step.STATE,
                block.index,
                _describe_seal(following),
                _describe_seal(block.header.next_validators),
            )
        self.state.pairs.update(execution.overlay.changes)
        self._accumulator = digest.encode()
        self.point = Point(
            height=block.header.height,
            block_hash=block.block_hash,
            entries=block.end,
            state_digest=block.header.state_digest,
        )
        return execution

    def _diverge_in_outcome(self, block: BlockEntries, execution: Execution) -> None:
        rows = zip(block.events, execution.outcomes, block.outcomes, strict=True)
        for index, (event, made, found) in enumerate(rows, start=block.index + 1):
            if made != found:
                expected = f"{event.kind} {_describe(made)}"
                diverge(Step.OUTCOMES, index, expected, _describe(found))

    def _execute(self, block: BlockEntries) -> Execution:
        header, events = block.header, block.events
        if header.engine != ENGINE_VERSION:  # 9
            diverge(Step.OUTCOMES, block.index, f"engine {ENGINE_VERSION}", header.engine)
        limits = read_parameters(self.state)
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
            return execute(self.state, given, self._contracts)
        except InvalidInclusion as error:
            index = block.index + 1 + error.place
            diverge(Step.OUTCOMES, index, "an event that a block may include", str(error))
        except ContractError as error:
            diverge(Step.OUTCOMES, block.index, "a block that can be executed", str(error))


def verify_state(block: BlockEntries, digest: StateDigest) -> None:
    """Check a sum of the state after a block against its header. Raises `Divergence`."""
    found, expected = digest.digest(), block.header.state_digest
    if found != expected:
        diverge(Step.STATE, block.index, f"state_digest {found.hex()}", expected.hex())


def _describe_seal(next_validators: bytes) -> str:
    if not next_validators:
        return "a block that does not end its epoch"
    return f"a seal block with next_validators {next_validators.hex()}"


def _describe(outcome: Outcome) -> str:
    verb = "applied" if outcome.applied else f"refused {outcome.code}"
    decision = f", {outcome.decision} by {list(outcome.policies)}" if outcome.decision else ""
    policy_set = outcome.policy_set.hex()[:16]
    return f"{verb}{decision}, obligations {outcome.obligations}, policy set {policy_set!r}"
