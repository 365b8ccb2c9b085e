"""Keys of a node in keystores: opened by a file or a credential; each refusal says what to do."""

import datetime as dt
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from contracts.words import Description
from ledger.custody import keystore
from ledger.custody.keystore import Cost
from node.config import Config, read_config
from node.custody.keys import file_of_secret
from node.startup import Identity, read_genesis, read_identity
from tests.refusals import faults_of, start_refused
from tools.custody.keyfiles import open_key_file, read_key_file, seal, write_private
from tools.custody.passphrase import Ways
from tools.founding import read_source
from tools.localnet import Localnet, create_network, shipped_policy_set

CHEAP = Cost(passes=1, memory_kib=8)
PHRASE = "符契 correct horse"
NAMES = ("consensus", "cosigning", "log", "tls_key")


@pytest.fixture
def local(tmp_path: Path) -> Localnet:
    return create_network(
        tmp_path / "net",
        source=read_source(),
        nodes=4,
        policy_set=shipped_policy_set(),
        now=dt.datetime.now(dt.UTC),
    )


@pytest.fixture
def config(local: Localnet) -> Config:
    """A node whose four keys are keystores, with the pass phrase in a file."""
    config = read_config(local.node_directory(local.members[0]) / "node.toml")
    for name in NAMES:
        seal_file(config.path("keys", name), PHRASE)
    phrase = config.file.parent / "phrase"
    write_private(phrase, PHRASE.encode() + b"\n")
    config._values["keys", "passphrase_file"] = "phrase"
    return config


def seal_file(path: Path, phrase: str) -> None:
    file = read_key_file(path)
    secret = open_key_file(file, Ways())
    write_private(path, seal(secret, file.algorithm, phrase, cost=CHEAP), replace=True)


def identify(config: Config) -> Identity:
    return read_identity(config, read_genesis(config))


def refused(config: Config, code: str) -> Description:
    told = start_refused(lambda: identify(config), code)
    assert PHRASE not in str(told)
    return told


def test_keystores_hold_the_same_keys(local: Localnet, config: Config) -> None:
    plain = identify(read_config(local.node_directory(local.members[1]) / "node.toml"))
    assert plain.tls_key is None
    own = identify(config)
    entry = read_genesis(config).validators[0]
    assert own.consensus.public == entry.consensus_key
    assert own.cosigning.public == entry.cosigning_key
    assert own.certificate == entry.tls_certificate
    assert own.tls_key is not None
    assert "PRIVATE KEY" not in repr(own)
    path = file_of_secret(own.tls_key)
    assert load_pem_private_key(Path(path).read_bytes(), password=None)
    assert Path(path).stat().st_mode & 0o777 == 0o600


def test_a_credential_of_systemd(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config._values["keys", "passphrase_file"] = ""
    config._values["keys", "credential"] = "keystore"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    told = refused(config, "start-secret-credential")
    assert "LoadCredentialEncrypted=keystore" in told.advice
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    told = refused(config, "start-secret-unreadable")
    assert told.detail.startswith(f"[keys] credential, {tmp_path / 'keystore'}: ")
    (tmp_path / "keystore").write_text(PHRASE)
    (tmp_path / "keystore").chmod(0o440)
    assert identify(config).consensus


def test_what_keeps_a_keystore_shut(config: Config) -> None:
    phrase = config.path("keys", "passphrase_file")
    phrase.chmod(0o640)
    assert refused(config, "start-secret-open").advice == f"Run: chmod 600 {phrase}"
    phrase.chmod(0o600)
    for content, code in (
        (b"", "start-secret-lines"),
        (b"\n", "start-secret-lines"),
        (b"one\ntwo", "start-secret-lines"),
        (b"\xff", "start-secret-encoding"),
    ):
        phrase.write_bytes(content)
        assert refused(config, code).detail == f"[keys] passphrase_file, {phrase}"
    for wrong in (PHRASE + "x", "x" * 2_000):
        phrase.write_text(wrong)
        assert "[keys] consensus" in refused(config, "start-keystore-shut").detail
    phrase.unlink()
    assert "No such file" in refused(config, "start-secret-unreadable").detail
    phrase.mkdir()
    assert "Is a directory" in refused(config, "start-secret-unreadable").detail
    config._values["keys", "passphrase_file"] = ""
    told = refused(config, "start-secret-unset")
    assert told.advice == "Set [keys] passphrase_file or credential."


def test_a_keystore_that_needs_more_memory_than_there_is(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def derive(*_: object) -> bytes:
        raise RuntimeError

    # As libsodium fails when the system gives it no memory.
    monkeypatch.setattr(keystore.bindings, "crypto_pwhash_alg", derive)
    assert "[keys] consensus" in refused(config, "start-keystore-memory").detail


@pytest.mark.parametrize("name", NAMES)
def test_every_key_is_whole_private_and_of_its_kind(config: Config, name: str) -> None:
    path = config.path("keys", name)
    good = path.read_bytes()
    path.write_bytes(good.replace(b'"passes": 1', b'"passes": 2'))
    assert f"[keys] {name}, {path}" in refused(config, "start-keystore-damaged").detail
    other = config.path("keys", "consensus" if name == "tls_key" else "tls_key")
    path.write_bytes(other.read_bytes())
    assert f"[keys] {name}" in refused(config, "start-key-algorithm").advice
    path.write_bytes(good)
    path.chmod(0o644)
    assert refused(config, "start-key-open").advice == f"Run: chmod 600 {path}"
    path.chmod(0o600)
    assert identify(config)
    seal_other = read_key_file(path)
    secret = open_key_file(seal_other, Ways(file=config.path("keys", "passphrase_file")))
    write_private(path, seal(secret, seal_other.algorithm, "another one", cost=CHEAP), replace=True)
    assert "the same" in refused(config, "start-keystore-shut").advice


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ('passphrase_file = "a"\ncredential = "b"', "one-or-none"),
        ('credential = "../b"', "path-unwanted"),
        ('credential = ".b"', "path-unwanted"),
        ("credential = 1", "text-wanted"),
    ],
)
def test_what_is_configured_about_pass_phrases(local: Localnet, more: str, code: str) -> None:
    path = local.node_directory(local.members[0]) / "node.toml"
    path.write_text(path.read_text().replace("[keys]\n", f"[keys]\n{more}\n"))
    (fault,) = faults_of(lambda: read_config(path))
    assert fault.code == code
    assert fault.setting.startswith("[keys] ")
    assert fault.line
