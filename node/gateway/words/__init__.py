"""Words of the faults of the gateway itself in zh and en, and those of the parts that it runs.

A fault comes from the gateway, from a connector or receiver, the records pipeline, messages of the
reporting standard, sealing, or the ledger's rules. Each of these has a catalogue of its own; a code
stands in one of them.
"""

from collections.abc import Mapping
from functools import cache

from contracts.words import Description, Language, read_catalogue
from contracts.words import catalogue as rules
from contracts.words.sentences import tell
from node.api.problems import HTTP_CODES, Problem, problem_body
from node.connectors.words import catalogue as connectors
from node.crs.words import catalogue as messages
from node.records.words import catalogue as records
from node.sealing.words import catalogue as sealing


@cache
def catalogue(language: Language) -> Mapping[str, Mapping[str, str]]:
    """The gateway's own catalogue of a language by code."""
    return read_catalogue(__name__, language)


def describe(code: str, detail: str, language: Language) -> Description:
    """A fault in words; the code of a plug-in's own is shown as it is."""
    detail = tell(detail, language, code)
    for entries in (
        catalogue(language),
        connectors(language),
        records(language)["refusals"],
        messages(language)["refusals"],
        sealing(language),
    ):
        if (entry := entries.get(code)) is not None:
            return Description(
                code=code, title=entry["title"], detail=detail, advice=entry["advice"]
            )
    if code in HTTP_CODES or code in rules(language)["codes"]:
        body = problem_body(Problem(code), language=language, instance="")
        return Description(code=code, title=body.title, detail=detail, advice=body.advice)
    advice = connectors(language)["plugin-failed"]["advice"]
    return Description(code=code, title=code, detail=detail, advice=advice)
