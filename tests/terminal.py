"""A command in a terminal of its own: what it shows, and what is typed in answer."""

import os
import pty
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

# The child makes its standard input its controlling terminal, as a login does.
_START = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from tools.cli import main
main(sys.argv[1:])
"""
TIMEOUT_S = 60.0


class Terminal:
    """`tally` with a pseudo-terminal; use as a context."""

    def __init__(self, arguments: Sequence[str], *, cwd: Path | None = None) -> None:
        self._here, there = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, *arguments],
            stdin=there,
            stdout=there,
            stderr=there,
            start_new_session=True,
            cwd=cwd,
        )
        os.close(there)
        self.shown = ""
        self._data = b""
        self._waited = 0

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._here)

    def wait_for(self, text: str) -> None:
        """Read until `text` is shown after what was waited for last."""
        while (at := self.shown.find(text, self._waited)) < 0:
            assert self._read(), f"{text!r} is not in {self.shown!r}"
        self._waited = at + len(text)

    def type(self, line: str) -> None:
        os.write(self._here, line.encode() + b"\n")

    def answer(self, question: str, line: str) -> None:
        self.wait_for(question)
        self.type(line)

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self._read():
            pass
        return self._process.wait(TIMEOUT_S)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._here], [], [], TIMEOUT_S)
        assert ready, f"nothing more is shown after {self.shown!r}"
        try:
            data = os.read(self._here, 65_536)
        except OSError:  # the child has closed its end
            return False
        self._data += data
        # A character may come in two parts.
        self.shown = self._data.decode("utf-8", "ignore")
        return bool(data)
