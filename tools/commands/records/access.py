"""`tally audit access`: the access log of a node against a verified copy of the ledger."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ledger.access.anchors import AccessLogged
from ledger.access.lines import (
    Anchor,
    Comparison,
    LineFault,
    Place,
    compare,
    hash_line,
    parse_line,
)
from ledger.errors import Divergence, InvalidEncoding
from ledger.genesis import Genesis
from ledger.verify import open_copy, read_blocks
from tools.audit.divergence import diverged
from tools.exits import UNVERIFIED, InvalidInput
from tools.mirror import copy_at, event_map, folder_reader, read_genesis
from tools.options import WordCommand, common, jobs_option, option
from tools.output import emit, format_table, note, printable
from tools.words import say

KEPT_DAYS = 400
DAY_MS = 86_400_000


@click.command("access", cls=WordCommand, help="help.audit_access")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False, exists=True))
@option("--mirror", "where", required=True, help="option.access_mirror")
@option("--member", help="option.access_member")
@option("--days", type=click.IntRange(1, 36_500), default=KEPT_DAYS, help="option.access_days")
@option("--lines", "with_lines", is_flag=True, help="option.access_lines")
@option("--genesis", type=click.Path(path_type=Path, dir_okay=False), help="option.genesis")
@jobs_option
@common
def access(
    directory: Path,
    where: str,
    member: str | None,
    days: int,
    with_lines: bool,
    genesis: Path | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Compare the files of a node with what the ledger holds of them."""
    founding = read_genesis(genesis) if genesis else None
    if founding is None:
        note(say("audit.unpinned"))
    with copy_at(where, founding) as copy:
        of_member, time_ms = find_anchors(copy, genesis=founding, jobs=jobs)
    owner = member or _find_owner(directory, of_member)
    anchors = of_member.get(owner, [])
    found = compare(read_lines(directory), anchors, kept_since_ms=max(0, time_ms - days * DAY_MS))
    if not (found.lines or found.faults):
        raise InvalidInput("access-empty", str(directory))
    document: dict[str, Any] = {
        "member": owner,
        "lines": found.lines,
        "anchored": found.anchored,
        "not_kept": found.not_kept,
        "anchors": [_tell_anchor(anchor) for anchor in anchors],
        "faults": [asdict(fault) for fault in found.faults],
    }
    if with_lines and as_json:
        document["read"] = list(_whole_lines(directory))
    elif with_lines:
        click.echo(_show_lines(directory))
    emit(as_json, document, _tell(owner, anchors, found))
    if found.faults:
        click.get_current_context().exit(UNVERIFIED)


def read_lines(directory: Path) -> Iterator[tuple[Place, bytes]]:
    """Lines of all files in the order of their names, each with its place."""
    for path in sorted(directory.glob("*.jsonl")):
        with path.open("rb") as file:
            for number, data in enumerate(file, start=1):
                yield Place(file=path.name, line=number), data.removesuffix(b"\n")


def find_anchors(
    directory: Path, *, genesis: Genesis | None, jobs: int
) -> tuple[dict[str, list[Anchor]], int]:
    """Anchors of each member in a copy, which is verified, and the time of its last block."""
    found: dict[str, list[Anchor]] = defaultdict(list)
    time_ms = 0
    try:
        with event_map(jobs) as map_events:
            copy = open_copy(folder_reader(directory), genesis=genesis)
            for block in read_blocks(copy, map_events):
                time_ms = block.header.time_ms
                rows = zip(block.events, block.outcomes, strict=True)
                for index, (event, outcome) in enumerate(rows, start=block.index + 1):
                    if isinstance(event.body, AccessLogged) and outcome.applied:
                        found[event.member].append(Anchor(index=index, body=event.body))
    except Divergence as error:
        raise diverged(error) from None
    return found, time_ms


def _find_owner(directory: Path, of_member: dict[str, list[Anchor]]) -> str:
    """The member whose anchors stand for lines in the folder."""
    owners = {
        anchor.body.digest: member for member, anchors in of_member.items() for anchor in anchors
    }
    for _, data in read_lines(directory):
        if (owner := owners.get(hash_line(data))) is not None:
            return owner
    raise InvalidInput("access-owner-unknown", str(directory))


def _whole_lines(directory: Path) -> Iterator[dict[str, Any]]:
    for place, data in read_lines(directory):
        try:
            line = parse_line(data)
        except InvalidEncoding:
            continue  # named among the faults
        yield {
            "file": place.file, "line": place.line, "n": line.n, "at_ms": line.at_ms,
            "address": line.address, "agent": line.agent, "route": line.route,
            "ids": line.ids, "status": line.status,
        }  # fmt: skip


def _show_lines(directory: Path) -> str:
    columns = ("n", "time", "address", "agent", "route", "ids", "status")
    rows = [
        [
            str(line["n"]),
            _time(line["at_ms"]),
            line["address"],
            line["agent"],
            line["route"],
            " ".join(f"{name}={value}" for name, value in line["ids"].items()),
            str(line["status"]),
        ]
        for line in _whole_lines(directory)
    ]
    return printable(format_table([say(f"column.access_{name}") for name in columns], rows))


def _tell_anchor(anchor: Anchor) -> dict[str, object]:
    body = anchor.body
    return {
        "index": anchor.index,
        "period_from_ms": body.period_from_ms,
        "period_to_ms": body.period_to_ms,
        "entries": body.entries,
        "digest": body.digest.hex(),
    }


def _tell(owner: str, anchors: list[Anchor], found: Comparison) -> str:
    lines = [
        say(
            "access.anchor",
            index=anchor.index,
            start=_time(anchor.body.period_from_ms),
            end=_time(anchor.body.period_to_ms),
            entries=anchor.body.entries,
        )
        for anchor in anchors
    ]
    lines += [_tell_fault(fault) for fault in found.faults]
    # The lines of a log without an anchor may all have been written anew.
    proven = "access.equal" if anchors else "access.unanchored"
    key = "access.differs" if found.faults else proven
    counts = {"lines": found.lines, "anchored": found.anchored, "not_kept": found.not_kept}
    lines.append(say(key, member=owner, count=len(found.faults), **counts))
    return printable("\n".join(lines))


def _tell_fault(fault: LineFault) -> str:
    where = fault.detail
    if fault.place is not None:
        where = " ".join(filter(None, (f"{fault.place.file}:{fault.place.line}", where)))
    span = str(fault.first) if fault.first == fault.last else f"{fault.first} - {fault.last}"
    return say(f"access.{fault.code.replace('-', '_')}", span=span, where=where).rstrip()


def _time(time_ms: int) -> str:
    return f"{dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC):%Y-%m-%d %H:%M:%SZ}"
