"""`tally localnet`: a whole network on this machine."""

from dataclasses import asdict
from pathlib import Path

import click

from ledger.errors import InvalidGenesis
from tools.exits import FailedNode, InvalidInput
from tools.founding import read_source
from tools.gateway.local import GatewayState, LocalGateways, vote_in
from tools.governance.freezes import read_freezes, tell_freezes
from tools.localnet import Localnet, NodeState, create_network, shipped_policy_set
from tools.options import LOCALNET, WordGroup, common, directory_option, option
from tools.output import emit, format_table, progress, run
from tools.words import say


@click.group(cls=WordGroup, help="help.localnet")
def command() -> None:
    """Group."""


@command.command("init", help="help.localnet_init")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=LOCALNET)
@option("--nodes", type=click.IntRange(4, 30), default=4, show_default=True, help="option.nodes")
@option("--source", type=click.Path(path_type=Path, dir_okay=False), help="option.source")
@common
def init(directory: Path, nodes: int, source: Path | None, as_json: bool) -> None:
    """Make keys, genesis and configurations."""
    try:
        network = create_network(
            directory, source=read_source(source), nodes=nodes, policy_set=shipped_policy_set()
        )
    except InvalidGenesis as error:
        raise InvalidInput("genesis-invalid", str(error)) from None
    document = {"directory": str(directory), "network": network.index.network, "nodes": nodes}
    emit(as_json, document, say("localnet.made", directory=directory, nodes=nodes))


@command.command("add", help="help.localnet_add")
@click.argument("member")
@directory_option
@common
def add(directory: Path, member: str, as_json: bool) -> None:
    """Make one more node and its application."""
    path = Localnet(directory.resolve()).add_node(member)
    text = say("localnet.added", member=member, application=path)
    emit(as_json, {"member": member, "application": str(path)}, text)


@command.command("gateways", help="help.localnet_gateways")
@option("--members", multiple=True, help="option.gateway_members")
@directory_option
@common
def gateways(directory: Path, members: tuple[str, ...], as_json: bool) -> None:
    """Make gateways, have them voted in, and start them."""
    network = Localnet(directory.resolve())
    made = LocalGateways(network)
    wanted = [member for each in members for member in each.split(",")] or network.members
    applications = made.make(wanted)
    network.wait_ready()
    run(vote_in(network, applications))
    made.start()
    made.wait_ready()
    states = made.status()
    document = {"gateways": [asdict(state) for state in states]}
    emit(as_json, document, say("localnet.gateways_ready", count=len(states)))
    if not as_json:
        _show_gateways(states)


@command.command("up", help="help.localnet_up")
@directory_option
@common
def up(directory: Path, as_json: bool) -> None:
    """Start all nodes and wait until they are ready."""
    network = Localnet(directory.resolve())
    beside = LocalGateways(network)
    started = network.start()
    ready: list[str] = []
    with progress("localnet.starting") as bar:

        def on_ready(member: str) -> None:
            ready.append(member)
            bar(len(ready), len(network.members))

        network.wait_ready(on_ready=on_ready)
    beside.start()
    beside.wait_ready()
    document = {
        "started": started,
        "ready": ready,
        "gateways": list(beside.members),
        "api": {node.member: node.api for node in network.index.nodes},
    }
    emit(as_json, document, say("localnet.ready", count=len(ready)))
    if not as_json:
        _show(network.status())
        _show_gateways(beside.status())


@command.command("down", help="help.localnet_down")
@directory_option
@common
def down(directory: Path, as_json: bool) -> None:
    """Stop all nodes."""
    network = Localnet(directory.resolve())
    beside = LocalGateways(network)
    running = [member for member in network.members if network.pid(member)]
    # First, so that they need not look for nodes that are gone.
    gateways = [member for member in beside.members if beside.pid(member)]
    killed = [*beside.stop(), *network.stop()]
    document = {"stopped": running, "gateways": gateways, "killed": killed}
    text = say("localnet.down", count=len(running), gateways=len(gateways))
    emit(as_json, document, text)
    if killed:
        raise FailedNode("node-killed", ", ".join(killed))


@command.command("status", help="help.localnet_status")
@directory_option
@common
def status(directory: Path, as_json: bool) -> None:
    """Show every node."""
    network = Localnet(directory.resolve())
    states, beside = network.status(), LocalGateways(network).status()
    if as_json:
        document = {
            "network": network.index.network,
            "nodes": [asdict(state) for state in states],
            "gateways": [asdict(state) for state in beside],
        }
        emit(True, document, "")
    else:
        _show(states)
        answers = [state.status for state in states if state.status]
        frozen = [line for answer in answers for line in tell_freezes(read_freezes(answer))]
        click.echo("\n".join(dict.fromkeys(frozen)), nl=bool(frozen))
        _show_gateways(beside)


def _show_gateways(states: list[GatewayState]) -> None:
    """A table of the gateways, if there are any."""
    if not states:
        return
    head = [say(f"column.{name}") for name in ("own_gateway", "state", "pid", "height", "socket")]
    rows = [
        [
            state.member,
            say(f"state.{_word_of(bool(state.height), state.pid)}"),
            str(state.pid or "-"),
            str(state.height or "-"),
            state.socket,
        ]
        for state in states
    ]
    click.echo("\n" + format_table(head, rows))


def _word_of(ready: bool, pid: int) -> str:
    return "ready" if ready else "starting" if pid else "down"


def _show(states: list[NodeState]) -> None:
    head = [say(f"column.{name}") for name in ("member", "state", "pid", "height", "api")]
    rows = [
        [
            state.member,
            say(f"state.{_word_of(state.ready, state.pid)}"),
            str(state.pid or "-"),
            str(state.status.get("height", "-")),
            state.api,
        ]
        for state in states
    ]
    click.echo(format_table(head, rows))
