"""Breadth-first search of all states of a model, and the shortest way to a fault in words.

python -m tests.model.explorer      all states of four validators over two views
"""

import sys
import time
from collections.abc import Collection
from dataclasses import dataclass

from tests.model.oracle import EVERYTHING
from tests.model.voting import SEAL_IN_THREE_VIEWS, SEALS, TWO_VIEWS, Model, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """States seen, and the first fault with the moves that lead to it (none: all is safe)."""

    states: int
    seconds: float
    faults: tuple[str, ...] = ()
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        rate = f"{self.states} states in {self.seconds:.1f} s ({self.states / self.seconds:.0f}/s)"
        if not self.faults:
            return f"safe: {rate}"
        steps = [f"{at:3} {move}" for at, move in enumerate(self.trace, start=1)]
        return "\n".join([f"{' and '.join(self.faults)} after {rate}", *steps])


def explore(model: Model, *, seek: Collection[str] = EVERYTHING) -> Found:
    """Every state that can be reached, until one has a fault that is sought."""
    began = time.perf_counter()
    start = model.canonical(model.start)
    came_from: dict[State, State | None] = {start: None}
    edge = [start]
    while edge:
        reached = []
        for state in edge:
            for at, _, after in model.moves(state):
                following = model.canonical((*state[:at], after, *state[at + 1 :]))
                if following not in came_from:
                    came_from[following] = state
                    reached.append(following)
        for state in reached:
            faults = model.faults(state).intersection(seek)
            if faults:
                return Found(
                    states=len(came_from),
                    seconds=time.perf_counter() - began,
                    faults=tuple(sorted(faults)),
                    trace=_retell(model, came_from, state),
                )
        edge = reached
    return Found(states=len(came_from), seconds=time.perf_counter() - began)


def _retell(model: Model, came_from: dict[State, State | None], end: State) -> tuple[str, ...]:
    """Replay the way with fixed names: A, B, C are the honest validators."""
    way: list[State] = []
    at: State | None = end
    while at is not None:
        way.append(at)
        at = came_from[at]
    told = []
    concrete = model.start
    for wanted in reversed(way[:-1]):
        for place, text, after in model.moves(concrete):
            following = (*concrete[:place], after, *concrete[place + 1 :])
            if model.canonical(following) == wanted:
                told.append(f"{'ABCDEFG'[place]} {text}")
                concrete = following
                break
        else:
            raise AssertionError("the way cannot be walked again")
    return tuple(told)


if __name__ == "__main__":
    for table in [SEAL_IN_THREE_VIEWS] if sys.argv[1:] == ["three"] else [TWO_VIEWS, SEALS]:
        print(explore(Model(validators=4, table=table)))
