"""`tally keys` from the outside: every command, its files, and what it refuses."""

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ledger.custody.decryption import derive_encryption_key
from ledger.custody.encryption import format_encryption_key
from ledger.custody.keystore import Cost, decrypt_keystore
from ledger.custody.rotation import decode_rotation_json
from ledger.genesis import decode_genesis_json, hash_genesis
from ledger.keys import format_public_key, parse_secret_key
from tests.terminal import Terminal
from tools.cli import main
from tools.commands import acting
from tools.custody.keyfiles import format_plain, read_key_file, seal, write_private
from tools.exits import ERROR, OK, UNREACHABLE
from tools.founding import read_source
from tools.governance.applications import read_encryption_key
from tools.localnet import Localnet, create_network, shipped_policy_set

CHEAP = Cost(passes=1, memory_kib=8)
NOW = dt.datetime.now(dt.UTC)
SECRET = bytes(range(32))
PHRASE = "correct horse battery"
OTHER = "another good phrase"


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["keys", *map(str, arguments), "--lang", "en"])
    for text in (result.output, str(result.exception)):
        assert SECRET.hex() not in text
        assert PHRASE not in text
        assert OTHER not in text
    return result


def answer(*arguments: object) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == OK, result.output
    return json.loads(result.stdout)


def code_of(*arguments: object) -> str:
    result = run(*arguments, "--json")
    assert result.exit_code == ERROR, result.output
    return str(json.loads(result.stdout)["error"]["code"])


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "admin.key"
    write_private(path, seal(SECRET, "ed25519", PHRASE, cost=CHEAP))
    return path


@pytest.fixture
def phrase(tmp_path: Path) -> Path:
    write_private(tmp_path / "phrase", PHRASE.encode())
    return tmp_path / "phrase"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    write_private(tmp_path / "other", OTHER.encode())
    return tmp_path / "other"


def test_a_new_key_is_a_keystore(tmp_path: Path, phrase: Path) -> None:
    path = tmp_path / "new.key"
    made = answer("generate", path, "--passphrase-file", phrase)
    assert (made["kind"], made["protected"]) == ("keystore", True)
    assert answer("show", path) == made
    keystore = read_key_file(path).keystore
    assert keystore is not None
    # No option and no variable makes the real ones cheap.
    assert (keystore.passes, keystore.memory_kib) == (3, 131_072)
    assert code_of("generate", path, "--passphrase-file", phrase) == "file-exists"


def test_a_plain_key_is_made_on_demand_only_and_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "plain.key"
    made = run("generate", path, "--plain")
    assert "Whoever reads the file has the key" in made.stderr
    assert format_public_key(parse_secret_key(path.read_text()).public) in made.stdout
    assert answer("show", path)["protected"] is False


def test_a_weak_pass_phrase_makes_no_key(tmp_path: Path) -> None:
    write_private(tmp_path / "weak", b"too short")
    line = ["generate", tmp_path / "new.key", "--passphrase-file", tmp_path / "weak"]
    assert code_of(*line) == "passphrase-short"
    assert not (tmp_path / "new.key").exists()


def test_every_key_below_a_folder_is_listed(tmp_path: Path, key: Path) -> None:
    (tmp_path / "sub").mkdir()
    write_private(tmp_path / "sub" / "plain.key", format_plain(SECRET, "ed25519"))
    write_private(tmp_path / "tls.pem", format_plain(SECRET, "p256"))
    write_private(tmp_path / "torn.key", key.read_bytes()[:-40])
    write_private(tmp_path / "open.key", format_plain(SECRET, "ed25519"))
    (tmp_path / "open.key").chmod(0o644)
    (tmp_path / "notes.txt").write_text("not a key")
    (tmp_path / "link.key").symlink_to(key)
    rows = answer("list", tmp_path)["keys"]
    found = {Path(row["path"]).name: (row["kind"], row["mode"], row["private"]) for row in rows}
    assert found == {
        "admin.key": ("keystore", "0600", True),
        "plain.key": ("plain", "0600", True),
        "tls.pem": ("pem", "0600", True),
        "torn.key": ("damaged", "0600", True),
        "open.key": ("plain", "0644", False),
    }
    assert len({row["public_key"] for row in rows if row["kind"] in ("keystore", "plain")}) == 1
    text = run("list", tmp_path).stdout
    assert "0644 !" in text
    assert "DAMAGED" in text
    assert "chmod 600" in text
    assert code_of("list", tmp_path / "none") == "folder-not-found"


def test_the_public_half_for_others(tmp_path: Path, key: Path) -> None:
    answer("export-public", key, tmp_path / "public.json")
    document = json.loads((tmp_path / "public.json").read_bytes())
    assert document == {
        "format": "tallystick-public-key-v1",
        "public_key": read_key_file(key).public_key,
        "fingerprint": read_key_file(key).fingerprint,
    }
    assert code_of("export-public", key, tmp_path / "public.json") == "file-exists"


