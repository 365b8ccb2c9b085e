"""`tally export`: records of a verified copy in forms that other programs read."""

import os
from collections.abc import Collection, Iterator
from contextlib import nullcontext
from pathlib import Path

import click

from ledger.blocks import RECORDS
from ledger.errors import Divergence
from ledger.events import BODY_TYPES, Event, ShareOpening, parse_event
from ledger.export.cloudevents import cloud_event, encode_cloud_event
from ledger.genesis import Genesis
from ledger.verify import open_copy, read_blocks
from tools.exits import InvalidAnswer
from tools.mirror import copy_at, event_map, folder_reader, read_genesis
from tools.output import WordGroup, common, emit, note, option
from tools.words import say

KINDS = sorted({kind for kind, _ in BODY_TYPES})


@click.group(cls=WordGroup, help="help.export")
def command() -> None:
    """Group."""


@command.command("cloudevents", help="help.export_cloudevents")
@click.argument("where")
@option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="option.export_kind")
@option("--member", default="", help="option.export_member")
@option("--from-height", type=click.IntRange(1), default=1, help="option.export_from")
@option("--out", type=click.Path(path_type=Path, dir_okay=False), help="option.export_out")
@option("--genesis", type=click.Path(path_type=Path, dir_okay=False), help="option.genesis")
@option("--jobs", type=click.IntRange(1, 256), default=os.cpu_count() or 1, help="option.jobs")
@common
def cloudevents(
    where: str,
    kinds: tuple[str, ...],
    member: str,
    from_height: int,
    out: Path | None,
    genesis: Path | None,
    jobs: int,
    as_json: bool,
) -> None:
    """JSON Lines of CloudEvents."""
    founding = read_genesis(genesis) if genesis else None
    if founding is None:
        note(say("audit.unpinned"))
    count = 0
    with (
        copy_at(where, founding) as directory,
        nullcontext() if out is None else out.open("wb") as file,
    ):
        for line in read_cloud_events(
            directory, founding, kinds=kinds, member=member, from_height=from_height, jobs=jobs
        ):
            click.echo(line, file=file)
            count += 1
    if out is not None:
        emit(
            as_json,
            {"events": count, "file": str(out)},
            say("export.written", count=count, path=out),
        )


def read_cloud_events(
    directory: Path,
    genesis: Genesis | None,
    *,
    kinds: Collection[str],
    member: str,
    from_height: int,
    jobs: int,
) -> Iterator[bytes]:
    """Encoded CloudEvents of a copy, which is verified on the way. Raises `InvalidAnswer`."""
    parties: dict[bytes, frozenset[str]] = {}  # of exchanges
    try:
        with event_map(jobs) as map_events:
            copy = open_copy(folder_reader(directory), genesis=genesis)
            for block in read_blocks(copy, map_events):
                for index, data in enumerate(block.records, start=block.index + 1):
                    record = RECORDS.decode(data)
                    event = parse_event(record.event)
                    concerned = _concerned(event, parties)
                    if (
                        block.header.height < from_height
                        or (kinds and event.kind not in kinds)
                        or (member and member not in concerned)
                    ):
                        continue
                    yield encode_cloud_event(
                        cloud_event(
                            network=copy.network,
                            index=index,
                            height=block.header.height,
                            time_ms=block.header.time_ms,
                            event=event,
                            outcome=record.outcome,
                        )
                    )
    except Divergence as error:
        raise InvalidAnswer("replay-diverged", str(error)) from None


def _concerned(event: Event, parties: dict[bytes, frozenset[str]]) -> frozenset[str]:
    """Members that an event concerns: who signed it, and both parties of its exchange."""
    if isinstance(event.body, ShareOpening):
        other = getattr(event.body, "provider", "") or getattr(event.body, "recipient", "")
        parties[event.digest] = frozenset((event.member, other))
    return parties.get(event.exchange, frozenset()) | {event.member}
