"""Record schemas: a closed subset of JSON Schema, read strictly into `Shape`s.

The document of a dataset is one object. Keywords, by type, and no others (so no `$ref`):

    object    properties, required, additionalProperties (must be false)
    array     items, maxItems is fixed at `ITEMS_MAX`
    string    enum, pattern, minLength, maxLength, format, x-code-list
    integer   enum, minimum, maximum, format
    boolean
    any       type, title (en), title_zh, x-sensitivity

The record and every field of it say their titles in both languages, every field its sensitivity.
There is no `number`: amounts are integers of the smallest unit, since fractions have no canonical
form.

Patterns run on data of others, so a `pattern` is no free regular expression. It stands beside
`maxLength` and is, from `^` to `$`:

    piece     a character, an escaped sign, or a class `[...]` of characters and ranges without
              escapes; each may have `?`, `{n}` or `{n,m}` after it, up to `REPEAT_MAX`
    group     `(piece*|piece*|...)`, not repeated and not nested

There are at most `WAYS_MAX` ways to choose all lengths and alternatives, and a matcher tries no
more than these: such a pattern cannot be made to run for long. It is matched as ASCII, whole.

    {"type": "object", "title": "Coin", "title_zh": "硬币", "additionalProperties": false,
     "required": ["face"],
     "properties": {"face": {"type": "string", "title": "Face", "title_zh": "面值",
                             "x-sensitivity": "public", "enum": ["1", "5"]}}}
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from contracts.errors import InvalidSchema
from ledger.registry import Sensitivity

DEPTH_MAX = 4
# Each level of a schema is two brackets deep, and a list may stand in the last one.
BRACKETS_MAX = 2 * DEPTH_MAX + 4
FIELDS_MAX = 64
ITEMS_MAX = 1_000
TEXT_CHARS_MAX = 4_096
WORDS_CHARS_MAX = 120
ENUM_MAX = 1_000
REPEAT_MAX = 256
WAYS_MAX = 4_096
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
_NUMBER = re.compile(r"-?[0-9]{1,16}")
# What a JSON text is made of, as far as its depth is concerned.
# A string that does not end reaches to the end, or looking for its end would take long.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[\[{}\]]', re.DOTALL)

_CLASS = r"\[(?:[A-Za-z0-9_ .,:/+-]|[\u4e00-\u9fff])+\]"
_ONE = rf"(?:[A-Za-z0-9_ ,:/-]|[\u4e00-\u9fff]|\\[.+*?()\[\]{{}}|^$/-]|{_CLASS})"
_SOME = rf"(?:{_ONE}(?:\{{[0-9]{{1,3}}(?:,[0-9]{{1,3}})?\}}|\?)?)"
_PATTERN = re.compile(rf"\^(?:{_SOME}|\({_SOME}*(?:\|{_SOME}*)*\))*\$")
_PIECE = re.compile(rf"(?P<one>{_ONE})(?:\{{(?P<low>[0-9]+)(?:,(?P<high>[0-9]+))?\}}|(?P<may>\?))?")


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

    def code_lists(self) -> Iterator[str]:
        """Ids of the code lists that values must be of, in the order of the schema."""
        if self.code_list:
            yield self.code_list
        for shape in (*self.properties.values(), *((self.items,) if self.items else ())):
            yield from shape.code_lists()


def read_schema(text: str) -> Shape:
    """Read the schema of a dataset's records. Raises `InvalidSchema`."""
    root = _shape(_document(text), "", 0)
    if root.type != "object":
        raise InvalidSchema("schema-value", "/type")
    if not (root.title and root.title_zh):
        raise InvalidSchema("schema-words", "/title")
    for name, shape in root.properties.items():
        if not (shape.title and shape.title_zh and shape.sensitivity):
            raise InvalidSchema("schema-words", f"/{name}")
    return root


