"""What was found is told by the commands in the chosen language."""

import pytest
from click.testing import CliRunner

from contracts.words.sentences import sections
from tools import exits
from tools.cli import main
from tools.commands import completion
from tools.words import LANGUAGES

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
