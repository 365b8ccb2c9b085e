"""Words of the commands in zh-CN and English: `zh.toml` and `en.toml`, with equal keys.

Codes of the ledger's rules have their words in `contracts.words`; they are not repeated here.
"""

import functools
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, Literal

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")

_selected: list[Language] = ["en"]


def select_language(arguments: Sequence[str]) -> Language:
    """Choose the language by `--lang` among `arguments`, else by LC_ALL, LC_MESSAGES, LANG."""
    wanted = ""
    for position, argument in enumerate(arguments):
        if argument == "--lang" and position + 1 < len(arguments):
            wanted = arguments[position + 1]
        elif argument.startswith("--lang="):
            wanted = argument.removeprefix("--lang=")
    if wanted not in LANGUAGES:
        names = (os.environ.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
        wanted = "zh" if next(filter(None, names), "").startswith("zh") else "en"
    _selected[0] = "zh" if wanted == "zh" else "en"
    return _selected[0]


def language() -> Language:
    """The chosen language."""
    return _selected[0]


def say(key: str, **values: object) -> str:
    """The text of `key` in the chosen language, filled with `values`."""
    return catalogue(language())[key].format(**values)


@functools.cache
def catalogue(name: str) -> dict[str, str]:
    """Every text of one language by its dotted key."""
    source = tomllib.loads((files(__name__) / f"{name}.toml").read_text("utf-8"))
    return dict(_flatten("", source))


def describe_error(code: str) -> tuple[str, str]:
    """Title and advice of an error code in the chosen language; both empty if it has no words."""
    words = catalogue(language())
    if f"errors.{code}.title" in words:
        return words[f"errors.{code}.title"], words[f"errors.{code}.advice"]
    from contracts.words import catalogue as rule_catalogue
    from contracts.words import describe

    if code not in rule_catalogue(language())["codes"]:
        return "", ""
    described = describe(code, language())
    return described.title, described.advice


def tell_detail(code: str, detail: str) -> str:
    """What was found, in the chosen language; what is no known sentence stays as it is."""
    if language() == "en":
        return detail
    from contracts.words.sentences import tell

    return tell(detail, language(), code)


def _flatten(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(f"{prefix}{key}.", value)
        else:
            yield prefix + key, value
