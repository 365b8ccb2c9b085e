"""Why a change is not possible, and when a possible one takes effect."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A stable code (`contracts.words`) and what was found."""

    code: str
    detail: str


def find_version_faults(name: str, version: int, following: int) -> list[Fault]:
    """The versions of a thing follow each other without a gap."""
    if version == following:
        return []
    detail = f"{name}: version {version}, the next one is {following}"
    return [Fault(code="version-invalid", detail=detail)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A carried proposal takes effect with the block at `height`, at the time of the one before."""

    proposal: bytes
    height: int
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a change may depend on besides the state. A dry run has no moment."""

    network: bytes
    moment: Moment | None
