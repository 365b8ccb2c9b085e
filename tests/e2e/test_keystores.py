"""Nodes and officers whose keys are all keystores: the network works, and tells no secret."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ledger.custody.keystore import Cost
from tests.e2e.network import ASKER, OWNER, Net
from tools.cli import main
from tools.custody.keyfiles import open_key_file, read_key_file, seal, write_private
from tools.custody.passphrase import Ways
from tools.exits import ERROR, OK

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

CHEAP = Cost(passes=1, memory_kib=8)
PHRASE = "符契 correct horse battery"
NODE_KEYS = ("consensus.key", "cosigning.key", "log.key", "tls.key.pem")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Net, list[str]]]:
    """A running network in which no secret lies open, and the secrets that nobody may tell."""
    net = Net(tmp_path_factory.mktemp("keystores") / "net")
    secrets = [PHRASE]
    for place, member in enumerate(net.members):
        directory = net.local.node_directory(member)
        secrets += [_protect(directory / "keys" / name) for name in NODE_KEYS]
        write_private(directory / "phrase", PHRASE.encode())
        # One of them as under systemd.
        way = 'credential = "phrase"' if place == 0 else 'passphrase_file = "phrase"'
        config = directory / "node.toml"
        config.write_text(config.read_text().replace("[keys]\n", f"[keys]\n{way}\n"))
    for path in sorted((net.local.directory / "officers").iterdir()):
        secrets.append(_protect(path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CREDENTIALS_DIRECTORY", str(net.local.node_directory(net.members[0])))
        net.local.start()
    try:
        net.local.wait_ready()
        yield net, secrets
    finally:
        net.local.stop()


@pytest.fixture(autouse=True)
def _no_process_left(net: Any) -> None:
    """The network lives as long as the module."""


def _protect(path: Path) -> str:
    """Make a key file a keystore; the secret as it stood in the file."""
    file = read_key_file(path)
    secret = open_key_file(file, Ways())
    write_private(path, seal(secret, file.algorithm, PHRASE, cost=CHEAP), replace=True)
    return secret.hex()


def ask(net: Net, folder: Path, *more: object) -> Any:
    (folder / "subjects.txt").write_text("91330100MA27W0000X\n")
    return CliRunner().invoke(
        main,
        [
            *("officer", "request", "--dir", str(net.local.directory), "--member", ASKER),
            *("--to", OWNER, "--dataset", "registration", "--purpose", "assessment"),
            *("--legal-basis", "tcal-6", "--field", "uscc", "--lang", "en"),
            *("--from", "2025-01-01", "--until", "2025-12-31"),
            *("--subjects", str(folder / "subjects.txt"), "--blinds", str(folder / "blinds")),
            *map(str, more),
        ],
    )


def test_an_officer_signs_with_a_keystore(net: tuple[Net, list[str]], tmp_path: Path) -> None:
    write_private(tmp_path / "phrase", PHRASE.encode())
    write_private(tmp_path / "wrong", (PHRASE + "!").encode())
    wrong = ask(net[0], tmp_path, "--passphrase-file", tmp_path / "wrong")
    assert wrong.exit_code == ERROR
    assert "[passphrase-wrong]" in wrong.stderr
    asked = ask(net[0], tmp_path, "--passphrase-file", tmp_path / "phrase")
    assert asked.exit_code == OK, asked.output
    assert asked.stdout.startswith("permit")
    for secret in net[1]:
        assert secret not in wrong.output + asked.output


def test_no_secret_lies_open_or_in_a_log(net: tuple[Net, list[str]]) -> None:
    secrets = [secret.encode() for secret in net[1]]
    directory = net[0].local.directory
    logs = [path for path in directory.rglob("*") if path.suffix == ".log"]
    assert len(logs) >= 4
    for path in directory.rglob("*"):
        if path.is_file() and path.name not in ("phrase", "LOCK"):
            data = path.read_bytes()
            assert b"PRIVATE KEY-----" not in data, path
            assert not [secret for secret in secrets if secret in data], path
    for member in net[0].members:
        pid = net[0].local.pid(member)
        for name in ("environ", "cmdline"):
            data = Path(f"/proc/{pid}/{name}").read_bytes()
            assert not [secret for secret in secrets if secret in data]
    assert os.environ.get("CREDENTIALS_DIRECTORY") is None
