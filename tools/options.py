"""What commands are made of: options, groups and their help, in words of the catalogue."""

import copy
import os
import re
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click
from click.exceptions import NoSuchCommand
from click.shell_completion import CompletionItem

from tools.output import wrap_cells
from tools.words import LANGUAGES, say

F = TypeVar("F", bound=Callable[..., Any])
# click's mark of a paragraph that is wrapped already.
_AS_IT_IS = "\b\n"
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
        key = self.help
        self.help = say(key) if key else None
        try:
            super().format_help_text(ctx, formatter)
        finally:
            self.help = key

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
