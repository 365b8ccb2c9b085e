"""Statements and places: every character has its line and column, strings hide what is in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.drafts.places import (
    find_id,
    find_named,
    find_open_string,
    place_of,
    split_statements,
)

TEXT = 'permit (a);\n// not; here\n@id("x;y") forbid ("\\";");\n  rest'


def test_statements_end_at_semicolons_outside_strings_and_comments() -> None:
    first, second, rest = split_statements(TEXT)
    assert (first.text, second.text, rest.text) == (
        "permit (a);", '@id("x;y") forbid ("\\";");', "rest"
    )  # fmt: skip
    assert place_of(TEXT, rest.start) == place_of(TEXT, len(TEXT) - 4)
    place = place_of(TEXT, rest.start)
    assert (place.line, place.column) == (4, 3)
    assert (find_id(first), find_id(second)) == ("", "x;y")


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ('a "b', 2), ('"a" "', 4), ('"\\"', 0), ('"\\\\"', None), ('"a\\', 0), ("// \"", None),
        ('"\\\\\\"', 0), ("", None), ('""', None),
    ],
)  # fmt: skip
def test_a_string_that_does_not_end(text: str, offset: int | None) -> None:
    assert find_open_string(text) == offset


@given(st.text(alphabet='a;"\\/\n() ', max_size=40))
def test_statements_are_pieces_of_the_text_in_order(text: str) -> None:
    at = 0
    for statement in split_statements(text):
        assert text[statement.start :].startswith(statement.text)
        assert statement.start >= at
        at = statement.start + len(statement.text)


def test_a_name_is_found_among_the_words() -> None:
    (statement,) = split_statements('permit (x == Action::"go", context.hat);')
    text = statement.text
    assert find_named(statement, "attribute `hat` unknown") == text.index("hat")
    assert find_named(statement, 'unknown `Action::"go"`') == text.index('"go"')
    assert find_named(statement, "invalid variable: context") == text.index("context")
    assert find_named(statement, "no name") == 0
