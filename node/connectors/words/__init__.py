"""Words of the refusals of connectors and receivers in zh and en: `zh.toml`, `en.toml`."""

from collections.abc import Mapping
from functools import cache

from contracts.words import Description, Language, read_catalogue
from contracts.words.sentences import tell
from node.connectors.errors import ConnectorsError


@cache
def catalogue(language: Language) -> Mapping[str, Mapping[str, str]]:
    """The catalogue of a language by code."""
    return read_catalogue(__name__, language)


def describe(error: ConnectorsError, language: Language) -> Description:
    """A refusal in words; the code of a plug-in's own is shown as it is."""
    entries = catalogue(language)
    entry = entries.get(error.code) or {**entries["plugin-failed"], "title": error.code}
    detail = tell(error.detail, language, error.code)
    return Description(code=error.code, title=entry["title"], detail=detail, advice=entry["advice"])
