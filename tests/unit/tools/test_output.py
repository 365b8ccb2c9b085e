"""Progress: a bar that fits into one line of any terminal, with rate and time left."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.output import BAR_CELLS_MAX, count_cells, progress_line

LABELS = ("Replaying", "正在建立索引")


@given(
    label=st.sampled_from(LABELS),
    total=st.integers(0, 10**9),
    part=st.integers(0, 1_000),
    seconds=st.floats(0, 10**6),
    width=st.integers(1, 200),
)
def test_no_line_of_progress_breaks(
    label: str, total: int, part: int, seconds: float, width: int
) -> None:
    line = progress_line(label, total * part // 1_000, total, seconds, width)
    assert count_cells(line) < width


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (80, "Replaying  [#####################--------]  750,000/1,000,000  0:01:40  2,500/s"),
        (60, "Replaying  [######---]  750,000/1,000,000  0:01:40  2,500/s"),
        (40, "Replaying 75%  0:01:40"),
        (20, "75%  0:01:40"),
        (5, "75% "),
    ],
)
def test_progress_in_a_terminal_of_some_width(width: int, line: str) -> None:
    assert progress_line("Replaying", 750_000, 1_000_000, 300.0, width) == line


def test_no_time_is_left_before_anything_is_done_and_at_the_end() -> None:
    assert progress_line("a", 0, 5, 9.0, 80) == f"a  [{'-' * BAR_CELLS_MAX}]  0/5  0/s"
    assert progress_line("a", 5, 5, 2.0, 80) == f"a  [{'#' * BAR_CELLS_MAX}]  5/5  2/s"


def test_a_bar_asks_its_terminal_for_the_width() -> None:
    """Stderr is the terminal; the answer on stdout goes elsewhere."""
    code = (
        "from tools.output import Bar\n"
        "bar = Bar('正在建立索引')\n"
        "for done in range(101):\n"
        "    bar(done, 100)\n"
        "bar.close()\n"
    )
    leader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 50, 0, 0))
    subprocess.run([sys.executable, "-c", code], stderr=terminal, check=True)
    os.close(terminal)
    told = os.read(leader, 65_536).decode()
    os.close(leader)
    *drawn, end = told.split("\r")
    assert end == "\n"
    assert "100/100" in drawn[-1]
    assert all(count_cells(line) < 50 for line in drawn)
