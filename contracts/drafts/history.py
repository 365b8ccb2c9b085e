"""The past of a log, question by question, without asking the contracts again.

A block is executed as always, but the decisions come from its recorded outcomes instead of the
engine. So the state before each decision is exactly the recorded one, and every question that the
contracts were asked is seen with its facts. Records that do not follow from the recorded decisions
end the walk as `Divergence`, and so does a state without the digest that a header names.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, cast

import msgspec

from contracts.decision import Decision, Verdict
from contracts.engine import Contracts, PolicyEngine
from contracts.errors import ContractError
from contracts.execute import BlockInput, execute
from contracts.facts import Act, build_context
from contracts.lookup import find_legal_basis
from contracts.replay import verify_state
from ledger.blocks import Outcome
from ledger.events import Event
from ledger.genesis import Genesis, genesis_state, hash_genesis
from ledger.lthash.digest import StateDigest, sum_pairs
from ledger.registry import POLICY_SETS, LegalBasis, PolicySet
from ledger.state import POLICY_SET_KEY, MapState, StateReader
from ledger.verify import BlockEntries, Step, diverge

MapPairs: TypeAlias = Callable[..., Iterable[bytes]]
_PART_PAIRS = 2_048


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """A record of the log. `act`, `facts` and `basis` are None where contracts were not asked.

    `basis` is the legal basis as it was registered then.
    """

    index: int
    height: int
    time_ms: int
    event: Event
    outcome: Outcome
    act: Act | None
    facts: Mapping[str, Any] | None
    basis: LegalBasis | None


class History:
    """The state that a log has reached, block by block from its genesis, or from `pairs` on.

    `replaced` holds, for each key that the last block has set, its value before that block.
    """

    def __init__(self, genesis: Genesis, pairs: Mapping[bytes, bytes] | None = None) -> None:
        self.state = MapState(genesis_state(genesis) if pairs is None else pairs)
        self.replaced: dict[bytes, bytes | None] = {}
        self._network = hash_genesis(genesis)
        self._witness = _Witness()

    @property
    def policy_set(self) -> PolicySet:
        """Policy set in force for the next block."""
        return POLICY_SETS.decode(self.state.pairs[POLICY_SET_KEY])

    def add(self, block: BlockEntries) -> tuple[Happened, ...]:
        """Move on by one verified block. Raises `Divergence`."""
        self._witness.start(block.outcomes)
        given = BlockInput(
            network=self._network,
            height=block.header.height,
            time_ms=block.header.time_ms,
            first_index=block.index + 1,
            events=block.events,
        )
        try:
            execution = execute(self.state, given, self._witness)
        except ContractError as error:
            diverge(Step.OUTCOMES, block.index, "events that a block may include", str(error))
        for at, made in enumerate(execution.outcomes):
            if made != block.outcomes[at]:
                found = str(block.outcomes[at])
                diverge(Step.OUTCOMES, block.index + 1 + at, str(made), found)
        pairs, changes = self.state.pairs, execution.overlay.changes
        self.replaced = {key: pairs.get(key) for key in changes}
        pairs.update(changes)
        return tuple(self._happened(block))

    def verify_state(self, block: BlockEntries, map_pairs: MapPairs = map) -> None:
        """Check the whole state after `block` against its header. Raises `Divergence`.

        The sums may be those of other processes: `map_pairs` is `map` or that of a pool.
        """
        pairs = list(self.state.pairs.items())
        parts = [pairs[at : at + _PART_PAIRS] for at in range(0, len(pairs), _PART_PAIRS)]
        digest = StateDigest()
        for part in map_pairs(sum_pairs, parts):
            digest.merge(part)
        verify_state(block, digest)

    def _happened(self, block: BlockEntries) -> Iterator[Happened]:
        asked = iter(self._witness.asked)
        for at, (event, outcome) in enumerate(zip(block.events, block.outcomes, strict=True)):
            act, facts, basis = next(asked) if outcome.policy_set else (None, None, None)
            yield Happened(
                index=block.index + 1 + at,
                height=block.header.height,
                time_ms=block.header.time_ms,
                event=event,
                outcome=outcome,
                act=act,
                facts=facts,
                basis=basis,
            )


class Changed:
    """Keys that blocks have set, each with its value before the first of them."""

    def __init__(self) -> None:
        self.before: dict[bytes, bytes | None] = {}

    def add(self, history: History) -> None:
        """Note what the last block has set."""
        for key, value in history.replaced.items():
            self.before.setdefault(key, value)

    def count(self, digest: StateDigest, state: MapState) -> None:
        """Bring a sum of the pairs before up to those in a state."""
        old = [(key, value) for key, value in self.before.items() if value is not None]
        digest.remove_all(old)
        digest.add_all([(key, state.pairs[key]) for key in self.before])


class _Unasked(ContractError):
    """Execution asks for a decision that no record holds."""


class _Witness(Contracts):
    """Stands in the place of the contracts: answers what is recorded, and notes the questions."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[Act, dict[str, Any], LegalBasis | None]] = []
        self._outcomes: deque[Outcome] = deque()

    def start(self, outcomes: Iterable[Outcome]) -> None:
        """Begin a block with these outcomes; those with a policy set were decisions."""
        self.asked = []
        self._outcomes = deque(outcome for outcome in outcomes if outcome.policy_set)

    def at(self, state: StateReader) -> PolicyEngine:
        """Itself: execution asks for decisions only."""
        del state
        return cast(PolicyEngine, self)

    def decide_request(self, state: StateReader, act: Act, time_ms: int) -> Decision:
        """The recorded decision on a request."""
        outcome = self._next(state, act, time_ms)
        return _recorded(outcome, Verdict(outcome.decision or "deny"))

    def decide_step(self, state: StateReader, act: Act, time_ms: int) -> Decision:
        """The recorded decision on a later act."""
        outcome = self._next(state, act, time_ms)
        return _recorded(outcome, Verdict.PERMIT if outcome.applied else Verdict.DENY)

    def _next(self, state: StateReader, act: Act, time_ms: int) -> Outcome:
        if not self._outcomes:
            raise _Unasked("a decision that is not recorded")
        facts = build_context(state, act, time_ms)
        self.asked.append((act, facts, find_legal_basis(state, act.legal_basis)))
        return self._outcomes.popleft()


def _recorded(outcome: Outcome, verdict: Verdict) -> Decision:
    return Decision(
        verdict=verdict,
        policies=outcome.policies,
        policy_set=outcome.policy_set,
        obligations=outcome.obligations,
        errors=(outcome.code,) if outcome.code == "contract-error" else (),
        reasons=(),
    )