def test_a_pass_phrase_is_changed_in_place(key: Path, phrase: Path, other: Path) -> None:
    before = read_key_file(key)
    line = ["change-passphrase", key, "--passphrase-file"]
    assert code_of(*line, other, "--new-passphrase-file", other) == "passphrase-wrong"
    answer(*line, phrase, "--new-passphrase-file", other)
    after = read_key_file(key)
    assert after.public_key == before.public_key
    assert after.keystore != before.keystore
    assert code_of(*line, phrase, "--new-passphrase-file", other) == "passphrase-wrong"
    data = key.read_bytes()
    key.write_bytes(data.replace(b'"passes": 3', b'"passes": 4'))
    assert code_of(*line, other, "--new-passphrase-file", other) == "keystore-damaged"


@pytest.mark.parametrize("algorithm", ["ed25519", "p256"])
def test_a_plain_key_is_protected_later(tmp_path: Path, other: Path, algorithm: Any) -> None:
    path = tmp_path / "plain.key"
    write_private(path, format_plain(SECRET, algorithm))
    before = answer("show", path)
    after = answer("change-passphrase", path, "--new-passphrase-file", other)
    assert (before["protected"], after["protected"]) == (False, True)
    assert before["public_key"] == after["public_key"]
    assert [each.name for each in tmp_path.glob("*plain*")] == ["plain.key"]


# Succession.


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Localnet:
    return create_network(
        tmp_path_factory.mktemp("keys") / "net",
        source=read_source(),
        nodes=4,
        policy_set=shipped_policy_set(),
        now=NOW,
    )


def rotation(network: Localnet, key: Path, phrase: Path, *more: object) -> list[object]:
    line = ["rotate", key, "--genesis", network.genesis_path, "--member", "cn-3301-tax"]
    return [*line, "--passphrase-file", phrase, *more]


def test_a_successor_beside_the_key_and_a_statement_of_both(
    network: Localnet, key: Path, phrase: Path, other: Path
) -> None:
    before = key.read_bytes()
    made = answer(*rotation(network, key, phrase, "--new-passphrase-file", other))
    assert made["path"] == str(key.with_name("admin.next.key"))
    assert made["rotation"] == str(key.with_name("admin.rotation.json"))
    signed = decode_rotation_json(Path(made["rotation"]).read_bytes())
    genesis = decode_genesis_json(network.genesis_path.read_bytes())
    assert signed.rotation.network == hash_genesis(genesis)
    assert format_public_key(signed.rotation.old_key) == read_key_file(key).public_key
    successor = read_key_file(Path(made["path"]))
    assert format_public_key(signed.rotation.new_key) == successor.public_key == made["new_key"]
    assert successor.is_protected
    assert key.read_bytes() == before
    again = rotation(network, key, phrase, "--new-passphrase-file", other)
    assert code_of(*again) == "file-exists"


def test_a_rotation_that_cannot_be_leaves_nothing(
    network: Localnet, key: Path, phrase: Path, other: Path, tmp_path: Path
) -> None:
    taken = tmp_path / "taken.json"
    taken.write_bytes(b"{}")
    before = sorted(tmp_path.iterdir())
    assert code_of(*rotation(network, key, phrase, "--plain", "--rotation", taken)) == "file-exists"
    assert code_of(*rotation(network, key, other, "--plain")) == "passphrase-wrong"
    line = rotation(network, key, phrase, "--plain", "--member", "Not A Member")
    assert code_of(*line) == "rotation-invalid"
    token = ["rotate", "pkcs11:object=a", "--genesis", network.genesis_path, "--member", "a"]
    assert code_of(*token) == "rotation-incomplete"
    assert sorted(tmp_path.iterdir()) == before


# Shares.


def test_a_key_comes_back_from_its_shares(
    tmp_path: Path, key: Path, phrase: Path, other: Path
) -> None:
    line = ["backup", key, "--passphrase-file", phrase, "--shares", 5, "--threshold", 3]
    made = answer(*line, "--out", tmp_path / "shares")
    files = made["files"]
    assert len(files) == 5
    assert all(Path(file).stat().st_mode & 0o777 == 0o600 for file in files)
    assert (tmp_path / "shares").stat().st_mode & 0o777 == 0o700
    assert code_of(*line, "--out", tmp_path / "shares") == "file-exists"
    restored = tmp_path / "restored.key"
    assert code_of("restore", restored, *files[:2]) == "shares-too-few"
    answer("restore", restored, *files[2:], "--passphrase-file", other)
    assert read_key_file(restored).public_key == read_key_file(key).public_key
    assert read_key_file(restored).is_protected
    answer("restore", tmp_path / "plain.key", *files[:3], "--plain")
    assert read_key_file(tmp_path / "plain.key").secret == SECRET


def test_numbers_of_shares_are_checked_before_the_pass_phrase(tmp_path: Path, key: Path) -> None:
    line = ["backup", key, "--shares", 2, "--threshold", 3, "--out", tmp_path / "shares"]
    assert code_of(*line) == "shares-count"


