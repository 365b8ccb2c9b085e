"""What commands share: options, words in help texts, tables, JSON, progress on stderr."""

import asyncio
import copy
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
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
from click.exceptions import NoSuchCommand
from click.shell_completion import CompletionItem

from tools.exits import FailedNode, ToolError
from tools.words import LANGUAGES, say

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


BAR_CELLS_MAX = 36
BAR_CELLS_MIN = 5
CELLS_DEFAULT = 80
# Between two pictures of a bar.
REDRAW_S = 0.1
# click's mark of a paragraph that is wrapped already.
_AS_IT_IS = "\b\n"
_WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
_OPENING, _CLOSING = r"\[（《「“", r"，。；：、！？）》」”…\]"
# What stays together in a line: a word, or one Chinese character, with its punctuation.
_UNIT = re.compile(
    rf"\s+|[{_OPENING}]*(?:[^\s{_WIDE}{_OPENING}{_CLOSING}]+|[^\s{_CLOSING}])[{_CLOSING}]*|\S"
)
_SENTENCE = re.compile(r".*?(?:。|\.(?=\s|$))", re.DOTALL)


class WordOption(click.Option):
    """An option whose help is a key of the catalogue, read when help is shown."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Help in the chosen language."""
        shown = copy.copy(self)
        shown.help = say(self.help) if self.help else None
        return click.Option.get_help_record(shown, ctx)

    def get_help_extra(self, ctx: click.Context) -> click.types.OptionHelpExtra:
        """What stands in brackets, in the chosen language."""
        extra = super().get_help_extra(ctx)
        if "required" in extra:
            extra["required"] = say("word.required")
        if "default" in extra:
            # click would put its own word before it.
            told = say("word.default", default=extra.pop("default"))
            extra["range"] = "; ".join(filter(None, (told, extra.get("range"))))
        return extra


class WordFormatter(click.HelpFormatter):
    """Help pages with headings in the chosen language, and lines no wider than the terminal."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """The usage line."""
        del prefix
        super().write_usage(prog, args, say("word.usage"))

    def write_heading(self, heading: str) -> None:
        """The heading of a section, by click's own word for it."""
        words = {"Options": "word.options", "Commands": "word.commands"}
        self.write(f"{'':>{self.current_indent}}{say(words[heading])}\n")

    def write_text(self, text: str) -> None:
        """A paragraph."""
        super().write_text(_AS_IT_IS + wrap_cells(text, self.width - self.current_indent))

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Names and what they mean, in two columns."""
        pairs = list(rows)
        first = min(max(len(name) for name, _ in pairs), col_max) + col_spacing
        width = max(self.width - self.current_indent - first, 10)
        told = [(name, text and _AS_IT_IS + wrap_cells(text, width)) for name, text in pairs]
        super().write_dl(told, col_max, col_spacing)


class WordContext(click.Context):
    """Context of commands whose help is in words of the catalogue."""

    formatter_class = WordFormatter


def _show_help(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    del parameter
    if value and not ctx.resilient_parsing:
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()


_HELP = WordOption(
    ["--help", "-h"],
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_help,
    help="option.help",
)
# Accepted everywhere; the root command has read it before any command is parsed.
_LANG = WordOption(["--lang"], type=click.Choice(LANGUAGES), expose_value=False, help="option.lang")


class WordCommand(click.Command):
    """A command whose help is a key of the catalogue."""

    context_class = WordContext

    def get_help_option(self, ctx: click.Context) -> click.Option:
        """`--help` in the chosen language."""
        del ctx
        return _HELP

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own and `--lang`."""
        return [_LANG, *super().get_params(ctx)]

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Help in the chosen language."""
        show = super().format_help_text
        _in_words(self, lambda: show(ctx, formatter))

    def get_short_help_str(self, limit: int = 45) -> str:
        """First sentence in the chosen language, whole: a list of commands has more lines."""
        del limit
        text = say(self.help) if self.help else ""
        found = _SENTENCE.match(text)
        return found.group() if found else text


class WordGroup(WordCommand, click.Group):
    """A group whose help is a key of the catalogue."""

    command_class = WordCommand


class LazyGroup(WordGroup):
    """A group that imports a command when it is used: a question should not wait for all others.

    `places` has the name of each with its module below `tools.commands` and what it is called
    there (`copies.replay:merge`). The help of each is the key `words` and its name: a list of
    commands, and a shell that completes one, need no import.
    """

    def __init__(self, *given: Any, places: Mapping[str, str], words: str, **settings: Any) -> None:
        super().__init__(*given, **settings)
        self.places = places
        self._words = words

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return sorted([*self.places, *super().list_commands(ctx)])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in self.places:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self.places[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"tools.commands.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is named first; the error for one that is not there has similar ones."""
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as error:
            names = self.list_commands(ctx)  # click looks at those alone that stand here
            raise NoSuchCommand(error.command_name, possibilities=names, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands."""
        WordGroup(commands=self.listed()).format_commands(ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands and options that begin so."""
        found = [
            CompletionItem(name, help=command.get_short_help_str())
            for name, command in sorted(self.listed().items())
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def listed(self) -> dict[str, click.Command]:
        """All commands; those that would be imported, as their help alone."""
        names = {name: name.replace("-", "_") for name in self.places}
        return {
            **self.commands,
            **{name: WordCommand(name, help=self._words + key) for name, key in names.items()},
        }


def _in_words(command: click.Command, show: Callable[[], T]) -> T:
    key = command.help
    command.help = say(key) if key else None
    try:
        return show()
    finally:
        command.help = key


def option(*names: str, **settings: Any) -> Callable[[F], F]:
    """`click.option` with a key of the catalogue as help."""
    return click.option(*names, cls=WordOption, **settings)


def common(function: F) -> F:
    """Add `--json` (parameter `as_json`)."""
    return option("--json", "as_json", is_flag=True, help="option.json")(function)


LOCALNET = Path("localnet")

directory_option = option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=LOCALNET,
    show_default=True,
    help="option.dir",
)
jobs_option = option(
    "--jobs", type=click.IntRange(1, 256), default=os.cpu_count() or 1, help="option.jobs"
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
