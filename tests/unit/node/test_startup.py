"""What is checked before a node starts: keys, certificate, data directory; each with an advice."""

import datetime as dt
import os
from pathlib import Path

import msgspec
import pytest

from contracts.words import Description
from ledger.quorum.founding import (
    SIGNATURES_SIZE_BYTES_MAX,
    decode_signatures,
    encode_signatures,
)
from node.config import Config, read_config
from node.errors import StartRefused
from node.startup import (
    Identity,
    check_listed,
    lock_data_dir,
    read_genesis,
    read_identity,
    read_signatures,
)
from tests.refusals import start_refused
from tools.founding import read_source, signatures_path
from tools.localnet import Localnet, create_network, shipped_policy_set

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def local(tmp_path: Path) -> Localnet:
    return found(tmp_path / "net", NOW)


def found(directory: Path, now: dt.datetime) -> Localnet:
    return create_network(
        directory, source=read_source(), nodes=4, policy_set=shipped_policy_set(), now=now
    )


def config_of(local: Localnet, place: int = 0) -> Config:
    return read_config(local.node_directory(local.members[place]) / "node.toml")


def identity(config: Config) -> Identity:
    genesis = read_genesis(config)
    read_signatures(config, genesis)
    found = read_identity(config, genesis)
    check_listed(found, genesis.validators)
    return found


def refused(config: Config, code: str) -> Description:
    return start_refused(lambda: identity(config), code)


def test_every_node_finds_itself_in_the_genesis(local: Localnet) -> None:
    genesis = read_genesis(config_of(local))
    for place, validator in enumerate(genesis.validators):
        own = identity(config_of(local, place))
        assert own.member == validator.member
        assert check_listed(own, genesis.validators) == validator


def test_keys_of_another_member(local: Localnet) -> None:
    config = config_of(local)
    config._values["node", "member"] = "de-tax"
    told = refused(config, "start-member-other").detail
    assert f"its keys are those of {local.members[0]}" in told


def test_a_member_without_a_validator_has_no_entry(local: Localnet) -> None:
    genesis = read_genesis(config_of(local))
    assert check_listed(identity(config_of(local)), genesis.validators[1:]) is None


def test_the_former_or_the_next_entry_of_a_member_will_do(local: Localnet) -> None:
    genesis = read_genesis(config_of(local))
    former = msgspec.structs.replace(
        genesis.validators[0], consensus_key=genesis.validators[1].consensus_key
    )
    present = identity(config_of(local))
    assert check_listed(present, (former, *genesis.validators)) == genesis.validators[0]


def test_keys_that_replace_those_of_a_log_that_is_behind(local: Localnet) -> None:
    genesis = read_genesis(config_of(local))
    first, second, *_ = genesis.validators
    former = msgspec.structs.replace(first, consensus_key=second.consensus_key)
    config = config_of(local)
    present = identity(config)
    told = start_refused(lambda: check_listed(present, (former,)), "start-key-unexpected")
    assert told.detail.startswith("[keys] consensus is ed25519:")
    config._values["node", "replaces"] = True
    successor = identity(config)
    assert check_listed(successor, (former,)) is None
    assert check_listed(successor, (former, first)) == first
    stolen = msgspec.structs.replace(second, tls_certificate=first.tls_certificate)
    told = start_refused(lambda: check_listed(successor, (former, stolen)), "start-member-other")
    assert f"those of {second.member}" in told.detail


def test_a_certificate_that_is_not_pinned(local: Localnet) -> None:
    config = config_of(local)
    for name in ("tls_certificate", "tls_key"):
        config.path("keys", name).write_bytes(config_of(local, 1).path("keys", name).read_bytes())
    assert local.members[0] in refused(config, "start-certificate-unpinned").detail


@pytest.mark.parametrize("name", ["consensus", "cosigning", "log"])
def test_keys_must_be_there_whole_private_and_the_own(local: Localnet, name: str) -> None:
    config = config_of(local)
    path = config.path("keys", name)
    good = path.read_bytes()
    other = config_of(local, 1).path("keys", "consensus").read_bytes()
    for content, code in (
        (b"", "start-key-malformed"),
        (good[:-5], "start-key-malformed"),
        (other, "start-key-unexpected"),
    ):
        path.write_bytes(content)
        assert f"[keys] {name}" in refused(config, code).detail
    path.write_bytes(good)
    path.chmod(0o604)
    assert refused(config, "start-key-open").advice == f"Run: chmod 600 {path}"
    path.unlink()
    told = refused(config, "start-key-unreadable").detail
    assert told == f"[keys] {name}, {path}: No such file or directory"


