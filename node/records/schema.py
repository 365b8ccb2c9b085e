"""Record schemas: a closed subset of JSON Schema, read strictly into `Shape`s.

The document of a dataset is one object. Keywords, by type, and no others:

    object    properties, required, additionalProperties (must be false)
    array     items, maxItems is fixed at `ITEMS_MAX`
    string    enum, pattern, minLength, maxLength, format, x-code-list
    integer   enum, minimum, maximum, format
    boolean
    any       type, title (en), title_zh, x-sensitivity

Every field of the record itself says its titles and its sensitivity. There is no `number`: amounts
are integers of the smallest unit, since fractions have no canonical form. A schema may come from
others by vote, so a `pattern` is no free regular expression: from `^` to `$`, single characters and
classes of characters, repeated a bounded number of times, in groups of alternatives that are not
repeated themselves, with at most `VARIABLE_MAX` repetitions of variable length. Such a pattern
cannot be made to run for long.

    {"type": "object", "title": "Coin", "title_zh": "硬币", "additionalProperties": false,
     "required": ["face"],
     "properties": {"face": {"type": "string", "title": "Face", "title_zh": "面值",
                             "x-sensitivity": "public", "enum": ["1", "5"]}}}
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from ledger.registry import Sensitivity
from node.records.errors import InvalidSchema

SCHEMA_BYTES_MAX = 65_536
DEPTH_MAX = 4
FIELDS_MAX = 64
ITEMS_MAX = 1_000
TEXT_CHARS_MAX = 4_096
REPEAT_MAX = 256
VARIABLE_MAX = 2
INTEGER_MAX = 2**53 - 1  # what every reader of JSON keeps exactly

FORMATS: dict[str, str] = {
    "account": "string",
    "country": "string",
    "currency": "string",
    "date": "string",
    "fen": "integer",
    "iban": "string",
    "lei": "string",
    "period": "string",
    "region": "string",
    "resident-id": "string",
    "tin": "string",
    "uscc": "string",
}
_ANY = frozenset({"type", "title", "title_zh", "x-sensitivity"})
KEYWORDS: dict[str, frozenset[str]] = {
    "object": _ANY | {"properties", "required", "additionalProperties"},
    "array": _ANY | {"items"},
    "string": _ANY | {"enum", "pattern", "minLength", "maxLength", "format", "x-code-list"},
    "integer": _ANY | {"enum", "minimum", "maximum", "format"},
    "boolean": _ANY,
}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_CLASS = r"\[(?:[A-Za-z0-9_ .,:/+-]|[\u4e00-\u9fff])+\]"
_ONE = rf"(?:[A-Za-z0-9_ ,:/-]|[\u4e00-\u9fff]|\\[.+*?()\[\]{{}}|^$/-]|{_CLASS})"
_SOME = rf"(?:{_ONE}(?:\{{[0-9]{{1,3}}(?:,[0-9]{{1,3}})?\}}|\?)?)"
_PATTERN = re.compile(rf"\^(?:{_SOME}|\({_SOME}*(?:\|{_SOME}*)*\))*\$")
_REPEAT = re.compile(r"(?<!\\)\{([0-9]+)(,?)([0-9]*)\}|(?<!\\)\?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a value must be. Empty text, an empty tuple and None mean: says nothing."""

    type: str
    title: str = ""
    title_zh: str = ""
    sensitivity: str = ""
    enum: tuple[str | int, ...] = ()
    pattern: str = ""
    length_min: int = 0
    length_max: int = TEXT_CHARS_MAX
    minimum: int = -INTEGER_MAX
    maximum: int = INTEGER_MAX
    format: str = ""
    code_list: str = ""
    properties: Mapping[str, "Shape"] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    items: "Shape | None" = None

    def narrow(self, permitted: frozenset[str]) -> "Shape":
        """The same record with the permitted fields only; none of the others is asked for."""
        if unknown := sorted(permitted - self.properties.keys()):
            raise InvalidSchema("field-undefined", ", ".join(unknown))
        kept = {name: shape for name, shape in self.properties.items() if name in permitted}
        return replace(self, properties=kept, required=self.required & permitted)


