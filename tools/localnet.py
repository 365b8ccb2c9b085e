"""Nodes of a network on this machine: made once in a folder, started and stopped as processes.

All nodes of a network for trial, or the one node of an agency (`tools.found.home`):

    DIR/network.toml            index for the tools: members, API addresses
    DIR/genesis.json            the founding document
    DIR/genesis.signatures.json signatures of all founders
    DIR/officers/MEMBER-ROLE.key
    DIR/nodes/MEMBER/           node.toml, keys/, data/, node.log, node.pid
"""

import datetime as dt
import http.client
import itertools
import json
import random
import socket
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ledger.codec import Value
from ledger.genesis import Genesis, encode_genesis_json, hash_genesis
from ledger.keys import SecretKey, format_secret_key
from ledger.quorum.founding import GenesisSignatures, derive_log_key, encode_signatures
from ledger.registry import PolicySet
from tools.custody.making import KeyMaker
from tools.custody.node_keys import format_settings
from tools.exits import FailedNode, InvalidInput, NotFound
from tools.found.local import found_network
from tools.founding import (
    NodeSecrets,
    Source,
    encode_application,
    make_application,
    new_node,
    signatures_path,
    write_secret,
)
from tools.processes import Processes, Program
from tools.words import language

GENESIS = "genesis.json"
FREE_PORTS = range(15_000, 32_000)
READY_S_MAX = 60.0
READY_WAIT_S_MAX = 10
ANSWER_BYTES_MAX = 1_048_576


class NodeIndex(Value, frozen=True, kw_only=True):
    """One node of `network.toml`; `api` is the base URL of its interface."""

    member: str
    api: str
    peers: str
    metrics: str


