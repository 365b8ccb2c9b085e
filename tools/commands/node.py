"""`tally node`: the daemon in the place of this process."""

import os
import sys
from pathlib import Path

import click

from tools.output import WordGroup, option


@click.group(cls=WordGroup, help="help.node")
def command() -> None:
    """Group."""


@command.command("run", help="help.node_run")
@option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="option.config",
)
def run(config: Path) -> None:
    """Become the node; signals reach it directly."""
    arguments = [sys.executable, "-m", "node", "--config", str(config)]
    os.execv(sys.executable, arguments)  # noqa: S606 - our own program, no shell
