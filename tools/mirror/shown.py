"""Mirrors as commands make them: with a progress bar, or into a folder for the while."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ledger.genesis import Genesis
from tools.mirror.folder import Mirror, OnProgress
from tools.output import progress, run


async def mirror_log(
    url: str,
    directory: Path,
    *,
    others: Sequence[str] = (),
    genesis: Genesis | None,
    on_progress: OnProgress,
) -> Mirror:
    """Download the log behind the newest checkpoint of a node; from `others` too, if named."""
    # A folder is read without what downloads, which takes 0.1 s to load.
    from tools.mirror.update import mirror_from

    return await mirror_from((url, *others), directory, genesis=genesis, on_progress=on_progress)


def mirror_shown(
    url: str, directory: Path, genesis: Genesis | None, others: Sequence[str] = ()
) -> Mirror:
    """Mirror with a progress bar."""
    with progress("audit.downloading") as bar:
        return run(mirror_log(url, directory, others=others, genesis=genesis, on_progress=bar))


@contextmanager
def copy_at(where: str, genesis: Genesis | None) -> Iterator[Path]:
    """A folder with a copy, or one that is mirrored from a URL and removed afterwards."""
    if not where.startswith(("http://", "https://")):
        yield Path(where)
        return
    with tempfile.TemporaryDirectory(prefix="tally-") as folder:
        mirror_shown(where, Path(folder), genesis)
        yield Path(folder)
