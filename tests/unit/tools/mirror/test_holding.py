"""One process holds a state, and workers do not outlive whom they work for."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tools.exits import InvalidInput
from tools.mirror import held

END_MS = 20_000

WORKING = """
import os, sys
from tools.mirror import make_workers
def identify(number):
    return os.getpid()
if __name__ == "__main__":
    with make_workers(2, start=print, arguments=("begun",)) as pool:
        print("workers", *set(pool.map(identify, range(50))), *pool._processes, flush=True)
        sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    program = tmp_path / "working.py"
    program.write_text(WORKING)
    with subprocess.Popen(
        [sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        words: list[str] = []
        while not words or words[0] != "workers":
            words = parent.stdout.readline().split()
        workers = [os.pidfd_open(pid) for pid in set(map(int, words[1:]))]
        assert len(workers) == 2
        parent.send_signal(number)
        for worker in workers:
            ended = select.poll()
            ended.register(worker, select.POLLIN)
            assert ended.poll(END_MS), "a worker works on for nobody"
            os.close(worker)


def test_a_state_has_one_holder(tmp_path: Path) -> None:
    state = tmp_path / "new" / "watch.json"
    with held(state), pytest.raises(InvalidInput) as caught, held(state):
        pass
    assert caught.value.code == "state-in-use"
    with held(state):
        pass  # it is free again


def test_a_state_that_cannot_be_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput) as caught, held(tmp_path / "file" / "watch.json"):
        pass
    assert caught.value.code == "file-unwritable"
