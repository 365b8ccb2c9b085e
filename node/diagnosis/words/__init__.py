"""Words of the findings in zh and en, behind their stable codes: `zh.toml`, `en.toml`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from contracts.words import Language, read_catalogue
from node.diagnosis.rules import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a finding is called, what was seen, what to do."""

    title: str
    detail: str
    advice: str


@cache
def catalogue(language: Language) -> Mapping[str, Mapping[str, str]]:
    """The catalogue of a language by code."""
    return read_catalogue(__name__, language)


def describe(finding: Finding, language: Language) -> Words:
    """A finding in words."""
    entry = catalogue(language)[finding.code]
    return Words(
        title=entry["title"],
        detail=entry["detail"].format(**finding.values),
        advice=entry["advice"].format(**finding.values),
    )
