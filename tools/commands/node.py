"""`tally node`: the daemon in the place of this process, its key's activation, where it stands."""

import datetime as dt
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ledger.genesis import hash_genesis
from tools.client import Client
from tools.commands.acting import Place, parse_hash, place_options
from tools.commands.exchange.pages import fetch_pages
from tools.custody.making import KeyMaker
from tools.custody.node_keys import node_making_options, tell_phrase
from tools.custody.node_tokens import NodeTokens, node_token_options
from tools.exits import FailedNode, Interrupted, InvalidInput
from tools.governance.freezes import read_freezes, tell_freezes
from tools.mirror import read_genesis
from tools.options import WordGroup, common, option
from tools.output import confirm, emit, printable, read_refusal
from tools.output import run as run_task
from tools.stages import Stage, receives, stages_of
from tools.words import catalogue, language, say

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
        if not confirm(say("node.activate_question")):
            raise Interrupted("not-activated", str(config))
    done = subprocess.run(  # noqa: S603 - our own program, no shell
        [*_node(config), "--activate"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise read_refusal(done) or FailedNode("activation-refused", done.stderr.strip())
    document = json.loads(done.stdout)
    emit(as_json, document, say(f"node.activated_{document['outcome']}", **document))


@command.command("join", help="help.node_join")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@option("--member", required=True, help="option.own_member")
@option("--address", required=True, help="option.address")
@option("--genesis", required=True, help="option.genesis_or_url")
@option("--network", help="option.network_id")
@option(
    "--application",
    type=click.Path(path_type=Path, dir_okay=False),
    help="option.own_application",
)
@option("--replace", "replaces", is_flag=True, help="option.replaces")
@option("--listen", default="", help="option.listen")
@option("--api", default="127.0.0.1:7201", show_default=True, help="option.api_listen")
@option("--metrics", default="127.0.0.1:7301", show_default=True, help="option.metrics_listen")
@node_token_options(pin=True)
@node_making_options
@common
def join(
    directory: Path,
    genesis: str,
    network: str | None,
    application: Path | None,
    held: NodeTokens,
    maker: KeyMaker,
    replaces: bool,
    as_json: bool,
    **values: str,
) -> None:
    """Make the node of an agency that joins, and its application to the members."""
    from tools.found.fetch import fetch_founding, is_url
    from tools.found.home import collect_signatures, join_network
    from tools.founding import signatures_path
    from tools.governance.applications import read_admission

    expected = parse_hash(network) if network else None
    if is_url(genesis):
        document, signatures = run_task(
            fetch_founding(genesis, network=expected, application=application)
        )
    else:
        document = read_genesis(Path(genesis))
        found = hash_genesis(document)
        if expected is not None and found != expected:
            raise InvalidInput("genesis-other", f"{genesis}: {found.hex()}, not {network}")
        if application is not None:
            read_admission(application, found)
        signatures = collect_signatures(document, [signatures_path(Path(genesis))])
    now = dt.datetime.now(dt.UTC)
    made = join_network(
        directory,
        document,
        signatures,
        now=now,
        maker=maker,
        held=held,
        replaces=replaces,
        **values,
    )
    config = made.with_name("node.toml")
    words = {
        "member": values["member"],
        "application": str(made),
        "network": hash_genesis(document).hex(),
        "config": str(config),
        "directory": str(directory),
    }
    text = say("node.replacing" if replaces else "node.joined", **words)
    emit(as_json, words, f"{text}\n{tell_phrase(config)}".rstrip())


@command.command("status", help="help.node_status")
@place_options(None)
def status(place: Place, as_json: bool) -> None:
    """Show where a node stands on its way to a vote, and what each step waits for."""

    async def fetch() -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
        async with Client(place.url, read_genesis(place.genesis)) as client:
            node = await client.get_json("/v1/status")
            validators = await client.get_json("/v1/validators")
            members = await fetch_pages(client, "/v1/members", dict[str, Any], {})
            return node, validators, members

    node, validators, members = run_task(fetch())
    stages = stages_of(node, validators, members)
    document = {**node, "stages": [asdict(stage) for stage in stages]}
    lines = [say("stage.head", **{**node, "view": str(node["view"])})]
    document["receives"] = receives(node)
    if not document["receives"]:
        lines.append(say("stage.receives_nothing", height=node["height"]))
    frozen = tell_freezes(read_freezes(node))
    ending = map(format_ending, node["expiring"])
    emit(as_json, document, "\n".join([*lines, *map(_format_stage, stages), *frozen, *ending]))


def format_ending(row: dict[str, Any]) -> str:
    """What ends soon, or has ended."""
    kind = str(row["kind"])
    told = catalogue(language()).get(f"ending.{kind}", kind)
    words = {"what": printable(told), "id": printable(str(row["id"])), "ends": row["ends"]}
    return say("ending.line", **words, days=row["days_left"])


def _format_stage(stage: Stage) -> str:
    name = say(f"stage.{stage.name}")
    if stage.done:
        return f"  \N{CHECK MARK} {name}"
    waits = say(f"stage.waits_{stage.waits_for}", **stage.values)
    return f"  \N{HORIZONTAL ELLIPSIS} {name}: {waits}"


def _node(config: Path) -> list[str]:
    return [sys.executable, "-m", "node", "--config", str(config), "--lang", language()]
