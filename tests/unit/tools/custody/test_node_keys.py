"""Keys of a node that founds or joins: keystores or plain, and a configuration that opens them."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ledger.keys import SecretKey
from node.config import read_config
from node.startup import read_genesis, read_identity
from tests.refusals import start_refused
from tests.terminal import Terminal
from tests.unit.tools.found.builders import MEMBERS, ORIGIN, SOURCE_PATH
from tools.cli import main
from tools.custody.keyfiles import open_key_file, read_key_file
from tools.custody.passphrase import Ways
from tools.exits import ERROR, OK, USAGE
from tools.founding import read_application
from tools.localnet import Localnet

FIRST, GUEST = MEMBERS[0], "cn-3302-customs"
OFFICERS, NODE = "correct horse battery", "another for the node"
NAMES = ("consensus.key", "cosigning.key", "tls.key.pem")


@pytest.fixture
def phrases(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for text in (OFFICERS, NODE):
        path = found[text] = tmp_path / text.replace(" ", "-")
        path.touch(mode=0o600)
        path.write_text(text + "\n")
    return found


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Localnet:
    directory = tmp_path_factory.mktemp("net") / "net"
    run("localnet", "init", directory)
    return Localnet(directory)


def run(*words: object, exit_code: int = OK) -> dict[str, Any]:
    result = CliRunner().invoke(main, [*map(str, words), "--json", "--lang", "en"])
    assert result.exit_code == exit_code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def init(home: Path, member: str = FIRST) -> tuple[object, ...]:
    names = ("--member", member, "--name-zh", "税务局", "--name-en", "Bureau")
    place = ("--region", "330100", "--origin", ORIGIN, "--address", f"127.0.0.1:{member[3:7]}")
    return ("admin", "found", "init", home, *names, *place)


def join(home: Path, net: Localnet) -> tuple[object, ...]:
    place = ("--address", "node.example:7101", "--genesis", net.genesis_path)
    return ("node", "join", home, "--member", GUEST, *place)


def finish(folder: Path, home: Path, *way: object) -> tuple[dict[str, Any], list[object]]:
    """The first founder with its keys so, the others plain: what `finish` says, and its words."""
    run(*init(home), *way)
    homes = [home, *(folder / member for member in MEMBERS[1:])]
    for member in MEMBERS[1:]:
        run(*init(folder / member, member), "--plain")
    genesis, files = folder / "genesis.json", [each / "founder.json" for each in homes]
    run("admin", "found", "assemble", "--source", SOURCE_PATH, *files, "--out", genesis)
    by = ("--passphrase-file", folder / OFFICERS.replace(" ", "-"))
    signed = [
        run("admin", "found", "sign", genesis, "--home", each, "--yes", *by)["signature"]
        for each in homes
    ]
    words: list[object] = ["admin", "found", "finish", genesis, *signed, "--home", home]
    return run(*words), words


def kinds(config: Path) -> set[str]:
    folder = config.parent / "keys"
    for name in NAMES:
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    return {read_key_file(folder / name).kind for name in NAMES}


def starts(config: Path) -> bool:
    """Whether a node of the configuration opens all its keys."""
    settings = read_config(config)
    identity = read_identity(settings, read_genesis(settings))
    consensus = read_key_file(config.parent / "keys" / "consensus.key")
    assert consensus.public_key == f"ed25519:{identity.consensus.public[1:].hex()}"
    return True


def test_the_keys_of_a_founder_have_a_pass_phrase_of_their_own(
    tmp_path: Path, phrases: dict[str, Path]
) -> None:
    home = tmp_path / "home"
    ways = ("--passphrase-file", phrases[OFFICERS], "--node-passphrase-file", phrases[NODE])
    config = Path(finish(tmp_path, home, *ways)[0]["config"])
    assert kinds(config) == {"keystore"}
    assert read_config(config)["keys", "passphrase_file"] == str(phrases[NODE])
    assert starts(config)
    officer = read_key_file(home / "officers" / f"{FIRST}-admin.key")
    SecretKey(open_key_file(officer, Ways(phrase=OFFICERS)))


def test_one_way_for_both_is_that_of_the_officers(
    tmp_path: Path, phrases: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    name = phrases[OFFICERS].name
    config = Path(finish(tmp_path, tmp_path / "home", "--credential", name)[0]["config"])
    assert kinds(config) == {"keystore"}
    settings = read_config(config)
    assert (settings["keys", "credential"], settings["keys", "passphrase_file"]) == (name, "")
    assert starts(config)


def test_plain_files_need_no_setting(tmp_path: Path, net: Localnet) -> None:
    result = CliRunner().invoke(main, [*map(str, init(tmp_path / "a")), "--plain", "--lang", "en"])
    assert result.exit_code == OK
    assert result.stderr.count("Warning: this key is not encrypted") == 1
    config = Path(run(*join(tmp_path / "b", net), "--plain")["config"])
    assert kinds(config) == {"pem", "plain"}
    assert "passphrase" not in config.read_text()
    assert starts(config)


def test_a_node_joins_with_keystores(
    tmp_path: Path, net: Localnet, phrases: dict[str, Path]
) -> None:
    made = run(*join(tmp_path / "home", net), "--passphrase-file", phrases[NODE])
    config = Path(made["config"])
    assert kinds(config) == {"keystore"}
    assert starts(config)
    validator = read_application(Path(made["application"])).validator
    identity = read_identity(read_config(config), read_genesis(read_config(config)))
    assert validator.tls_certificate == identity.certificate


def test_who_types_the_pass_phrase_is_told_where_the_node_looks_for_it(
    tmp_path: Path, net: Localnet
) -> None:
    home = tmp_path / "home"
    place = home / "nodes" / GUEST
    with Terminal([*map(str, join(home, net)), "--lang", "en"]) as terminal:
        terminal.answer(f"New pass phrase of {place}", NODE)
        terminal.answer("again", NODE)
        assert terminal.end() == OK, terminal.shown
        told = terminal.shown.replace("\r\n", "")
    assert f"in {place}/passphrase (mode 0600)" in told
    config = place / "node.toml"
    start_refused(lambda: starts(config), "start-secret-unreadable")
    (place / "passphrase").touch(mode=0o600)
    (place / "passphrase").write_text(NODE)
    assert starts(config)


def test_nothing_is_made_before_the_pass_phrase_is_good(
    tmp_path: Path, net: Localnet, phrases: dict[str, Path]
) -> None:
    weak = tmp_path / "weak"
    weak.touch(mode=0o600)
    weak.write_text("short")
    home, good = tmp_path / "home", ("--passphrase-file", phrases[OFFICERS])
    for words, code, exit_code in (
        ((*init(home), *good, "--node-passphrase-file", weak), "passphrase-short", ERROR),
        ((*init(home), "--plain", "--node-passphrase-file", weak), "passphrase-ways", ERROR),
        (
            (*init(home), *good, "--node-passphrase-file", weak, "--node-credential", "x"),
            "passphrase-ways",
            USAGE,
        ),
        ((*join(home, net), "--passphrase-file", weak), "passphrase-short", ERROR),
        ((*join(home, net), "--plain", *good), "passphrase-ways", ERROR),
    ):
        error = run(*words, exit_code=exit_code)["error"]
        assert (error["code"], home.exists()) == (code, False)
