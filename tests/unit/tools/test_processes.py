"""Programs in folders: started, found by another object, waited for, ended."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.processes import Processes, Program

# Say that one is there, then wait for the end; ignoring SIGTERM where asked to.
SCRIPT = """
import signal, sys
if sys.argv[2] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
if sys.argv[2] == "short":
    sys.exit("the disk is full")
signal.pause()
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    found = Program(label="one", directory=tmp_path, name="thing")
    found.config.write_text("")
    yield found
    Processes().kill(found)


def start(processes: Processes, program: Program, manner: str = "") -> None:
    command = [sys.executable, "-c", SCRIPT, str(program.config), manner]
    processes.spawn(program, command)
    waited = processes.wait_answer(program, lambda _: _reason(program), time.monotonic() + 30)
    assert manner == "short" or waited.result == "ready", waited


def _reason(program: Program) -> str:
    return "" if "up" in program.log_tail() else "it says nothing"


def test_another_object_finds_and_stops_what_one_has_started(program: Program) -> None:
    first, second = Processes(), Processes()
    start(first, program)
    pid = second.pid(program)
    assert pid == first.pid(program) > 0
    assert second.stop([program]) == []
    assert second.pid(program) == 0
    assert not program.pid_file.exists()
    assert second.stop([program]) == []


def test_a_program_that_does_not_listen_is_killed(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.processes.STOP_S_MAX", 0.3)
    processes = Processes()
    start(processes, program, "deaf")
    assert processes.stop([program]) == ["one"]
    assert processes.pid(program) == 0


def test_kill_says_whether_it_ran(program: Program) -> None:
    processes = Processes()
    start(processes, program)
    assert processes.kill(program)
    assert not processes.kill(program)


def test_a_pid_of_another_program_is_not_taken_for_ours(program: Program) -> None:
    program.pid_file.write_text(f"{os.getpid()}\n")
    assert Processes().pid(program) == 0
    assert Processes().stop([program]) == []
    program.pid_file.write_text("nonsense")
    assert Processes().pid(program) == 0


def test_waiting_ends_with_the_program_and_tells_why(program: Program) -> None:
    processes = Processes()
    start(processes, program, "short")
    waited = processes.wait_answer(program, lambda _: "not yet", time.monotonic() + 30)
    assert waited.result == "ended"
    assert program.log_tail().endswith("the disk is full")
    processes.forget(program)
    assert not program.pid_file.exists()


def test_waiting_ends_when_the_time_is_over(program: Program) -> None:
    processes = Processes()
    start(processes, program)

    def refuse(_: float) -> str:
        raise ConnectionRefusedError("nobody listens")

    for deadline_s in (time.monotonic() + 0.2, time.monotonic() - 1):
        waited = processes.wait_answer(program, refuse, deadline_s)
        assert (waited.result, waited.reason) == ("late", "nobody listens")
