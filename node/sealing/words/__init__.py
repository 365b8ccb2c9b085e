"""Words of the refusals of sealed payloads in zh and en: `zh.toml`, `en.toml`."""

from collections.abc import Mapping
from functools import cache

from contracts.words import Description, Language, read_catalogue
from node.sealing.errors import InvalidPayload


@cache
def catalogue(language: Language) -> Mapping[str, Mapping[str, str]]:
    """The catalogue of a language by code."""
    return read_catalogue(__name__, language)


def describe(error: InvalidPayload, language: Language) -> Description:
    """A refusal in words."""
    entry = catalogue(language)[error.code]
    return Description(
        code=error.code,
        title=entry["title"],
        detail=entry["detail"].format(**error.values),
        advice=entry["advice"],
    )
