"""`tally node`: the daemon in the place of this process, and the activation of its key."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click

from tools.exits import FailedNode, Interrupted
from tools.output import WordGroup, common, emit, option
from tools.words import say

CONFIG = option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="option.config",
)


@click.group(cls=WordGroup, help="help.node")
def command() -> None:
    """Group."""


@command.command("run", help="help.node_run")
@CONFIG
def run(config: Path) -> None:
    """Become the node; signals reach it directly."""
    os.execv(sys.executable, _node(config))  # noqa: S606 - our own program, no shell


@command.command("activate", help="help.node_activate")
@CONFIG
@option("--yes", is_flag=True, help="option.yes")
@common
def activate(config: Path, yes: bool, as_json: bool) -> None:
    """Allow this node's consensus key to sign on this machine, after a warning."""
    if not yes:
        click.echo(say("node.activate_warning"), err=True)
        if not click.confirm(say("node.activate_question"), default=False, err=True):
            raise Interrupted("not-activated", str(config))
    done = subprocess.run(  # noqa: S603 - our own program, no shell
        [*_node(config), "--activate"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise FailedNode("activation-refused", done.stderr.strip())
    document = json.loads(done.stdout)
    emit(as_json, document, say(f"node.activated_{document['outcome']}", **document))


def _node(config: Path) -> list[str]:
    return [sys.executable, "-m", "node", "--config", str(config)]
