"""`tally audit mirror`: a verified copy of a log, from one source or several, once or followed."""

from contextlib import aclosing
from pathlib import Path
from typing import Any

import click
import msgspec

from ledger.genesis import Genesis
from tools.mirror import Mirror, mirror_shown, read_genesis
from tools.output import WordCommand, common, emit, option, run_until_stopped
from tools.words import say


@click.command("mirror", cls=WordCommand, help="help.audit_mirror")
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@option("--follow", is_flag=True, help="option.follow")
@option("--genesis", type=click.Path(path_type=Path, dir_okay=False), help="option.genesis")
@common
def mirror(
    urls: tuple[str, ...], directory: Path, follow: bool, genesis: Path | None, as_json: bool
) -> None:
    """Download and verify a log."""
    founding = read_genesis(genesis) if genesis else None
    if not follow:
        _show(mirror_shown(urls[0], directory, founding, urls[1:]), as_json)
        return
    run_until_stopped(_follow(urls, directory, founding, as_json))


async def _follow(
    urls: tuple[str, ...], directory: Path, genesis: Genesis | None, as_json: bool
) -> None:
    from tools.mirror.folder import no_progress
    from tools.mirror.update import open_mirroring

    async with open_mirroring(urls, directory, genesis) as (mirroring, live):
        copy = await mirroring.update(no_progress)
        _show_line(copy, as_json)
        async with aclosing(mirroring.follow(copy, live)) as copies:
            async for copy in copies:
                _show_line(copy, as_json)


def _show(copy: Mirror, as_json: bool) -> None:
    emit(as_json, _document(copy), _text(copy))


def _show_line(copy: Mirror, as_json: bool) -> None:
    """One object or sentence a line."""
    line = msgspec.json.encode(_document(copy)) if as_json else _text(copy)
    click.echo(line)


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
