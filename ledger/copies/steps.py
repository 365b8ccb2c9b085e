"""The numbered steps of `ledger.verify` and `contracts.replay`, and how the first fault is told."""

from enum import IntEnum
from typing import NoReturn

from ledger.errors import Divergence


class Step(IntEnum):
    """The numbered steps; 9 and 10 are those of `contracts.replay`."""

    GENESIS = 1
    EPOCHS = 2
    CHECKPOINT = 3
    TILES = 4
    ENTRIES = 5
    HEADERS = 6
    RECORDS = 7
    EVENTS = 8
    OUTCOMES = 9
    STATE = 10


def diverge(step: Step, index: int, expected: str, found: str) -> NoReturn:
    """Raise the `Divergence` of `step` at entry `index` (-1: none)."""
    raise Divergence(int(step), step.name.lower(), index, expected=expected, found=found)
