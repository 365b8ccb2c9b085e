"""The two catalogues and the choice between them."""

import re
from pathlib import Path

import pytest

import tools
from tools.words import LANGUAGES, catalogue, say, select_language

FIELD = re.compile(r"{(\w+)}")
KEY = re.compile(r"""(?:say\(\s*f?|help=)"([a-z_]+\.[a-z_]+)\"""")


def test_catalogues_have_the_same_keys_and_fields() -> None:
    chinese, english = (catalogue(name) for name in LANGUAGES)
    assert chinese.keys() == english.keys()
    for key, text in english.items():
        assert sorted(set(FIELD.findall(text))) == sorted(set(FIELD.findall(chinese[key]))), key


def test_every_key_in_the_code_is_in_the_catalogues() -> None:
    root = Path(tools.__path__[0])
    used = {key for path in root.rglob("*.py") for key in KEY.findall(path.read_text("utf-8"))}
    assert len(used) > 50
    assert used <= catalogue("en").keys()


@pytest.mark.parametrize(
    ("arguments", "lang", "expected"),
    [
        ([], "zh_CN.UTF-8", "zh"),
        ([], "en_US.UTF-8", "en"),
        ([], "C", "en"),
        (["--lang", "en"], "zh_CN.UTF-8", "en"),
        (["demo", "--lang=zh"], "C", "zh"),
    ],
)
def test_language_of_arguments_and_environment(
    arguments: list[str], lang: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LC_ALL", raising=False)
    monkeypatch.delenv("LC_MESSAGES", raising=False)
    monkeypatch.setenv("LANG", lang)
    assert select_language(arguments) == expected
    assert say("decision.permit") == {"zh": "准予", "en": "permit"}[expected]
