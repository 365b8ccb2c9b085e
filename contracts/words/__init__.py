"""Texts for people, in zh and en, behind stable codes: titles, details and what to do.

The catalogues are TOML with equal keys, checked by a test. Values fill `{name}` places; a place
without a value stays as it is, and values are never read as templates themselves.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")

_PLACE = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """An error in words: what it is called, what was found, what to do."""

    code: str
    title: str
    detail: str
    advice: str


@cache
def catalogue(language: Language) -> Mapping[str, Any]:
    """The parsed catalogue of a language."""
    return read_catalogue(__name__, language)


def read_catalogue(package: str, language: Language) -> dict[str, Any]:
    """The catalogue of a language beside the code of a package: `zh.toml`, `en.toml`."""
    return tomllib.loads(files(package).joinpath(f"{language}.toml").read_text("utf-8"))


def describe(code: str, language: Language, **values: str) -> Description:
    """An error code in words. A code that is not in the catalogue is shown as itself."""
    entries = catalogue(language)["codes"]
    entry = entries.get(code) or entries["unknown"]
    filled = {"code": code, "detail": "", **values}
    return Description(
        code=code,
        title=_fill(entry["title"], filled),
        detail=_fill(entry["detail"], filled),
        advice=_fill(entry["advice"], filled),
    )


def phrase(key: str, language: Language, **values: str) -> str:
    """A sentence of an explanation."""
    return _fill(catalogue(language)["phrases"][key], values)


def decision_word(verdict: str, language: Language) -> str:
    """Word for permit, review or deny."""
    return str(catalogue(language)["decisions"][verdict])


def status_word(status: str, language: Language) -> str:
    """Word for the state of an exchange."""
    return str(catalogue(language)["statuses"][status])


def kind_word(kind: str, language: Language) -> str:
    """Word for an event kind."""
    return str(catalogue(language)["kinds"][kind])


def proposal_word(status: str, language: Language) -> str:
    """Word for the state of a proposal."""
    return str(catalogue(language)["proposals"][status])


def role_word(role: str, language: Language) -> str:
    """Word for an officer's role."""
    return str(catalogue(language)["roles"][role])


def _fill(template: str, values: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda match: values.get(match[1], match[0]), template)
