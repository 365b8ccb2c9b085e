"""Seeds of the simulator, that it repeats, and that it sees when a rule is missing."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from node.simplex import rules, votes
from node.simplex.core import Simplex
from node.simplex.guard import GuardedSigner
from tests.simulation.checkers import Violation, intersecting, merkle_root, quorum
from tests.simulation.plan import MODES, Mode, make_plan
from tests.simulation.simulator import run_plan, run_seed

BATCH = 10
SEEDS_UNTIL_SEEN = 60
MAY_FINALIZE = rules.may_finalize
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


def test_remembered_results_change_nothing() -> None:
    plan = make_plan(3, "epochs")
    assert run_plan(plan, remembers=False) == run_plan(plan)


def quorum_of_2f_plus_1(validators: int) -> int:
    return 2 * ((validators - 1) // 3) + 1


def finalize_after_nullify(**changed: Any) -> bool:
    return MAY_FINALIZE(**{**changed, "has_nullified": False})


def no_frontier(core: Simplex, to: int | None) -> None:
    """What is lost stays lost."""


# What is taken away, and what must be seen then within `SEEDS_UNTIL_SEEN` seeds.
MISSING: list[tuple[str, Mode, list[tuple[Any, str, Callable[..., Any]]], str]] = [
    (
        "quorum n - f",
        "safety",
        [(rules, "count_quorum", quorum_of_2f_plus_1)],
        "without a quorum",
    ),
    (
        "no finalize after nullify",
        "safety",
        [
            (rules, "may_finalize", finalize_after_nullify),
            (GuardedSigner, "_admit", lambda *_: None),
            (votes, "is_contradiction", lambda *_: False),
        ],
        "I2",
    ),
    (
        "retransmission",
        "liveness",
        [(Simplex, "_send_frontier", no_frontier)],
        "liveness",
    ),
]


def fault(seed: int, mode: Mode) -> str:
    try:
        run_seed(seed, mode)
    except Violation as violation:
        return str(violation)
    return ""


@pytest.mark.parametrize("row", MISSING, ids=[row[0] for row in MISSING])
def test_a_missing_rule_is_seen(
    row: tuple[str, Mode, list[tuple[Any, str, Callable[..., Any]]], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, mode, changes, expected = row
    for target, name, replacement in changes:
        monkeypatch.setattr(target, name, replacement)
    faults = (fault(seed, mode) for seed in range(SEEDS_UNTIL_SEEN))
    assert expected in next(text for text in faults if text)


def test_quorums_of_the_checker() -> None:
    assert [quorum(count) for count in (4, 5, 6, 7, 10)] == [3, 4, 5, 5, 7]
    assert [intersecting(count) for count in (4, 5, 6, 7, 10)] == [3, 4, 4, 5, 7]
    assert merkle_root([]).hex().startswith("e3b0c442")
