"""Words of `node.crs` in zh and en, and how its program says no: `zh.toml`, `en.toml`.

`[refusals]` has title and advice for every code of `CrsError`; `[reasons]` has a title for what a
schema finds wrong.
"""

import json
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from contracts.words import LANGUAGES, Language, read_catalogue


@cache
def catalogue(language: Language) -> Mapping[str, Mapping[str, Any]]:
    """The two tables of a language."""
    return read_catalogue(__name__, language)


def tell(document: object) -> None:
    """Print a document as one line."""
    sys.stdout.write(json.dumps(document, ensure_ascii=True) + "\n")
    sys.stdout.flush()


def refuse(code: str, detail: str) -> int:
    """Print a refusal with its words; the exit code."""
    words = {
        f"{part}_{name}": catalogue(name)["refusals"][code][part]
        for name in LANGUAGES
        for part in ("title", "advice")
    }
    tell({"refused": {"code": code, "detail": detail, **words}})
    return 1
