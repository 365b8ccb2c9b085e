"""What all tests share: Hypothesis profiles, what none leaves to the next, a data folder.

Hypothesis profiles, chosen with HYPOTHESIS_PROFILE: `ci` (default) takes the same examples on every
run; `explore` takes new ones, many more of them, and keeps those that failed.
"""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tools.words import select_language

# No deadline: two test processes share the cores with real nodes, so time proves nothing.
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.register_profile("explore", deadline=None, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# Helper of the standard library's multiprocessing: lives as long as the process that needed it.
_LIVES_ON = b"multiprocessing.resource_tracker"


def _running_children() -> dict[int, str]:
    """Command lines of live child processes by process id; empty where /proc does not list them."""
    running = {}
    for listing in Path("/proc/self/task").glob("*/children"):
        try:
            pids = listing.read_text().split()
        except FileNotFoundError:
            continue  # a thread that ended between the two reads
        for pid in map(int, pids):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except FileNotFoundError:
                continue  # ended between the two reads
            # A process that has ended and waits to be reaped has an empty command line.
            if command and _LIVES_ON not in command:
                running[pid] = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return running


@pytest.fixture(autouse=True)
def _no_process_left() -> Iterator[None]:
    """Fail a test that leaves a child process running, and end that process."""
    before = _running_children()
    yield
    left = {pid: text for pid, text in _running_children().items() if pid not in before}
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    if left:
        pytest.fail(f"child processes left running: {sorted(left.values())}")


@pytest.fixture(autouse=True)
def _english() -> None:
    """Begin in English, whatever language the command of an earlier test chose."""
    select_language(["--lang", "en"])


@pytest.fixture(scope="module", autouse=True)
def _ports_are_kept() -> Iterator[None]:
    """Keep the ports that are found free from everybody else until the module ends.

    A node that is not started yet, or was stopped for a while, would else come to find a node of
    another test process at its address. Bound without listening, they are in no server's way.
    """
    kept: list[socket.socket] = []

    def keep(port: int) -> bool:
        holder = socket.socket()
        try:
            holder.bind(("127.0.0.1", port))
        except OSError:
            holder.close()
            return False
        # Not before: a port that another one keeps is not free. From now on servers may share it.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.append(holder)
        return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tools.localnet._is_free", keep)
        yield
    for holder in kept:
        holder.close()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Make an empty folder that only the owner may read, as a node's data folder is."""
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    return path
