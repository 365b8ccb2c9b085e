"""The home folder of a founding agency: its keys never leave it.

    HOME/founder.json            handed to who assembles the genesis
    HOME/officers/MEMBER-ROLE.key
    HOME/nodes/MEMBER/keys/, and keys.toml (`tools.custody.node_keys`)
    HOME/signature.json          written by `sign`, handed to all other founders

`finish` adds what makes it a network of one node on this machine (`tools.localnet`): genesis,
signatures of all founders, configuration and index.
"""

import datetime as dt
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ledger.codec import Value
from ledger.errors import InvalidFounding
from ledger.genesis import Genesis, hash_genesis
from ledger.keys import Signer, format_public_key
from ledger.quorum.founding import (
    GenesisSignatures,
    derive_log_key,
    encode_signatures,
    merge_signatures,
    sign_genesis,
    verify_founders,
)
from ledger.registry import MemberKind, Role
from ledger.scalars import PeerAddress
from tools.custody.making import KeyMaker
from tools.custody.node_keys import recall, remember, settings_of
from tools.custody.node_tokens import NODE_KEYS, NodeTokens
from tools.custody.signer import describe_key
from tools.exits import InvalidInput, InvalidUsage, NotFound
from tools.found.assemble import find_changes
from tools.found.founder import (
    ROLES,
    FounderFile,
    FoundingMember,
    FoundingNode,
    encode_founder,
    host_of,
    make_founder,
    read_founder,
)
from tools.founding import (
    LOOPBACK,
    encode_application,
    make_application,
    new_node,
    new_secret_key,
    read_file,
    read_signatures,
)
from tools.localnet import (
    NetworkIndex,
    NodeIndex,
    write_genesis,
    write_index,
    write_node,
    write_node_keys,
    write_officers,
)

FOUNDER = "founder.json"
SIGNATURE = "signature.json"
APPLICATION = "application.json"
CARD_BYTES_MAX = 65_536
OPTIONS = "--member ..."


class Card(Value, frozen=True, kw_only=True):
    """What an agency says of itself, in options or in a TOML file."""

    member: str
    name_zh: str
    name_en: str
    region: str
    origin: str
    kind: MemberKind = "tax"
    address: str = ""
    roles: tuple[Role, ...] = ROLES
    node: bool = True


def read_card(path: Path | None, given: Mapping[str, Any]) -> Card:
    """The card in a file, if one is named, with the values given in its place."""
    values: dict[str, Any] = {}
    if path is not None:
        data = read_file(path, size_bytes_max=CARD_BYTES_MAX)
        try:
            values = tomllib.loads(data.decode())
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InvalidInput("founder-data-invalid", f"{path}: {error}") from None
    values |= given
    needed = ["member", "name_zh", "name_en", "region", "origin"]
    if values.get("node", True):
        needed.append("address")
    missing = [f"--{name.replace('_', '-')}" for name in needed if not values.get(name)]
    if missing:
        raise InvalidUsage("founder-incomplete", ", ".join(missing))
    try:
        card = msgspec.convert(values, Card)
    except msgspec.ValidationError as error:
        raise InvalidInput("founder-data-invalid", f"{path or OPTIONS}: {error}") from None
    if card.node and "admin" not in card.roles:
        raise InvalidUsage("founder-incomplete", "--role admin")
    return card