# Signing.


def sign(network: Localnet, key: Path, *more: object) -> list[str]:
    line: Sequence[object] = [
        *("officer", "approve", "ab" * 32, "--comment", "agreed\x1b[2J"),
        *("--member", "cn-3301-tax", "--url", "http://127.0.0.1:1"),
        *("--genesis", network.genesis_path, "--key", key, "--lang", "en", *more),
    ]
    return [str(each) for each in line]


def test_what_will_be_signed_is_shown_before_the_question(network: Localnet, key: Path) -> None:
    with Terminal(sign(network, key)) as terminal:
        terminal.wait_for("Pass phrase or PIN of")
        before = terminal.shown
        for text in ("To be signed", "ab" * 32, "cn-3301-tax", read_key_file(key).fingerprint):
            assert text in before
        assert "\x1b" not in before
        terminal.type(PHRASE)
        assert terminal.end() == UNREACHABLE, terminal.shown
        assert PHRASE not in terminal.shown


def test_a_wrong_pass_phrase_is_asked_for_three_times(network: Localnet, key: Path) -> None:
    with Terminal(sign(network, key)) as terminal:
        for _ in range(3):
            terminal.answer("Pass phrase or PIN of", OTHER)
        assert terminal.end() == ERROR
        assert "[passphrase-wrong]" in terminal.shown
        assert OTHER not in terminal.shown


def test_a_file_and_a_credential_answer_too(
    network: Localnet, key: Path, phrase: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for more in (("--passphrase-file", phrase), ("--credential", "phrase")):
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(phrase.parent))
        result = CliRunner().invoke(main, sign(network, key, *more))
        assert result.exit_code == UNREACHABLE, result.output
        assert "To be signed" in result.stderr
    both = sign(network, key, "--passphrase-file", phrase, "--credential", "phrase")
    assert "[passphrase-ways]" in CliRunner().invoke(main, both).stderr


def test_a_plain_key_signs_without_a_word(network: Localnet) -> None:
    path = network.officer_key_path("cn-3301-tax", "approver")
    result = CliRunner().invoke(main, sign(network, path))
    assert result.exit_code == UNREACHABLE
    assert "To be signed" not in result.output


def test_a_tls_key_signs_nothing(network: Localnet, tmp_path: Path) -> None:
    write_private(tmp_path / "tls.pem", format_plain(SECRET, "p256"))
    result = CliRunner().invoke(main, sign(network, tmp_path / "tls.pem"))
    assert "[key-not-signing]" in result.stderr


def test_long_values_are_shortened_for_the_reader() -> None:
    rows = acting._flatten("", {"a": [{"b": b"\x01" * 300}] * 30, "c": "x"})
    assert rows[0] == ("a.b", "01" * 250 + "...")
    assert rows[-2:] == [("a", "... +10"), ("c", "x")]


def test_an_encryption_key_is_made_kept_and_handed_out(tmp_path: Path, phrase: Path) -> None:
    path, public = tmp_path / "recipient.key", tmp_path / "public.json"
    made = answer("generate", path, "--encryption", "--passphrase-file", phrase)
    assert made["public_key"].startswith("mlkem768-x25519:")
    keystore = read_key_file(path).keystore
    assert keystore is not None
    seed = decrypt_keystore(keystore, PHRASE)
    assert format_encryption_key(derive_encryption_key(seed)) == made["public_key"]
    answer("export-public", path, public)
    assert read_encryption_key(public) == derive_encryption_key(seed)
    [row] = answer("list", tmp_path)["keys"]
    assert row["fingerprint"] == made["fingerprint"]
    shown = run("show", path).output
    assert made["fingerprint"] in shown
    assert made["public_key"] not in shown, "too long for a line"


def test_a_plain_encryption_key_is_shared_and_restored(tmp_path: Path) -> None:
    path, again = tmp_path / "recipient.key", tmp_path / "again.key"
    made = answer("generate", path, "--encryption", "--plain")
    shares = answer("backup", path, "--shares", 3, "--threshold", 2, "--out", tmp_path / "s")
    restored = answer("restore", again, *shares["files"][:2], "--plain")
    assert restored["public_key"] == made["public_key"]
    assert again.read_bytes() == path.read_bytes()
    path.write_text(path.read_text()[:-3])
    assert code_of("show", path) == "key-invalid"


def test_an_encryption_key_neither_signs_nor_stands_on_a_token(
    tmp_path: Path, network: Localnet
) -> None:
    path = tmp_path / "recipient.key"
    answer("generate", path, "--encryption", "--plain")
    words = ("--genesis", network.genesis_path, "--member", "m", "--plain")
    assert code_of("rotate", path, *words) == "key-not-signing"
    assert code_of("generate", "pkcs11:token=t;object=o", "--encryption") == "token-encryption"
