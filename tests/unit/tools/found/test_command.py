"""The steps of founding as commands, in separate home folders, and what each of them refuses."""

import json
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from ledger.genesis import decode_genesis_json, encode_genesis_json, hash_genesis
from ledger.keys import parse_secret_key
from ledger.quorum.founding import decode_signatures, encode_signatures, merge_signatures
from tests.unit.tools.found.builders import MEMBERS, ORIGIN, SOURCE_PATH
from tools.cli import main
from tools.exits import ERROR, NOT_FOUND, OK, USAGE
from tools.found.home import _listen_at
from tools.founding import signatures_path
from tools.localnet import Localnet


def run(*arguments: object, answer: str = "") -> Result:
    return CliRunner().invoke(main, ["admin", "found", *map(str, arguments)], input=answer)


def found(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == OK, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def refused(*arguments: object, exit_code: int = ERROR) -> dict[str, str]:
    result = run(*arguments, "--json")
    assert result.exit_code == exit_code, result.output
    error: dict[str, str] = json.loads(result.stdout)["error"]
    assert error["advice"]
    return error


def options(member: str) -> list[str]:
    return [
        *("--member", member, "--name-zh", "税务局", "--name-en", f"Bureau {member[3:7]}"),
        *("--region", f"{member[3:7]}00", "--origin", ORIGIN),
        *("--address", f"127.0.0.1:{member[3:7]}"),
    ]


class Founders:
    """Four home folders that founded a network together, up to the signatures."""

    def __init__(self, folder: Path) -> None:
        self.homes = {member: folder / member for member in MEMBERS}
        for member, home in self.homes.items():
            found("init", home, *options(member), "--plain")
        self.genesis = folder / "genesis.json"
        files = [home / "founder.json" for home in self.homes.values()]
        found("assemble", "--source", SOURCE_PATH, *files, "--out", self.genesis)

    def sign(self) -> list[Path]:
        return [
            Path(found("sign", self.genesis, "--home", home, "--yes")["signature"])
            for home in self.homes.values()
        ]


@pytest.fixture
def founders(tmp_path: Path) -> Founders:
    return Founders(tmp_path)


def secrets_of(home: Path) -> dict[Path, str]:
    return {path: path.read_text() for path in home.rglob("*.key*")}


def test_init_makes_private_keys_and_a_public_file(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = found("init", home, *options(MEMBERS[0]), "--plain")
    assert Path(made["founder"]) == home / "founder.json"
    keys = secrets_of(home)
    assert len(keys) == 4 + 3
    for path, text in keys.items():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert text not in (home / "founder.json").read_text()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    error = refused("init", home, *options(MEMBERS[1]))
    assert error["code"] == "home-exists"
    assert secrets_of(home) == keys


def test_init_takes_a_file_and_options_before_it(tmp_path: Path) -> None:
    card = tmp_path / "card.toml"
    card.write_text(
        f'member = "{MEMBERS[0]}"\nname_zh = "税"\nname_en = "T"\nregion = "330100"\n'
        f'origin = "{ORIGIN}"\nkind = "auditor"\nnode = false\nroles = ["auditor"]\n'
    )
    found("init", tmp_path / "home", "--from", card, "--region", "330200", "--plain")
    founder = json.loads((tmp_path / "home" / "founder.json").read_text())["founder"]
    assert founder["member"]["kind"] == "auditor"
    assert founder["member"]["region"] == "330200"
    assert founder["node"] is None
    assert [each["roles"] for each in founder["officers"]] == [["auditor"]]


def test_init_says_what_is_missing_or_wrong(tmp_path: Path) -> None:
    home = tmp_path / "home"
    error = refused("init", home, "--member", "x", exit_code=USAGE)
    assert error["code"] == "founder-incomplete"
    assert error["detail"] == "--name-zh, --name-en, --region, --origin, --address"
    error = refused("init", home, *options(MEMBERS[0]), "--role", "approver", exit_code=USAGE)
    assert error["detail"] == "--role admin"
    assert refused("init", home, *options("UPPER-CASE"))["code"] == "founder-invalid"
    for text, said in (
        ("member = ", "Invalid value"),
        ('surprise = 1\nmember = "a"\n', "unknown field"),
        ("node = 3\n", "Expected `bool`"),
    ):
        (tmp_path / "card.toml").write_text(text)
        error = refused("init", home, "--from", tmp_path / "card.toml", *options(MEMBERS[0]))
        assert error["code"] == "founder-data-invalid"
        assert said in error["detail"]
    assert not home.exists()


def test_all_steps(founders: Founders) -> None:
    genesis = decode_genesis_json(founders.genesis.read_bytes())
    signatures = founders.sign()
    listening = [founders.homes[member] for member in MEMBERS]
    for member, home in founders.homes.items():
        done = found("finish", founders.genesis, *signatures, "--home", home)
        config = tomllib.loads(Path(done["config"]).read_text())
        assert config["node"]["member"] == member
        assert set(config["peers"]["addresses"]) == set(MEMBERS) - {member}
        assert config["peers"]["listen"] == f"127.0.0.1:{member[3:7]}"
        network = Localnet(home)
        assert network.members == (member,)
        assert network.index.network == hash_genesis(genesis).hex()
        log_key = parse_secret_key((Path(done["config"]).parent / "keys/log.key").read_text())
        assert log_key.public == genesis.log_key
        error = refused("finish", founders.genesis, *signatures, "--home", home)
        assert error["code"] == "network-exists"
    files = {signatures_path(home / "genesis.json").read_bytes() for home in listening}
    assert len(files) == 1


def test_no_private_key_is_in_what_is_handed_over(founders: Founders) -> None:
    handed = [founders.genesis, *founders.sign()]
    handed += [home / "founder.json" for home in founders.homes.values()]
    public = b"".join(path.read_bytes() for path in handed)
    for home in founders.homes.values():
        for path, text in secrets_of(home).items():
            secret = text.strip().rpartition(":")[2].encode()
            assert secret not in public
            if path.suffix == ".key":
                encoded = msgspec.json.encode(bytes.fromhex(secret.decode())).strip(b'"=')
                assert encoded[:-1] not in public


@pytest.mark.parametrize(
    ("lang", "said"),
    [
        ("en", ["Validators  4, a quorum are 3", "Tax audit", "is exactly as handed in"]),
        ("zh", ["验证节点  4 个，法定多数 3 个", "税务稽查", "与所提交的完全一致"]),
    ],
)
def test_check_shows_what_a_genesis_says(founders: Founders, lang: str, said: list[str]) -> None:
    home = founders.homes[MEMBERS[0]]
    page = run("check", founders.genesis, "--founder", home, "--lang", lang)
    assert page.exit_code == OK, page.output
    genesis = decode_genesis_json(founders.genesis.read_bytes())
    names = [each.id for each in (*genesis.members, *genesis.datasets, *genesis.legal_bases)]
    for text in (*said, *names, hash_genesis(genesis).hex(), "credit", "delta_ms"):
        assert text in page.output
    document = found("check", founders.genesis)
    assert document["own_entry"] == ""
    assert document["quorum"] == 3
    assert document["contracts"]["unlike_shipped"] == []


def test_what_others_wrote_cannot_forge_a_row_or_steer_the_terminal(founders: Founders) -> None:
    genesis = decode_genesis_json(founders.genesis.read_bytes())
    forged = msgspec.structs.replace(
        genesis.members[0], name_en="a\nb\x1b[2J", name_zh="a\nb\x1b[2J"
    )
    genesis = msgspec.structs.replace(
        genesis, name="x\nNetwork", members=(forged, *genesis.members[1:])
    )
    founders.genesis.write_bytes(encode_genesis_json(genesis))
    page = run("check", founders.genesis).output
    assert "a?b?[2J" in page
    assert "x?Network" in page
    assert "\x1b" not in page


def tamper(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


def test_a_founder_does_not_sign_what_it_did_not_hand_in(founders: Founders) -> None:
    home = founders.homes[MEMBERS[0]]
    tamper(founders.genesis, lambda genesis: genesis["members"][0].update(region="110000"))
    for step in (("check", "--founder"), ("sign", "--home")):
        error = refused(
            step[0], founders.genesis, step[1], home, *(["--yes"] * (step[0] == "sign"))
        )
        assert error["code"] == "founder-changed"
        assert "region: 110000, not 310000" in error["detail"]
    assert not (home / "signature.json").exists()


def test_contracts_that_cannot_be_evaluated_are_not_signed(founders: Founders) -> None:
    home = founders.homes[MEMBERS[0]]
    tamper(
        founders.genesis,
        lambda genesis: genesis["policy_set"]["contracts"][0].update(text="permit("),
    )
    assert refused("sign", founders.genesis, "--home", home, "--yes")["code"] == "contracts-invalid"
    assert not (home / "signature.json").exists()


def test_signing_asks_first(founders: Founders) -> None:
    home = founders.homes[MEMBERS[0]]
    result = run("sign", founders.genesis, "--home", home, answer="n\n")
    assert result.exit_code == ERROR
    assert "not-signed" in result.stderr
    assert not (home / "signature.json").exists()
    result = run("sign", founders.genesis, "--home", home, answer="y\n")
    assert result.exit_code == OK, result.output
    assert (home / "signature.json").exists()


def test_only_an_admin_key_signs(founders: Founders) -> None:
    home = founders.homes[MEMBERS[0]]
    key = home / "officers" / f"{MEMBERS[0]}-approver.key"
    error = refused("sign", founders.genesis, "--home", home, "--yes", "--key", key)
    assert error["code"] == "key-not-admin"


def test_a_folder_that_is_no_home(founders: Founders, tmp_path: Path) -> None:
    error = refused("sign", founders.genesis, "--home", tmp_path, exit_code=NOT_FOUND)
    assert error["code"] == "home-not-found"


def test_assembling_names_the_file_and_the_fault(founders: Founders, tmp_path: Path) -> None:
    files = [home / "founder.json" for home in founders.homes.values()]
    out = ("--source", SOURCE_PATH, "--out", tmp_path / "second.json")
    error = refused("assemble", *out, *files, files[0])
    assert (error["code"], error["detail"].startswith(f"{files[0]}: ")) == ("founder-double", True)
    error = refused("assemble", *out, *files[:3])
    assert error["code"] == "founders-too-few"
    error = refused("assemble", "--source", SOURCE_PATH, "--out", founders.genesis, *files)
    assert error["code"] == "file-exists"
    data = files[2].read_bytes()
    files[2].write_bytes(data.replace(b"Bureau", b"Bureav"))
    error = refused("assemble", *out, *files)
    assert error["code"] == "founder-invalid"
    assert error["detail"].startswith(f"{files[2]}: signature: ")
    assert not (tmp_path / "second.json").exists()


def test_contracts_of_its_own(founders: Founders, tmp_path: Path) -> None:
    files = [home / "founder.json" for home in founders.homes.values()]
    (tmp_path / "own").mkdir()
    genesis = decode_genesis_json(founders.genesis.read_bytes())
    for contract in genesis.policy_set.contracts[1:]:
        (tmp_path / "own" / f"{contract.id}.cedar").write_text(contract.text + "// own\n")
    out = ("--policies", tmp_path / "own", "--out", tmp_path / "own.json")
    found("assemble", "--source", SOURCE_PATH, *out, *files)
    shown = found("check", tmp_path / "own.json")["contracts"]
    assert shown["left_out"] == [genesis.policy_set.contracts[0].id]
    assert shown["unlike_shipped"] == shown["ids"]


def test_all_founders_must_have_signed_this_genesis(founders: Founders, tmp_path: Path) -> None:
    home = founders.homes[MEMBERS[0]]
    files = founders.sign()
    error = refused("finish", founders.genesis, *files[1:], "--home", home)
    assert error["code"] == "signatures-invalid"
    assert error["detail"] == f"\n{MEMBERS[0]}: its signature is missing"

    (tmp_path / "other").mkdir()
    other = Founders(tmp_path / "other").sign()[0]
    error = refused("finish", founders.genesis, *files[1:], other, "--home", home)
    assert error["code"] == "signatures-other-network"
    assert error["detail"].startswith(f"{other}: ")

    text = files[1].read_text()
    files[1].write_text(text.replace("127.0.0.1", "127.0.0.2"))
    error = refused("finish", founders.genesis, *files, "--home", home)
    assert f"{MEMBERS[1]}: signature does not verify" in error["detail"]
    files[1].write_text(text + " ")
    error = refused("finish", founders.genesis, *files, "--home", home)
    assert error["detail"] == f"{files[1]}: the bytes are not in canonical form"
    files[1].write_text(text)
    assert not (home / "network.toml").exists()
    assert not signatures_path(home / "genesis.json").exists()

    merged = merge_signatures([decode_signatures(path.read_bytes()) for path in files])
    (tmp_path / "all.json").write_bytes(encode_signatures(merged))
    assert found("finish", founders.genesis, tmp_path / "all.json", "--home", home)["config"]


def test_the_api_stays_on_this_machine(founders: Founders) -> None:
    home = founders.homes[MEMBERS[0]]
    finish = ("finish", founders.genesis, *founders.sign(), "--home", home)
    error = refused(*finish, "--api", "0.0.0.0:7201", exit_code=USAGE)
    assert error["code"] == "address-not-local"
    for name in ("--listen", "--api", "--metrics"):
        error = refused(*finish, name, '127.0.0.1:1"', exit_code=USAGE)
        assert error["code"] == "address-invalid"
    assert not (home / "genesis.json").exists()
    done = found(*finish, "--listen", "0.0.0.0:7109", "--api", "127.0.0.1:7209")
    config = tomllib.loads(Path(done["config"]).read_text())
    assert config["peers"]["listen"] == "0.0.0.0:7109"
    assert config["api"]["listen"] == "127.0.0.1:7209"


def test_a_node_named_by_host_listens_on_all_addresses() -> None:
    for address, expected in (
        ("node.example:7101", "0.0.0.0:7101"),
        ("10.1.2.3:7101", "10.1.2.3:7101"),
        ("[2001:db8::1]:7101", "[2001:db8::1]:7101"),
        ("localhost:7101", "localhost:7101"),
    ):
        assert _listen_at(address) == expected


def test_an_agency_without_a_node_gets_genesis_and_signatures(tmp_path: Path) -> None:
    founders = Founders(tmp_path)
    home = tmp_path / "auditor"
    card = [*options("cn-9999-aud")[:-2], "--no-node", "--kind", "auditor", "--role", "auditor"]
    found("init", home, *card, "--plain")
    files = [*(each / "founder.json" for each in founders.homes.values()), home / "founder.json"]
    founders.genesis.unlink()
    found("assemble", "--source", SOURCE_PATH, *files, "--out", founders.genesis)
    assert found("check", founders.genesis, "--founder", home)["own_entry"] == "cn-9999-aud"
    (home / "officers" / "cn-9999-aud-auditor.key").rename(home / "signing.key")
    sign = ("sign", founders.genesis, "--home", home, "--yes", "--key", home / "signing.key")
    assert refused(*sign)["code"] == "founder-without-node"
    done = found("finish", founders.genesis, *founders.sign(), "--home", home)
    assert done["config"] == ""
    assert (home / "genesis.json").read_bytes() == founders.genesis.read_bytes()
    assert signatures_path(home / "genesis.json").exists()
