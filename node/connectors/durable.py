"""Many files and folders made durable in about the time that one takes.

A file system writes its journal once for all who wait for it at the same time; who waits for one
file after the other waits for as many journals.
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from pathlib import Path

WAITING_MAX = 4


@cache
def _waiting() -> ThreadPoolExecutor:
    """Threads that wait for the disk and do nothing else; made when they are first needed."""
    return ThreadPoolExecutor(WAITING_MAX, thread_name_prefix="sync")


def sync_all(paths: Iterable[Path]) -> None:
    """Return when the content of files and the names in folders are on disk. Raises `OSError`."""
    with ExitStack() as stack:
        descriptors = []
        for path in paths:
            descriptors.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            stack.callback(os.close, descriptors[-1])
        # All have ended before one is closed, whatever became of the first.
        waits = [_waiting().submit(os.fsync, descriptor) for descriptor in descriptors]
        failures = [wait.exception() for wait in waits]
    for failure in failures:
        if failure is not None:
            raise failure