class NetworkIndex(Value, frozen=True, kw_only=True):
    """Content of `network.toml`."""

    name: str
    network: str
    genesis: str
    nodes: tuple[NodeIndex, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """What `status` found out about one node; `ready` and `status` need its answer."""

    member: str
    api: str
    pid: int
    ready: bool
    status: dict[str, Any]


def create_network(
    directory: Path,
    *,
    source: Source,
    nodes: int,
    policy_set: PolicySet,
    now: dt.datetime | None = None,
) -> "Localnet":
    """Make keys, certificates, genesis and one configuration for each node in `directory`."""
    if (directory / "network.toml").exists():
        raise InvalidInput("network-exists", str(directory))
    ports = free_ports(3 * nodes)
    founding = found_network(
        source,
        addresses=[f"127.0.0.1:{port}" for port in ports[::3]],
        policy_set=policy_set,
        now=now or dt.datetime.now(dt.UTC),
    )
    index = NetworkIndex(
        name=founding.genesis.name,
        network=hash_genesis(founding.genesis).hex(),
        genesis=GENESIS,
        nodes=tuple(
            _place_node(node.member, ports[3 * number : 3 * number + 3])
            for number, node in enumerate(founding.nodes)
        ),
    )
    # A sandbox: whoever tries it types no pass phrases.
    maker = KeyMaker(plain=True)
    write_officers(directory, founding.officers, maker)
    for node in founding.nodes:
        write_node_keys(directory / "nodes" / node.member, node, maker)
    write_genesis(directory, founding.genesis, founding.signatures)
    addresses = {node.member: node.peers for node in index.nodes}
    for place in index.nodes:
        write_node(directory, place, addresses, founding.log_key)
    write_index(directory, index)
    return Localnet(directory)


class Localnet:
    """The network in a folder. Raises `NotFound` if there is none."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        path = directory / "network.toml"
        try:
            self.index = msgspec.convert(tomllib.loads(path.read_text("utf-8")), NetworkIndex)
        except FileNotFoundError:
            raise NotFound("network-not-found", str(directory)) from None
        except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            raise InvalidInput("network-invalid", f"{path}: {error}") from None
        self._processes = Processes()

    def add_node(self, member: str) -> Path:
        """Make keys and configuration of one more node, and its application to the others.

        The network is as it was until the members vote the node in. Returns the application's path.
        """
        from tools.mirror import read_genesis

        genesis = read_genesis(self.genesis_path)
        if member in self.members:
            raise InvalidInput("node-exists", member)
        if member not in (each.id for each in genesis.members):
            raise NotFound("member-not-found", member)
        node = new_node(member, dt.datetime.now(dt.UTC))
        place = _place_node(member, free_ports(3))
        index = msgspec.structs.replace(self.index, nodes=(*self.index.nodes, place))
        directory = self.directory / "nodes" / member
        write_node_keys(directory, node, KeyMaker(plain=True))
        addresses = {each.member: each.peers for each in index.nodes}
        write_node(self.directory, place, addresses, derive_log_key(genesis))
        application = make_application(node, network=hash_genesis(genesis), address=place.peers)
        path = directory / "application.json"
        path.write_bytes(encode_application(application))
        write_index(self.directory, index)
        self.index = index
        return path

    @property
    def genesis_path(self) -> Path:
        """The genesis file."""
        return self.directory / self.index.genesis

    @property
    def members(self) -> tuple[str, ...]:
        """Members that run a node, in the order of the validators."""
        return tuple(node.member for node in self.index.nodes)

    def node(self, member: str) -> NodeIndex:
        """Addresses of one node. Raises `NotFound`."""
        for node in self.index.nodes:
            if node.member == member:
                return node
        raise NotFound("node-not-found", f"{member} ({', '.join(self.members)})")

    def node_directory(self, member: str) -> Path:
        """Folder of one node."""
        return self.directory / "nodes" / self.node(member).member

    def officer_key_path(self, member: str, role: str) -> Path:
        """Key file of the officer of `member` with `role`."""
        return self.directory / "officers" / f"{member}-{role}.key"

    def program(self, member: str) -> Program:
        """The node of a member as a program in its folder."""
        return Program(label=member, directory=self.node_directory(member), name="node")

    def pid(self, member: str) -> int:
        """Process id of a running node, or 0."""
        return self._processes.pid(self.program(member))

    def start(self, members: Iterable[str] | None = None) -> list[str]:
        """Start the nodes that do not run yet; returns their members without waiting."""
        started = []
        for member in members or self.members:
            if not self.pid(member):
                self._processes.spawn(self.program(member), self.command(member))
                started.append(member)
        return started

    def wait_ready(
        self,
        members: Iterable[str] | None = None,
        *,
        timeout_s: float = READY_S_MAX,
        on_ready: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Return when all are ready. Raises `FailedNode` if one ends or the time is over."""
        deadline = time.monotonic() + timeout_s
        for member in members or self.members:
            self._wait_one(member, deadline)
            on_ready(member)

    def stop(self, members: Iterable[str] | None = None) -> list[str]:
        """Ask the nodes to end and wait; returns those that had to be killed after 10 s."""
        return self._processes.stop(map(self.program, members or self.members))

    def kill(self, member: str) -> None:
        """End one node at once with SIGKILL and wait until it is gone."""
        if not self._processes.kill(self.program(member)):
            raise FailedNode("node-not-running", member)

    def status(self) -> list[NodeState]:
        """State of every node, in the order of the validators."""
        return [self._node_state(node) for node in self.index.nodes]

    def log_tail(self, member: str) -> str:
        """The end of a node's log."""
        return self.program(member).log_tail()

    def command(self, member: str) -> list[str]:
        """How a node is started; on a network of one machine the first start activates its key."""
        directory = self.node_directory(member)
        command = [sys.executable, "-m", "node", "--config", str(directory / "node.toml")]
        command += ["--lang", language()]
        is_active = (directory / "data" / "activation.json").exists()
        return command if is_active else [*command, "--first-start"]

    def _wait_one(self, member: str, deadline: float) -> None:
        program = self.program(member)

        def ask(left_s: float) -> str:
            wait_s = max(1, min(READY_WAIT_S_MAX, int(left_s)))
            url = f"{self.node(member).api}/readyz?wait={wait_s}"
            answer = get_json(url, timeout_s=wait_s + 5)
            # Why it is not ready, in words.
            return "" if answer.status == http.client.OK else str(answer.document.get("detail"))

        waited = self._processes.wait_answer(program, ask, deadline)
        if waited.result == "late":
            raise FailedNode("node-not-ready", f"{member}: {waited.reason}")
        if waited.result == "ended":
            self._processes.forget(program)
            raise FailedNode("node-ended", f"{member}\n{program.log_tail()}")

    def _node_state(self, node: NodeIndex) -> NodeState:
        pid = self.pid(node.member)
        ready, status = False, {}
        if pid:
            try:
                ready = get_json(f"{node.api}/readyz", timeout_s=2).status == http.client.OK
                status = get_json(f"{node.api}/v1/status", timeout_s=2).document
            except OSError:
                # Runs but does not answer: shown as not ready, without figures.
                ready = False
        return NodeState(member=node.member, api=node.api, pid=pid, ready=ready, status=status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Status code and JSON document of a small answer."""

    status: int
    document: dict[str, Any]


def get_json(url: str, *, timeout_s: float) -> Answer:
    """Answer of a node of this machine. Raises `OSError` without an answer in JSON."""
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=timeout_s)
    try:
        connection.request("GET", f"/{path}", headers={"Accept-Language": language()})
        response = connection.getresponse()
        document = json.loads(response.read(ANSWER_BYTES_MAX))
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"no answer in JSON from {url}: {error}") from error
    finally:
        connection.close()
    if not isinstance(document, dict):
        raise OSError(f"no JSON object from {url}")
    return Answer(status=response.status, document=document)


def shipped_policy_set() -> PolicySet:
    """The contracts that Tallystick ships, as version 1."""
    from contracts.shipped import load_shipped

    return load_shipped()


def _place_node(member: str, ports: list[int]) -> NodeIndex:
    peers, api, metrics = ports
    return NodeIndex(
        member=member,
        peers=f"127.0.0.1:{peers}",
        api=f"http://127.0.0.1:{api}",
        metrics=f"127.0.0.1:{metrics}",
    )


def free_ports(count: int) -> list[int]:
    """Different ports of the loopback that nothing listens on now.

    They lie below the range from which systems take ports of outgoing connections: one of those
    could otherwise be taken before the node listens on it.
    """
    choices = random.SystemRandom().sample(FREE_PORTS, len(FREE_PORTS))
    ports = list(itertools.islice(filter(_is_free, choices), count))
    if len(ports) < count:
        raise FailedNode("ports-exhausted", f"127.0.0.1: < {count}")
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def write_officers(
    directory: Path, keys: Mapping[tuple[str, str], SecretKey], maker: KeyMaker
) -> None:
    """Write the key of every (member, role)."""
    folder = directory / "officers"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for (member, role), key in keys.items():
        maker.write(folder / f"{member}-{role}.key", key)


def write_node_keys(directory: Path, node: NodeSecrets, maker: KeyMaker) -> None:
    """Write the keys of a node into its folder; the log key follows from the genesis.

    Keys on tokens stay there.
    """
    keys = directory / "keys"
    keys.mkdir(parents=True, mode=0o700)
    for name, key in (("consensus", node.consensus), ("cosigning", node.cosigning)):
        if isinstance(key, SecretKey):
            maker.write(keys / f"{name}.key", key)
    maker.write_pem(keys / "tls.key.pem", node.tls_key_pem)
    (keys / "tls.cert.pem").write_bytes(node.tls_certificate_pem)


def write_genesis(directory: Path, genesis: Genesis, signatures: GenesisSignatures) -> None:
    """Write the genesis and the signatures of its founders."""
    (directory / GENESIS).write_bytes(encode_genesis_json(genesis))
    signatures_path(directory / GENESIS).write_bytes(encode_signatures(signatures))


def write_node(
    directory: Path,
    place: NodeIndex,
    addresses: Mapping[str, str],
    log_key: SecretKey,
    *,
    listen: str = "",
    keys: Mapping[str, str] | None = None,
    replaces: bool = False,
) -> None:
    """Write the log key and the configuration of a node whose own keys are there.

    `addresses` are those of all nodes. The node listens at its own, or at `listen`. `keys` has
    settings of `[keys]`: of keys on tokens, and how keystores are opened. `replaces`: the member
    has another node till a vote.
    """
    folder = directory / "nodes" / place.member
    # A second attempt finds the first one's; it follows from the genesis and is no secret.
    (folder / "keys" / "log.key").unlink(missing_ok=True)
    write_secret(folder / "keys" / "log.key", format_secret_key(log_key).encode())
    (folder / "node.toml").write_text(
        _format_config(place, addresses, listen, keys or {}, replaces=replaces), "utf-8"
    )


def write_index(directory: Path, index: NetworkIndex) -> None:
    """Write `network.toml`, after everything else: a folder without it is not a network."""
    temporary = directory / "network.tmp"
    temporary.write_text(_format_index(index), "utf-8")
    temporary.rename(directory / "network.toml")


def _format_config(
    place: NodeIndex,
    addresses: Mapping[str, str],
    listen: str,
    keys: Mapping[str, str],
    *,
    replaces: bool,
) -> str:
    files = {name: f"keys/{name}.key" for name in ("consensus", "cosigning")}
    lines = format_settings({**files, **keys})
    peers = "".join(
        f'"{member}" = "{address}"\n'
        for member, address in addresses.items()
        if member != place.member
    )
    return f"""\
[node]
member = "{place.member}"
genesis = "../../{GENESIS}"
replaces = {json.dumps(replaces)}
data_dir = "data"
storage = "auto"

[keys]
{lines}log = "keys/log.key"
tls_key = "keys/tls.key.pem"
tls_certificate = "keys/tls.cert.pem"

[peers]
listen = "{listen or place.peers}"

[peers.addresses]
{peers}
[api]
listen = "{place.api.removeprefix("http://")}"
tls_certificate = ""
tls_key = ""

[metrics]
listen = "{place.metrics}"

[limits]
pending_events_max = 20000
pending_per_member_max = 10000
events_per_second_per_member = 5000
connections_max = 512

[logging]
level = "info"
format = "json"
"""


def _format_index(index: NetworkIndex) -> str:
    head = (
        f"name = {json.dumps(index.name, ensure_ascii=False)}\n"
        f'network = "{index.network}"\ngenesis = "{index.genesis}"\n'
    )
    return head + "".join(
        f'\n[[nodes]]\nmember = "{node.member}"\napi = "{node.api}"\n'
        f'peers = "{node.peers}"\nmetrics = "{node.metrics}"\n'
        for node in index.nodes
    )
