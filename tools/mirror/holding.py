"""Files that one process at a time looks after, and workers that end with their parent."""

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from tools.exits import InvalidInput


@contextmanager
def held(path: Path, *, is_folder: bool = False) -> Iterator[None]:
    """While open, no other process holds this file or folder, which need not be there yet.

    Two that keep one state would each overwrite what the other has seen. The lock, `.NAME.lock`
    beside a file or `.lock` in a folder, stays. Raises `InvalidInput`.
    """
    lock = path / ".lock" if is_folder else path.with_name(f".{path.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("wb")
    except OSError as error:
        raise InvalidInput("file-unwritable", f"{path}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidInput("state-in-use", str(path)) from None
        yield


def worker_context() -> BaseContext:
    """How workers are started: as forks where that is safe, which saves them all imports.

    A fork copies locks that other threads hold, so a process with threads starts them afresh.
    """
    try:
        threads = len(list(Path("/proc/self/task").iterdir()))
    except OSError:
        threads = 0  # not Linux: not known
    return get_context("fork" if threads == 1 else "spawn")


def make_workers(
    jobs: int,
    context: BaseContext | None = None,
    start: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
) -> ProcessPoolExecutor:
    """A pool whose workers call `start` first, and end when this process does, however it ends."""
    return ProcessPoolExecutor(
        jobs,
        mp_context=context or worker_context(),
        initializer=_begin,
        initargs=(start, arguments),
    )


def _begin(start: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    # A worker waits for tasks in a pipe that its fellows hold open too: it would wait for ever.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if start is not None:
        start(*arguments)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None, "a worker has a parent"
    wait([parent.sentinel])
    os._exit(1)
