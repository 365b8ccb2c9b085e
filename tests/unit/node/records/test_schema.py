"""Record schemas: the shipped ones agree with the registered datasets; nothing else passes."""

import copy
import json
import tomllib
from importlib.resources import files
from typing import Any

import pytest

from node.records.errors import InvalidSchema
from node.records.schema import decode_schema, narrow
from node.records.shipped import DATASETS, read_code_lists, read_codes, read_schema

GOOD: dict[str, Any] = {
    "type": "object",
    "title": "Coin",
    "title_zh": "硬币",
    "additionalProperties": False,
    "required": ["face"],
    "properties": {
        "face": {
            "type": "string",
            "title": "Face",
            "title_zh": "面值",
            "x-sensitivity": "public",
            "pattern": "^[0-9]{1,3}$",
            "maxLength": 3,
        },
        "year": {
            "type": "integer",
            "title": "Year",
            "title_zh": "年份",
            "x-sensitivity": "public",
            "minimum": 1,
        },
    },
}


@pytest.mark.parametrize("network", ["demo", "founding"])
def test_shipped_schemas_have_the_fields_of_the_registered_datasets(network: str) -> None:
    source = tomllib.loads((files("config") / network / "network.toml").read_text("utf-8"))
    for dataset in source["datasets"]:
        schema = read_schema(dataset["id"])
        assert (schema.title, schema.title_zh) == (dataset["name_en"], dataset["name_zh"])
        assert [
            {
                "id": name,
                "name_zh": shape.title_zh,
                "name_en": shape.title,
                "sensitivity": shape.sensitivity,
            }
            for name, shape in schema.properties.items()
        ] == dataset["fields"]


def test_shipped_code_lists_exist_and_name_their_codes() -> None:
    assert len(read_codes("iso-3166")) == 249
    assert {"CNY", "EUR", "USD", "XXX"} <= read_codes("iso-4217").keys()
    for dataset in DATASETS:
        for names in read_code_lists(read_schema(dataset)).values():
            assert all(len(words) == 2 for words in names.values())
    with pytest.raises(InvalidSchema, match="dataset-unknown"):
        read_schema("../demo/network")


def changed(place: str, value: Any) -> bytes:
    document = copy.deepcopy(GOOD)
    *path, last = place.split("/")
    inner = document
    for key in path:
        inner = inner[key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(document).encode()


FACE = "properties/face/"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"{", "schema-unreadable"),
        (b'{"type": "object", "type": "object"}', "schema-unreadable"),
        (b" " * 65_537, "schema-size"),
        (b"[" * 60_000, "schema-depth"),
        (changed("type", "array"), "schema-keyword"),
        (changed("description", "x"), "schema-keyword"),
        (changed(FACE + "type", "number"), "schema-value"),
        (changed(FACE + "minimum", 1), "schema-keyword"),
        (changed(FACE + "$ref", "#"), "schema-keyword"),
        (changed(FACE + "format", "email"), "schema-value"),
        (changed(FACE + "format", "fen"), "schema-value"),
        (changed(FACE + "minLength", 4), "schema-value"),
        (changed(FACE + "minLength", True), "schema-value"),
        (changed(FACE + "enum", []), "schema-value"),
        (changed(FACE + "enum", [1]), "schema-value"),
        (changed(FACE + "x-code-list", "../x"), "schema-value"),
        (changed(FACE + "x-sensitivity", "low"), "schema-value"),
        (changed(FACE + "x-sensitivity", None), "schema-words"),
        (changed(FACE + "title_zh", None), "schema-words"),
        (changed(FACE + "maxLength", None), "schema-pattern"),
        (changed("required", ["none"]), "schema-value"),
        (changed("required", ["face", "face"]), "schema-value"),
        (changed("additionalProperties", True), "schema-open"),
        (changed("additionalProperties", None), "schema-open"),
        (changed("properties", {}), "schema-value"),
        (changed("properties/Face", {"type": "string"}), "schema-value"),
        (changed("properties/year/maximum", 2**53), "schema-value"),
    ],
)
def test_anything_else_is_refused(data: bytes, code: str) -> None:
    decode_schema(json.dumps(GOOD).encode())
    with pytest.raises(InvalidSchema) as caught:
        decode_schema(data)
    assert caught.value.code == code


def test_depth_is_bounded() -> None:
    inner: dict[str, Any] = {"type": "string"}
    for _ in range(5):
        inner = {"type": "array", "items": inner}
    with pytest.raises(InvalidSchema, match="schema-depth"):
        decode_schema(changed("properties/face", inner))


@pytest.mark.parametrize(
    "pattern",
    [
        "[0-9]+",
        "^[0-9]+$",
        "^(a{1,9})*$",
        "^(a|a){9}$",
        "^[^a]$",
        "^.{3}$",
        "^\\d{3}$",
        "^a{0,99}a{0,99}$",
        "^a{1,}$",
        "^a{257}$",
        "^(?=a)a$",
        "^(a)\\1$",
        "^[z-a]$",
        "^a{9,1}$",
    ],
)
def test_a_pattern_that_could_run_for_long_or_means_two_things_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidSchema, match="schema-pattern"):
        decode_schema(changed(FACE + "pattern", pattern))


def test_a_narrowed_schema_asks_for_permitted_fields_only() -> None:
    schema = narrow(decode_schema(json.dumps(GOOD).encode()), frozenset({"year"}))
    assert set(schema.properties) == {"year"}
    assert schema.required == frozenset()
    with pytest.raises(InvalidSchema, match="field-undefined: moon"):
        narrow(schema, frozenset({"moon"}))