def make_home(
    directory: Path,
    card: Card,
    *,
    now: dt.datetime,
    maker: KeyMaker,
    node_maker: KeyMaker,
    held: NodeTokens,
) -> FounderFile:
    """Make all keys of an agency and its founder file, which is written last.

    Keys on tokens have no files. How the node's are kept is remembered for `Home.finish`.
    """
    if (directory / FOUNDER).exists():
        raise InvalidInput("home-exists", str(directory))
    on_tokens = maker.open_tokens(card.roles.count("admin"))
    made = {role: new_secret_key() for role in card.roles if role != "admin" or not on_tokens}
    officers: dict[Role, Signer] = {
        role: made[role] if role in made else on_tokens[0] for role in card.roles
    }
    node = (
        new_node(card.member, now, host=host_of(card.address), **held.open()) if card.node else None
    )
    file = make_founder(
        FoundingMember(
            id=card.member,
            name_zh=card.name_zh,
            name_en=card.name_en,
            region=card.region,
            kind=card.kind,
        ),
        origin=card.origin,
        officers=officers,
        node=node,
        address=card.address,
    )
    if made:
        maker.prepare(directory / "officers")
    place = directory / "nodes" / card.member
    if node is not None:
        node_maker.prepare(place)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_officers(directory, {(card.member, role): key for role, key in made.items()}, maker)
    if node is not None:
        write_node_keys(place, node, node_maker)
        remember(place, settings_of(node_maker, held))
    (directory / FOUNDER).write_bytes(encode_founder(file))
    return file


class Home:
    """An agency's home folder. Raises `NotFound` if it is none."""

    def __init__(self, directory: Path) -> None:
        if not (directory / FOUNDER).exists():
            raise NotFound("home-not-found", str(directory))
        self.directory = directory
        self.file = read_founder(directory / FOUNDER)

    @property
    def member(self) -> str:
        """The agency."""
        return self.file.founder.member.id

    @property
    def admin_key_path(self) -> Path:
        """Key file of the officer who signs the genesis."""
        return self.directory / "officers" / f"{self.member}-admin.key"

    def verify_entry(self, genesis: Genesis) -> None:
        """The genesis says of this agency what it handed in. Raises `InvalidInput`."""
        changes = find_changes(genesis, self.file)
        if changes:
            raise InvalidInput("founder-changed", f"{self.member}\n" + "\n".join(changes))

    def sign(self, genesis: Genesis, key: Signer) -> Path:
        """Write this founder's signature under the genesis, and return its path."""
        self.verify_entry(genesis)
        node = self._node()
        if key.public not in (
            officer.key for officer in self.file.founder.officers if "admin" in officer.roles
        ):
            raise InvalidInput("key-not-admin", str(self.directory))
        path = self.directory / SIGNATURE
        signature = sign_genesis(key, genesis, member=self.member, address=node.address)
        path.write_bytes(encode_signatures(signature))
        return path

    def finish(
        self,
        genesis: Genesis,
        signatures: GenesisSignatures,
        *,
        listen: str,
        api: str,
        metrics: str,
        held: NodeTokens,
    ) -> Path | None:
        """Write genesis, signatures, configuration and index; returns the path of node.toml.

        `signatures` are those of all founders, verified. An agency without a node has no
        configuration. Tokens that `held` does not name are those that `make_home` was given.
        """
        if (self.directory / "network.toml").exists():
            raise InvalidInput("network-exists", str(self.directory))
        self.verify_entry(genesis)
        check_places(listen, api, metrics)
        keys = {**recall(self.directory / "nodes" / self.member).as_table(), **held.uris}
        self._verify_keys(keys)
        write_genesis(self.directory, genesis, signatures)
        if self.file.founder.node is None:
            return None
        addresses = {each.member: each.address for each in signatures.signatures}
        place = NodeIndex(
            member=self.member,
            api=f"http://{api}",
            peers=addresses[self.member],
            metrics=metrics,
        )
        return settle_node(self.directory, genesis, place, addresses, listen=listen, keys=keys)

    def _verify_keys(self, named: Mapping[str, str]) -> None:
        """Each key that was handed in is in its file or on the token named for it."""
        node = self.file.founder.node
        if node is None:
            return
        keys = self.directory / "nodes" / self.member / "keys"
        for name in NODE_KEYS:
            wanted = getattr(node.validator, f"{name}_key")
            if name in named:
                info = describe_key(named[name])
                if info.public_key != format_public_key(wanted):
                    raise InvalidInput("node-key-other", f"{name}: {info.reference}")
            elif not (keys / f"{name}.key").exists():
                raise InvalidInput("node-key-missing", f"--{name}-token")

    def _node(self) -> FoundingNode:
        node = self.file.founder.node
        if node is None:
            raise InvalidInput("founder-without-node", self.member)
        return node


