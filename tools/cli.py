"""`tally`: the root command. Groups are imported when used, so that every start is fast."""

import errno
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import click

from tools.exits import ERROR, Interrupted, InvalidUsage, ToolError
from tools.options import LazyGroup, WordOption
from tools.output import printable
from tools.words import describe_error, say, select_language, tell_detail

# What `LazyGroup` wants to know of the commands.
COMMANDS = {
    "admin": "admin:command",
    "audit": "audit:command",
    "bench": "bench:command",
    "completion": "completion:command",
    "contract": "contract:command",
    "crs": "records.crs:command",
    "dataset": "records.dataset:command",
    "demo": "demo:command",
    "doctor": "doctor:command",
    "gateway": "gateway.command:command",
    "keys": "keys:command",
    "localnet": "localnet:command",
    "member": "governance.member:command",
    "node": "node:command",
    "officer": "officer:command",
    "reciprocity": "exchange.reciprocity:command",
}


class Root(LazyGroup):
    """Chooses the language, turns errors into exit codes."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Run; every `ToolError` becomes a message and its exit code."""
        _open_streams()
        arguments = list(sys.argv[1:] if args is None else args)
        select_language(arguments)
        try:
            return super().main(arguments, *rest, **extra)
        except ToolError as error:
            _fail(error, "--json" in arguments)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Parse the options before the command. NO_COLOR, whatever it says: no colours."""
        try:
            context = super().make_context(*args, **extra)
            context.color = False if os.environ.get("NO_COLOR") else context.color
            return context
        except click.UsageError as error:
            raise _usage(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; Ctrl-C and what the system refuses are errors like all others."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _usage(error) from None
        except (KeyboardInterrupt, click.Abort):
            raise Interrupted("interrupted", "") from None
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # the reader of our output is gone: click ends quietly
            detail = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise ToolError("system-refused", detail) from None


def _usage(error: click.UsageError) -> Exception:
    """The same as one of our errors; a group without a command shows its help instead."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error
    return InvalidUsage("usage-invalid", _describe_usage(error))


def _describe_usage(error: click.UsageError) -> str:
    """What is wrong, in the chosen language."""
    if isinstance(error, click.NoSuchOption):
        told, similar = say("usage.no_option", name=error.option_name), error.possibilities
    elif isinstance(error, click.exceptions.NoSuchCommand):
        told, similar = say("usage.no_command", name=error.command_name), error.possibilities
    elif isinstance(error, click.BadParameter) and error.param is not None:
        told, similar = _describe_parameter(error, error.param), None
    else:
        return error.format_message()
    return told + (say("usage.similar", names=" / ".join(similar)) if similar else "")


def _describe_parameter(error: click.BadParameter, parameter: click.Parameter) -> str:
    hint = parameter.get_error_hint(None)  # the name, not what it may be
    kind = parameter.type
    if isinstance(error, click.MissingParameter):
        return say("usage.missing", hint=hint)
    if isinstance(kind, click.Choice):
        return say("usage.choice", hint=hint, choices=", ".join(map(str, kind.choices)))
    if isinstance(kind, click.IntRange):
        limits = " … ".join("" if end is None else f"{end:,}" for end in (kind.min, kind.max))
        return say("usage.range", hint=hint, limits=limits)
    return say("usage.value", hint=hint, reason=tell_detail("", error.message))


def _open_streams() -> None:
    """Give every standard stream a file: one that is closed would lend its number to a socket."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            file = Path(os.devnull).open(mode)  # noqa: SIM115 - as long as the process
            # Programs that take our place must not find the number free again.
            os.set_inheritable(file.fileno(), True)
            setattr(sys, name, file)


def _fail(error: ToolError, as_json: bool) -> NoReturn:
    """Say what is wrong and what to do about it, and exit."""
    title, advice = describe_error(error.code)
    detail = tell_detail(error.code, error.detail)
    if not title:
        # Only the node knows its words for a code of its own.
        title, advice = error.title or say("word.unknown"), error.advice
    if as_json:
        document = {
            "code": error.code,
            "title": title,
            "detail": detail,
            "advice": advice,
            "exit_code": error.exit_code,
            **error.facts,
        }
        # Nowhere to write to may be the very error.
        with suppress(OSError):
            click.echo(json.dumps({"error": document}, ensure_ascii=False))
    first, *more = printable(detail).split("\n")
    parts = filter(None, (say("word.error"), printable(title), first))
    lines = [f"{say('word.colon').join(parts)} [{printable(error.code)}]", *more]
    click.echo("\n".join(filter(None, (*lines, printable(advice)))), err=True)
    sys.exit(error.exit_code or ERROR)


@click.group(cls=Root, places=COMMANDS, words="help.", help="help.tally")
@click.version_option(package_name="tallystick", cls=WordOption, help="option.version")
def main() -> None:
    """Run `tally`."""
    if not __debug__:
        raise ToolError("python-optimized", "-O")


if __name__ == "__main__":
    main()
