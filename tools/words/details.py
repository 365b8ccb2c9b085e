"""Details of the ledger's rules in the chosen language.

The rules tell what they found in one English sentence, so that all nodes tell the same. `details`
of the catalogues has these sentences by code, with places for what was found, and their equals.
"""

import re
from collections.abc import Mapping
from functools import cache

from contracts.words import filled_pattern
from tools.words import catalogue, language, say

# Nodes of others wrote it: what is longer is none of these sentences.
_CHARS_MAX = 1_000


def tell_detail(code: str, detail: str) -> str:
    """A detail in the chosen language; what is no sentence of the rules stays as it is."""
    if language() == "en" or len(detail) > _CHARS_MAX:
        return detail
    for key, pattern in patterns().get(code, {}).items():
        if found := pattern.fullmatch(detail):
            return say(key, **found.groupdict())
    return detail


@cache
def patterns() -> Mapping[str, Mapping[str, re.Pattern[str]]]:
    """By code the key of each sentence, and what it looks like in English."""
    found: dict[str, dict[str, re.Pattern[str]]] = {}
    for key, text in catalogue("en").items():
        if key.startswith("details."):
            code = key.split(".")[1]
            found.setdefault(code, {})[key] = filled_pattern(text)
    return found