def join_network(
    directory: Path,
    genesis: Genesis,
    signatures: GenesisSignatures,
    *,
    member: str,
    address: str,
    listen: str,
    api: str,
    metrics: str,
    now: dt.datetime,
    maker: KeyMaker,
    held: NodeTokens,
    replaces: bool = False,
) -> Path:
    """Make the node of an agency that joins later; returns its application to the members.

    Or, if it `replaces` the agency's former one, another node with keys of its own.

    `signatures` are those of all founders, verified: they tell where the founders' nodes are.
    Nodes that joined since are found on the ledger. The folder may hold the agency's officers.
    """
    if (directory / "network.toml").exists():
        raise InvalidInput("network-exists", str(directory))
    check_places(address, api, metrics)
    check_places(listen, api, metrics)
    addresses = {each.member: each.address for each in signatures.signatures}
    if member in addresses and not replaces:
        raise InvalidInput("node-exists", member)
    node = new_node(member, now, host=host_of(address), **held.open())
    application = make_application(node, network=hash_genesis(genesis), address=address)
    folder = directory / "nodes" / member
    maker.prepare(folder)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_genesis(directory, genesis, signatures)
    write_node_keys(folder, node, maker)
    path = folder / APPLICATION
    path.write_bytes(encode_application(application))
    place = NodeIndex(member=member, api=f"http://{api}", peers=address, metrics=metrics)
    keys = settings_of(maker, held).as_table()
    settle_node(directory, genesis, place, addresses, listen=listen, keys=keys, replaces=replaces)
    return path


def settle_node(
    directory: Path,
    genesis: Genesis,
    place: NodeIndex,
    addresses: Mapping[str, str],
    *,
    listen: str,
    keys: Mapping[str, str],
    replaces: bool = False,
) -> Path:
    """Write the configuration of a node whose keys are there, then the index of its folder."""
    listen = listen or _listen_at(place.peers)
    log_key = derive_log_key(genesis)
    write_node(directory, place, addresses, log_key, listen=listen, keys=keys, replaces=replaces)
    index = NetworkIndex(
        name=genesis.name,
        network=hash_genesis(genesis).hex(),
        genesis="genesis.json",
        nodes=(place,),
    )
    write_index(directory, index)
    return directory / "nodes" / place.member / "node.toml"


def check_places(peers: str, api: str, metrics: str) -> None:
    """Check addresses that a user gave; only peers may come from other machines."""
    for address in filter(None, (peers, api, metrics)):
        try:
            msgspec.convert(address, PeerAddress)
        except msgspec.ValidationError:
            raise InvalidUsage("address-invalid", address) from None
    for address in (api, metrics):
        if host_of(address) not in LOOPBACK:
            raise InvalidUsage("address-not-local", address)


def collect_signatures(genesis: Genesis, paths: Sequence[Path]) -> GenesisSignatures:
    """The signatures of all founders from these files. Raises `InvalidInput`."""
    network = hash_genesis(genesis).hex()
    files = []
    for path in paths:
        file = read_signatures(path)
        if file.network != network:
            raise InvalidInput("signatures-other-network", f"{path}: {file.network}, not {network}")
        files.append(file)
    try:
        signatures = merge_signatures(files)
        verify_founders(genesis, signatures)
    except InvalidFounding as error:
        raise InvalidInput("signatures-invalid", "\n".join(("", *error.faults))) from None
    return signatures


def _listen_at(address: str) -> str:
    """An address that can be listened at: host names may be those of a gateway."""
    host, port = host_of(address), address.rpartition(":")[2]
    is_local = host in LOOPBACK or not any(char.isalpha() for char in host) or ":" in host
    return address if is_local else f"0.0.0.0:{port}"
