"""What was found is told by the commands in the chosen language."""

import re
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from contracts.words.sentences import sections
from tests.refusals import CHINESE
from tests.sentences import words_of
from tools import exits
from tools.cli import main
from tools.commands import completion
from tools.output import confirm
from tools.words import LANGUAGES

ZEROS = "00" * 32
NO_VOTER = "{member} has no validator in this epoch"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_refused_event_is_told_in_one_language(
    language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(**_: object) -> None:
        raise exits.RefusedEvent("not-a-voter", NO_VOTER.format(member="cn-3301-tax"))

    monkeypatch.setattr(completion.command, "callback", end)
    told = CliRunner().invoke(main, ["completion", "bash", "--lang", language]).stderr
    chinese = sections()["codes.not-a-voter"][NO_VOTER]
    text = (chinese if language == "zh" else NO_VOTER).format(member="cn-3301-tax")
    assert f"{text} [not-a-voter]" in told
    assert ("has no validator" in told) is (language == "en")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "cut.json").write_text('{"a": ')
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "shape.json").write_text('{"a": 1}')
    (tmp_path / "cut.toml").write_text("a = \n")
    (tmp_path / "folder").mkdir()
    for path in tmp_path.glob("*.*"):
        path.chmod(0o600)  # others may not read a key
    (tmp_path / "bytes").chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        host, port = closed.getsockname()
    (tmp_path / "url").write_text(f"http://{host}:{port}")
    return tmp_path


@words_of("aiohttp", "click", "msgspec", "python")
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("nonsense", "usage-invalid"),
        ("doctor --nonsense", "usage-invalid"),
        ("doctor --node", "usage-invalid"),
        ("doctor --json=yes", "usage-invalid"),
        ("doctor 1 2", "usage-invalid"),
        ("doctor --config folder", "usage-invalid"),
        ("keys list none", "folder-not-found"),
        ("keys list cut.json", "usage-invalid"),
        ("localnet init --nodes many", "usage-invalid"),
        ("audit report copy --pair one --out x.html", "usage-invalid"),
        ("localnet init net --source cut.toml", "source-invalid"),
        ("localnet init net --source bytes", "source-invalid"),
        ("localnet init net --source none", "source-unreadable"),
        ("keys show cut.json", "keystore-damaged"),
        ("keys show bytes", "key-invalid"),
        ("audit verify-receipt bytes x --genesis cut.json", "genesis-invalid"),
        ("audit verify-receipt bytes x --genesis list.json", "genesis-invalid"),
        ("audit verify-receipt bytes x --genesis none", "genesis-unreadable"),
        ("audit alarm cut.json --genesis none", "alarm-malformed"),
        ("audit alarm shape.json --genesis none", "alarm-malformed"),
        (f"audit verify-evidence bytes --genesis-hash {ZEROS}", "bundle-invalid"),
        ("audit merge list.json", "segment-file-invalid"),
        ("contract test folder --cases cut.toml", "draft-empty"),
        ("admin sign cut.json --key none --genesis none --out x", "genesis-unreadable"),
        ("admin submit list.json --url URL --genesis none", "signed-event-invalid"),
        ("admin found check cut.json --founder folder", "genesis-invalid"),
        ("audit mirror URL copy", "unreachable"),
        ("keys list folder --url URL --genesis cut.json", "genesis-invalid"),
        ("gateway jobs --socket none", "gateway-unreachable"),
        ("gateway jobs --config cut.toml", "gateway-config"),
        ("node activate --config cut.toml --yes", "start-config-invalid"),
    ],
)
def test_wrong_input_is_told_in_chinese(line: str, code: str, folder: Path) -> None:
    """Of what is found, only names, values and signs are left."""
    words = line.replace("URL", (folder / "url").read_text()).split()
    result = CliRunner().invoke(main, [*words, "--lang", "zh"])
    first, *advice = result.stderr.strip().split("\n")
    assert f"[{code}]" in result.stderr, result.output
    assert CHINESE.search(first)
    detail = first.removesuffix(f" [{code}]").split("：", 2)[-1]
    # No two English words stand beside each other.
    names = re.compile(r"`[^`]*`|'[^']*'|--[a-z-]+")
    assert not re.search(r"[a-z]{2,} [a-z]{2,}", names.sub("", detail)), detail
    assert all(map(CHINESE.search, advice)), advice


@pytest.mark.parametrize(
    ("typed", "is_yes"), [("y", True), ("是", True), ("", False), ("?", False)]
)
def test_a_question_is_answered_by_yes_or_by_anything_else(
    typed: str, is_yes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bool] = []
    monkeypatch.setattr(completion.command, "callback", lambda **_: found.append(confirm("走？")))
    result = CliRunner().invoke(main, ["completion", "bash"], input=f"{typed}\n")
    assert found == [is_yes]
    assert "走？ [y/N]: " in result.stderr


def test_a_question_that_nobody_answers_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion.command, "callback", lambda **_: confirm("走？"))
    result = CliRunner().invoke(main, ["completion", "bash", "--lang", "zh"], input="")
    assert "错误：已中断 [interrupted]" in result.stderr
    assert "Aborted" not in result.output
