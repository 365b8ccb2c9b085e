"""The section on founding in both READMEs: its commands run, and say what is shown there."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.unit.tools.found.builders import SOURCE_PATH
from tools.cli import main
from tools.exits import OK

ROOT = Path(__file__).parents[4]
SECTIONS = {
    "en": ("README.md", "### Found a network on several machines\n"),
    "zh": ("README.zh-CN.md", "### 多机构共同创网\n"),
}
OTHERS = {"ningbo": "cn-3302-tax", "suzhou": "cn-3205-tax", "shanghai": "cn-3100-tax"}
DIGITS = re.compile(r"[0-9a-f]{64}|[0-9a-f]{16}")


def examples(lang: str) -> Iterator[tuple[str, list[str]]]:
    """Commands of the section, each with the lines shown under it."""
    name, heading = SECTIONS[lang]
    section = (ROOT / name).read_text("utf-8").split(heading)[1].split("\n### ")[0]
    for block in re.findall(r"```console\n(.*?)```", section, re.DOTALL):
        for example in block.removeprefix("$ ").split("\n$ "):
            command, *shown = example.strip().split("\n")
            yield command, shown


def expand(word: str) -> list[str]:
    """The files that a pattern names, as a shell has it, or the word itself."""
    return sorted(map(str, Path().glob(word))) if "*" in word else [word]


def tally(line: str, lang: str) -> str:
    words = [word for part in shlex.split(line) for word in expand(part)]
    assert words[0] == "tally"
    # What a person types when it is asked for the pass phrase, a machine has in a file.
    typed = ["--passphrase-file", "phrase"] if words[3] in ("init", "sign") else []
    done = CliRunner().invoke(main, [*words[1:], *typed, "--lang", lang], input="y\n")
    assert done.exit_code == OK, done.output
    return done.output


@pytest.mark.parametrize("lang", SECTIONS)
def test_the_section_word_for_word(
    lang: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("usb").mkdir()
    Path("phrase").touch(mode=0o600)
    Path("phrase").write_text("correct horse battery staple\n")
    shutil.copy(SOURCE_PATH, "network.toml")
    commands = list(examples(lang))
    assert len(commands) == 7
    assert commands.pop()[0].startswith("tally node run ")  # it would run until it is stopped
    own = commands[0][0]
    for place, member in OTHERS.items():
        # The other founders do the same on their machines.
        other = own.replace("hangzhou", place).replace("cn-3301-tax", member)
        tally(other, lang)
        shutil.copy(f"{place}/founder.json", f"usb/{place}.founder.json")
    for command, shown in commands:
        output = DIGITS.sub("#", tally(command, lang))
        for line in shown:
            assert DIGITS.sub("#", line) in output, command
        if command == own:
            shutil.copy("hangzhou/founder.json", "usb/hangzhou.founder.json")
        if " sign " in command:
            for place in ("hangzhou", *OTHERS):
                tally(command.replace("hangzhou", place), lang)
                shutil.copy(f"{place}/signature.json", f"usb/{place}.signature.json")
