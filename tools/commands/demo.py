"""`tally demo`: start a network of four regions and tell its story."""

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType

import click

from tools.options import WordCommand, common, option
from tools.output import emit, run
from tools.words import say


@click.command(cls=WordCommand, help="help.demo")
@option("--once", is_flag=True, help="option.once")
@option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="option.dir",
)
@common
def command(once: bool, directory: Path | None, as_json: bool) -> None:
    """Tell the story; stop everything at the end, at Ctrl-C and at SIGTERM."""
    from tools.demo import audit, look_ahead, make_story, play, start_nodes, stop, travel

    def tell(text: str) -> None:
        if not as_json:
            click.echo(text)

    started_s = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(_interrupted_by_sigterm())
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tally-")))
        story = make_story(directory.resolve(), tell)
        try:
            start_nodes(story)
            run(play(story))
            travel(story)
            run(audit(story))
            look_ahead(story)
            story.figures["seconds"] = round(time.monotonic() - started_s, 1)
            if as_json:
                emit(True, story.figures, "")
            if not once:
                tell(say("demo.next", tally=_program(), directory=directory, url=story.url))
                _wait_for_signal()
        finally:
            stopping_s = time.monotonic()
            stop(story)
            seconds = round(time.monotonic() - stopping_s, 1)
            tell(say("demo.stopped", seconds=seconds))


def _wait_for_signal() -> None:
    """Ctrl-C is the ordinary end of a network that stays up."""
    with suppress(KeyboardInterrupt):
        threading.Event().wait()


def _program() -> str:
    """How the reader starts this program: its name if it is on the path, else where it is."""
    return "tally" if shutil.which("tally") else os.path.relpath(sys.argv[0])


class _interrupted_by_sigterm:  # noqa: N801 - used like a function
    """While open, SIGTERM is a Ctrl-C, so that the nodes are stopped."""

    def __enter__(self) -> None:
        def interrupt(number: int, frame: FrameType | None) -> None:
            del number, frame
            raise KeyboardInterrupt

        self._before = signal.signal(signal.SIGTERM, interrupt)

    def __exit__(self, *rest: object) -> None:
        signal.signal(signal.SIGTERM, self._before)
