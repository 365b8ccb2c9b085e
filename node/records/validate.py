"""A schema compiled into closures: one for a record, which calls one for each field.

A check returns the code of the rule that a value breaks, or empty text. Faults inside a nested
value count for the field of the record that holds it.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from contracts.registers.schema import ITEMS_MAX, Shape
from node.records.formats import CHECKS, is_tin
from node.records.normalise import CONTROL

Fault = tuple[str, str]  # rule, field
Check = Callable[[Any], str]
CodeLists = Mapping[str, Mapping[str, tuple[str, ...]]]  # list: code: its names


def compile_record(schema: Shape, codes: CodeLists) -> Callable[[dict[str, Any]], list[Fault]]:
    """A function from a record to its faults, in the order of the schema.

    `tin` fields are judged for the jurisdiction that the record's `country` field names, when it
    has exactly one. Raises `KeyError` for a code list that is not given.
    """
    fields = tuple(
        (name, _compile(shape, codes), name in schema.required)
        for name, shape in schema.properties.items()
    )
    known = schema.properties.keys()
    countries = [name for name, shape in schema.properties.items() if shape.format == "country"]
    country = countries[0] if len(countries) == 1 else ""
    tins = tuple(name for name, shape in schema.properties.items() if shape.format == "tin")

    def judge(record: dict[str, Any]) -> list[Fault]:
        faults = []
        found = 0
        for name, check, is_required in fields:
            if name in record:
                found += 1
                if rule := check(record[name]):
                    faults.append((rule, name))
            elif is_required:
                faults.append(("missing", name))
        if found != len(record):
            faults += (("field-extra", "") for name in record if name not in known)
        for name in tins:
            value = record.get(name)
            if type(value) is not str or ("tin", name) in faults:
                continue
            if not is_tin(value, str(record.get(country, ""))):
                faults.append(("tin", name))
        return faults

    return judge


def _compile(shape: Shape, codes: CodeLists) -> Check:
    if shape.type == "string":
        return _compile_string(shape, codes)
    if shape.type == "integer":
        return _compile_integer(shape)
    if shape.type == "array":
        return _compile_array(shape, codes)
    if shape.type == "object":
        judge = compile_record(shape, codes)
        return lambda value: (
            "type" if type(value) is not dict else next((rule for rule, _ in judge(value)), "")
        )
    return lambda value: "" if type(value) is bool else "type"


def _compile_integer(shape: Shape) -> Check:
    low, high, enum = shape.minimum, shape.maximum, frozenset(shape.enum)
    kind = shape.format or "type"

    def check(value: Any) -> str:
        if type(value) is not int:
            return kind
        if not low <= value <= high:
            return "range"
        return "enum" if enum and value not in enum else ""

    return check


def _compile_array(shape: Shape, codes: CodeLists) -> Check:
    assert shape.items is not None
    inner = _compile(shape.items, codes)

    def check(value: Any) -> str:
        if type(value) is not list:
            return "type"
        if len(value) > ITEMS_MAX:
            return "length"
        return next(filter(None, map(inner, value)), "")

    return check


def _compile_string(shape: Shape, codes: CodeLists) -> Check:
    low, high = shape.length_min, shape.length_max
    steps: list[tuple[str, Callable[[str], object]]] = []
    if shape.enum:
        steps.append(("enum", frozenset(shape.enum).__contains__))
    if shape.code_list:
        steps.append(("code-list", codes[shape.code_list].__contains__))
    if shape.pattern:
        steps.append(("pattern", re.compile(shape.pattern[1:-1], re.ASCII).fullmatch))
    if shape.format:
        steps.append((shape.format, CHECKS[shape.format]))
    if not steps:  # all others admit visible characters only
        steps.append(("character", lambda value: not CONTROL.search(value)))
    # What was last found good: rows of one exchange are often about one subject.
    good: str | None = None

    def check(value: Any) -> str:
        nonlocal good
        if type(value) is not str:
            return "type"
        if value == good:
            return ""
        if not low <= len(value) <= high:
            return "length"
        for rule, holds in steps:
            if not holds(value):
                return rule
        good = value
        return ""

    return check
