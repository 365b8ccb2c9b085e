"""Keys of a node on a real PKCS#11 token (SoftHSM2); each refusal says what to do."""

import datetime as dt
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.words import LANGUAGES, Description
from ledger.keys import parse_secret_key, verify_raw, verify_signature
from node.config import Config, read_config
from node.custody.token import MODULE_VARIABLE, TokenKey
from node.diagnosis.offline import diagnose_offline
from node.diagnosis.words import describe
from node.errors import TokenFailed
from node.simplex.guard import GuardedSigner
from node.startup import Identity, read_genesis, read_identity
from tests.refusals import faults_of, start_refused
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


def refused(config: Config, code: str) -> Description:
    told = start_refused(lambda: identify(config), code)
    assert PIN not in str(told)
    return told


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
    told = refused(config, "start-secret-unset")
    assert told.advice == "Set [keys] pin_file or pin_credential."
    config._values["keys", "pin_credential"] = "pin"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert "credential pin" in refused(config, "start-secret-credential").detail
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(token))
    assert isinstance(identify(config).consensus, TokenKey)


@pytest.mark.parametrize(
    ("uri", "code", "detail"),
    [
        ("pkcs11:token=tally;object=other", "start-token-keys", ": 0 Ed25519 keys are like"),
        ("pkcs11:token=tally", "start-token-keys", ": 2 Ed25519 keys are like"),
        ("pkcs11:token=other;object=consensus", "start-token-count", ": 0 tokens are like"),
        ("pkcs11:token=tally?pin-value=1234", "start-token-pin-inside", ""),
        ("pkcs11:nonsense", "start-token-uri", ": "),
        ("pkcs11:object=consensus?module-path=/none.so", "start-token-library", ": /none.so"),
        (f"pkcs11:object=consensus?module-path={__file__}", "start-token-failed", ": "),
    ],
)
def test_a_key_that_cannot_be_found(config: Config, uri: str, code: str, detail: str) -> None:
    config._values["keys", "consensus"] = uri
    assert refused(config, code).detail.startswith(f"[keys] consensus{detail}")


@pytest.mark.parametrize(
    ("error", "code"),
    [("PinIncorrect", "start-token-pin-wrong"), ("PinLocked", "start-token-pin-dead")],
)
def test_a_pin_that_is_wrong_or_locked(
    config: Config, error: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pkcs11 = pytest.importorskip("pkcs11")

    def lib(_: str) -> None:
        raise getattr(pkcs11, error)

    # The software token locks never, and asks no PIN while another session is open.
    monkeypatch.setattr(pkcs11, "lib", lib)
    assert refused(config, code).detail == f"[keys] consensus: {error}"


def test_without_the_extra_there_is_no_token(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    assert "tallystick[hsm]" in refused(config, "start-token-extra").advice


def test_without_a_library_there_is_no_token(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(MODULE_VARIABLE)
    assert MODULE_VARIABLE in refused(config, "start-token-library-unset").advice


@pytest.mark.parametrize("name", ["log", "tls_key"])
def test_other_keys_are_in_files(config: Config, name: str) -> None:
    config._values["keys", name] = "pkcs11:token=tally;object=consensus"
    assert refused(config, "start-key-on-token").detail == f"[keys] {name}"


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
    for language in LANGUAGES:
        told = describe(found[0], language)
        assert f"{tmp_path / 'nothing'}" in told.detail
        assert "[start-secret-unreadable]" in told.detail


def test_two_ways_to_give_a_pin_are_a_fault(config: Config) -> None:
    file = config.file.with_name("two.toml")
    both = '[keys]\npin_file = "pin"\npin_credential = "pin"'
    file.write_text(config.file.read_text().replace("[keys]", both))
    (fault,) = faults_of(lambda: read_config(file))
    assert (fault.code, fault.setting) == ("one-or-none", "[keys] pin_file, pin_credential")
