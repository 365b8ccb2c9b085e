"""Keys of a founding or joining agency: as keystores, plain, or on a token; refusals by code."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ledger.genesis import encode_genesis_json
from ledger.keys import SecretKey, fingerprint
from tests import builders
from tests.softhsm import fresh_token, needs_token
from tests.terminal import Terminal
from tools.cli import main
from tools.custody.keyfiles import open_key_file, read_key_file
from tools.custody.passphrase import Ways
from tools.custody.signer import describe_key
from tools.exits import ERROR, OK
from tools.found.founder import read_founder
from tools.governance.applications import read_admission

MEMBER = "cn-4403-tax"
PHRASE, OTHER_PHRASE = "correct horse battery", "another for the node"
WHO = ("--member", MEMBER, "--name-zh", "深圳", "--name-en", "Shenzhen", "--region", "440300")
OFFICERS = ("admin", "approver", "provider", "requester")
ADMIN, SECOND = "pkcs11:token=tally;object=admin", "pkcs11:token=tally;object=admin-2"


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with fresh_token(tmp_path_factory.mktemp("hsm")) as folder:
        for uri in (ADMIN, SECOND):
            run("keys", "generate", uri, "--passphrase-file", folder / "pin")
        yield folder


@pytest.fixture
def phrase(tmp_path: Path) -> Path:
    return write_phrase(tmp_path / "phrase", PHRASE)


def write_phrase(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text + "\n")
    return path


def run(*words: object, exit_code: int = OK) -> dict[str, Any]:
    result = CliRunner().invoke(main, [*map(str, words), "--json", "--lang", "en"])
    assert result.exit_code == exit_code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def found(home: Path) -> tuple[object, ...]:
    place = ("--origin", "exchange.example/log", "--address", "node.example:7101")
    return ("admin", "found", "init", home, *WHO, *place)


def apply(home: Path) -> tuple[object, ...]:
    genesis = home.parent / "genesis.json"
    genesis.write_bytes(encode_genesis_json(builders.genesis()))
    return ("member", "apply", home, *WHO, "--kind", "tax", "--genesis", genesis)


COMMANDS = {"found": found, "apply": apply}


def key_files(home: Path) -> list[Path]:
    """Those of officers; those of its node are in `tests/unit/tools/custody/test_node_keys.py`."""
    return sorted([*home.glob("officers/*.key"), *home.glob("keys/*.key")])


def public_keys(home: Path) -> set[bytes]:
    """Officers' keys as the public file names them, its signatures verified."""
    if (home / "founder.json").exists():
        return {each.key for each in read_founder(home / "founder.json").founder.officers}
    admission = read_admission(home / "application.json", builders.NETWORK)
    return {each.key for each in admission.application.keys}


def opened(home: Path, text: str) -> set[bytes]:
    ways = Ways(phrase=text)
    return {SecretKey(open_key_file(read_key_file(path), ways)).public for path in key_files(home)}


@pytest.mark.parametrize("name", COMMANDS)
def test_keys_are_keystores_under_one_pass_phrase(tmp_path: Path, name: str, phrase: Path) -> None:
    home = tmp_path / "home"
    run(*COMMANDS[name](home), "--passphrase-file", phrase)
    paths = key_files(home)
    assert len(paths) == (4 if name == "found" else 5)
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert read_key_file(path).kind == "keystore"
    assert opened(home, PHRASE) == public_keys(home)


