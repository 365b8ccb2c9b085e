"""What is frozen, told wherever work may be held up by it."""

from collections.abc import Iterable

from tools.governance.answers import FreezeLine, Status, parse
from tools.output import printable
from tools.words import say


def read_freezes(status: object) -> tuple[FreezeLine, ...]:
    """The freezes that a node's status names. Raises `InvalidAnswer`."""
    return parse(status, Status).freezes


def holding(
    freezes: Iterable[FreezeLine], requester: str, provider: str, dataset: str
) -> tuple[FreezeLine, ...]:
    """Those that hold up what `requester` has or wants of `provider`; an empty text is any."""
    act = (requester, provider, dataset)
    return tuple(
        each
        for each in freezes
        if all(
            scope in ("", name)
            for scope, name in zip((each.requester, each.provider, each.dataset), act, strict=True)
        )
    )


def tell_freezes(freezes: Iterable[FreezeLine]) -> list[str]:
    """A line for each."""
    return [
        say(
            "governance.frozen",
            requester=printable(each.requester) or "*",
            provider=printable(each.provider) or "*",
            dataset=printable(each.dataset) or "*",
            reason=printable(each.reason),
        )
        for each in freezes
    ]
