"""Why a change is not possible."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A stable code (`contracts.words`) and what was found."""

    code: str
    detail: str
