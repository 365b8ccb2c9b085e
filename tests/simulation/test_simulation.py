"""Seeds of the deterministic simulator: safety throughout, liveness and silence after healing."""

import os
import subprocess
import sys

import pytest

from tests.simulation.simulator import run

SEEDS = 60
BATCH = 10


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_seeds_end_safe_live_and_silent(first: int) -> None:
    worlds = [run(seed) for seed in range(first, first + BATCH)]
    assert sum(world.crashes for world in worlds) > 0
    assert all(world.checker.chain for world in worlds)


def test_one_seed_is_one_transcript_under_every_hash_seed() -> None:
    outputs = set()
    for hash_seed in ("0", "1"):
        result = subprocess.run(
            [sys.executable, "-m", "tests.simulation.simulator", "0", "3"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.add(result.stdout)
    assert len(outputs) == 1
