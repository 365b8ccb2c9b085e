"""`tally`: the root command. Groups are imported when used, so that every start is fast."""

import importlib
import json
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from tools.exits import ERROR, ToolError
from tools.output import WordGroup
from tools.words import say, select_language

# Name of the command: module under `tools.commands` that holds it as `command`.
COMMANDS = {
    "audit": "audit",
    "bench": "bench",
    "completion": "completion",
    "demo": "demo",
    "keys": "keys",
    "localnet": "localnet",
    "node": "node",
    "officer": "officer",
}


class Root(WordGroup):
    """Loads commands on demand, chooses the language, turns errors into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"tools.commands.{COMMANDS[cmd_name]}")
        command: click.Command = module.command
        return command

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Run; every `ToolError` and `LedgerError` becomes a message and its exit code."""
        arguments = list(sys.argv[1:] if args is None else args)
        select_language(arguments)
        try:
            return super().main(arguments, *rest, **extra)
        except ToolError as error:
            _fail(error.code, str(error), error.exit_code, "--json" in arguments)


def _fail(code: str, text: str, exit_code: int, as_json: bool) -> NoReturn:
    if as_json:
        document = {"error": {"code": code, "message": text, "exit_code": exit_code}}
        click.echo(json.dumps(document, ensure_ascii=False))
    click.echo(f"{say('word.error')}: {text} [{code}]", err=True)
    sys.exit(exit_code or ERROR)


@click.group(cls=Root, help="help.tally", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tallystick")
def main() -> None:
    """Run `tally`."""
    if not __debug__:
        raise ToolError("python-optimized", say("error.optimized"))


if __name__ == "__main__":
    main()
