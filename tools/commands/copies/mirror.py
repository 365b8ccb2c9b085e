"""`tally audit mirror`: a verified copy of a log, from one source or several, once or followed."""

import asyncio
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import msgspec

from ledger.genesis import Genesis
from tools.audit.prune import Done, Upkeep
from tools.commands.copies.archive import DAYS, FOLDER, tell_pruning
from tools.exits import InvalidUsage
from tools.mirror import Mirror, mirror_shown, read_genesis
from tools.options import WordCommand, common, option
from tools.output import emit, note, run_until_stopped
from tools.words import say


@click.command("mirror", cls=WordCommand, help="help.audit_mirror")
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@option("--follow", is_flag=True, help="option.follow")
@option("--archive", type=FOLDER, help="option.mirror_archive")
@option("--keep-days", type=DAYS, help="option.keep_days")
@option("--genesis", type=click.Path(path_type=Path, dir_okay=False), help="option.genesis")
@common
def mirror(
    urls: tuple[str, ...],
    directory: Path,
    follow: bool,
    archive: Path | None,
    keep_days: int | None,
    genesis: Path | None,
    as_json: bool,
) -> None:
    """Download and verify a log."""
    if keep_days is not None and archive is None:
        raise InvalidUsage("usage-invalid", say("audit.keep_days_alone"))
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise InvalidUsage("usage-invalid", say("audit.no_url", url=url))
    founding = read_genesis(genesis) if genesis else None
    upkeep = None if archive is None else Upkeep(directory, archive, keep_days, founding)
    if follow:
        run_until_stopped(_follow(urls, directory, founding, upkeep, as_json))
        return
    copy = mirror_shown(urls[0], directory, founding, urls[1:])
    _tell_unpinned(copy, founding)
    if upkeep is not None:
        _tell(directory, upkeep.look(copy.checkpoint.size))
    emit(as_json, _document(copy), _text(copy))


async def _follow(
    urls: tuple[str, ...],
    directory: Path,
    genesis: Genesis | None,
    upkeep: Upkeep | None,
    as_json: bool,
) -> None:
    from tools.mirror.folder import no_progress
    from tools.mirror.update import open_mirroring

    async def show(copy: Mirror) -> None:
        line = msgspec.json.encode(_document(copy)) if as_json else _text(copy)
        click.echo(line)
        if upkeep is not None:
            _tell(directory, await asyncio.to_thread(upkeep.look, copy.checkpoint.size))

    async with open_mirroring(urls, directory, genesis) as (mirroring, live):
        copy = await mirroring.update(no_progress)
        _tell_unpinned(copy, genesis)
        await show(copy)
        async with aclosing(mirroring.follow(copy, live)) as copies:
            async for copy in copies:
                await show(copy)


def _tell_unpinned(copy: Mirror, genesis: Genesis | None) -> None:
    """Say whom the copy believes, where nobody said whom to believe."""
    if genesis is None:
        note(say("audit.mirror_unpinned", network=copy.network.hex()))


def _tell(directory: Path, done: Done | None) -> None:
    """Say beside the answer what was archived and pruned, if anything was."""
    if done is None:
        return
    if done.archived.written:
        note(say("audit.archived", archive=done.archive, **asdict(done.archived)))
    if done.pruning is not None and done.pruning.gone:
        note(tell_pruning(directory, done.pruning))


def _text(copy: Mirror) -> str:
    return say(
        "audit.mirrored",
        directory=copy.directory,
        entries=copy.checkpoint.size,
        downloaded=copy.downloaded,
        kept=copy.kept,
    )


def _document(copy: Mirror) -> dict[str, Any]:
    return {
        "directory": str(copy.directory),
        "network": copy.network.hex(),
        "entries": copy.checkpoint.size,
        "root": copy.checkpoint.root.hex(),
        "downloaded": copy.downloaded,
        "kept": copy.kept,
    }
