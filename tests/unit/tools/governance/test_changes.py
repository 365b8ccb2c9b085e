"""Differences as people read them: values field by field, texts line by line, in both languages."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest

from ledger.registry import MemberKind
from tools.governance.changes import Change, compare, flatten, format_changes
from tools.words import catalogue, select_language

KEY = "01" + "ab" * 32
DATASET = {
    "id": "account",
    "version": 1,
    "fields": [{"id": "uscc", "name_zh": "代码"}, {"id": "name", "name_zh": "名称"}],
}


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    select_language(["--lang", "en"])
    yield
    select_language(["--lang", "en"])


def change(before: Any, after: Any, target: str = "dataset/account") -> str:
    return format_changes([Change(target=target, before=before, after=after)])


def test_a_new_value_lists_its_fields_and_an_old_one_what_is_lost() -> None:
    assert change(None, {"id": "account", "version": 1}) == (
        "dataset account (new)\n  + version: 1"
    )
    assert change({"version": 1}, None) == "dataset account (removed)\n  - version: 1"


def test_only_what_differs_is_shown_and_entries_are_compared_by_their_id() -> None:
    fields = [{"id": "name", "name_zh": "全称"}, DATASET["fields"][0]]
    after = {**DATASET, "version": 2, "fields": fields}
    assert list(compare(DATASET, after)) == [
        "version: 1 → 2",
        "fields[name] · name (zh): 名称 → 全称",
    ]


def test_texts_are_compared_line_by_line() -> None:
    before, after = "one\ntwo\nthree\n", "one\nzwei\nthree\n"
    assert list(compare({"text": before}, {"text": after})) == [
        "text:",
        "  @@ -1,3 +1,3 @@",
        "   one",
        "  -two",
        "  +zwei",
        "   three",
    ]


def test_words_of_roles_states_and_fields_in_both_languages() -> None:
    pair = ({"status": "active", "roles": ["admin"]}, {"status": "suspended", "roles": []})
    assert list(compare(*pair)) == ["status: active → suspended", "roles: administrator → -"]
    select_language(["--lang", "zh"])
    assert list(compare(*pair)) == ["状态：生效 → 已暂停", "角色：管理员 → -"]
    assert change(None, None, target=f"officer/{KEY}").startswith("经办人 ed25519:abab")


def test_what_others_wrote_does_not_steer_the_terminal() -> None:
    text = change(None, {"name_en": "\x1b[2Jx\u202e", "name_zh": ["\x07"], "new\x1b": 1})
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\x07" not in text
    assert "\x1b" not in change(None, 1, target="dataset/\x1b[1m")


def test_long_bytes_are_shortened_and_keys_are_not() -> None:
    rows = dict(flatten({"key": bytes.fromhex(KEY), "proof": bytes(65), "signature": bytes(65)}))
    assert rows == {
        "key": f"ed25519:{KEY[2:]}",
        "proof": "0000000000000000... (65 B)",
    }


def test_nothing_changed_is_said() -> None:
    assert format_changes([]) == "No value on the ledger changes."


def test_a_code_that_is_new_is_one_difference_wherever_it_stands() -> None:
    before, after = (
        {"codes": [{"code": code, "name_en": f"name of {code}"} for code in codes]}
        for codes in (("CNY", "EUR"), ("CHF", "CNY", "EUR"))
    )
    assert list(compare(before, after)) == [
        "+ codes[CHF] · code: CHF",
        "+ codes[CHF] · name (en): name of CHF",
    ]


@pytest.mark.parametrize("kind", get_args(MemberKind))
def test_every_kind_of_party_has_words(kind: str) -> None:
    for lang in ("zh", "en"):
        select_language(["--lang", lang])
        ((_, told),) = flatten({"kind": kind})
        assert told == catalogue(lang)[f"party.{kind}"]
