"""A short run of faults on real processes; `make chaos` is the long one.

One test, so that one test process has the network to itself.
"""

import asyncio
from pathlib import Path

import pytest

from tests.e2e.chaos import faults_disk
from tests.e2e.chaos.run import SHORT, run_faults

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]
SEED = 1


def test_a_network_outlives_faults_and_loses_nothing(tmp_path: Path) -> None:
    faults = [f for f in SHORT if f is not faults_disk.fill_disk or faults_disk.can_mount()]
    report = asyncio.run(run_faults(tmp_path / "net", faults, seed=SEED, say=print))
    assert len(report.rows) == len(faults)
    assert all(row.events > 0 for row in report.rows)
    if len(faults) < len(SHORT):
        pytest.skip("all but the full disk: this user may not mount a small one")
