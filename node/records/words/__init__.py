"""Words of the rules of record quality and of refusals, in zh and en: `zh.toml`, `en.toml`.

`[rules]` has a title for every rule of `node.records.rules`; `[refusals]` has title and advice for
every code of `InvalidSource` and `InvalidSchema`.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from contracts.words import Language


@cache
def catalogue(language: Language) -> Mapping[str, Mapping[str, Any]]:
    """The two tables of a language."""
    return tomllib.loads((files(__name__) / f"{language}.toml").read_text("utf-8"))
