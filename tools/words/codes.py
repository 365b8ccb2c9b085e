"""Names of status codes of deliveries, from the code sets that are shipped."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from tools.words import language

CODE_SETS = ("oecd-crs-sm-2.0", "oecd-crs-sm-3.0", "local-98", "tallystick-1")
GATEWAY_SET = "oecd-crs-sm-3.0"  # whose codes gateways use


@cache
def shipped_names(code_set: str) -> Mapping[str, tuple[str, str]]:
    """Names in zh and en of each code of a set; empty for a set that is not shipped."""
    if code_set not in CODE_SETS:
        return {}
    document = json.loads((files("config") / "codes" / f"{code_set}.json").read_bytes())
    return {code: (zh, en) for code, (zh, en) in document["codes"].items()}


def tell_code(code: str) -> str:
    """A code of gateways with its name; one that the set does not have stands alone."""
    names = shipped_names(GATEWAY_SET).get(code)
    return code if names is None else f"{code} {names[0 if language() == 'zh' else 1]}"
