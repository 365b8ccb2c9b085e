"""`tally crs`: the program behind it runs as another process; files in, files and words out."""

import json
import shutil
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization

from ledger.exchange.references import REFERENCES_MAX
from node.crs.codes import CODE_SETS as NODE_CODE_SETS
from node.crs.codes import read_code_set
from node.crs.references import read_key
from tests.exchanges import OPEN, refer, reference
from tests.unit.node.crs import messages as m
from tests.unit.node.crs.test_package import certificate_of, key_of
from tools.cli import main
from tools.commands.exchange.refer import _read_bodies, compare
from tools.exits import ERROR, OK, InvalidInput
from tools.words.codes import CODE_SETS, shipped_names


def tally(*words: object, lang: str = "en") -> Result:
    return CliRunner().invoke(main, ["crs", *map(str, words), "--lang", lang])


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    return Path(shutil.copytree(m.SCHEMA_FOLDER, tmp_path / "schema"))


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    path = tmp_path / "m.xml"
    path.write_text(m.message(m.body(m.institution(), m.group(m.account(balance="-1")))))
    return path


def test_code_sets_are_those_of_the_node() -> None:
    assert CODE_SETS == NODE_CODE_SETS
    for name in CODE_SETS:
        shipped = {
            int(code): {"zh": zh, "en": en} for code, (zh, en) in shipped_names(name).items()
        }
        assert shipped == read_code_set(name)


def test_a_folder_is_pinned_once(schema: Path) -> None:
    assert tally("pin", schema, "--root", "message.xsd").exit_code == ERROR
    (schema / "manifest.toml").unlink()
    done = tally("pin", schema, "--root", "message.xsd")
    assert done.exit_code == OK, done.output
    assert (schema / "manifest.toml").read_bytes() == (
        m.SCHEMA_FOLDER / "manifest.toml"
    ).read_bytes()


@pytest.mark.parametrize(
    ("lang", "word"), [("zh", "账户余额为负"), ("en", "Account balance is below")]
)
def test_a_fault_is_shown_in_words(schema: Path, faulty: Path, lang: str, word: str) -> None:
    shown = tally("check", faulty, "--schema", schema, lang=lang)
    assert shown.exit_code == ERROR
    assert word in shown.output
    assert "60002" in shown.output
    assert "DE2024A1" in shown.output


def test_a_message_without_faults(schema: Path, tmp_path: Path) -> None:
    (tmp_path / "m.xml").write_text(m.message())
    shown = tally("check", tmp_path / "m.xml", "--schema", schema, "--receiving", "CN", "--json")
    assert shown.exit_code == OK, shown.output
    report = json.loads(shown.output)["report"]
    assert (report["records"], report["findings"], report["rejected"]) == (2, [], False)


def test_a_changed_schema_is_an_error_with_its_name(schema: Path, faulty: Path) -> None:
    (schema / "common.xsd").write_text("<a/>")
    shown = tally("check", faulty, "--schema", schema, "--json")
    assert shown.exit_code == ERROR
    error = json.loads(shown.output.split("\n")[0])["error"]
    assert error["code"] == "xsd-changed"
    assert "common.xsd" in error["detail"]
    assert error["advice"]


def test_a_status_message_is_written_and_read(schema: Path, faulty: Path, tmp_path: Path) -> None:
    out = tmp_path / "status.xml"
    words = ("status-message", faulty, "--schema", schema, "--message-id", "CN1", "-o", out)
    done = tally(*words, lang="zh")
    assert done.exit_code == OK, done.output
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    read = tally("read-status", out, "--json")
    status = json.loads(read.output)["status"]
    assert (status["transmitting"], status["receiving"]) == ("CN", "DE")
    assert status["record_errors"][0]["details"] == "账户余额为负"
    again = tally(*words)
    assert again.exit_code == ERROR
    assert "crs-output-exists" in again.output


