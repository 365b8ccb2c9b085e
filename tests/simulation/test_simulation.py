"""Seeds of the simulator, that it repeats, and that it sees when a rule is missing."""

import os
import subprocess
import sys

import pytest

from tests.simulation.checkers import intersecting, merkle_root, quorum
from tests.simulation.plan import MODES, Mode
from tests.simulation.simulator import run_seed

BATCH = 10
BATCHES: list[tuple[Mode, int]] = [
    *(("safety", first) for first in range(0, 140, BATCH)),
    *(("liveness", first) for first in range(0, 50, BATCH)),
    *(("epochs", first) for first in range(0, 20, BATCH)),
]


@pytest.mark.parametrize(("mode", "first"), BATCHES)
def test_seeds_hold(mode: Mode, first: int) -> None:
    results = [run_seed(seed, mode) for seed in range(first, first + BATCH)]
    assert sum(result.crashes for result in results) > 0
    assert sum(result.events for result in results) > BATCH


def test_seeds_hold_with_real_signatures() -> None:
    for mode in MODES:
        assert run_seed(1, mode, is_real=True).blocks > 0


def test_one_seed_is_one_transcript_under_every_hash_seed() -> None:
    outputs = set()
    for hash_seed in ("0", "1"):
        command = [sys.executable, "-m", "tests.simulation.run", "--transcripts", "--jobs", "1"]
        result = subprocess.run(
            [*command, "--mode", "epochs", "--seeds", "3"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.add(result.stdout)
    assert len(outputs) == 1


def test_quorums_of_the_checker() -> None:
    assert [quorum(count) for count in (4, 5, 6, 7, 10)] == [3, 4, 5, 5, 7]
    assert [intersecting(count) for count in (4, 5, 6, 7, 10)] == [3, 4, 4, 5, 7]
    assert merkle_root([]).hex().startswith("e3b0c442")