def decode_schema(data: bytes) -> Shape:
    """Read the schema of a dataset's records. Raises `InvalidSchema`."""
    if len(data) > SCHEMA_BYTES_MAX:
        raise InvalidSchema("schema-size", f"{len(data)} > {SCHEMA_BYTES_MAX}")
    try:
        document = json.loads(data, object_pairs_hook=_pairs)
    except (ValueError, RecursionError):
        raise InvalidSchema("schema-unreadable", "") from None
    root = _shape(document, "", 0)
    if root.type != "object" or not root.properties:
        raise InvalidSchema("schema-value", "type")
    for name, shape in root.properties.items():
        if not (shape.title and shape.title_zh and shape.sensitivity):
            raise InvalidSchema("schema-words", name)
    return root


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _shape(document: Any, place: str, depth: int) -> Shape:
    if depth > DEPTH_MAX:
        raise InvalidSchema("schema-depth", place)
    if not isinstance(document, dict) or document.get("type") not in KEYWORDS:
        raise InvalidSchema("schema-value", f"{place}/type")
    kind = document["type"]
    if unknown := sorted(document.keys() - KEYWORDS[kind]):
        raise InvalidSchema("schema-keyword", f"{place}/{unknown[0]}")
    shape = Shape(
        type=kind,
        title=_text(document, "title", place),
        title_zh=_text(document, "title_zh", place),
        sensitivity=_one_of(document, "x-sensitivity", place, get_args(Sensitivity)),
        enum=_enum(document, kind, place),
        length_min=_number(document, "minLength", place, 0, TEXT_CHARS_MAX, 0),
        length_max=_number(document, "maxLength", place, 1, TEXT_CHARS_MAX, TEXT_CHARS_MAX),
        minimum=_number(document, "minimum", place, -INTEGER_MAX, INTEGER_MAX, -INTEGER_MAX),
        maximum=_number(document, "maximum", place, -INTEGER_MAX, INTEGER_MAX, INTEGER_MAX),
        pattern=_pattern(document, place),
        format=_one_of(document, "format", place, [f for f, of in FORMATS.items() if of == kind]),
        code_list=_text(document, "x-code-list", place),
    )
    if shape.length_min > shape.length_max or shape.minimum > shape.maximum:
        raise InvalidSchema("schema-value", f"{place}/minimum")
    if shape.code_list and not _NAME.fullmatch(shape.code_list):
        raise InvalidSchema("schema-value", f"{place}/x-code-list")
    if kind == "array":
        return replace(shape, items=_shape(document.get("items"), f"{place}/items", depth + 1))
    return _with_properties(shape, document, place, depth) if kind == "object" else shape


def _with_properties(shape: Shape, document: dict[str, Any], place: str, depth: int) -> Shape:
    fields, required = document.get("properties"), document.get("required", [])
    if document.get("additionalProperties") is not False:
        raise InvalidSchema("schema-open", f"{place}/additionalProperties")
    if not isinstance(fields, dict) or not 1 <= len(fields) <= FIELDS_MAX:
        raise InvalidSchema("schema-value", f"{place}/properties")
    if not all(map(_NAME.fullmatch, fields)):
        raise InvalidSchema("schema-value", f"{place}/properties")
    if not (isinstance(required, list) and all(isinstance(name, str) for name in required)):
        raise InvalidSchema("schema-value", f"{place}/required")
    if len(set(required)) != len(required) or not fields.keys() >= set(required):
        raise InvalidSchema("schema-value", f"{place}/required")
    inner = {name: _shape(value, f"{place}/{name}", depth + 1) for name, value in fields.items()}
    return replace(shape, properties=inner, required=frozenset(required))


def _text(document: dict[str, Any], key: str, place: str) -> str:
    value = document.get(key, "")
    if not isinstance(value, str) or len(value) > 120 or (key in document and not value):
        raise InvalidSchema("schema-value", f"{place}/{key}")
    return value


def _one_of(document: dict[str, Any], key: str, place: str, known: Any) -> str:
    value = document.get(key, "")
    if key in document and value not in known:
        raise InvalidSchema("schema-value", f"{place}/{key}")
    return str(value)


def _number(
    document: dict[str, Any], key: str, place: str, low: int, high: int, default: int
) -> int:
    value = document.get(key, default)
    if type(value) is not int or not low <= value <= high:
        raise InvalidSchema("schema-value", f"{place}/{key}")
    return value


def _enum(document: dict[str, Any], kind: str, place: str) -> tuple[str | int, ...]:
    values = document.get("enum", [])
    of = str if kind == "string" else int
    fits = isinstance(values, list) and all(type(value) is of for value in values)
    if not fits or ("enum" in document and not 1 <= len(set(values)) == len(values) <= 1_000):
        raise InvalidSchema("schema-value", f"{place}/enum")
    return tuple(values)


def _pattern(document: dict[str, Any], place: str) -> str:
    pattern = _text(document, "pattern", place)
    if not pattern:
        return ""
    variable = 0
    fits = _PATTERN.fullmatch(pattern) is not None and "maxLength" in document
    for found in _REPEAT.finditer(pattern):
        counts = [int(text) for text in (found[1], found[3]) if text]
        variable += found[2] != ""  # `{2,5}`, or None for `?`
        fits = fits and all(count <= REPEAT_MAX for count in counts)
    if not fits or variable > VARIABLE_MAX:
        raise InvalidSchema("schema-pattern", f"{place}/pattern")
    try:
        re.compile(pattern)
    except re.error:
        raise InvalidSchema("schema-pattern", f"{place}/pattern") from None
    return pattern
