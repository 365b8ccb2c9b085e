"""Making a network in a folder, and following the processes of one."""

import datetime as dt
import socket
import stat
import tomllib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtensionOID, NameOID

from ledger.genesis import decode_genesis_json, hash_genesis
from ledger.keys import parse_secret_key
from tools.exits import FailedNode, InvalidInput, NotFound
from tools.founding import read_source
from tools.localnet import Localnet, create_network, free_ports, shipped_policy_set

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


def make(directory: Path, nodes: int = 4) -> Localnet:
    return create_network(
        directory, source=read_source(), nodes=nodes, policy_set=shipped_policy_set(), now=NOW
    )


def test_keys_belong_to_the_genesis_and_are_private(tmp_path: Path) -> None:
    network = make(tmp_path / "net")
    genesis = decode_genesis_json(network.genesis_path.read_bytes())
    for validator in genesis.validators:
        keys = network.node_directory(validator.member) / "keys"
        for name, public in (
            ("consensus", validator.consensus_key),
            ("cosigning", validator.cosigning_key),
            ("log", genesis.log_key),
        ):
            path = keys / f"{name}.key"
            assert parse_secret_key(path.read_text()).public == public
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for officer in genesis.officers:
        path = network.officer_key_path(officer.member, officer.roles[0])
        assert parse_secret_key(path.read_text()).public == officer.key
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_certificates_serve_both_ends_of_a_link(tmp_path: Path) -> None:
    network = make(tmp_path / "net")
    genesis = decode_genesis_json(network.genesis_path.read_bytes())
    for validator in genesis.validators:
        certificate = x509.load_der_x509_certificate(validator.tls_certificate)
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        assert [name.value for name in names] == [validator.member]
        uses = certificate.extensions.get_extension_for_oid(ExtensionOID.EXTENDED_KEY_USAGE)
        assert isinstance(uses.value, x509.ExtendedKeyUsage)
        assert len(list(uses.value)) == 2
        assert certificate.not_valid_after_utc - NOW == dt.timedelta(days=730)
        pem = (network.node_directory(validator.member) / "keys" / "tls.key.pem").read_bytes()
        key = serialization.load_pem_private_key(pem, None)
        assert key.public_key() == certificate.public_key()


def test_every_port_is_used_once_and_every_peer_is_named(tmp_path: Path) -> None:
    network = make(tmp_path / "net", nodes=7)
    ports: list[str] = []
    for member in network.members:
        config = tomllib.loads((network.node_directory(member) / "node.toml").read_text())
        ports += [config[section]["listen"] for section in ("peers", "api", "metrics")]
        assert set(config["peers"]["addresses"]) == set(network.members) - {member}
    assert len(set(ports)) == len(ports) == 21


def test_index_names_the_network_of_the_genesis(tmp_path: Path) -> None:
    network = make(tmp_path / "net")
    assert Localnet(tmp_path / "net").index == network.index
    genesis = decode_genesis_json(network.genesis_path.read_bytes())
    assert hash_genesis(genesis).hex() == network.index.network


def test_a_second_init_changes_nothing(tmp_path: Path) -> None:
    before = make(tmp_path / "net").genesis_path.read_bytes()
    with pytest.raises(InvalidInput) as caught:
        make(tmp_path / "net")
    assert caught.value.code == "network-exists"
    assert (tmp_path / "net" / "genesis.json").read_bytes() == before


def test_a_folder_without_network_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Localnet(tmp_path)


def test_a_source_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "source.toml"
    path.write_text('name = "x"\nsurprise = 1\n')
    with pytest.raises(InvalidInput) as caught:
        read_source(path)
    assert caught.value.code == "source-invalid"


def test_a_pid_of_another_program_is_never_a_node(tmp_path: Path) -> None:
    network = make(tmp_path / "net")
    member = network.members[0]
    # Process 1 runs, but not with this node's configuration.
    (network.node_directory(member) / "node.pid").write_text("1\n")
    assert network.pid(member) == 0
    assert network.stop() == []
    with pytest.raises(FailedNode):
        network.kill(member)


def test_a_node_that_cannot_start_says_why(tmp_path: Path) -> None:
    network = make(tmp_path / "net")
    member = network.members[0]
    (network.node_directory(member) / "node.toml").write_text("[node]\nmembr = 1\n")
    network.start([member])
    with pytest.raises(FailedNode) as caught:
        network.wait_ready([member])
    assert caught.value.code == "node-ended"
    assert "membr" in str(caught.value)


def test_a_port_of_a_test_is_taken_by_no_other_test_process() -> None:
    [port] = free_ports(1)
    for _ in range(2):  # as for a node that was stopped and comes back
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        socket.create_server(("127.0.0.1", port)).close()