def test_references_are_written_for_the_ledger(tmp_path: Path) -> None:
    key, out, message = (tmp_path / name for name in ("key", "refs.jsonl", "m.xml"))
    made = tally("key", key, "--year", "2024", "--json")
    assert made.exit_code == OK, made.output
    assert json.loads(made.output)["key_id"] == read_key(key).id.hex()
    assert tally("key", key).output == f"2024: {read_key(key).id.hex()}\n"
    accounts = [m.account(f"DE2024A{number}") for number in range(REFERENCES_MAX)]
    message.write_text(m.message(m.body(m.institution(), m.group(*accounts))))
    done = tally("refs", message, "--key", key, "-o", out, "--json")
    assert done.exit_code == OK, done.output
    assert json.loads(done.output)["batches"] == 2
    first, second = _read_bodies(bytes(32), out)
    assert (len(first.references), len(second.references)) == (REFERENCES_MAX, 1)
    assert first.references[0].document == read_key(key).commit("document", "DE2024F1")
    assert first.message == second.message
    assert first.key_id == read_key(key).id


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"key_id": 1}', "x" * 200_000, "符"])
def test_a_file_that_holds_no_references(tmp_path: Path, text: str) -> None:
    path = tmp_path / "refs.jsonl"
    path.write_text(text)
    with pytest.raises(InvalidInput, match="refs"):
        _read_bodies(bytes(32), path)


def test_a_package_is_made_and_opened(faulty: Path, tmp_path: Path) -> None:
    keys = {name: tmp_path / f"{name}.key" for name in ("DE", "CN", "FR")}
    certificates = {name: tmp_path / f"{name}.crt" for name in keys}
    said = serialization.BestAvailableEncryption(b"word")
    for name, path in keys.items():
        path.write_bytes(
            key_of(name).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, said
            )
        )
        pem = certificate_of(name).public_bytes(serialization.Encoding.PEM)
        certificates[name].write_bytes(pem)
    (tmp_path / "pass").write_text("word\n")
    secret = ("--passphrase-file", tmp_path / "pass")
    package, out = tmp_path / "p.zip", tmp_path / "out.xml"
    done = tally(
        "package", faulty, "--sender", "DE", "--recipient", "CN", "--year", "2024",
        "--certificate", certificates["CN"], "--sign-key", keys["DE"],
        "--sign-certificate", certificates["DE"], "-o", package, *secret,
    )  # fmt: skip
    assert done.exit_code == OK, done.output
    opened = tally(
        "unpackage", package, "--key", keys["CN"], "--sender-certificate", certificates["DE"],
        "-o", out, *secret, "--json",
    )  # fmt: skip
    assert opened.exit_code == OK, opened.output
    document = json.loads(opened.output)
    assert document["signed"]
    assert document["metadata"]["CTSSenderCountryCd"] == "DE"
    assert b"DE2024A1" in out.read_bytes()
    wrong = tally("unpackage", package, "--key", keys["FR"], "-o", tmp_path / "no", *secret)
    assert wrong.exit_code == ERROR
    assert "50002" in wrong.output
    assert "package-key-other" in wrong.output
    assert not (tmp_path / "no").exists()
    closed = tally("unpackage", package, "--key", keys["CN"], "-o", tmp_path / "no")
    assert "crs-key-unreadable" in closed.output


def test_what_is_on_record_is_compared_with_the_message() -> None:
    a, b, c = (reference(name) for name in "abc")
    recorded = [OPEN, refer(OPEN, a), refer(OPEN, b), refer(OPEN, c, message="other")]
    whole, part = (refer(OPEN, *named).body for named in ((a, b), (a,)))
    later = refer(OPEN, a, b, period="2023-12-31").body
    assert compare(recorded, [whole]) == {"equal": 2, "missing": 0, "extra": 0}
    assert compare(recorded, [part]) == {"equal": 1, "missing": 0, "extra": 1}
    assert compare(recorded[:2], [whole]) == {"equal": 1, "missing": 1, "extra": 0}
    assert compare(recorded, [later]) == {"equal": 0, "missing": 2, "extra": 2}
    changed = refer(OPEN, a, reference("b", "corrected", "z")).body
    assert compare(recorded, [changed]) == {"equal": 1, "missing": 1, "extra": 1}
