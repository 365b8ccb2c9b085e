"""Processor time of processes and of those that they have started, as `/proc` tells it.

Unlike time on a clock it means about the same on a machine that others use too.
"""

import os
from collections.abc import Iterable
from pathlib import Path

# Of the fields of `/proc/PID/stat` after the name: parent; user and system time in ticks.
_PARENT, _USER, _SYSTEM = 1, 11, 12


def processor_ms(pids: Iterable[int]) -> float:
    """What processes have used since they started. One that has ended has used nothing."""
    ticks = sum(int(field) for pid in pids for field in _fields(pid)[_USER : _SYSTEM + 1])
    return 1_000 * ticks / os.sysconf("SC_CLK_TCK")


def children_of(pids: Iterable[int]) -> tuple[int, ...]:
    """Processes that these have started, as far as they run."""
    parents = {str(pid) for pid in pids}
    names = (path.name for path in Path("/proc").iterdir())
    found = (int(name) for name in names if name.isascii() and name.isdigit())
    return tuple(pid for pid in found if parents & set(_fields(pid)[_PARENT : _PARENT + 1]))


def _fields(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
