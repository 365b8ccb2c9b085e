"""A node whose wall clock can be stepped while it runs.

`python -m tests.e2e.chaos.launcher CLOCK --config FILE` runs a node; the 8 bytes of the file CLOCK
are added to its wall time, in nanoseconds. Nothing else differs from `python -m node`.
"""

import mmap
import runpy
import struct
import sys
import time
from pathlib import Path

OFFSET = struct.Struct("<q")


def step_clock(path: Path, offset_ms: int) -> None:
    """Set the offset that a running node adds to its wall time."""
    with path.open("r+b") as file:
        file.write(OFFSET.pack(offset_ms * 1_000_000))


def main() -> None:
    with Path(sys.argv[1]).open("r+b") as file:
        offset = mmap.mmap(file.fileno(), OFFSET.size, access=mmap.ACCESS_READ)
    real_ns = time.time_ns

    def time_ns() -> int:
        return int(real_ns() + OFFSET.unpack_from(offset)[0])

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1_000_000_000
    sys.argv = ["node", *sys.argv[2:]]
    runpy.run_module("node", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
