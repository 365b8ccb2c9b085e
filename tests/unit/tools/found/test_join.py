"""`tally node join`: an agency makes its node on its own machine and applies with it."""

from pathlib import Path
from typing import Any

import pytest

from ledger.genesis import hash_genesis
from ledger.quorum.governance import verify_possession
from node.config import read_config
from tests.e2e.test_tally import tally
from tools.exits import ERROR, USAGE
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
    return tally("node", "join", home, *options, exit_code=exit_code)


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