def test_no_secret_stands_in_a_refusal(local: Localnet) -> None:
    config = config_of(local)
    path = config.path("keys", "consensus")
    secret = path.read_text().strip()
    path.write_text(secret + "x\n")
    assert secret.rpartition(":")[2] not in str(refused(config, "start-key-malformed"))
    with pytest.raises(StartRefused) as caught:
        identity(config)
    assert secret.rpartition(":")[2] not in str(caught.value)


def test_a_certificate_is_valid_from_and_until(tmp_path: Path) -> None:
    for name, now in (("old", NOW - dt.timedelta(days=731)), ("new", NOW + dt.timedelta(days=1))):
        config = config_of(found(tmp_path / name, now))
        assert "is valid from" in refused(config, "start-certificate-period").detail


def test_a_certificate_that_is_no_pem(local: Localnet) -> None:
    config = config_of(local)
    path = config.path("keys", "tls_certificate")
    path.write_bytes(b"garbage")
    assert str(path) in refused(config, "start-certificate-malformed").detail
    path.unlink()
    assert str(path) in refused(config, "start-certificate-unreadable").detail


def test_a_tls_key_is_private_and_belongs_to_the_certificate(local: Localnet) -> None:
    config = config_of(local)
    path = config.path("keys", "tls_key")
    path.write_bytes(config_of(local, 1).path("keys", "tls_key").read_bytes())
    assert refused(config, "start-certificate-key-other").detail == str(path)
    path.chmod(0o644)
    assert "[keys] tls_key" in refused(config, "start-key-open").detail
    path.unlink()
    assert "[keys] tls_key" in refused(config, "start-key-unreadable").detail


def test_a_genesis_of_another_network(local: Localnet, tmp_path: Path) -> None:
    other = found(tmp_path / "other", NOW)
    local.genesis_path.write_bytes(other.genesis_path.read_bytes())
    told = refused(config_of(local), "start-founders-unsigned").detail
    assert "the signatures are for network" in told
    signatures = signatures_path(other.genesis_path).read_bytes()
    signatures_path(local.genesis_path).write_bytes(signatures)
    assert "[keys] log is" in refused(config_of(local), "start-key-unexpected").detail


def test_signatures_of_all_founders_must_be_there(local: Localnet) -> None:
    path = signatures_path(local.genesis_path)
    good = path.read_bytes()
    signatures = decode_signatures(good)
    fewer = msgspec.structs.replace(signatures, signatures=signatures.signatures[1:])
    for content, said in (
        (encode_signatures(fewer), "cn-3100-tax: its signature is missing"),
        (good[:-1], "not in canonical form"),
        (good + b" " * SIGNATURES_SIZE_BYTES_MAX, "more than"),
    ):
        path.write_bytes(content)
        told = refused(config_of(local), "start-founders-unsigned")
        assert said in told.detail
        assert "tally admin found sign" in told.advice
    path.unlink()
    assert "No such file" in refused(config_of(local), "start-founders-unreadable").detail


def test_a_genesis_that_is_none(local: Localnet) -> None:
    local.genesis_path.write_bytes(b"{}")
    assert str(local.genesis_path) in refused(config_of(local), "start-genesis-invalid").detail
    local.genesis_path.unlink()
    assert "No such file" in refused(config_of(local), "start-genesis-unreadable").detail


def test_signatures_may_lie_where_the_configuration_says(local: Localnet) -> None:
    path = local.node_directory(local.members[0]) / "elsewhere.json"
    signatures_path(local.genesis_path).rename(path)
    config = config_of(local)
    refused(config, "start-founders-unreadable")
    config._values["node", "genesis_signatures"] = path.name
    assert identity(config).member == local.members[0]


def test_one_process_holds_a_data_directory(tmp_path: Path) -> None:
    held = lock_data_dir(tmp_path / "data")
    told = start_refused(lambda: lock_data_dir(tmp_path / "data"), "start-data-in-use")
    assert told.detail == str(tmp_path / "data")
    os.close(held)
    os.close(lock_data_dir(tmp_path / "data"))


def test_a_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    path = tmp_path / "file" / "data"
    told = start_refused(lambda: lock_data_dir(path), "start-data-unusable")
    assert told.detail == f"{path}: Not a directory"
