"""What commands tell: JSON or text, tables, notes and progress bars, in cells of a terminal."""

import asyncio
import datetime as dt
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import click
import msgspec

from tools.exits import FailedNode, ToolError
from tools.words import say

T = TypeVar("T")


BAR_CELLS_MAX = 36
BAR_CELLS_MIN = 5
CELLS_DEFAULT = 80
# Between two pictures of a bar.
REDRAW_S = 0.1
_WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
_OPENING, _CLOSING = r"\[（《「“", r"，。；：、！？）》」”…\]"
# What stays together in a line: a word, or one Chinese character, with its punctuation.
_UNIT = re.compile(
    rf"\s+|[{_OPENING}]*(?:[^\s{_WIDE}{_OPENING}{_CLOSING}]+|[^\s{_CLOSING}])[{_CLOSING}]*|\S"
)


def emit(as_json: bool, document: Any, text: str) -> None:
    """Print one JSON document, or `text` for people, to stdout."""
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))
    elif text:
        click.echo(text)


def read_refusal(done: "subprocess.CompletedProcess[str]") -> ToolError | None:
    """The error that a program of the node told on its output, with the program's own words."""
    try:
        told = json.loads(done.stdout)["refused"]
    except (ValueError, KeyError, TypeError):
        return None
    words = {name: told.pop(name) for name in ("code", "detail", "title", "advice")}
    return FailedNode(**words, facts=told)


def user_agent() -> str:
    """Who a node's access log says that asked: `tallystick audit export`, or the bare name."""
    names: list[str] = []
    context = click.get_current_context(silent=True)
    while context is not None and context.parent is not None:
        names.append(context.info_name or "")
        context = context.parent
    return " ".join(("tallystick", *reversed(names)))


def printable(text: str) -> str:
    """Text without control characters: what others wrote must not steer the terminal."""
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else "?" for char in text)


def tell_time(time_ms: int) -> str:
    """A time in UTC, to the second."""
    return f"{dt.datetime.fromtimestamp(time_ms // 1_000, dt.UTC):%Y-%m-%d %H:%M:%SZ}"


def note(text: str) -> None:
    """Tell people something on stderr."""
    click.echo(text, err=True)


def confirm(question: str) -> bool:
    """Whether the answer on the terminal is yes; anything else is no."""
    answer: str = click.prompt(
        f"{question} [y/N]", default="", show_default=False, type=str, err=True
    )
    return answer.strip().lower() in ("y", "yes", "是")


def run(task: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine, on uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(task)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(task)


def run_until_stopped(task: Coroutine[Any, Any, None]) -> None:
    """Run what never ends by itself until it does, or until Ctrl-C or SIGTERM, its ordinary end."""

    async def main() -> None:
        this = asyncio.current_task()
        assert this is not None, "inside a task"
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, this.cancel)
        with suppress(asyncio.CancelledError):
            await task

    run(main())


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned for terminals, where a Chinese character takes two cells."""
    widths = [max(count_cells(row[at]) for row in (head, *rows)) for at in range(len(head))]
    return "\n".join(
        "  ".join(
            cell + " " * (width - count_cells(cell))
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in (head, *rows)
    )


def count_cells(text: str) -> int:
    """How many cells of a terminal a text takes."""
    shown = click.unstyle(text)
    if shown.isascii():
        return len(shown)
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in shown)


def wrap_cells(text: str, width: int) -> str:
    """Text in lines of at most `width` cells; a word that is longer has a line of its own."""
    lines = [""]
    for unit in _UNIT.findall(text):
        if count_cells(lines[-1]) + count_cells(unit.rstrip()) > width and lines[-1]:
            lines.append("")
        lines[-1] += unit if lines[-1] else unit.lstrip()
    return "\n".join(line.rstrip() for line in lines)


class Bar:
    """A progress bar on stderr with rate and time left; silent where stderr is no terminal."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._started_s = time.monotonic()
        self._drawn_s = -math.inf
        self._cells = 0
        self._shown = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` are done."""
        now_s = time.monotonic()
        if not self._shown or (done < total and now_s - self._drawn_s < REDRAW_S):
            return
        self._drawn_s = now_s
        line = progress_line(self._label, done, total, now_s - self._started_s, _terminal_cells())
        # Blanks, since not every terminal knows how to erase.
        blanks = " " * (self._cells - count_cells(line))
        self._cells = count_cells(line)
        click.echo(f"\r{line}{blanks}", nl=False, err=True)

    def clear(self) -> None:
        """Give the line to other output; the next update draws the bar again."""
        if self._cells:
            click.echo(f"\r{' ' * self._cells}\r", nl=False, err=True)
            self._cells, self._drawn_s = 0, -math.inf

    def close(self) -> None:
        """End the line."""
        if self._cells:
            click.echo(err=True)


@contextmanager
def progress(key: str) -> Iterator[Bar]:
    """A progress bar, labelled by a key of the catalogue, that ends with the block."""
    bar = Bar(say(key))
    try:
        yield bar
    finally:
        bar.close()


def progress_line(label: str, done: int, total: int, seconds: float, width: int) -> str:
    """How far something is, in fewer cells than the terminal has, so that no line breaks."""
    rate = done / max(seconds, 1e-3)
    left_s = math.ceil((total - done) / rate) if done else 0
    left = "" if done in (0, total) else f"  {dt.timedelta(seconds=left_s)}"
    figures = f"{done:,}/{total:,}{left}  {rate:,.0f}/s"
    room = width - 1 - count_cells(label) - count_cells(figures) - len("  []  ")
    if room < BAR_CELLS_MIN:
        short = f"{label} {done * 100 // max(total, 1)}%{left}"
        return short if count_cells(short) < width else short[len(label) + 1 :][: width - 1]
    cells = min(room, BAR_CELLS_MAX)
    filled = cells * done // max(total, 1)
    return f"{label}  [{'#' * filled}{'-' * (cells - filled)}]  {figures}"


def _terminal_cells() -> int:
    """Width of the terminal that stderr is."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or CELLS_DEFAULT
    except (OSError, ValueError):
        return CELLS_DEFAULT
