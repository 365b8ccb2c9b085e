"""Every code of the connectors has words in both languages, and no word is idle."""

import re
from pathlib import Path

import node.connectors
from contracts.words import LANGUAGES
from node.connectors.errors import ConnectorFailed
from node.connectors.words import catalogue, describe

RAISED = re.compile(
    r'(?:InvalidOptions|ConnectorFailed|ReceiverFailed|_failed)\(\s*"([a-z]+(?:-[a-z]+)+)"'
    r'|code = "([a-z-]+)"(?: if .* else "([a-z-]+)")?'
)


def test_every_code_has_words_in_both_languages_and_no_word_is_idle() -> None:
    folder = Path(node.connectors.__path__[0])
    texts = [path.read_text("utf-8") for path in folder.glob("*.py")]
    raised = {code for text in texts for found in RAISED.findall(text) for code in found if code}
    for language in LANGUAGES:
        assert set(catalogue(language)) == raised | {"plugin-failed"}
        assert all(set(entry) == {"title", "advice"} for entry in catalogue(language).values())


def test_a_code_of_a_plug_in_is_shown_as_it_is() -> None:
    error = ConnectorFailed("crs-portal-closed", "until 08:00", retry=True)
    told = describe(error, "en")
    assert (told.code, told.title, told.detail) == (error.code, error.code, "until 08:00")
    ours = describe(ConnectorFailed("files-missing", "2026.csv", retry=True), "zh")
    assert ours.title == "请求没有对应的文件"
