"""Words of the findings in zh and en, behind their stable codes: `zh.toml`, `en.toml`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from contracts.words import Language, read_catalogue
from contracts.words.sentences import REASON, tell
from node.diagnosis.rules import Finding
from node.words import describe as describe_start
from node.words import tell_in_line


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
    if finding.refusal is not None:
        # It knows the very cause, and what to do about that one.
        told = describe_start(finding.refusal, language)
        detail = entry["detail"].format(reason=tell_in_line(told, language))
        return Words(title=entry["title"], detail=detail, advice=told.advice)
    values = dict(finding.values)
    if REASON in values:
        values[REASON] = tell(str(values[REASON]), language)
    return Words(
        title=entry["title"],
        detail=entry["detail"].format(**values),
        advice=entry["advice"].format(**values),
    )