def _document(text: str) -> Any:
    # How deep a parser can go depends on the machine, so what is too deep never reaches it.
    depth = 0
    for word in _TOKEN.findall(text):
        depth += (word in "[{") - (word in "]}")
        if depth > BRACKETS_MAX:
            raise InvalidSchema("schema-depth", f"{BRACKETS_MAX}")
    try:
        document = json.loads(
            text, object_pairs_hook=_pairs, parse_int=_integer, parse_float=_no, parse_constant=_no
        )
        json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except ValueError:
        raise InvalidSchema("schema-unreadable", "") from None
    return document


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _integer(digits: str) -> int:
    if not _NUMBER.fullmatch(digits):
        raise ValueError("too many digits")
    return int(digits)


def _no(text: str) -> Any:
    raise ValueError(f"{text} is not an integer")


def _shape(document: Any, place: str, depth: int) -> Shape:
    if depth > DEPTH_MAX:
        raise InvalidSchema("schema-depth", place)
    kind = document.get("type") if isinstance(document, dict) else None
    if not isinstance(kind, str) or kind not in KEYWORDS:
        raise InvalidSchema("schema-value", f"{place}/type")
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
        format=_one_of(
            document, "format", place, tuple(name for name, of in FORMATS.items() if of == kind)
        ),
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
    if len(frozenset(required)) != len(required) or not fields.keys() >= frozenset(required):
        raise InvalidSchema("schema-value", f"{place}/required")
    inner = {name: _shape(value, f"{place}/{name}", depth + 1) for name, value in fields.items()}
    return replace(shape, properties=inner, required=frozenset(required))


def _text(document: dict[str, Any], key: str, place: str) -> str:
    value = document.get(key, "")
    if not isinstance(value, str) or (key in document) != bool(value):
        raise InvalidSchema("schema-value", f"{place}/{key}")
    if len(value) > WORDS_CHARS_MAX:
        raise InvalidSchema("schema-value", f"{place}/{key}")
    return value


def _one_of(document: dict[str, Any], key: str, place: str, known: tuple[str, ...]) -> str:
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
    if not fits or ("enum" in document and not 1 <= len(frozenset(values)) == len(values)):
        raise InvalidSchema("schema-value", f"{place}/enum")
    if len(values) > ENUM_MAX:
        raise InvalidSchema("schema-value", f"{place}/enum")
    return tuple(values)


def _pattern(document: dict[str, Any], place: str) -> str:
    pattern = _text(document, "pattern", place)
    if not pattern:
        return ""
    # `--` may one day subtract in a class.
    if _PATTERN.fullmatch(pattern) is None or "--" in pattern or "maxLength" not in document:
        raise InvalidSchema("schema-pattern", f"{place}/pattern")
    try:
        re.compile(pattern)
        ways = count_ways(pattern)
    except (re.error, ValueError):
        raise InvalidSchema("schema-pattern", f"{place}/pattern") from None
    if ways > WAYS_MAX:
        raise InvalidSchema("schema-pattern", f"{place}/pattern")
    return pattern


def count_ways(pattern: str) -> int:
    """In how many ways lengths and alternatives can be chosen. Raises `ValueError`."""
    total, alternatives, ways, at = 1, 0, 1, 1
    while at < len(pattern) - 1:
        sign = pattern[at]
        if sign == "(":
            total, alternatives, ways = total * ways, 0, 1
        elif sign == "|":
            alternatives, ways = alternatives + ways, 1
        elif sign == ")":
            total, ways = total * (alternatives + ways), 1
        else:
            piece = _PIECE.match(pattern, at)
            assert piece is not None, "the pattern as a whole has matched"
            ways *= _choices(piece)
            at = piece.end()
            continue
        at += 1
    return total * ways


def _choices(piece: re.Match[str]) -> int:
    if piece["low"] is None:
        return 2 if piece["may"] else 1
    low, high = int(piece["low"]), int(piece["high"] or piece["low"])
    if not low <= high <= REPEAT_MAX:
        raise ValueError(f"{{{low},{high}}}")
    return high - low + 1
