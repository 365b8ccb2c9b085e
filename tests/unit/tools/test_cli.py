"""`tally` from the outside: help, exit codes, JSON, a fast start."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ledger.keys import parse_secret_key
from tools.cli import COMMANDS, main
from tools.exits import ERROR, NOT_FOUND, OK, UNREACHABLE, UNVERIFIED, USAGE


@pytest.mark.parametrize(
    ("lang", "expected"),
    [
        ("en", ["Usage: ", "Options:", "Show this message and exit.", "[required]"]),
        ("zh", ["用法：", "选项：", "显示本说明并退出。", "[必填]"]),
    ],
)
def test_a_help_page_is_in_one_language(lang: str, expected: list[str]) -> None:
    for flag in ("--help", "-h"):
        page = CliRunner().invoke(main, ["officer", "request", "--lang", lang, flag]).output
        assert all(word in page for word in expected), page
    group = CliRunner().invoke(main, ["--help", "--lang", lang]).output
    assert {"en": "Commands:", "zh": "命令："}[lang] in group
    assert {"en": "Show the version", "zh": "显示版本"}[lang] in group


@pytest.mark.parametrize("name", list(COMMANDS))
@pytest.mark.parametrize(("lang", "sign"), [("zh", "。"), ("en", ".")])
def test_help_of_every_command_in_both_languages(name: str, lang: str, sign: str) -> None:
    result = CliRunner().invoke(main, [name, "--help", "--lang", lang])
    assert result.exit_code == OK, result.output
    assert sign in result.output
    assert "help." not in result.output
    assert "option." not in result.output


def test_starting_imports_no_command() -> None:
    code = (
        "import sys, tools.cli;"
        "print([m for m in ('aiohttp', 'cedarpy', 'cryptography', 'ledger.genesis')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["nonsense"], USAGE),
        (["localnet", "init", "--nodes", "3"], USAGE),
        (["localnet", "status", "--dir", "{tmp}/none"], NOT_FOUND),
        (["audit", "mirror", "http://127.0.0.1:1", "{tmp}/copy"], UNREACHABLE),
        (["audit", "replay", "{tmp}/none"], ERROR),
        (["keys", "show", "{tmp}/none"], ERROR),
        (["officer", "status", "--dir", "{tmp}", "00"], NOT_FOUND),
    ],
)
def test_exit_codes(arguments: list[str], exit_code: int, tmp_path: Path) -> None:
    filled = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]
    result = CliRunner().invoke(main, filled)
    assert result.exit_code == exit_code, result.output


def test_an_empty_folder_does_not_verify(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["audit", "replay", str(tmp_path), "--json"])
    assert result.exit_code == UNVERIFIED, result.output
    document = json.loads(result.stdout)
    assert document["error"]["code"] == "replay-diverged"
    assert document["error"]["exit_code"] == UNVERIFIED


def test_a_key_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "officer.key"
    made = CliRunner().invoke(main, ["keys", "generate", str(path), "--plain", "--json"])
    assert made.exit_code == OK
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = path.read_text()
    assert parse_secret_key(secret).seed.hex() not in made.output
    shown = CliRunner().invoke(main, ["keys", "show", str(path), "--json"])
    assert json.loads(shown.stdout) == json.loads(made.stdout)
    again = CliRunner().invoke(main, ["keys", "generate", str(path), "--plain"])
    assert again.exit_code == ERROR
    assert path.read_text() == secret


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "officer.key"
    CliRunner().invoke(main, ["keys", "generate", str(path), "--plain"])
    path.chmod(0o644)
    result = CliRunner().invoke(main, ["keys", "show", str(path)])
    assert result.exit_code == ERROR
    assert "key-readable" in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == OK
    assert "_TALLY_COMPLETE" in result.output
