"""`tally bench sealing`: the node's own program is run, and its failure is told."""

import pytest

from tools.bench import sealing
from tools.exits import ToolError


def test_sealing_is_measured_and_memory_stays_flat() -> None:
    small, large = sealing.measure_sealing(20), sealing.measure_sealing(100)
    assert (small["payload_mb"], large["payload_mb"]) == (20, 100)
    assert large["peak_memory_mb"] < small["peak_memory_mb"] + 20
    assert large["peak_memory_mb"] < 200
    assert all(figure > 0 for figure in large.values())


def test_a_measurement_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing.sys, "executable", "false")
    with pytest.raises(ToolError) as caught:
        sealing.measure_sealing(1)
    assert caught.value.code == "bench-failed"
