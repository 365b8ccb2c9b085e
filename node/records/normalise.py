"""Canonical form of values: widths, spaces, case, dates, amounts. Every change is told by its rule.

What is not certain is left as it is, for validation to refuse: `03/04/2026` may be March or April,
and an amount with decimals is in yuan, which a source says as a whole (`amounts="yuan"`) or not at
all, because the wrong guess is wrong a hundredfold.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from contracts.registers.schema import Shape

Amounts = Literal["fen", "yuan"]
Fixes = list[str]
Fixer = Callable[[Any, Fixes], Any]

_WIDE = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
# In free text only digits and letters change: full-width brackets belong to Chinese names.
_WIDE_TEXT = {wide: half for wide, half in _WIDE.items() if chr(half).isalnum()}
_SPACES = re.compile(r"[\s\u200b\ufeff]+")
_EDGE = " \t\r\n\f\v\u00a0\u3000\u200b\ufeff"
_PLAIN = re.compile(r"[0-9A-Z]+")
_TEXT_ODD = re.compile(r"[\s\u200b\ufeff\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]")
_SEPARATORS = str.maketrans("", "", " -.")
_DATE = re.compile(
    r"([0-9]{4})([-/.年]?)([0-9]{1,2})(?:\2|月)([0-9]{1,2})日?(?:[T ]00:00(?::00)?)?"
)
_COMPACT = re.compile(r"[0-9]{8}")
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MONTH = re.compile(r"([0-9]{4})[-/.年]?([0-9]{1,2})月?")
_QUARTER = re.compile(r"([0-9]{4})[-/.年]?(?:Q([1-4])|第?([1-4一二三四])季度)")
_PERIOD = re.compile(r"[0-9]{4}(?:-(?:[0-9]{2}|Q[1-4]|H[12]))?")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,15})")
_AMOUNT = re.compile(
    r"[¥￥]?(-?)[¥￥]?([0-9]{1,16}|[0-9]{1,3}(?:,[0-9]{3}){1,5})(?:\.([0-9]{1,2}))?"
)

# Characters that no value has: controls, halves of pairs, marks that turn the reading order.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")

_IDENTIFIERS = frozenset({"account", "iban", "lei", "resident-id", "tin", "uscc"})
_CODES = frozenset({"country", "currency", "region"})


def compile_fixers(
    schema: Shape, codes: Mapping[str, Mapping[str, tuple[str, ...]]], amounts: Amounts
) -> dict[str, Fixer]:
    """A function for each field that brings its value into canonical form."""
    return {name: _fixer(shape, codes, amounts) for name, shape in schema.properties.items()}


def canonical_identifier(value: Any) -> Any:
    """An identifier as records hold it: half width, upper case, no separators."""
    return _fix_identifier(value, [])


def canonical_date(value: Any) -> Any:
    """A date in ISO 8601, where the value certainly is one."""
    return _fix_date(value, [])


def canonical_period(value: Any) -> Any:
    """A period as records hold it, where the value certainly is one."""
    return _fix_period(value, [])


def _fixer(
    shape: Shape, codes: Mapping[str, Mapping[str, tuple[str, ...]]], amounts: Amounts
) -> Fixer:
    if shape.type == "integer":
        return _amount_fixer(amounts) if shape.format == "fen" else _fix_integer
    if shape.type != "string":
        return _keep
    if shape.code_list:
        listed = codes[shape.code_list]
        named: dict[str, str] = {}
        for code, names in listed.items():
            for name in names:
                named[name] = code
        return _code_fixer(listed, named)
    by_format = {"date": _fix_date, "period": _fix_period}
    if shape.format in by_format:
        return by_format[shape.format]
    if shape.format in _IDENTIFIERS:
        return _fix_identifier
    if shape.format in _CODES:
        return _fix_code
    return _fix_value if shape.pattern or shape.enum else _fix_text


def _keep(value: Any, fixes: Fixes) -> Any:
    """Nested values come from JSON and are taken as they are."""
    del fixes
    return value


def _narrow(text: str, fixes: Fixes) -> str:
    """Half-width characters, no space at the ends."""
    if not text.isascii():
        half = text.translate(_WIDE)
        if half != text:
            fixes.append("width")
            text = half
    trimmed = text.strip(_EDGE)
    if trimmed != text:
        fixes.append("space")
    return trimmed


def _fix_text(value: Any, fixes: Fixes) -> Any:
    if type(value) is not str or not _TEXT_ODD.search(value):
        return value
    half = value.translate(_WIDE_TEXT)
    if half != value:
        fixes.append("width")
    spaced = _SPACES.sub(" ", half).strip()
    if spaced != half:
        fixes.append("space")
    return spaced


def _fix_value(value: Any, fixes: Fixes) -> Any:
    return _narrow(value, fixes) if type(value) is str else value


def _fix_code(value: Any, fixes: Fixes) -> Any:
    if type(value) is not str or _PLAIN.fullmatch(value):
        return value
    text = _narrow(value, fixes)
    return _upper(text, fixes)


def _fix_identifier(value: Any, fixes: Fixes) -> Any:
    if type(value) is not str or _PLAIN.fullmatch(value):
        return value
    text = _upper(_narrow(value, fixes), fixes)
    plain = text.translate(_SEPARATORS)
    if plain != text:
        fixes.append("separator")
    return plain


def _upper(text: str, fixes: Fixes) -> str:
    if not text.isascii():
        return text
    upper = text.upper()
    if upper != text:
        fixes.append("case")
    return upper


def _code_fixer(listed: Mapping[str, object], named: Mapping[str, str]) -> Fixer:
    def fix(value: Any, fixes: Fixes) -> Any:
        if type(value) is not str or value in listed:
            return value
        text = _narrow(value, fixes)
        if text in named:
            fixes.append("code-name")
            return named[text]
        return text

    return fix


def _fix_date(value: Any, fixes: Fixes) -> Any:
    if type(value) is not str or _ISO.fullmatch(value):
        return value
    text = _narrow(value, fixes)
    if _ISO.fullmatch(text):
        return text
    found = _DATE.fullmatch(text)
    if found is None or (not found[2] and not _COMPACT.match(text)):
        return text
    fixes.append("date-form")
    return f"{found[1]}-{int(found[3]):02}-{int(found[4]):02}"


def _fix_period(value: Any, fixes: Fixes) -> Any:
    if type(value) is not str or _PERIOD.fullmatch(value):
        return value
    text = _upper(_narrow(value, fixes), fixes)
    if _PERIOD.fullmatch(text):
        return text
    if found := _QUARTER.fullmatch(text):
        digit = found[2] or found[3]
        fixes.append("date-form")
        return f"{found[1]}-Q{'一二三四'.find(digit) + 1 or digit}"
    if found := _MONTH.fullmatch(text):
        fixes.append("date-form")
        return f"{found[1]}-{int(found[2]):02}"
    return text


def _fix_integer(value: Any, fixes: Fixes) -> Any:
    if type(value) is not str:
        return value
    text = _narrow(value, fixes)
    return int(text) if _INTEGER.fullmatch(text) else text


def _amount_fixer(amounts: Amounts) -> Fixer:
    factor = 100 if amounts == "yuan" else 1

    def fix(value: Any, fixes: Fixes) -> Any:
        if type(value) is int:
            return value * factor
        if type(value) is not str:
            return value
        if factor == 1 and _INTEGER.fullmatch(value):
            return int(value)
        text = _narrow(value, fixes)
        found = _AMOUNT.fullmatch(text)
        if found is None or (factor == 1 and found[3]):
            return text
        whole = int(found[2].replace(",", "")) * factor
        fraction = int((found[3] or "").ljust(2, "0")) if factor == 100 else 0
        if not _INTEGER.fullmatch(text):
            fixes.append("amount-form")
        return -(whole + fraction) if found[1] else whole + fraction

    return fix
