"""What was pruned from a mirror: `DIR/pruned.json`, and in which archive files it is.

A segment is what one hash tile of level 1 covers; an archive (`tools.audit.archive`) has a file for
each. The record is written before the first entry is removed, so what is missing is always told.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from ledger.codec import Value
from ledger.storage import sync_folder, write_file
from ledger.tlog.tiles import ENTRIES_LEVEL, TILE_WIDTH, TilePath
from tools.exits import InvalidInput

SEGMENT_TILES = 256
SEGMENT_ENTRIES = SEGMENT_TILES * TILE_WIDTH
SEGMENTS_MAX = 1_000_000
PRUNED = "pruned.json"

_Sha256 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class Pruned(Value, frozen=True, kw_only=True):
    """Of the first segments of a log the entries may be in the archive only.

    `files` has the SHA-256 of the archive file of each, `root` is that of the log at their end.
    """

    version: Literal[2] = 2
    entries: int = 0
    root: str = ""
    files: Annotated[tuple[_Sha256, ...], msgspec.Meta(max_length=SEGMENTS_MAX)] = ()


def segment_name(number: int) -> str:
    """Name of the archive file of a segment."""
    return f"{number:06d}.tar"


def bundle_names(number: int) -> list[str]:
    """Names of the tiles of entries of a segment."""
    first = number * SEGMENT_TILES
    tiles = range(first, first + SEGMENT_TILES)
    return [TilePath(level=ENTRIES_LEVEL, index=index).format() for index in tiles]


def read_pruned(directory: Path) -> Pruned:
    """What was pruned from a mirror. Raises `InvalidInput`."""
    path = directory / PRUNED
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Pruned()
    except OSError as error:
        raise InvalidInput("file-unreadable", f"{path}: {error.strerror}") from None
    return decode_pruned(data, str(path))


def decode_pruned(data: bytes, where: str) -> Pruned:
    """What a record says. Raises `InvalidInput`."""
    try:
        pruned = msgspec.json.decode(data, type=Pruned)
    except msgspec.DecodeError as error:
        raise InvalidInput("pruned-malformed", f"{where}: {error}") from None
    if pruned.entries != len(pruned.files) * SEGMENT_ENTRIES:
        text = f"{where}: {pruned.entries} entries in {len(pruned.files)} files"
        raise InvalidInput("pruned-malformed", text)
    return pruned


def write_pruned(directory: Path, pruned: Pruned) -> None:
    """Say what was pruned, durably; no file says nothing."""
    if pruned.files:
        write_file(directory / PRUNED, msgspec.json.encode(pruned) + b"\n")
    else:
        (directory / PRUNED).unlink(missing_ok=True)
        sync_folder(directory)


def refuse_archived(where: str, name: str, pruned: Pruned) -> None:
    """Raise `InvalidInput` for a missing file whose entries are in an archive."""
    if not name.startswith("tile/entries/"):
        return
    number = TilePath.parse(name).index // SEGMENT_TILES
    if number >= len(pruned.files):
        return
    file, sha256 = segment_name(number), pruned.files[number]
    raise InvalidInput(
        "entries-archived",
        f"{where}/{name}: {file}, sha256 {sha256}",
        facts={"file": file, "sha256": sha256, "pruned_entries": pruned.entries},
    )
