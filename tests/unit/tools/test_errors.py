"""Errors of the commands: every code has words in both languages, and how they are printed."""

import ast
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import tools
from contracts.words import catalogue as rule_catalogue
from ledger.events import ShareRequested
from tools import exits
from tools.casebook import read_cases
from tools.cli import main
from tools.commands import completion
from tools.commands.exchange.asking import Request
from tools.exits import ERROR, NOT_FOUND, USAGE
from tools.words import LANGUAGES, catalogue

KINDS = frozenset(
    name
    for name, kind in vars(exits).items()
    if isinstance(kind, type) and issubclass(kind, exits.ToolError)
)


def codes_in(source: str) -> set[str]:
    """Every string in the first argument of an error class of `tools.exits`."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return {
        part.value
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in KINDS and call.args
        for part in ast.walk(call.args[0])
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }


def test_the_scan_finds_codes_with_and_without_a_fallback() -> None:
    source = 'raise Denied(code or "one", text)\nraise NotFound("two", f"{path}")\nfind("three")'
    assert codes_in(source) == {"one", "two"}


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_code_has_words_and_none_is_left_over(name: str) -> None:
    root = Path(tools.__path__[0])
    used = set().union(*(codes_in(path.read_text("utf-8")) for path in root.rglob("*.py")))
    shared = set(rule_catalogue("zh" if name == "zh" else "en")["codes"])
    words = {key: text for key, text in catalogue(name).items() if key.startswith("errors.")}
    wanted = {f"errors.{code}.{part}" for code in used - shared for part in ("title", "advice")}
    assert len(used) > 40
    assert words.keys() == wanted
    stop = "。" if name == "zh" else "."
    for key, text in words.items():
        # A title stands before a colon and a detail; advice is a sentence.
        assert text.endswith(stop) is key.endswith(".advice"), key


@pytest.mark.parametrize(
    ("lang", "expected"),
    [
        ("en", ["error: No network in this folder: {} [network-not-found]", "Make one: `tally"]),
        ("zh", ["错误：目录中没有网络：{} [network-not-found]", "请先创建：`tally"]),
    ],
)
def test_an_error_says_what_is_wrong_and_what_to_do(
    lang: str, expected: list[str], tmp_path: Path
) -> None:
    result = CliRunner().invoke(
        main, ["localnet", "status", "--dir", str(tmp_path), "--lang", lang]
    )
    first, second = result.stderr.strip().split("\n")
    assert first == expected[0].format(tmp_path)
    assert second.startswith(expected[1])
    assert result.stdout == ""


def test_an_error_as_json(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["localnet", "status", "--dir", str(tmp_path), "--json", "--lang", "en"]
    )
    assert json.loads(result.stdout) == {
        "error": {
            "code": "network-not-found",
            "title": "No network in this folder",
            "detail": str(tmp_path),
            "advice": "Make one: `tally localnet init DIR`.",
            "exit_code": NOT_FOUND,
        }
    }


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (["nonsense"], "there is no command nonsense"),
        (["--nonsense"], "there is no option --nonsense"),
        (["localnet", "init", "--nodes", "3"], "'--nodes' takes a whole number, 4 … 30"),
        (["audit", "replay"], "'WHERE' is missing"),
    ],
)
def test_a_wrong_command_line_is_an_error_like_all_others(line: list[str], detail: str) -> None:
    result = CliRunner().invoke(main, [*line, "--json", "--lang", "en"])
    assert result.exit_code == USAGE
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "usage-invalid"
    assert error["detail"].startswith(detail)
    assert result.stderr.startswith(f"error: Wrong command or option: {detail}")


def test_a_group_without_a_command_shows_its_help() -> None:
    result = CliRunner(env={"LC_ALL": "C"}).invoke(main, ["localnet"])
    assert result.exit_code == USAGE
    assert "Commands:" in result.stderr
    assert "error" not in result.stderr


def test_words_of_a_rule_come_from_the_catalogue_of_the_rules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = fail(monkeypatch, exits.RefusedEvent("role-missing", "approver"))
    assert result == (
        "error: Role missing: approver [role-missing]\nLet an officer with that role sign.\n"
    )


def test_a_code_that_only_the_node_knows_has_the_words_of_the_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = exits.NotFound("brand-new", "a\x1b[2J\nb", title="New", advice="Ask.")
    assert fail(monkeypatch, error) == "error: New: a?[2J [brand-new]\nb\nAsk.\n"
    bare = exits.NotFound("brand-new", "")
    assert fail(monkeypatch, bare) == "error: Unknown error [brand-new]\n"


def fail(monkeypatch: pytest.MonkeyPatch, error: exits.ToolError) -> str:
    """What a command prints that ends with `error`."""

    def end(**_: object) -> None:
        raise error

    monkeypatch.setattr(completion.command, "callback", end)
    return CliRunner().invoke(main, ["completion", "bash", "--lang", "en"]).stderr


def test_what_the_system_refuses_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "none" / "officer.key"
    result = CliRunner().invoke(main, ["keys", "generate", str(path)])
    assert result.exit_code == ERROR
    assert f"{path}: No such file or directory [system-refused]" in result.stderr


INTERRUPTED_AT_THE_FOURTH_NODE = """
import signal, sys
from tools.cli import main

