"""Words of the refusals of sealed payloads in zh and en: `zh.toml`, `en.toml`."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from contracts.words import Description, Language
from node.sealing.errors import InvalidPayload


@cache
def catalogue(language: Language) -> Mapping[str, Mapping[str, str]]:
    """The catalogue of a language by code."""
    return tomllib.loads((files(__name__) / f"{language}.toml").read_text("utf-8"))


def describe(error: InvalidPayload, language: Language) -> Description:
    """A refusal in words."""
    entry = catalogue(language)[error.code]
    return Description(
        code=error.code,
        title=entry["title"],
        detail=entry["detail"].format(**error.values),
        advice=entry["advice"],
    )
