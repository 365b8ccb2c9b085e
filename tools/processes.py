"""Processes of ours in folders: nodes and gateways, started apart and found again later.

    DIR/NAME.toml   its configuration, by which a process is told from others
    DIR/NAME.log    what it says
    DIR/NAME.pid    its process id while it runs

Processes are followed by pidfd, so waiting for one's end is an event and a reused pid never
receives a signal meant for another.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

STOP_S_MAX = 10.0
RETRY_MS = 50
LOG_TAIL_BYTES = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What runs in a folder; `label` is whose it is, `name` that of its files."""

    label: str
    directory: Path
    name: str

    @property
    def config(self) -> Path:
        """Its configuration."""
        return self.directory / f"{self.name}.toml"

    @property
    def log(self) -> Path:
        """Its log."""
        return self.directory / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        """Where its process id stands while it runs."""
        return self.directory / f"{self.name}.pid"

    def log_tail(self) -> str:
        """The end of the log."""
        try:
            with self.log.open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - LOG_TAIL_BYTES))
                return file.read().decode(errors="replace").strip()
        except FileNotFoundError:
            return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """How waiting for a program went; `reason` is the last one why it was not ready."""

    result: Literal["ready", "late", "ended"]
    reason: str


class Processes:
    """Starts and ends programs; one object may take over what another has started."""

    def __init__(self) -> None:
        # Children of this process that are not reaped yet.
        self._started: dict[Program, int] = {}

    def pid(self, program: Program) -> int:
        """Process id of a running program, or 0."""
        pid = self._started.get(program, 0)
        # Just after its start a process has no command line to recognise it by yet.
        try:
            if pid and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return pid
        except ChildProcessError:
            pass  # another object for this folder has stopped and reaped it
        return _running_pid(program)

    def spawn(self, program: Program, command: list[str]) -> None:
        """Start a program that does not run, without waiting for it."""
        pid = os.posix_spawn(
            sys.executable,
            command,
            os.environ,
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (
                    os.POSIX_SPAWN_OPEN, 1, str(program.log),
                    os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600,
                ),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ),
            # A session of its own: Ctrl-C at our terminal is not meant for it.
            setsid=True,
        )  # fmt: skip
        program.pid_file.write_text(f"{pid}\n")
        self._started[program] = pid

    def stop(self, programs: Iterable[Program]) -> list[str]:
        """Ask them to end and wait; labels of those that had to be killed after 10 s."""
        with self.running(programs) as running:
            for descriptor in running.values():
                signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            killed = wait_ended(running, STOP_S_MAX)
            for program in killed:
                signal.pidfd_send_signal(running[program], signal.SIGKILL)
            wait_ended({program: running[program] for program in killed}, STOP_S_MAX)
            for program in running:
                self.forget(program)
        return [program.label for program in killed]

    def kill(self, program: Program) -> bool:
        """End it at once with SIGKILL and wait until it is gone; whether it ran."""
        with self.running([program]) as running:
            for descriptor in running.values():
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            wait_ended(running, STOP_S_MAX)
            for each in running:
                self.forget(each)
            return bool(running)

    def forget(self, program: Program) -> None:
        """Remove the pid file of an ended program, and reap it if this process started it."""
        try:
            os.waitpid(int(program.pid_file.read_text()), 0)
        except (FileNotFoundError, ChildProcessError):
            pass  # forgotten already, or the child of another process, which reaps it
        program.pid_file.unlink(missing_ok=True)
        self._started.pop(program, None)

    def wait_answer(
        self, program: Program, ask: Callable[[float], str], deadline_s: float
    ) -> Waited:
        """Ask until it is ready, it ends, or the monotonic clock shows `deadline_s`; at least once.

        `ask` gets the seconds left; it returns why the program is not ready, empty if it is, and
        raises `OSError` while nobody answers.
        """
        reason = ""
        with self.running([program]) as running:
            while running:
                left_s = deadline_s - time.monotonic()
                try:
                    reason = ask(left_s)
                except OSError as error:
                    reason = str(error)
                else:
                    if not reason:
                        return Waited(result="ready", reason="")
                # Look again soon, but wake if the process ends.
                if left_s <= 0 or not wait_ended(running, RETRY_MS / 1_000):
                    break
        return Waited(result="late" if self.pid(program) else "ended", reason=reason)

    @contextmanager
    def running(self, programs: Iterable[Program]) -> Iterator[dict[Program, int]]:
        """An open pidfd for every one of the programs that runs."""
        opened: dict[Program, int] = {}
        try:
            for program in programs:
                if pid := self.pid(program):
                    try:
                        opened[program] = os.pidfd_open(pid)
                    except ProcessLookupError:
                        continue
            yield opened
        finally:
            for descriptor in opened.values():
                os.close(descriptor)


def wait_ended(running: Mapping[Program, int], timeout_s: float) -> list[Program]:
    """Wait until all processes ended or the time is over; returns those that still run."""
    left = dict(running)
    poller = select.poll()
    for descriptor in left.values():
        poller.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + timeout_s
    while left and (left_s := deadline - time.monotonic()) > 0:
        for descriptor, _ in poller.poll(left_s * 1_000):
            poller.unregister(descriptor)
            left = {program: other for program, other in left.items() if other != descriptor}
    return list(left)


def _running_pid(program: Program) -> int:
    """Process id in the pid file if that process runs this configuration, else 0."""
    try:
        pid = int(program.pid_file.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return 0
    return pid if str(program.config).encode() in command.split(b"\0") else 0