starts = []

def watch(name, arguments):
    if name == "os.posix_spawn":
        starts.append(name)
        if len(starts) == 4:
            signal.raise_signal(signal.SIGINT)

sys.addaudithook(watch)
main(["demo", "--once", "--json", "--dir", sys.argv[1]])
"""


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder in which paths of sockets are not too long."""
    with tempfile.TemporaryDirectory(prefix="tally-") as made:
        yield Path(made)


def test_an_interrupted_demonstration_ends_with_one_error_document(short_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AT_THE_FOURTH_NODE, str(short_path / "net")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == ERROR, done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "interrupted"
    assert "Traceback" not in done.stderr
    # Three had started; none is left.
    assert len(list((short_path / "net").rglob("node.log"))) == 3
    assert not list((short_path / "net").rglob("node.pid"))


@pytest.mark.parametrize("given", [None, "net"])
def test_a_network_is_made_in_the_folder_that_the_other_commands_look_at(
    given: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = CliRunner().invoke(main, ["localnet", "init", *filter(None, [given]), "--lang", "en"])
    assert made.output.endswith(f"Next: tally localnet up --dir {given or 'localnet'}\n")
    where = ["--dir", given] if given else []
    shown = CliRunner().invoke(main, ["localnet", "status", "--json", *where])
    assert len(json.loads(shown.stdout)["nodes"]) == 4


# Requests from a file.


def request(tmp_path: Path, *more: str, document: object = None, subjects: int = 2) -> list[str]:
    """A command line; without a network it fails at the latest when the node is asked."""
    (tmp_path / "subjects").write_text("".join(f"id-{at}\n" for at in range(subjects)))
    line = ["officer", "request", "--subjects", str(tmp_path / "subjects")]
    line += ["--blinds", str(tmp_path / "blinds"), "--url", "http://127.0.0.1:1", "--json"]
    line += ["--genesis", str(tmp_path / "no-genesis"), "--key", str(tmp_path / "no-key")]
    if document is not None:
        path = tmp_path / "request.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        line += ["--file", str(path)]
    return [*line, *more]


def outline(**changes: object) -> dict[str, object]:
    document = {
        "provider": "cn-3302-tax",
        "dataset": "registration",
        "purpose": "assessment",
        "legal_basis": "tcal-6",
        "fields": ["uscc"],
        "period_from": "2025-01-01",
        "period_to": "2025-12-31",
    }
    return {**document, **changes}


@pytest.mark.parametrize(
    ("document", "more", "code", "exit_code"),
    [
        (outline(), [], "key-unreadable", ERROR),  # taken; the key is read next
        (outline(requester="cn-3301-tax", subject_count=2), [], "key-unreadable", ERROR),
        (None, [], "request-incomplete", USAGE),
        (outline(), ["--to", "cn-3100-tax"], "request-options", USAGE),
        (outline(requester="cn-3100-tax"), [], "request-member", ERROR),
        (outline(subject_count=3), [], "request-subjects", ERROR),
        (outline(field="uscc"), [], "request-invalid", ERROR),
        (outline(fields=[]), [], "request-invalid", ERROR),
        (outline(retention_days="180"), [], "request-invalid", ERROR),
        (outline(period_from="1 May"), [], "request-invalid", ERROR),
        ({"provider": "cn-3302-tax"}, [], "request-invalid", ERROR),
        ("[" * 100_000, [], "request-invalid", ERROR),
        ('{"provider": ', [], "request-invalid", ERROR),
        (" " * 300_000, [], "file-too-large", ERROR),
    ],
)
def test_a_request_in_a_file(
    document: object, more: list[str], code: str, exit_code: int, tmp_path: Path
) -> None:
    line = request(tmp_path, "--member", "cn-3301-tax", *more, document=document)
    result = CliRunner().invoke(main, line)
    assert json.loads(result.stdout)["error"]["code"] == code, result.output
    assert result.exit_code == exit_code
    # Refused input, or a key that does not open, leaves no blinds behind.
    assert not (tmp_path / "blinds").exists()


def test_a_line_of_the_demonstration_is_such_a_file(tmp_path: Path) -> None:
    case = next(case for case in read_cases() if case.subject_count == 2)
    document = {name: getattr(case, name) for name in case.__struct_fields__}
    line = request(tmp_path, "--member", case.requester, document=document)
    result = CliRunner().invoke(main, line)
    assert json.loads(result.stdout)["error"]["code"] == "key-unreadable", result.output


def test_help_names_every_field_of_a_request() -> None:
    assert {*Request.__struct_fields__} >= {*ShareRequested.__struct_fields__} - {"subjects"}
    for name in LANGUAGES:
        text = catalogue(name)["option.file"]
        assert all(field in text for field in Request.__struct_fields__)
