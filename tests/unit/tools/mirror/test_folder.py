"""What a folder of a mirror is written by; workers fork only where nothing else runs."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ledger.quorum.epochs import EpochChain
from tests.unit.ledger.test_verify_epochs import spanning
from tools.mirror import event_map, worker_context
from tools.mirror.folder import drop_drafts, write_epochs, write_file

LINUX = Path("/proc/self/task").exists()
ASK = """
from tools.mirror import event_map, worker_context
with event_map(2) as map_events:
    print(worker_context().get_start_method(), *map_events(abs, [-1, 2, -3]))
"""


@pytest.mark.skipif(not LINUX, reason="threads are counted in /proc")
def test_a_process_with_one_thread_forks_its_workers() -> None:
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["fork", "1", "2", "3"]


def test_a_process_with_threads_starts_its_workers_afresh() -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        assert worker_context().get_start_method() == "spawn"
        with event_map(2) as map_events:
            assert list(map_events(abs, [-1, 2, -3])) == [1, 2, 3]
    finally:
        end.set()
        thread.join()


def test_one_job_is_this_process() -> None:
    with event_map(1) as map_events:
        assert map_events is map


def test_a_folder_is_read_without_a_client() -> None:
    code = "import sys, tools.mirror; print('aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_file_takes_its_place_whole(tmp_path: Path) -> None:
    """Who has the old one open goes on reading it, and a crash leaves it."""
    path, other = tmp_path / "deep" / "file", tmp_path / "other"
    write_file(path, b"old")
    os.link(path, other)
    write_file(path, b"new")
    assert (path.read_bytes(), other.read_bytes()) == (b"new", b"old")
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_what_the_dead_had_begun_is_removed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    dead, alive = f".000.{child.pid}", f".000.{os.getpid()}"
    others = [alive, ".000.1", "000.p", f"000.{child.pid}", ".lock", ".index.sqlite.part"]
    for name in (dead, ".000.4294967296", *others):
        (tmp_path / name).write_bytes(b"")
    drop_drafts(tmp_path.iterdir())
    assert {path.name for path in tmp_path.iterdir()} == set(others)


@pytest.mark.parametrize(("size", "count"), [(6, 0), (7, 1), (9, 1), (10, 2), (12, 2)])
def test_proofs_of_epochs_that_end_in_the_mirror_are_kept(
    tmp_path: Path, size: int, count: int
) -> None:
    chain = spanning()
    epochs = EpochChain(chain.genesis)
    for proof in chain.proofs:
        epochs.add(proof)
    write_epochs(tmp_path, epochs, size)
    found = [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("[0-9]"))]
    assert found == [f"epochs/{epoch}" for epoch in range(count)]
