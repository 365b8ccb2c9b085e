"""Reading record schemas: what is one, what is none, and patterns that cannot run for long."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InvalidSchema
from contracts.registers.schema import WAYS_MAX, count_ways, read_schema
from tests.registers import shape

FIELD = "account-number"


def refusal(text: str) -> tuple[str, str]:
    with pytest.raises(InvalidSchema) as caught:
        read_schema(text)
    return caught.value.code, caught.value.detail


def with_field(**keywords: Any) -> str:
    return json.dumps(shape(account_number=keywords))


def with_pattern(pattern: str) -> str:
    return with_field(pattern=pattern, maxLength=64)


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    document = shape()
    change(document)
    return json.dumps(document)


def test_a_schema_says_what_its_records_are() -> None:
    found = read_schema(
        json.dumps(
            shape(
                account_number={"pattern": "^[A-Z]{2}[0-9]{2,30}$", "maxLength": 32},
                balance_fen={"type": "integer", "format": "fen", "minimum": 0},
                currency={"x-code-list": "iso-4217"},
            )
        )
    )
    assert found.required == {FIELD}
    assert found.properties[FIELD].pattern == "^[A-Z]{2}[0-9]{2,30}$"
    assert (found.properties["balance-fen"].minimum, found.properties["balance-fen"].type) == (
        0,
        "integer",
    )
    assert list(found.code_lists()) == ["iso-4217"]


def test_code_lists_are_found_in_the_depth() -> None:
    inner = {"type": "object", "additionalProperties": False,
             "properties": {"of": {"type": "string", "x-code-list": "deep"}}}  # fmt: skip
    document = shape(currency={"type": "array", "items": inner})
    assert list(read_schema(json.dumps(document)).code_lists()) == ["deep"]


def deep(levels: int) -> str:
    inner: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        inner = {"type": "array", "items": inner}
    return with_field(**inner)


@pytest.mark.parametrize(
    ("text", "code", "detail"),
    [
        ("", "schema-unreadable", ""),
        ("[]", "schema-value", "/type"),
        ('{"type": "object", "type": "object"}', "schema-unreadable", ""),
        ('{"minimum": 1.5}', "schema-unreadable", ""),
        ('{"minimum": 1e3}', "schema-unreadable", ""),
        ('{"minimum": NaN}', "schema-unreadable", ""),
        (f'{{"minimum": {"9" * 5_000}}}', "schema-unreadable", ""),
        ('{"title": "\\ud800"}', "schema-unreadable", ""),
        ("[" * 50_000, "schema-depth", "12"),
        ('{"a":' * 20_000, "schema-depth", "12"),
        (deep(4), "schema-depth", f"/{FIELD}/items/items/items/items"),
        (changed(lambda of: of.update({"$ref": "https://x"})), "schema-keyword", "/$ref"),
        (changed(lambda of: of.update({"$schema": "x"})), "schema-keyword", "/$schema"),
        (changed(lambda of: of.pop("title_zh")), "schema-words", "/title"),
        (changed(lambda of: of.pop("additionalProperties")), "schema-open",
         "/additionalProperties"),
        (changed(lambda of: of.update(required=["none"])), "schema-value", "/required"),
        (changed(lambda of: of.update(required=[FIELD, FIELD])), "schema-value", "/required"),
        (changed(lambda of: of.update(properties={})), "schema-value", "/properties"),
        (changed(lambda of: of.update(properties={"A": {}})), "schema-value", "/properties"),
        (changed(lambda of: of.update(type="array", items={})), "schema-keyword",
         "/additionalProperties"),
        ('{"type": "string"}', "schema-value", "/type"),
        (with_field(title=""), "schema-value", f"/{FIELD}/title"),
        (with_field(type=["string", "null"]), "schema-value", f"/{FIELD}/type"),
        (with_field(type="number"), "schema-value", f"/{FIELD}/type"),
        (with_field(minimum=1), "schema-keyword", f"/{FIELD}/minimum"),
        (with_field(format="email"), "schema-value", f"/{FIELD}/format"),
        (with_field(format="fen"), "schema-value", f"/{FIELD}/format"),
        (with_field(enum=[]), "schema-value", f"/{FIELD}/enum"),
        (with_field(enum=["a", "a"]), "schema-value", f"/{FIELD}/enum"),
        (with_field(enum=[1]), "schema-value", f"/{FIELD}/enum"),
        (with_field(enum=[str(n) for n in range(1_001)]), "schema-value", f"/{FIELD}/enum"),
        (with_field(minLength=2, maxLength=1), "schema-value", f"/{FIELD}/minimum"),
        (with_field(minLength=True), "schema-value", f"/{FIELD}/minLength"),
        (with_field(**{"x-code-list": "A"}), "schema-value", f"/{FIELD}/x-code-list"),
        (with_field(**{"x-sensitivity": "x"}), "schema-value", f"/{FIELD}/x-sensitivity"),
        (with_field(pattern="^a$"), "schema-pattern", f"/{FIELD}/pattern"),
    ],
)  # fmt: skip
def test_what_is_no_schema_is_refused(text: str, code: str, detail: str) -> None:
    assert refusal(text) == (code, detail)


@pytest.mark.parametrize(
    "pattern",
    [
        "a", "^a", "a$", "^a*$", "^a+$", "^.$", r"^\d$", "^[^a]$", "^[z-a]$", "^[+--]$", "^(a$",
        "^((a)b)$", "^(a){2}$", "^(?:a)$", "^(?=a)$", r"^(a)\1$", "^a{3,2}$", "^a{1,}$", "^a{300}$",
        "^a{,3}$", "^a??$", "^a{2}{2}$", "^[a-z]{0,99}[a-z]{0,99}$", "^(a?)(a?)(a{0,200})(a{0,9})$",
    ],
)  # fmt: skip
def test_a_pattern_that_may_run_for_long_or_says_more_than_the_subset_is_refused(
    pattern: str,
) -> None:
    assert refusal(with_pattern(pattern)) == ("schema-pattern", f"/{FIELD}/pattern")


@pytest.mark.parametrize(
    ("pattern", "ways"),
    [("^$", 1), ("^ab{3}$", 1), ("^a?b{0,9}$", 20), ("^(a?|b|)c{1,2}$", 8), (r"^\(a\)\?$", 1)],
)
def test_ways_are_counted(pattern: str, ways: int) -> None:
    assert count_ways(pattern) == ways
    read_schema(with_pattern(pattern))


PIECES = st.builds(
    "{}{}".format,
    st.sampled_from(["a", "b", "[ab]", r"\."]),
    st.sampled_from(["", "?", "{2}", "{0,3}", "{1,30}", "{0,64}"]),
)
GROUPS = st.lists(st.lists(PIECES, max_size=3).map("".join), min_size=1, max_size=3).map(
    lambda each: f"({'|'.join(each)})"
)
PATTERNS = st.lists(PIECES | GROUPS, max_size=6).map(lambda each: f"^{''.join(each)}$")


@given(PATTERNS, st.text("ab.", max_size=64))
def test_a_pattern_that_is_taken_never_runs_for_long(pattern: str, tail: str) -> None:
    try:
        read_schema(with_pattern(pattern))
    except InvalidSchema:
        assert len(pattern) > 120 or count_ways(pattern) > WAYS_MAX
        return
    started_s = time.perf_counter()
    for text in (tail, "a" * 64 + "!", "ab" * 32 + "!"):
        re.compile(pattern[1:-1], re.ASCII).fullmatch(text)
    assert time.perf_counter() - started_s < 1
