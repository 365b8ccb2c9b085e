"""What commands that ask an index share: where it is, whom to believe, what it covers."""

import functools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click

from tools.audit.index.build import open_index
from tools.audit.index.tables import Index
from tools.exits import InvalidInput, NotFound
from tools.mirror import copy_at, read_genesis
from tools.options import common, jobs_option, option
from tools.output import note, tell_time
from tools.words import say

Command = Callable[..., Any]
_DIGITS = re.compile(r"[0-9a-f]{6,64}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A copy of a log: a folder, or a URL that is mirrored for the one question."""

    where: str
    genesis: Path | None
    jobs: int

    @contextmanager
    def open(self, *, with_state: bool = True, anew: bool = False) -> Iterator[Index]:
        """Its index, made or extended first where it must be."""
        founding = read_genesis(self.genesis) if self.genesis else None
        if founding is None:
            note(say("audit.unpinned"))
        with (
            copy_at(self.where, founding) as directory,
            open_index(
                directory, genesis=founding, jobs=self.jobs, with_state=with_state, anew=anew
            ) as index,
        ):
            yield index


def source_options(function: Command) -> Command:
    """Argument and options that say where; the function gets a `Source`."""

    @functools.wraps(function)
    def wrapped(where: str, genesis: Path | None, jobs: int, **values: Any) -> Any:
        return function(source=Source(where=where, genesis=genesis, jobs=jobs), **values)

    decorated = jobs_option(common(wrapped))
    path = click.Path(path_type=Path, dir_okay=False)
    decorated = option("--genesis", type=path, help="option.genesis")(decorated)
    return cast(Command, click.argument("where")(decorated))


def cover_document(index: Index) -> dict[str, Any]:
    """Which checkpoint an answer stands on."""
    return {
        "network": index.covered.network.hex(),
        "entries": index.covered.size,
        "root": index.covered.root.hex(),
        "height": index.covered.height,
        "time_ms": index.covered.time_ms,
        "index": index.how,
    }


def cover_line(index: Index) -> str:
    """The same in words."""
    return say(
        "index.covers",
        entries=index.covered.size,
        height=index.covered.height,
        time=tell_time(index.covered.time_ms),
        root=index.covered.root.hex()[:16],
        how=say(f"index.{index.how}"),
    )


def find_exchange(index: Index, digits: str) -> bytes:
    """The digest of the one exchange that begins so. Raises `InvalidInput`, `NotFound`."""
    if not _DIGITS.match(digits):
        raise InvalidInput("exchange-digits", digits)
    bounds = tuple(bytes.fromhex(digits.ljust(64, pad)) for pad in "0f")
    asked = "SELECT digest FROM exchange WHERE digest BETWEEN ? AND ? LIMIT 2"
    found = [bytes(digest) for (digest,) in index.db.execute(asked, bounds)]
    if not found:
        raise NotFound("exchange-unknown", f"{digits}: {cover_line(index)}")
    if len(found) > 1:
        raise InvalidInput("exchange-ambiguous", digits)
    return found[0]
