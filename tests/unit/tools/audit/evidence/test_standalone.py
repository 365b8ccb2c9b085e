"""The program in the bundle: nothing but Python and openssl, and no changed byte passes it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.refusals import CHINESE
from tests.sentences import name_of, text_of
from tests.unit.tools.audit.evidence.case import Case, make_case, unpacked, written
from tests.unit.tools.audit.evidence.test_checking import (
    add_other_event,
    change_contracts_wholly,
    change_genesis,
    leave_out_admission,
    leave_out_ballots,
    leave_out_cosignatures,
    leave_out_epochs,
    leave_out_header,
    leave_out_opening,
)
from tools.audit.evidence import standalone
from tools.audit.evidence.bundle import make_manifest

VERIFIED, UNVERIFIED, UNTOLD = 0, 3, 1


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case()


def run(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """In an environment with nothing in it, without site packages."""
    command = [sys.executable, "-I", "-S", str(folder / "verify.py"), *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )


def test_a_true_bundle_holds_in_an_empty_environment(case: Case, tmp_path: Path) -> None:
    done = run(written(unpacked(case), tmp_path), case.trusted)
    assert done.returncode == VERIFIED, done.stdout + done.stderr
    assert done.stdout.count("\nok ") == 7
    assert "checkpoint: signed by the log" in done.stdout
    assert "验证通过" in done.stdout


def test_it_imports_no_more_than_the_standard_library_and_is_short() -> None:
    text = Path(str(standalone.__file__)).read_text("utf-8")
    assert text.count("\n") < 300
    names = {line.split()[1].split(".")[0] for line in text.split("\n") if "import " in line[:12]}
    names |= {line.split()[1].split(".")[0] for line in text.split("\n") if line[:5] == "from "}
    assert names <= sys.stdlib_module_names


def test_whatever_it_says_it_says_in_both_languages() -> None:
    said = [
        text_of(call.args[0])
        for call in ast.walk(ast.parse(Path(str(standalone.__file__)).read_text("utf-8")))
        if isinstance(call, ast.Call) and name_of(call) == "fail"
    ]
    assert len(said) > 15
    for text in (*said, *standalone.STEPS):
        english, sign, chinese = text.partition(" | ")
        assert sign
        assert english.isascii()
        assert CHINESE.search(chinese), text


def test_a_flipped_byte_of_any_file_is_found(case: Case, tmp_path: Path) -> None:
    folder = written(unpacked(case), tmp_path)
    for name, data in unpacked(case).items():
        for at in (0, len(data) // 2, len(data) - 1):
            flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            (folder / name).write_bytes(flipped)
            assert standalone.main([case.trusted, str(folder)]) == UNVERIFIED, f"{name} at {at}"
        (folder / name).write_bytes(data)
    assert standalone.main([case.trusted, str(folder)]) == VERIFIED


PROVEN = ("genesis.msgpack", "checkpoint", "epochs/", "entries/", "policy-set.msgpack")


def test_a_flipped_byte_of_what_proves_is_found_though_the_manifests_agree(
    case: Case, tmp_path: Path
) -> None:
    content = unpacked(case)
    folder = written(content, tmp_path)
    names = [name for name in content if any(part in name for part in PROVEN)]
    assert len(names) > 30
    for name in [name for name in names if "entries/" not in name] + names[::9]:
        data = content[name]
        at = len(data) // 2
        flipped = {**content, name: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]}
        written(manifested(flipped), folder)
        assert standalone.main([case.trusted, str(folder)]) == UNVERIFIED, name
        written(content, folder)


def manifested(content: dict[str, bytes]) -> dict[str, bytes]:
    payload = {name: data for name, data in content.items() if name.startswith("data/")}
    tags = {name: data for name, data in content.items() if name not in payload}
    tags.pop("tagmanifest-sha256.txt")
    tags["manifest-sha256.txt"] = make_manifest(payload)
    return {**payload, **tags, "tagmanifest-sha256.txt": make_manifest(tags)}


@pytest.mark.parametrize(
    ("change", "step"),
    [
        (change_genesis, "genesis"),
        (leave_out_cosignatures, "checkpoint"),
        (leave_out_epochs, "events"),
        (add_other_event, "receipts"),
        (leave_out_opening, "events"),
        (leave_out_header, "events"),
        (leave_out_admission, "keys"),
        (leave_out_ballots, "keys"),
        (change_contracts_wholly, "contracts"),
    ],
)
def test_a_forged_bundle_with_right_manifests_is_found(
    case: Case, tmp_path: Path, capfd: pytest.CaptureFixture[str], change: object, step: str
) -> None:
    content = unpacked(case)
    assert callable(change)
    change(case, content)
    folder = written(manifested(content), tmp_path)
    assert standalone.main([case.trusted, str(folder)]) == UNVERIFIED
    assert f"NOT VERIFIED | 验证失败: {step}" in capfd.readouterr().out


def test_a_file_that_no_manifest_lists_is_found(case: Case, tmp_path: Path) -> None:
    folder = written({**unpacked(case), "data/more.txt": b""}, tmp_path)
    assert standalone.main([case.trusted, str(folder)]) == UNVERIFIED


def test_another_network_is_refused(case: Case, tmp_path: Path) -> None:
    folder = written(unpacked(case), tmp_path)
    assert run(folder, "0" * 64).returncode == UNVERIFIED


def test_without_a_network_or_openssl_nothing_can_be_told(case: Case, tmp_path: Path) -> None:
    folder = written(unpacked(case), tmp_path)
    done = run(folder)
    assert done.returncode == UNTOLD
    assert "GENESIS_HASH" in done.stdout
    assert run(folder, "xyz").returncode == UNTOLD
    assert run(folder, case.trusted, PATH=str(tmp_path)).returncode == UNTOLD
    false = tmp_path / "bin" / "openssl"
    false.parent.mkdir()
    false.write_text("#!/bin/sh\nexit 1\n")
    false.chmod(0o700)
    assert run(folder, case.trusted, PATH=str(false.parent)).returncode == UNTOLD
