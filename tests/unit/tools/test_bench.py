"""`tally bench sealing` runs a program of the node; `tally bench audit` replays a ledger.

`tally bench what-if` rehearses a draft.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.replay import replay
from ledger.blocks import RECORDS
from ledger.lthash.streams import sum_natively
from ledger.verify import open_copy, read_blocks
from tools.bench import sealing
from tools.bench.audit import measure_audit
from tools.bench.ledger import PARTS, make_ledger
from tools.bench.processor import children_of, processor_ms
from tools.bench.whatif import measure_what_if
from tools.exits import ToolError
from tools.mirror import folder_reader


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


def test_a_replay_is_measured_on_a_ledger_that_is_made_once(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    figures = measure_audit(tmp_path, 1_500, 2, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (1_500, 1_500)
    assert 1_500 <= figures["entries"] < 1_600
    assert figures["parts"] == PARTS
    assert 0.05 < figures["share"] < 1
    assert figures.pop("digests") == ("hashlib" if sum_natively is None else "C")
    assert all(figure > 0 for figure in figures.values())
    copy = make_ledger(tmp_path, 1_500, lambda done, total: pytest.fail("it is made anew"))
    report = replay(folder_reader(copy))
    assert report.entries == figures["entries"]
    assert (report.refused, report.decisions["deny"]) == (0, 0)
    # Exchanges of all ages are in every block: some of its events are requests, some are not.
    assert set(report.acts) == {"share"}
    kinds = [
        [RECORDS.decode(record).outcome.decision for record in block.records]
        for block in read_blocks(open_copy(folder_reader(copy)), height_max=10)
    ]
    assert all(0 < sum(map(bool, each)) < len(each) for each in kinds[1:5])


def test_processor_time_is_that_of_the_processes_asked_about() -> None:
    # Asking for the time is itself work, most of it the system's.
    program = (
        "import os, sys; sys.stdin.readline(); began = sum(os.times()[:2])\n"
        "while sum(os.times()[:2]) < began + 0.3: pass\n"
    )
    wait = "print(flush=True); sys.stdin.readline()"
    with subprocess.Popen(
        [sys.executable, "-c", program + wait],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.pid in children_of([os.getpid()])
        assert child.pid not in children_of([child.pid])
        before = processor_ms([child.pid])
        child.stdin.write("\n")
        child.stdin.flush()
        child.stdout.readline()
        assert 100 < processor_ms([child.pid]) - before < 1_000
        assert processor_ms([child.pid, os.getpid()]) > processor_ms([child.pid])
        child.stdin.close()
    assert processor_ms([child.pid]) == 0


def test_a_rehearsal_is_measured_on_requests_that_differ(tmp_path: Path) -> None:
    figures = measure_what_if(tmp_path, 600, 1, lambda done, total: None)
    report = replay(folder_reader(tmp_path / "requests-600"))
    assert report.events == 600
    assert report.refused == 0
    # Some of each decision, and the draft turns some of them, not all.
    assert min(report.decisions.values()) > 20, report.decisions
    assert figures["requests"] == 600
    assert 100 < figures["changed"] < 500
    assert figures["requests_per_s"] > 0
    assert figures["cpu_us_per_request"] > 0
