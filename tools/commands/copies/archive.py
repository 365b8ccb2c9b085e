"""`tally audit archive`, `prune` and `restore`: full segments in files, out of a mirror, back."""

from dataclasses import asdict
from pathlib import Path

import click

from tools.audit.archive import archive_mirror, restore_archive
from tools.audit.period import make_period
from tools.audit.prune import Cut, Pruning, prune_mirror
from tools.exits import InvalidUsage
from tools.mirror import read_genesis
from tools.mirror.pruned import SEGMENT_ENTRIES, segment_name
from tools.options import WordCommand, common, option
from tools.output import emit, format_table, progress
from tools.words import say

HEIGHT_DIGITS_MAX = 18
DAYS = click.IntRange(0, 1_000_000)
FOLDER = click.Path(path_type=Path, file_okay=False)
_GENESIS = option(
    "--genesis", type=click.Path(path_type=Path, dir_okay=False), help="option.genesis"
)


@click.command("archive", cls=WordCommand, help="help.audit_archive")
@click.argument("directory", type=FOLDER)
@click.argument("archive", metavar="ARCHIVE", type=FOLDER)
@_GENESIS
@common
def archive(directory: Path, archive: Path, genesis: Path | None, as_json: bool) -> None:
    """Archive what is new in a mirror."""
    with progress("audit.archiving") as bar:
        done = archive_mirror(
            directory,
            archive,
            genesis=read_genesis(genesis) if genesis else None,
            on_progress=bar,
        )
    document = {"archive": str(archive), **asdict(done)}
    name = "audit.archived" if done.segments else "audit.archived_none"
    emit(as_json, document, say(name, **document, segment=f"{SEGMENT_ENTRIES:,}"))


@click.command("prune", cls=WordCommand, help="help.audit_prune")
@click.argument("directory", type=FOLDER)
@option("--archive", type=FOLDER, required=True, help="option.prune_archive")
@option("--older-than", "days", type=DAYS, metavar="DAYS", help="option.older_than")
@option("--before", metavar="DATE|HEIGHT", help="option.before")
@option("--keep", type=click.IntRange(0), help="option.keep_entries")
@option("--dry-run", is_flag=True, help="option.prune_dry_run")
@_GENESIS
@common
def prune(
    directory: Path,
    archive: Path,
    days: int | None,
    before: str | None,
    keep: int | None,
    dry_run: bool,
    genesis: Path | None,
    as_json: bool,
) -> None:
    """Remove archived entries from a mirror."""
    cut = _read_cut(days, before, keep)
    with progress("audit.pruning") as bar:
        done = prune_mirror(
            directory,
            archive,
            cut,
            genesis=read_genesis(genesis) if genesis else None,
            dry_run=dry_run,
            on_progress=bar,
        )
    document = {"directory": str(directory), "dry_run": dry_run, **asdict(done)}
    emit(as_json, document, tell_pruning(directory, done, dry_run=dry_run))


def _read_cut(days: int | None, before: str | None, keep: int | None) -> Cut:
    if [days, before, keep].count(None) != 2:
        raise InvalidUsage("usage-invalid", say("audit.one_cut"))
    if before is None:
        return Cut(days=days, keep=keep)
    if before.isascii() and before.isdigit() and len(before) <= HEIGHT_DIGITS_MAX:
        return Cut(height=int(before))
    return Cut(time_ms=make_period(before, None).start_ms)


def tell_pruning(directory: Path, done: Pruning, *, dry_run: bool = False) -> str:
    """What a run of pruning did."""
    lines = []
    if done.gone:
        head = [say(f"column.{name}") for name in ("entries", "bytes", "file", "sha256")]
        rows = [
            [f"{each.first}-{each.last}", f"{each.size_bytes:,}", each.file, each.sha256]
            for each in done.gone
        ]
        lines.append(format_table(head, rows))
    word = "audit.would_prune" if dry_run else "audit.pruned"
    lines.append(say(word, directory=directory, **_count(done)))
    if done.unarchived:
        lines.append(say("audit.unarchived", segments=done.unarchived))
    if done.pruned_entries:
        name = "audit.replay_from" if done.from_height else "audit.no_state"
        lines.append(say(name, height=done.from_height, entries=done.pruned_entries))
    return "\n".join(lines)


def _count(done: Pruning) -> dict[str, str]:
    return {
        "segments": f"{len(done.gone):,}",
        "freed": f"{done.freed_bytes:,}",
        "pruned": str(done.pruned_entries),
        "entries": str(done.entries),
    }


@click.command("restore", cls=WordCommand, help="help.audit_restore")
@click.argument("archive", metavar="ARCHIVE", type=FOLDER)
@click.argument("directory", type=FOLDER)
@_GENESIS
@common
def restore(archive: Path, directory: Path, genesis: Path | None, as_json: bool) -> None:
    """Put archived entries back."""
    with progress("audit.restoring") as bar:
        done = restore_archive(
            archive,
            directory,
            genesis=read_genesis(genesis) if genesis else None,
            on_progress=bar,
        )
    document = {"directory": str(directory), **asdict(done)}
    lines = [say("audit.restored", **document)]
    if done.missing:
        file = segment_name(done.missing[0])
        lines.append(say("audit.still_missing", count=len(done.missing), file=file))
    emit(as_json, document, "\n".join(lines))
