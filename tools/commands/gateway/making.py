"""`tally gateway init`: keys, configuration, and what the members vote on."""

from pathlib import Path

import click

from ledger.genesis import hash_genesis
from ledger.keys import fingerprint, format_public_key
from tools.custody.making import KeyMaker
from tools.custody.passphrase import Ways, passphrase_options
from tools.exits import InvalidInput
from tools.gateway.making import (
    APPLICATION,
    CONFIG,
    SUBJECT_FIELDS,
    GatewayPlan,
    check_new,
    folder_connector,
    folder_receiver,
    make_gateway,
)
from tools.mirror import read_genesis
from tools.options import WordCommand, common, option
from tools.output import emit
from tools.words import say


@click.command("init", cls=WordCommand, help="help.gateway_init")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@option("--member", required=True, help="option.own_member")
@option("--node", default="http://127.0.0.1:7201", show_default=True, help="option.url")
@option("--listen", required=True, help="option.gateway_listen")
@option("--genesis", type=click.Path(path_type=Path, dir_okay=False), required=True,
        help="option.genesis")  # fmt: skip
@option(
    "--dataset",
    "datasets",
    type=click.Choice(list(SUBJECT_FIELDS)),
    multiple=True,
    help="option.gateway_dataset",
)
@option("--plain", is_flag=True, help="option.plain")
@passphrase_options
@common
def init(
    directory: Path,
    member: str,
    node: str,
    listen: str,
    genesis: Path,
    datasets: tuple[str, ...],
    plain: bool,
    ways: Ways,
    as_json: bool,
) -> None:
    """Make a gateway; the file that it writes is what the members vote on."""
    host, _, port = listen.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise InvalidInput("listen-invalid", listen)
    plan = GatewayPlan(
        member=member,
        node=node,
        listen=listen,
        datasets={name: folder_connector(name) for name in dict.fromkeys(datasets)},
        receiver=folder_receiver(),
        settings={"keys": _settings_of(ways)},
    )
    maker = KeyMaker(plain=plain, ways=ways)
    network = hash_genesis(read_genesis(genesis))
    check_new(directory)
    maker.prepare(directory / "keys")
    made = make_gateway(directory, plan, network=network, maker=maker)
    key = made.officer.officer.key
    document = {
        "config": str(directory / CONFIG),
        "application": str(directory / APPLICATION),
        "member": member,
        "network": network.hex(),
        "officer": format_public_key(key),
        "fingerprint": fingerprint(key),
    }
    text = say("gateway.made", **document)
    if not plain and ways.asks:
        text += "\n" + say("gateway.phrase_first", config=document["config"])
    emit(as_json, document, text)


def _settings_of(ways: Ways) -> dict[str, str]:
    """A daemon asks nobody: it gets the pass phrase as this command did."""
    if ways.file is not None:
        return {"passphrase_file": str(ways.file.resolve())}
    return {"credential": ways.credential} if ways.credential else {}


COMMANDS = (init,)
