"""Words of the rules of record quality and of refusals, in zh and en: `zh.toml`, `en.toml`.

`[rules]` has a title for every rule of `node.records.rules`; `[refusals]` has title and advice for
every code of `InvalidSource` and `InvalidSchema`.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from contracts.words import Language, read_catalogue


@cache
def catalogue(language: Language) -> Mapping[str, Mapping[str, Any]]:
    """The two tables of a language."""
    return read_catalogue(__name__, language)
