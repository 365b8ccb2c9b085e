"""What is frozen is told where work is held up by it, and only there."""

import pytest

from tools.exits import InvalidAnswer
from tools.governance.freezes import holding, read_freezes, tell_freezes
from tools.words import select_language

PAIR = {"requester": "a-tax", "provider": "b-tax", "dataset": "", "reason": "leak"}
EVERYTHING = {"requester": "", "provider": "", "dataset": "", "reason": "drill\x1b[2J"}


def test_a_freeze_holds_up_what_all_of_its_scope_fits() -> None:
    pair, everything = read_freezes({"height": 1, "freezes": [PAIR, EVERYTHING]})
    assert holding((pair, everything), "a-tax", "b-tax", "invoice") == (pair, everything)
    assert holding((pair,), "b-tax", "a-tax", "invoice") == ()
    assert holding((pair,), "a-tax", "c-tax", "invoice") == ()


@pytest.mark.parametrize(
    ("lang", "told"),
    [
        ("en", ["Frozen: a-tax → b-tax · * (leak)", "Frozen: * → * · * (drill?[2J)"]),
        ("zh", ["已冻结：a-tax → b-tax · *（leak）", "已冻结：* → * · *（drill?[2J）"]),
    ],
)
def test_a_freeze_is_a_line_that_steers_no_terminal(lang: str, told: list[str]) -> None:
    select_language(["--lang", lang])
    assert tell_freezes(read_freezes({"height": 1, "freezes": [PAIR, EVERYTHING]})) == told


def test_a_status_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidAnswer) as refused:
        read_freezes({"height": 1, "freezes": [{"requester": 7}]})
    assert refused.value.code == "answer-malformed"
