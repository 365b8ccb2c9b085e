"""A divergence of a log: as a value of files, in words, and as the error of a command."""

from typing import Annotated

import msgspec
from msgspec import Meta

from ledger.codec import Value
from ledger.errors import Divergence
from ledger.verify import Step
from tools.exits import InvalidAnswer
from tools.words import say, tell_detail

DIVERGED = "replay-diverged"
Found = Annotated[str, Meta(max_length=65_536)]


class Fault(Value, frozen=True, kw_only=True):
    """The first divergence of a log or a part of it; entry -1: no single entry."""

    step: Annotated[int, Meta(ge=1, le=99)]
    name: Annotated[str, Meta(max_length=64)]
    entry: Annotated[int, Meta(ge=-1)]
    expected: Found
    found: Found


def describe_fault(error: Divergence) -> Fault:
    """A divergence as a value."""
    return Fault(
        step=error.step,
        name=error.step_name,
        entry=error.index,
        expected=error.expected,
        found=error.found,
    )


def tell_fault(fault: Fault) -> str:
    """Step, entry, what was expected and what was found, in the chosen language."""
    # A signed result of a newer program may name a step that this one does not know.
    is_known = fault.name.upper() in Step.__members__
    place = say("divergence.entry", entry=fault.entry) if fault.entry >= 0 else ""
    return say(
        "divergence.text",
        step=fault.step,
        name=say(f"divergence.{fault.name}") if is_known else fault.name,
        place=place,
        expected=tell_detail(DIVERGED, fault.expected),
        found=tell_detail(DIVERGED, fault.found),
    )


def diverged(fault: Divergence | Fault) -> InvalidAnswer:
    """The error of a command that came upon it."""
    if isinstance(fault, Divergence):
        fault = describe_fault(fault)
    facts = {"divergence": msgspec.to_builtins(fault)}
    return InvalidAnswer(DIVERGED, tell_fault(fault), facts=facts)
