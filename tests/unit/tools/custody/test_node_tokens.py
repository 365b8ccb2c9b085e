"""A node that founds or joins with its keys on a real token (SoftHSM2); refusals by code."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from node.config import read_config
from node.custody.token import TokenKey
from node.startup import check_listed, read_genesis, read_identity
from tests.softhsm import fresh_token, needs_token
from tests.unit.tools.found.builders import ORIGIN, SOURCE_PATH
from tools.cli import main
from tools.custody.signer import describe_key
from tools.exits import ERROR, OK
from tools.found.founder import read_founder
from tools.founding import read_application

pytestmark = needs_token
MEMBERS = ("cn-3100-tax", "cn-3205-tax", "cn-3301-tax", "cn-3302-tax")
FIRST = MEMBERS[0]
KEYS = {name: f"pkcs11:token=tally;object={name}" for name in ("consensus", "cosigning")}
TOKENS = ("--consensus-token", KEYS["consensus"], "--cosigning-token", KEYS["cosigning"])


@pytest.fixture(scope="module")
def pin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with fresh_token(tmp_path_factory.mktemp("hsm")) as folder:
        for uri in KEYS.values():
            run("keys", "generate", uri, "--passphrase-file", folder / "pin")
        yield folder / "pin"


def run(*words: object, exit_code: int = OK) -> dict[str, Any]:
    result = CliRunner().invoke(main, [*map(str, words), "--json", "--lang", "en"])
    assert result.exit_code == exit_code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def code_of(*words: object) -> str:
    code: str = run(*words, exit_code=ERROR)["error"]["code"]
    return code


def init(home: Path, member: str, *more: object) -> tuple[object, ...]:
    names = ("--member", member, "--name-zh", "税务局", "--name-en", "Bureau")
    place = ("--region", "330100", "--origin", ORIGIN, "--address", f"127.0.0.1:{member[3:7]}")
    return ("admin", "found", "init", home, *names, *place, "--plain", *more)


def key_names(home: Path) -> list[str]:
    return sorted(path.name for path in home.glob("nodes/*/keys/*.key"))


def test_a_founder_with_a_token(tmp_path: Path, pin: Path) -> None:
    for member in MEMBERS:
        own = (*TOKENS, "--pin-file", pin) if member == FIRST else ()
        run(*init(tmp_path / member, member, *own))
    home, genesis = tmp_path / FIRST, tmp_path / "genesis.json"
    assert key_names(home) == []
    node = read_founder(home / "founder.json").founder.node
    assert node is not None
    files = [tmp_path / member / "founder.json" for member in MEMBERS]
    run("admin", "found", "assemble", "--source", SOURCE_PATH, *files, "--out", genesis)
    signed = [
        run("admin", "found", "sign", genesis, "--home", tmp_path / member, "--yes")["signature"]
        for member in MEMBERS
    ]
    finish = ("admin", "found", "finish", genesis, *signed, "--home", home)
    swapped = ("--consensus-token", KEYS["cosigning"], "--cosigning-token", KEYS["consensus"])
    assert code_of(*finish, *swapped) == "node-key-other"
    remembered = home / "nodes" / FIRST / "keys.toml"
    kept = remembered.read_text()
    remembered.write_text("")
    assert code_of(*finish) == "node-key-missing"
    remembered.write_text("consensus = 3")
    assert code_of(*finish) == "value-file-invalid"
    remembered.write_text(kept)
    # The configuration names what `init` was given, and the node starts with it.
    config = read_config(Path(run(*finish)["config"]))
    assert {name: config["keys", name] for name in KEYS} == KEYS
    founding = read_genesis(config)
    identity = read_identity(config, founding)
    assert isinstance(identity.consensus, TokenKey)
    assert check_listed(identity, founding.validators) == node.validator


def test_a_node_joins_with_a_token(tmp_path: Path, pin: Path) -> None:
    run("localnet", "init", tmp_path / "net")
    home, genesis = tmp_path / "home", tmp_path / "net" / "genesis.json"
    names = ("--member", "cn-3302-customs", "--address", "node.example:7101", "--genesis", genesis)
    join = ("node", "join", home, *names, "--pin-file", pin, "--plain")
    same = ("--consensus-token", KEYS["consensus"], "--cosigning-token", KEYS["consensus"])
    assert code_of(*join, *same) == "node-tokens-same-key"
    assert code_of(*join, "--consensus-token", "consensus.key") == "token-uri-invalid"
    assert not home.exists()
    made = run(*join, "--consensus-token", KEYS["consensus"])
    assert key_names(home) == ["cosigning.key", "log.key"]
    application = read_application(Path(made["application"]))
    key = describe_key(KEYS["consensus"]).public_key
    assert key == "ed25519:" + application.validator.consensus_key[1:].hex()
    config = read_config(Path(made["config"]))
    assert config["keys", "consensus"] == KEYS["consensus"]
    assert config["keys", "pin_file"] == str(pin)
