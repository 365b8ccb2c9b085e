"""Workers of a copy: forks only where nothing else runs in this process."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tools.mirror import event_map, worker_context

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
