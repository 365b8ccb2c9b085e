"""`tally completion`: the script that makes a shell complete commands and options."""

import click
from click.shell_completion import get_completion_class

from tools.options import WordCommand


@click.command(cls=WordCommand, help="help.completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script."""
    kind = get_completion_class(shell)
    assert kind is not None, "click knows the three shells"
    click.echo(kind(ctx.find_root().command, {}, "tally", "_TALLY_COMPLETE").source())
