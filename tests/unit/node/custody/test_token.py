"""Keys of a node on a real PKCS#11 token (SoftHSM2); each refusal says what to do."""

import datetime as dt
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.keys import parse_secret_key, verify_raw, verify_signature
from node.config import Config, read_config
from node.custody.token import MODULE_VARIABLE, TokenKey
from node.diagnosis.offline import diagnose_offline
from node.errors import InvalidConfig, StartRefused, TokenFailed
from node.simplex.guard import GuardedSigner
from node.startup import Identity, read_genesis, read_identity
from tests.softhsm import PIN, fresh_token, needs_token, put_on_token
from tools.founding import read_source
from tools.localnet import Localnet, create_network, shipped_policy_set

pytestmark = needs_token
NAMES = ("consensus", "cosigning")


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with fresh_token(tmp_path_factory.mktemp("hsm")) as folder:
        yield folder


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, token: Path) -> Localnet:
    """A network whose first node has the keys of its files on the token too."""
    network = create_network(
        tmp_path_factory.mktemp("local") / "net",
        source=read_source(),
        nodes=4,
        policy_set=shipped_policy_set(),
        now=dt.datetime.now(dt.UTC),
    )
    folder = network.node_directory(network.members[0])
    for name in NAMES:
        put_on_token(name, parse_secret_key((folder / "keys" / f"{name}.key").read_text()))
    return network


@pytest.fixture
def config(local: Localnet, token: Path) -> Config:
    config = read_config(local.node_directory(local.members[0]) / "node.toml")
    for name in NAMES:
        config._values["keys", name] = f"pkcs11:token=tally;object={name}"
    config._values["keys", "pin_file"] = str(token / "pin")
    return config


def identify(config: Config) -> Identity:
    return read_identity(config, read_genesis(config))


def refused(config: Config) -> str:
    with pytest.raises(StartRefused) as caught:
        identify(config)
    assert caught.value.advice
    assert PIN not in str(caught.value)
    return caught.value.reason


def test_a_token_holds_the_keys_of_the_ledger_and_signs(config: Config) -> None:
    own = identify(config)
    entry = read_genesis(config).validators[0]
    assert own.consensus.public == entry.consensus_key
    assert own.cosigning.public == entry.cosigning_key
    assert isinstance(own.consensus, TokenKey)
    verify_signature(own.consensus.public, b"d\0", b"m", own.consensus.sign(b"d\0", b"m"))
    guard = GuardedSigner(key=own.consensus, network_id=bytes(32))
    message = b"tallystick/status/v1\0" + bytes(32) + b"status"
    verify_raw(guard.public_key, message, guard.sign_status(message))


def test_a_file_and_a_token_sign_alike(config: Config, local: Localnet) -> None:
    """A checkpoint line is made again after a restart and must be the same."""
    plain = identify(read_config(local.node_directory(local.members[0]) / "node.toml"))
    own = identify(config)
    assert own.cosigning.sign_raw(b"line") == plain.cosigning.sign_raw(b"line")


def test_the_pin_may_be_a_credential_of_systemd(
    config: Config, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config._values["keys", "pin_file"] = ""
    assert "no PIN is configured" in refused(config)
    config._values["keys", "pin_credential"] = "pin"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert "needs the systemd credential pin" in refused(config)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(token))
    assert isinstance(identify(config).consensus, TokenKey)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("pkcs11:token=tally;object=other", "0 Ed25519 keys are like"),
        ("pkcs11:token=tally", "2 Ed25519 keys are like"),
        ("pkcs11:token=other;object=consensus", "0 tokens are like"),
        ("pkcs11:token=tally?pin-value=1234", "a PIN stands in the URI"),
        ("pkcs11:nonsense", "not a pkcs11: URI"),
        ("pkcs11:object=consensus?module-path=/none.so", "is not there: /none.so"),
    ],
)
def test_a_key_that_cannot_be_found(config: Config, uri: str, reason: str) -> None:
    config._values["keys", "consensus"] = uri
    assert reason in refused(config)


def test_without_a_library_there_is_no_token(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(MODULE_VARIABLE)
    assert "none is named" in refused(config)


@pytest.mark.parametrize("name", ["log", "tls_key"])
def test_other_keys_are_in_files(config: Config, name: str) -> None:
    config._values["keys", name] = "pkcs11:token=tally;object=consensus"
    assert f"[keys] {name} names a token" in refused(config)


def test_a_token_that_fails_stops_the_node(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    key: Any = identify(config).consensus
    monkeypatch.setattr(key, "public", identify(config).cosigning.public)
    with pytest.raises(TokenFailed, match="signs wrongly"):
        key.sign_raw(b"vote")


def test_the_files_of_a_node_with_a_token_are_examined(config: Config, tmp_path: Path) -> None:
    """What `tally doctor --config` shows: one finding that names the key and what to do."""
    text = config.file.read_text().replace('"keys/consensus.key"', '"pkcs11:token=none;object=x"')
    file = config.file.with_name("token.toml")
    file.write_text(text.replace("[keys]", f'[keys]\npin_file = "{tmp_path / "nothing"}"'))
    found = [
        each
        for each in diagnose_offline(file, wall_ms=int(time.time() * 1_000))
        if each.code == "keys-invalid"
    ]
    assert len(found) == 1
    assert "the PIN in" in found[0].values["reason"]


def test_two_ways_to_give_a_pin_are_a_fault(config: Config) -> None:
    file = config.file.with_name("two.toml")
    both = '[keys]\npin_file = "pin"\npin_credential = "pin"'
    file.write_text(config.file.read_text().replace("[keys]", both))
    with pytest.raises(InvalidConfig, match="pin_file and pin_credential: set one or none"):
        read_config(file)
