"""`tally` from the outside: help, exit codes, JSON, a fast start."""

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ledger.keys import parse_secret_key
from tools.cli import COMMANDS, main
from tools.exits import ERROR, NOT_FOUND, OK, UNREACHABLE, USAGE
from tools.options import LazyGroup
from tools.output import count_cells


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


def _pages(command: click.Command, *path: str) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _pages(inner, *path, name)


def _lazy(command: click.Command) -> Iterator[LazyGroup]:
    if isinstance(command, LazyGroup):
        yield command
        for name in command.list_commands(click.Context(command)):
            yield from _lazy(_command(command, name))


def _command(group: click.Group, name: str) -> click.Command:
    found = group.get_command(click.Context(group), name)
    assert found is not None
    return found


def test_a_list_of_commands_says_what_the_commands_say() -> None:
    """Without importing any."""
    groups = list(_lazy(main))
    assert [group.help for group in groups] == ["help.tally", "help.audit"]
    for group in groups:
        listed = group.listed()
        assert group.list_commands(click.Context(group)) == sorted(listed)
        for name, shown in listed.items():
            command = _command(group, name)
            assert (shown.help, shown.hidden) == (command.help, command.hidden), name


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tally re", {"reciprocity"}),
        ("tally audit re", {"receipt", "reciprocity", "replay", "report", "restore"}),
        ("tally audit replay --sn", {"--snapshots-every"}),
        ("tally --v", {"--version"}),
    ],
)
def test_a_shell_completes_commands_and_options(line: str, expected: set[str]) -> None:
    environment = {"_TALLY_COMPLETE": "bash_complete", "COMP_WORDS": line}
    environment["COMP_CWORD"] = str(len(line.split()) - 1)
    result = CliRunner().invoke(main, [], prog_name="tally", env=environment)
    assert {item.partition(",")[2] for item in result.stdout.split()} == expected


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_no_help_page_is_wider_than_a_terminal_or_cut_off(lang: str) -> None:
    for path in _pages(main):
        page = CliRunner().invoke(main, [*path, "--help", "--lang", lang], terminal_width=80)
        for line in page.output.splitlines()[1:]:
            longest = max(line.split(), key=len, default="")
            assert count_cells(line) <= 80 or len(longest) > 72, (path, line)
            assert not line.endswith("...") or "[OPTIONS]" in line, (path, line)
        if lang == "zh":
            assert "default: " not in page.output, path


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["admn"], "没有命令 admn；是否想用 admin？"),
        (["audit", "repla"], "没有命令 repla；是否想用 replay？"),
        (["audit", "verify-reciept"], "没有命令 verify-reciept；是否想用 verify-receipt / "),
        (["officer", "status"], "缺少 'EXCHANGE'"),
        (["officer", "status", "aa", "--lnag"], "没有选项 --lnag；是否想用 --lang？"),
        (["admin", "propose", "rule", "set", "all"], "'ACTION_CLASS' 的取值须为：parties, keys"),
        (
            ["admin", "propose", "rule", "set", "keys", "--share", "2000"],
            "'--share' 的取值须为整数：0 … 1,000",
        ),
        (["localnet", "status", "--dir", __file__], "'--dir'："),
    ],
)
def test_a_wrong_option_is_told_in_the_chosen_language(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(main, ["--lang", "zh", *arguments])
    assert told in result.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_closed_stream_is_no_fault(closed: str, tmp_path: Path) -> None:
    command = f"{sys.executable} -m tools.cli keys generate --json {tmp_path}/x.key {closed}"
    # In a session of its own there is no terminal to ask either.
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, start_new_session=True
    )
    assert done.returncode == ERROR
    assert "Traceback" not in done.stderr
    assert ("passphrase-unasked" in done.stdout) == (closed != ">&-")


def test_a_full_disk_behind_the_output_is_told_once() -> None:
    command = f"{sys.executable} -m tools.cli keys list . --json > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == ERROR
    assert "Traceback" not in done.stderr
    assert "system-refused" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--help"], ["nonsense"]])
def test_starting_imports_no_command(arguments: list[str]) -> None:
    code = (
        "import atexit, sys, tools.cli;"
        "atexit.register(lambda: print([m for m in ('aiohttp', 'cedarpy', 'cryptography',"
        " 'ledger.genesis') if m in sys.modules]));"
        f"tools.cli.main({arguments})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


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


def test_a_folder_without_a_checkpoint_is_not_judged(tmp_path: Path) -> None:
    """It may be the wrong folder, or one in which a download broke off: neither is a finding."""
    (tmp_path / "tile").mkdir()
    result = CliRunner().invoke(main, ["audit", "replay", str(tmp_path), "--json"])
    assert result.exit_code == ERROR, result.output
    document = json.loads(result.stdout)
    assert document["error"]["code"] == "copy-incomplete"


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
