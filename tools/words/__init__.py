"""Words of the commands in zh-CN and English: `zh.toml` and `en.toml`, with equal keys."""

import functools
import os
import tomllib
from collections.abc import Sequence
from importlib.resources import files

LANGUAGES = ("zh", "en")

_selected = ["en"]


def select_language(arguments: Sequence[str]) -> str:
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
    _selected[0] = wanted
    return wanted


def language() -> str:
    """The chosen language, `zh` or `en`."""
    return _selected[0]


def say(key: str, **values: object) -> str:
    """The text of `key` in the chosen language, filled with `values`."""
    return catalogue(language())[key].format(**values)


@functools.cache
def catalogue(name: str) -> dict[str, str]:
    """Every text of one language by its dotted key."""
    source = tomllib.loads((files(__name__) / f"{name}.toml").read_text("utf-8"))
    return {
        f"{group}.{key}": text for group, texts in source.items() for key, text in texts.items()
    }
