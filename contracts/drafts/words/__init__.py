"""Texts about policy sets in zh and en: faults with what to do, names of facts, case tables.

Same rules as `contracts.words`: equal keys, `{name}` places, values are never templates.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from contracts.drafts.check import Fault
from contracts.words import Language

_PLACE = re.compile(r"\{([a-z_]+)\}")


@cache
def catalogue(language: Language) -> Mapping[str, Any]:
    """The parsed catalogue of a language."""
    path = files("contracts").joinpath("drafts", "words", f"{language}.toml")
    return tomllib.loads(path.read_text("utf-8"))


def fault_words(fault: Fault, language: Language) -> tuple[str, str]:
    """Title and advice of a fault."""
    words = catalogue(language)["faults"][fault.code]
    return words["title"], words["advice"]


def fact_word(name: str, language: Language) -> str:
    """Name of a fact in words; a fact that has none is shown as itself."""
    return str(catalogue(language)["facts"].get(name, name))


def text(key: str, language: Language, **values: object) -> str:
    """A sentence, filled with `values`."""
    template = str(catalogue(language)["texts"][key])
    return _PLACE.sub(lambda match: str(values.get(match[1], match[0])), template)
