"""`tally admin found`: the steps of founding a network, each on the machine of its founder."""

import datetime as dt
from pathlib import Path
from typing import Any, get_args

import click

from contracts.shipped import load_shipped
from ledger.errors import InvalidGenesis
from ledger.genesis import Genesis, encode_genesis_json, hash_genesis
from ledger.keys import fingerprint, format_public_key
from ledger.registry import MemberKind, Role
from tools.custody.making import KeyMaker, making_options
from tools.custody.node_keys import node_phrase_options, tell_phrase
from tools.custody.node_tokens import NodeTokens, node_token_options
from tools.custody.passphrase import Ways, passphrase_options
from tools.custody.signer import open_signer
from tools.exits import Interrupted, InvalidInput
from tools.found.assemble import NamedFile, assemble, read_policies, verify_contracts
from tools.found.founder import read_founder
from tools.found.home import (
    FOUNDER,
    Home,
    collect_signatures,
    make_home,
    read_card,
)
from tools.found.show import describe_genesis, format_genesis
from tools.founding import read_source
from tools.mirror import read_genesis
from tools.options import WordGroup, common, option
from tools.output import confirm, emit
from tools.words import say

PATH = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)

home_option = option("--home", type=FOLDER, required=True, help="option.home")


@click.group("found", cls=WordGroup, help="help.found")
def command() -> None:
    """Group."""


@command.command("init", help="help.found_init")
@click.argument("directory", type=FOLDER)
@option("--from", "card", type=PATH, help="option.card")
@option("--member", help="option.own_member")
@option("--name-zh", help="option.name_zh")
@option("--name-en", help="option.name_en")
@option("--region", help="option.region")
@option("--kind", type=click.Choice(get_args(MemberKind)), help="option.member_kind")
@option("--origin", help="option.origin")
@option("--address", help="option.address")
@option(
    "--role", "roles", type=click.Choice(get_args(Role)), multiple=True, help="option.officer_role"
)
@option("--no-node", is_flag=True, help="option.no_node")
@node_token_options()
@node_phrase_options
@making_options
@common
def init(
    directory: Path,
    card: Path | None,
    no_node: bool,
    maker: KeyMaker,
    node_ways: Ways,
    held: NodeTokens,
    as_json: bool,
    **given: Any,
) -> None:
    """Make an agency's keys and its founder file."""
    values = {name: value for name, value in given.items() if value}
    if no_node:
        values["node"] = False
    if "roles" in values:
        values["roles"] = list(dict.fromkeys(values["roles"]))
    now = dt.datetime.now(dt.UTC)
    file = make_home(
        directory,
        read_card(card, values),
        now=now,
        maker=maker,
        node_maker=maker.for_node(node_ways),
        held=held,
    )
    path = directory / FOUNDER
    document = {
        "member": file.founder.member.id,
        "founder": str(path),
        "public_key": format_public_key(file.key),
        "fingerprint": fingerprint(file.key),
    }
    emit(as_json, document, say("found.made", **document))


@command.command("assemble", help="help.found_assemble")
@click.argument("founders", type=PATH, nargs=-1, required=True)
@option("--source", type=PATH, required=True, help="option.founding_source")
@option("--policies", type=FOLDER, help="option.policies")
@option("--out", "-o", type=PATH, default=Path("genesis.json"), help="option.genesis_out")
@common
def assemble_genesis(
    founders: tuple[Path, ...], source: Path, policies: Path | None, out: Path, as_json: bool
) -> None:
    """Make the genesis of a source and founder files."""
    files = [NamedFile(str(path), read_founder(path)) for path in founders]
    if out.exists():
        raise InvalidInput("file-exists", str(out))
    try:
        genesis = assemble(
            read_source(source),
            files,
            policy_set=read_policies(policies) if policies else load_shipped(),
            now=dt.datetime.now(dt.UTC),
        )
    except InvalidGenesis as error:
        raise InvalidInput("genesis-invalid", str(error)) from None
    out.write_bytes(encode_genesis_json(genesis))
    voting = [validator.member for validator in genesis.validators]
    words = {"genesis": str(out), "network": hash_genesis(genesis).hex()}
    text = say("found.assembled", **words, validators=", ".join(voting))
    emit(as_json, {**words, "validators": voting}, text)


@command.command("check", help="help.found_check")
@click.argument("genesis", type=PATH)
@option("--founder", "home", type=FOLDER, help="option.founder_home")
@common
def check(genesis: Path, home: Path | None, as_json: bool) -> None:
    """Show what a genesis says, and whether the own entry is as handed in."""
    document = read_genesis(genesis)
    own = _check(document, Home(home) if home else None, as_json=as_json)
    emit(as_json, {**describe_genesis(document), "own_entry": own}, "")


@command.command("sign", help="help.found_sign")
@click.argument("genesis", type=PATH)
@home_option
@option("--key", help="option.admin_key")
@passphrase_options
@option("--yes", is_flag=True, help="option.yes_read")
@common
def sign(genesis: Path, home: Path, key: str | None, ways: Ways, yes: bool, as_json: bool) -> None:
    """Show a genesis and sign its network id."""
    document, own = read_genesis(genesis), Home(home)
    _check(document, own, as_json=as_json)
    if not yes and not confirm(say("found.sign_question")):
        raise Interrupted("not-signed", str(genesis))
    path = own.sign(document, open_signer(key or str(own.admin_key_path), ways))
    words = {"network": hash_genesis(document).hex(), "member": own.member, "signature": str(path)}
    emit(as_json, words, say("found.signed", **words))


@command.command("finish", help="help.found_finish")
@click.argument("genesis", type=PATH)
@click.argument("signatures", type=PATH, nargs=-1, required=True)
@home_option
@option("--listen", default="", help="option.listen")
@option("--api", default="127.0.0.1:7201", show_default=True, help="option.api_listen")
@option("--metrics", default="127.0.0.1:7301", show_default=True, help="option.metrics_listen")
@node_token_options()
@common
def finish(
    genesis: Path,
    signatures: tuple[Path, ...],
    home: Path,
    held: NodeTokens,
    as_json: bool,
    **places: str,
) -> None:
    """Write the configuration of a node, if all founders signed."""
    document, own = read_genesis(genesis), Home(home)
    config = own.finish(document, collect_signatures(document, signatures), held=held, **places)
    words = {
        "network": hash_genesis(document).hex(),
        "member": own.member,
        "config": str(config or ""),
    }
    text = say("found.finished" if config else "found.finished_without", **words)
    emit(as_json, words, f"{text}\n{tell_phrase(config) if config else ''}".rstrip())


def _check(genesis: Genesis, home: Home | None, *, as_json: bool) -> str:
    """Show the genesis, verify its contracts and the own entry; returns the own member."""
    if not as_json:
        click.echo(format_genesis(genesis))
    verify_contracts(genesis.policy_set)
    if home is None:
        return ""
    home.verify_entry(genesis)
    if not as_json:
        click.echo(say("found.unchanged", member=home.member, founder=home.directory / FOUNDER))
    return home.member
