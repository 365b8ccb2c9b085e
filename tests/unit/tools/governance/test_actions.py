"""Every action has words; files become actions or one clear error."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from ledger.governance.actions import (
    Action,
    LiftFreeze,
    RemoveContract,
    RevokeOfficer,
    SetContract,
    SetFreeze,
    SetParameters,
    SetRule,
    SuspendMember,
    VotingRule,
)
from ledger.registry import Contract, Dataset, Freeze, Purpose
from tests.builders import parameters
from tools.exits import InvalidInput
from tools.governance.actions import (
    FILE_BYTES_MAX,
    check_action,
    format_actions,
    read_contract,
    read_table,
    read_value,
    summarise,
)
from tools.governance.changes import Change
from tools.words import LANGUAGES, catalogue, select_language

KEY = b"\x01" + bytes(32)
FREEZE = Freeze(requester="a", provider="b", dataset="", reason="leak")


@pytest.fixture(autouse=True)
def _english() -> None:
    select_language(["--lang", "en"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_action_has_words(language: str) -> None:
    tags = {str(kind.__struct_config__.tag) for kind in get_args(Action)}
    assert len(tags) > 20
    assert {f"action.{tag.replace('.', '_')}" for tag in tags} <= catalogue(language).keys()


@pytest.mark.parametrize(
    ("action", "line"),
    [
        (SuspendMember(member="cn-1-tax", grounds="x"), "suspend member cn-1-tax"),
        (RevokeOfficer(key=KEY, grounds="x"), f"revoke key ed25519:{'00' * 32}"),
        (RemoveContract(id="legality"), "remove contract legality"),
        (SetContract(contract=Contract(id="legality", text="")), "set contract legality"),
        (SetFreeze(freeze=FREEZE), "freeze a / b / *"),
        (LiftFreeze(requester="", provider="", dataset=""), "lift freeze * / * / *"),
        (SetParameters(parameters=parameters()), "set parameters"),
        (
            SetRule(rule=VotingRule(action_class="keys", share=500, factors=2)),
            "set voting rule keys",
        ),
    ],
)
def test_an_action_in_one_line(action: Action, line: str) -> None:
    assert summarise([action]) == line


def test_all_that_is_signed_is_shown() -> None:
    action = SetContract(contract=Contract(id="legality", text="permit(\n\x1b[1m);\n"))
    assert format_actions([action]) == (
        "set contract\n  contract · id: legality\n  contract · text:\n    permit(\n    ?[1m);"
    )


def test_a_long_text_is_left_out_only_if_the_difference_has_it() -> None:
    contract = SetContract(contract=Contract(id="legality", text="one\ntwo\n"))
    suspend = SuspendMember(member="de-tax", grounds="a breach")
    told = Change(target="contract/legality", after={"id": "legality", "text": "one\ntwo\n"})
    assert format_actions([contract, suspend], beside=[told]) == (
        "set contract\n  contract · id: legality\n"
        "suspend member\n  member: de-tax\n  grounds: a breach"
    )
    lie = Change(target="contract/legality", after={"id": "legality", "text": "one\n2\n"})
    assert "    two" in format_actions([contract], beside=[lie])


def test_an_action_that_no_node_would_read_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_action(SuspendMember(member="CN 1", grounds="x"))
    assert caught.value.code == "event-body-invalid"


def test_values_are_read_from_toml_and_json(tmp_path: Path) -> None:
    purpose = Purpose(id="audit", name_zh="稽查", name_en="Audit")
    toml, json = tmp_path / "a.toml", tmp_path / "a.json"
    toml.write_text('id = "audit"\nname_zh = "稽查"\nname_en = "Audit"\n', "utf-8")
    json.write_text('{"id": "audit", "name_zh": "稽查", "name_en": "Audit"}', "utf-8")
    assert read_value(toml, Purpose) == read_value(json, Purpose) == purpose


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.toml", b"id = ", "value-file-invalid"),
        ("a.json", b"[1]", "value-file-invalid"),
        ("a.json", b"[" * 100_000, "value-file-invalid"),
        ("a.json", b'{"id": "x", "name_zh": "x", "name_en": "x", "more": 1}', "value-file-invalid"),
        ("a.json", b'{"id": "X"}', "value-file-invalid"),
        ("a.json", b"\xff", "file-not-text"),
        ("a.json", b" " * (FILE_BYTES_MAX + 1), "file-too-large"),
    ],
)
def test_a_bad_file_is_one_error(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        read_value(path, Purpose)
    assert caught.value.code == code
    assert str(path) in caught.value.detail


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_table(tmp_path / "none.toml")
    assert caught.value.code == "file-unreadable"


def test_the_name_of_a_contract_is_that_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "review-stop.cedar"
    path.write_text("permit(principal, action, resource);")
    assert read_contract(path).contract.id == "review-stop"
    other: Any = path.rename(tmp_path / "review-stop.txt")
    with pytest.raises(InvalidInput) as caught:
        read_contract(other)
    assert caught.value.code == "contract-file-invalid"


def test_a_dataset_without_fields_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.toml"
    path.write_text('id = "d"\nversion = 1\nname_zh = "d"\nname_en = "d"\ncategory = "d"\n')
    with pytest.raises(InvalidInput) as caught:
        read_value(path, Dataset)
    assert "fields" in caught.value.detail


def _leaves(kind: Any, seen: set[type]) -> Iterator[str]:
    for part in get_args(kind):
        yield from _leaves(part, seen)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in seen:
        seen.add(kind)
        hints = get_type_hints(kind, include_extras=True)
        for field in msgspec.structs.fields(kind):
            yield field.encode_name
            yield from _leaves(hints[field.name], seen)


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_whatever_can_be_voted_on_has_words(lang: str) -> None:
    words = catalogue(lang)
    assert [name for name in _leaves(Action, set()) if f"field.{name}" not in words] == []
