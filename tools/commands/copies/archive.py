"""`tally audit archive` and `tally audit restore`: full segments in files, and back."""

from dataclasses import asdict
from pathlib import Path

import click

from tools.audit.archive import archive_mirror, restore_archive
from tools.mirror import read_genesis
from tools.output import Bar, WordCommand, common, emit, option
from tools.words import say

_FOLDER = click.Path(path_type=Path, file_okay=False)
_GENESIS = option(
    "--genesis", type=click.Path(path_type=Path, dir_okay=False), help="option.genesis"
)


@click.command("archive", cls=WordCommand, help="help.audit_archive")
@click.argument("directory", type=_FOLDER)
@click.argument("archive", metavar="ARCHIVE", type=_FOLDER)
@option("--prune", is_flag=True, help="option.prune")
@option("--keep", type=click.IntRange(0), default=0, show_default=True, help="option.keep_entries")
@_GENESIS
@common
def archive(
    directory: Path, archive: Path, prune: bool, keep: int, genesis: Path | None, as_json: bool
) -> None:
    """Archive what is new in a mirror."""
    bar = Bar(say("audit.archiving"))
    try:
        done = archive_mirror(
            directory,
            archive,
            genesis=read_genesis(genesis) if genesis else None,
            keep_entries=keep if prune else None,
            on_progress=bar,
        )
    finally:
        bar.close()
    document = {"archive": str(archive), **asdict(done)}
    emit(as_json, document, say("audit.archived", **document))


@click.command("restore", cls=WordCommand, help="help.audit_restore")
@click.argument("archive", metavar="ARCHIVE", type=_FOLDER)
@click.argument("directory", type=_FOLDER)
@_GENESIS
@common
def restore(archive: Path, directory: Path, genesis: Path | None, as_json: bool) -> None:
    """Put archived entries back."""
    bar = Bar(say("audit.restoring"))
    try:
        done = restore_archive(
            archive,
            directory,
            genesis=read_genesis(genesis) if genesis else None,
            on_progress=bar,
        )
    finally:
        bar.close()
    document = {"directory": str(directory), **asdict(done)}
    emit(as_json, document, say("audit.restored", **document))
