"""Status codes of deliveries in words, from the shipped code list that gateways use."""

import json
from functools import cache
from importlib.resources import files

from tools.words import language

CODE_SET = "oecd-crs-sm-3.0"


@cache
def _names() -> dict[str, list[str]]:
    document = json.loads((files("config") / "codes" / f"{CODE_SET}.json").read_bytes())
    return dict(document["codes"])


def tell_code(code: str) -> str:
    """A code with its name; one that the list does not have stands alone."""
    zh_en = _names().get(code)
    return code if zh_en is None else f"{code} {zh_en[0 if language() == 'zh' else 1]}"
