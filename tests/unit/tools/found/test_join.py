"""`tally node join`: an agency makes its node on its own machine and applies with it."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ledger.genesis import hash_genesis
from ledger.quorum.governance import verify_possession
from node.config import read_config
from tests.e2e.test_tally import tally
from tools.exits import ERROR, UNVERIFIED, USAGE
from tools.founding import read_application, signatures_path
from tools.localnet import Localnet
from tools.mirror import read_genesis

MEMBER, ADDRESS = "cn-3302-customs", "node.customs.example:7101"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("net") / "net"
    tally("localnet", "init", directory)
    return directory


def join(home: Path, net: Path, exit_code: int = 0, **changed: object) -> dict[str, Any]:
    values = {"member": MEMBER, "address": ADDRESS, "genesis": net / "genesis.json", **changed}
    options = [word for name, value in values.items() for word in (f"--{name}", value)]
    return tally("node", "join", home, *options, "--plain", exit_code=exit_code)


def test_a_node_is_made_where_it_will_run(net: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    document = join(home, net)
    genesis = read_genesis(net / "genesis.json")
    application = read_application(Path(document["application"]))
    verify_possession(hash_genesis(genesis), application)
    assert (application.validator.member, application.address) == (MEMBER, ADDRESS)
    config = read_config(Path(document["config"]))
    assert config["node", "member"] == MEMBER
    assert str(config["peers", "listen"]) == "0.0.0.0:7101", "the name may be that of a gateway"
    founders = {node.member: node.peers for node in Localnet(net).index.nodes}
    assert {name: str(at) for name, at in config["peers", "addresses"].items()} == founders
    keys = Path(document["config"]).parent / "keys"
    assert {path.stat().st_mode & 0o077 for path in keys.glob("*.key*")} == {0}
    assert read_genesis(Localnet(home).genesis_path) == genesis


def test_other_keys_are_made_for_a_node_that_votes(net: Path, tmp_path: Path) -> None:
    member = Localnet(net).members[0]
    place = ("--member", member, "--address", ADDRESS, "--genesis", net / "genesis.json")
    document = tally("node", "join", tmp_path / "home", *place, "--replace", "--plain")
    genesis = read_genesis(net / "genesis.json")
    application = read_application(Path(document["application"]))
    verify_possession(hash_genesis(genesis), application)
    assert application.validator.member == member
    assert application.validator not in genesis.validators
    assert read_config(Path(document["config"]))["node", "replaces"] is True


def test_what_cannot_join_leaves_no_folder(net: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    alone = tmp_path / "alone" / "genesis.json"
    alone.parent.mkdir()
    alone.write_bytes((net / "genesis.json").read_bytes())
    for code, exit_code, changed in (
        ("node-exists", ERROR, {"member": Localnet(net).members[0]}),
        ("address-invalid", USAGE, {"address": "Node.Example"}),
        ("address-not-local", USAGE, {"api": "0.0.0.0:7201"}),
        ("file-unreadable", ERROR, {"genesis": alone}),
    ):
        refused = join(home, net, exit_code, **changed)
        assert refused["error"]["code"] == code
        assert not home.exists(), code
    signatures_path(alone).write_bytes(b"{}")
    assert join(home, net, ERROR, genesis=alone)["error"]["code"] == "signatures-invalid"
    join(home, net)
    assert join(home, net, ERROR)["error"]["code"] == "network-exists"


class Files(http.server.BaseHTTPRequestHandler):
    """Serves what a node does: genesis and signatures."""

    served: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        data = self.served.get(self.path, b"")
        self.send_response(200 if data else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        del arguments


@contextmanager
def serving(genesis: bytes, signatures: bytes) -> Iterator[str]:
    files = {"/v1/genesis": genesis, "/v1/genesis/signatures": signatures}
    handler = type("H", (Files,), {"served": files})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def node(net: Path) -> Iterator[str]:
    path = net / "genesis.json"
    with serving(path.read_bytes(), signatures_path(path).read_bytes()) as url:
        yield url


@pytest.fixture
def admission(net: Path, tmp_path: Path) -> Path:
    """What the agency applied with: signed for this network."""
    names = ("--name-zh", "海关", "--name-en", "Customs", "--region", "330200")
    kind = ("--kind", "department", "--genesis", net / "genesis.json", "--plain")
    tally("member", "apply", tmp_path / "agency", "--member", MEMBER, *names, *kind)
    return tmp_path / "agency" / "application.json"


def test_a_node_gets_the_genesis_that_its_hash_names(net: Path, tmp_path: Path, node: str) -> None:
    genesis = read_genesis(net / "genesis.json")
    document = join(tmp_path / "a", net, genesis=node, network=hash_genesis(genesis).hex())
    assert document["network"] == hash_genesis(genesis).hex()
    assert read_genesis(tmp_path / "a" / "genesis.json") == genesis
    written = signatures_path(tmp_path / "a" / "genesis.json").read_bytes()
    assert written == signatures_path(net / "genesis.json").read_bytes()


def test_a_node_gets_the_genesis_that_it_applied_to(
    net: Path, tmp_path: Path, node: str, admission: Path
) -> None:
    join(tmp_path / "a", net, genesis=node, application=admission)
    assert (tmp_path / "a" / "genesis.json").exists()


def test_a_genesis_is_not_believed_for_its_address(
    net: Path, tmp_path: Path, node: str, admission: Path
) -> None:
    tally("localnet", "init", tmp_path / "other")
    other = tmp_path / "other" / "genesis.json"
    network = hash_genesis(read_genesis(net / "genesis.json")).hex()
    mixed = (net / "genesis.json").read_bytes(), signatures_path(other).read_bytes()
    whole = other.read_bytes(), signatures_path(other).read_bytes()
    home = tmp_path / "a"

    def refused(exit_code: int, **changed: object) -> str:
        code: str = join(home, net, exit_code, **changed)["error"]["code"]
        assert not home.exists(), code
        return code

    assert refused(ERROR, genesis=node) == "genesis-unpinned"
    assert refused(ERROR, genesis=node, network="12") == "digest-invalid"
    assert refused(ERROR, genesis=other, network=network) == "genesis-other"
    assert refused(ERROR, genesis=other, application=admission) == "application-tampered"
    with serving(*whole) as url:
        assert refused(UNVERIFIED, genesis=url, network=network) == "genesis-other"
        assert refused(ERROR, genesis=url, application=admission) == "application-tampered"
    with serving(*mixed) as url:
        assert refused(UNVERIFIED, genesis=url, network=network) == "signatures-invalid"
    with serving(b"{}", b"{}") as url:
        assert refused(UNVERIFIED, genesis=url, network=network) == "genesis-invalid"
