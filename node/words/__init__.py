"""Why a node or gateway does not start, in zh and en behind stable codes: `zh.toml`, `en.toml`.

`[starts]` has title, detail and advice for every code of `StartRefused`, and those of a program
that ends before or beside it. `[faults]` has a sentence for every code of a `ConfigFault`. What the
system or another part says has no code: `contracts.words.sentences` tells it.
"""

import errno
import json
import os
import ssl
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from contracts.words import Description, Language, read_catalogue
from contracts.words.sentences import tell as tell_sentence
from node.errors import ConfigFault, InvalidConfig, StartRefused, Value

EXIT_FAILED = 1
CONFIG_INVALID = "start-config-invalid"
_COLON: Mapping[Language, str] = {"zh": "：", "en": ": "}
_SEMICOLON: Mapping[Language, str] = {"zh": "；", "en": "; "}

Refusal = StartRefused | InvalidConfig


@cache
def catalogue(language: Language) -> Mapping[str, Mapping[str, Any]]:
    """The tables of a language."""
    return read_catalogue(__name__, language)


def describe(error: Refusal, language: Language) -> Description:
    """Why there was no start, in words; each fault of a configuration has a line of its own."""
    if isinstance(error, InvalidConfig):
        faults = "".join(f"\n  {tell_fault(fault, language)}" for fault in error.faults)
        error = StartRefused(CONFIG_INVALID, path=error.path, faults=faults)
    entry = catalogue(language)["starts"][error.code]
    values = _shown(error.values, language)
    return Description(
        code=error.code,
        title=entry["title"],
        detail=entry["detail"].format(**values),
        advice=entry["advice"].format(**values),
    )


def tell_fault(fault: ConfigFault, language: Language) -> str:
    """A fault in a sentence, after its line and setting."""
    table = catalogue(language)
    said = table["faults"][fault.code].format(**_shown(fault.values, language))
    line = table["places"]["line"].format(line=fault.line) if fault.line else ""
    return _COLON[language].join(filter(None, (line, fault.setting, said)))


def _shown(values: Mapping[str, Value], language: Language) -> dict[str, str]:
    return {name: _show(value, language) for name, value in values.items()}


def _show(value: Value, language: Language) -> str:
    if not isinstance(value, Exception):
        return str(value)
    said = str(value)
    if isinstance(value, OSError):
        said = value.strerror or said
        # Errors of TLS have numbers of their own.
        if value.errno and value.errno in errno.errorcode and not isinstance(value, ssl.SSLError):
            # Libraries put words of their own before those of the system.
            said = os.strerror(value.errno)
    return tell_sentence(said, language)


def tell_cause(told: Description, language: Language) -> str:
    """Title, detail and code: a detail of more lines goes on below."""
    first, *more = told.detail.split("\n")
    said = _COLON[language].join(filter(None, (told.title, first)))
    return "\n".join([f"{said} [{told.code}]", *more])


def tell_in_line(told: Description, language: Language) -> str:
    """The same in one line."""
    lines = tell_cause(told, language).split("\n")
    return _SEMICOLON[language].join(map(str.strip, lines))


def refuse(program: str, error: Refusal, language: Language) -> int:
    """Say on the terminal why `program` does not start and what to do; the exit code."""
    return tell(program, describe(error, language), language)


def tell(program: str, told: Description, language: Language) -> int:
    """Say on the terminal why `program` ends and what to do; the exit code."""
    sys.stderr.write(f"{program}: {tell_cause(told, language)}\n{told.advice}\n")
    return EXIT_FAILED


def refuse_as_json(error: Refusal, language: Language) -> int:
    """Print a refusal as one JSON document, for the program that asked; the exit code."""
    told = describe(error, language)
    document: dict[str, Any] = {
        "code": told.code,
        "title": told.title,
        "detail": told.detail,
        "advice": told.advice,
    }
    if isinstance(error, InvalidConfig):
        document["faults"] = [
            {"code": fault.code, "line": fault.line, "setting": fault.setting}
            for fault in error.faults
        ]
    sys.stdout.write(json.dumps({"refused": document}) + "\n")
    return EXIT_FAILED
