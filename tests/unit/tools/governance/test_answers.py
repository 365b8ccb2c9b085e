"""Answers of nodes: strict where they are used, and one error for the rest."""

from typing import Any

import pytest

from tests.unit.tools.governance.test_commands import PREVIEW, SEATS
from tools.exits import InvalidAnswer
from tools.governance.answers import Preview, Seats, parse


def test_more_may_stand_in_an_answer() -> None:
    told = parse({**PREVIEW, "more": 1, "validators": SEATS}, Preview)
    assert (told.action_class, told.needed, told.changes[0].target) == (
        "parties",
        3,
        "member/de-tax",
    )
    assert isinstance(told.validators, Seats)


@pytest.mark.parametrize(
    "document",
    [
        "x",
        {},
        {**PREVIEW, "needed": "3"},
        {**PREVIEW, "faults": [{}]},
        {**PREVIEW, "changes": [{"kind": "set"}]},
        {**PREVIEW, "validators": {}},
    ],
)
def test_a_malformed_answer_is_one_error(document: Any) -> None:
    with pytest.raises(InvalidAnswer) as caught:
        parse(document, Preview)
    assert caught.value.code == "answer-malformed"
