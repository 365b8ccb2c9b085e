"""The tutorial of the README, word for word; PROPOSAL stands for what the last proposal printed."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.test_docs import READMES, _shell_lines
from tools.cli import main
from tools.exits import OK
from tools.localnet import Localnet

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

HEADINGS = {"en": "### Governance by vote\n", "zh": "### 表决治理\n"}
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
# What people write in their own language.
_FREE = {"--text", "--grounds"}


def commands_of(language: str) -> list[list[str]]:
    text = READMES["zh" if language == "zh" else "en"].read_text("utf-8")
    section = text.split(HEADINGS[language])[1].split("\n### ")[0]
    return [shlex.split(line) for line in _shell_lines(section)]


def _without_text(words: list[str]) -> list[str]:
    return [word for place, word in enumerate(words) if words[place - 1] not in _FREE]


def test_both_tutorials_have_the_same_commands() -> None:
    english, chinese = (list(map(_without_text, commands_of(name))) for name in ("en", "zh"))
    assert english == chinese
    assert len(english) > 20


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    if (tmp_path / "localnet" / "network.toml").exists():
        Localnet(tmp_path / "localnet").stop()


def test_every_command_of_the_tutorial_works(folder: Path) -> None:
    proposal, last = "", ""
    for words in commands_of("en"):
        assert words[0] == "tally"
        filled = [proposal if word == "PROPOSAL" else word for word in words[1:]]
        result = CliRunner().invoke(main, [*filled, "--lang", "en"])
        assert result.exit_code == OK, f"{' '.join(words)}\n{result.output}"
        last = result.output
        if words[1:3] == ["admin", "propose"] and "--dry-run" not in words:
            proposal = _DIGEST.findall(result.stdout)[0]
        if words[1:3] == ["admin", "frozen"]:
            assert "leak under investigation" in last
        if words[1:3] == ["member", "show"]:
            assert "status: active" in last
        if words[1:3] == ["audit", "who"]:
            assert "freeze cn-3301-tax / cn-3302-tax / *" in last
    assert (folder / "wenzhou" / "keys" / "admin-2.key").stat().st_mode & 0o077 == 0