@pytest.mark.parametrize("name", COMMANDS)
def test_who_gives_no_way_is_asked_twice(tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    words = [*map(str, COMMANDS[name](home)), "--lang", "en"]
    with Terminal(words) as terminal:
        terminal.answer("New pass phrase", PHRASE)
        terminal.answer("again", "something else")
        assert terminal.end() == ERROR
        assert "passphrase-differs" in terminal.shown
    assert key_files(home) == []
    with Terminal(words) as terminal:
        terminal.answer("New pass phrase", PHRASE)
        terminal.answer("again", PHRASE)
        if name == "found":
            terminal.answer(f"New pass phrase of {home}/nodes/{MEMBER}", OTHER_PHRASE)
            terminal.answer("again", OTHER_PHRASE)
        assert terminal.end() == OK, terminal.shown
        assert PHRASE not in terminal.shown
    assert opened(home, PHRASE) == public_keys(home)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_credential_of_systemd(
    tmp_path: Path, name: str, phrase: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(phrase.parent))
    run(*COMMANDS[name](tmp_path / "home"), "--credential", "phrase")
    assert opened(tmp_path / "home", PHRASE) == public_keys(tmp_path / "home")


@pytest.mark.parametrize("name", COMMANDS)
def test_plain_files_are_made_where_they_are_asked_for(tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    run(*COMMANDS[name](home), "--plain")
    assert {read_key_file(path).kind for path in key_files(home)} == {"plain"}


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_made_before_the_pass_phrase_is_good(
    tmp_path: Path, name: str, phrase: Path
) -> None:
    home = tmp_path / "home"
    weak = write_phrase(tmp_path / "weak", "short")
    for way, code in (
        (("--passphrase-file", weak), "passphrase-short"),
        (("--credential", "nowhere"), "credential-not-found"),
        (("--plain", "--passphrase-file", phrase), "passphrase-ways"),
        (("--plain", "--admin-token", "admin.key"), "token-uri-invalid"),
    ):
        error = run(*COMMANDS[name](home), *way, exit_code=ERROR)["error"]
        assert (error["code"], key_files(home)) == (code, [])


def test_a_second_application_opens_the_keys_of_the_first(tmp_path: Path, phrase: Path) -> None:
    home = tmp_path / "home"
    run(*apply(home), "--passphrase-file", phrase)
    keys = public_keys(home)
    (home / "keys" / "requester.key").unlink()
    wrong = write_phrase(tmp_path / "wrong", "another pass phrase")
    error = run(*apply(home), "--passphrase-file", wrong, exit_code=ERROR)["error"]
    assert error["code"] == "passphrase-wrong"
    run(*apply(home), "--passphrase-file", phrase)
    assert len(public_keys(home) & keys) == len(keys) - 1
    assert opened(home, PHRASE) == public_keys(home)


@needs_token
def test_an_administrator_founds_with_a_token(tmp_path: Path, token: Path, phrase: Path) -> None:
    home, pin = tmp_path / "home", ("--pin-file", token / "pin")
    made = run(*found(home), "--admin-token", ADMIN, *pin, "--passphrase-file", phrase)
    names = [path.name for path in key_files(home)]
    assert names == [f"{MEMBER}-{role}.key" for role in OFFICERS if role != "admin"]
    info = describe_key(ADMIN)
    assert made["fingerprint"] == info.fingerprint
    file = read_founder(home / "founder.json")
    assert fingerprint(file.key) == info.fingerprint
    many = run(*found(tmp_path / "b"), *("--admin-token", ADMIN) * 2, *pin, exit_code=ERROR)
    assert many["error"]["code"] == "tokens-too-many"


@needs_token
def test_administrators_apply_with_tokens(tmp_path: Path, token: Path) -> None:
    home, pin = tmp_path / "home", ("--pin-file", token / "pin")
    both = ("--admin-token", ADMIN, "--admin-token", SECOND)
    made = run(*apply(home), *both, *pin, "--plain")
    assert [path.name for path in key_files(home)] == [
        f"{role}.key" for role in OFFICERS if role != "admin"
    ]
    files = {each["key"]: each["file"] for each in made["keys"]}
    for uri in (ADMIN, SECOND):
        assert files[describe_key(uri).public_key] == ""
    signer = read_admission(home / "application.json", builders.NETWORK).signer
    assert fingerprint(signer) == describe_key(ADMIN).fingerprint
    same = run(*apply(tmp_path / "b"), *("--admin-token", ADMIN) * 2, *pin, exit_code=ERROR)
    assert same["error"]["code"] == "tokens-same-key"
