"""Archives: full segments of a mirror in files that name each other by hash.

    ARCHIVE/000000.tar   entries 0 to 65,535
    ARCHIVE/000001.tar   the next 65,536, and so on
    ARCHIVE/head.tar     the rest of the mirror when it was archived last: genesis, checkpoint,
                         epochs, the tiles behind the last segment and the hash tiles above

A segment is what one hash tile of level 1 covers, so the tile above it proves it. Its file is a tar
(POSIX ustar) with `segment.json` (a `Segment`) first and then its 256 tiles of entries, in order:
mode 0644, owner 0, time 0, nothing else. Hash tiles are left out, they follow from the entries. So
its bytes depend on nothing but the log: all who archive it have the same files, and the SHA-256 of
the last one stands for all. It names the head of the log at its end; the signed checkpoint that
proves it is in `head.tar`, the only file that is replaced.

Archived entries may be pruned from the mirror (`tools.audit.prune`), and be put back from here.
"""

import hashlib
import io
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, cast

import msgspec

from ledger.codec import Value
from ledger.copies.tree import ProvenTree, Read, read_bundles
from ledger.errors import Divergence, InvalidEncoding, LedgerError
from ledger.genesis import Genesis
from ledger.quorum.epochs import epoch_path
from ledger.quorum.founding import decode_signatures, verify_founders
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import Hash, hash_leaves, root_of
from ledger.tlog.tiles import (
    ENTRIES_LEVEL,
    TILE_WIDTH,
    TilePath,
    decode_entries,
    encode_entries,
    tile_paths,
)
from ledger.verify import LogCopy, open_copy
from tools.audit.divergence import diverged
from tools.exits import InvalidAnswer, InvalidInput
from tools.mirror.folder import (
    FILE_BYTES_MAX,
    OnProgress,
    drop_drafts,
    folder_reader,
    new_file,
    write_file,
)
from tools.mirror.pruned import (
    SEGMENT_ENTRIES,
    SEGMENT_TILES,
    Pruned,
    bundle_names,
    read_pruned,
    segment_name,
    write_pruned,
)

HEAD = "head.tar"

_SEGMENT_NAME = "segment.json"
_EPOCH = re.compile(r"epochs/(0|[1-9][0-9]{0,5})")
_PLAIN_NAMES = ("genesis.json", "genesis.signatures.json", "checkpoint")


class Segment(Value, frozen=True, kw_only=True):
    """What stands in `segment.json`: `checkpoint` is the text of the head at its end, unsigned.

    `previous` is the SHA-256 of the file before, empty in the first.
    """

    version: Literal[1]
    network: str
    segment: int
    entries: int
    previous: str
    checkpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What an archive holds after a run, and what the run did."""

    segments: int
    written: int
    entries: int
    last: str


def archive_mirror(
    directory: Path, archive: Path, *, genesis: Genesis | None, on_progress: OnProgress
) -> Archived:
    """Archive what is new in a mirror.

    1. The mirror: its checkpoint by its epoch, hash tiles by the checkpoint. 2. The archive is of
    the same log. 3. Each new segment, its entries proven. 4. The head.

    Raises `InvalidAnswer`, `InvalidInput`.
    """
    copy, tree = open_proven(folder_reader(directory), genesis)  # 1
    count = copy.checkpoint.size // SEGMENT_ENTRIES
    archive.mkdir(parents=True, exist_ok=True)
    drop_drafts(archive.glob(".*"))
    pruned = read_pruned(directory)
    held = _count_segments(archive, pruned)
    last = _hash_held(archive, held, pruned, copy, tree)  # 2
    for number in range(held, count):  # 3
        last = _write_segment(archive, describe_segment(copy, tree, number, last), tree)
        on_progress(number + 1, count)
    _write_head(directory, archive, copy)  # 4
    return Archived(segments=count, written=count - held, entries=copy.checkpoint.size, last=last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a mirror holds after entries were put back; `missing`: of which segments not."""

    segments: int
    entries: int
    last: str
    missing: tuple[int, ...]


def restore_archive(
    archive: Path, directory: Path, *, genesis: Genesis | None, on_progress: OnProgress
) -> Restored:
    """Put archived entries back into a mirror, or make one out of the archive alone.

    1. Without a checkpoint in the folder, the head: its files, verified as a copy is. 2. Each
    segment that is there by the tree of the mirror and by the hash of the file before; then its
    entries. 3. What stays away must be what was pruned.

    Raises `InvalidAnswer`, `InvalidInput`.
    """
    if not archive.is_dir():
        raise InvalidInput("folder-not-found", str(archive))
    if not (directory / "checkpoint").exists():
        _restore_head(archive, directory, genesis)  # 1
    copy, tree = open_proven(_plain_reader(directory), genesis)
    pruned = _read_undamaged(directory)
    full = range(copy.checkpoint.size // SEGMENT_ENTRIES)
    there = [number for number in full if segment_path(archive, number).exists()]
    hashes: dict[int, str] = dict(enumerate(pruned.files))
    for done, number in enumerate(there, start=1):  # 2
        path = segment_path(archive, number)
        # Without the file before, this one says what it was: its entries are proven by the tree.
        previous = hashes.get(number - 1) or (_read_segment(path).previous if number else "")
        expected = describe_segment(copy, tree, number, previous)
        hashes[number] = verify_segment(archive, expected, tree)
        _restore_segment(path, number, directory)
        on_progress(done, len(there))
    missing = [number for number in full if not is_held(directory, number)]
    for number in missing:  # 3
        if number >= len(pruned.files):
            text = f"{segment_path(archive, number)}: no such file"
            raise InvalidAnswer("archive-invalid", text)
    if not missing:
        write_pruned(directory, Pruned())
    return Restored(
        segments=len(there),
        entries=copy.checkpoint.size,
        last=hashes[there[-1]] if there else "",
        missing=tuple(missing),
    )


def segment_path(archive: Path, number: int) -> Path:
    """The file of a segment."""
    return archive / segment_name(number)


def is_held(directory: Path, number: int) -> bool:
    """Whether a mirror has all entries of a segment."""
    return all((directory / name).exists() for name in bundle_names(number))


def _read_undamaged(directory: Path) -> Pruned:
    """What was pruned; nothing, if the record is damaged: restoring is the way out of that."""
    try:
        return read_pruned(directory)
    except InvalidInput:
        return Pruned()


def open_proven(read: Read, genesis: Genesis | None) -> tuple[LogCopy, ProvenTree]:
    """A copy and its tree. Raises `InvalidAnswer`."""
    try:
        copy = open_copy(read, genesis=genesis)
        return copy, ProvenTree(read, copy.checkpoint)
    except Divergence as error:
        raise diverged(error) from None


def _count_segments(archive: Path, pruned: Pruned) -> int:
    """Segments that are archived; the files of pruned ones may be kept elsewhere."""
    number = 0
    while number < len(pruned.files) or segment_path(archive, number).exists():
        number += 1
    return number


def describe_segment(copy: LogCopy, tree: ProvenTree, number: int, previous: str) -> Segment:
    """The one right `segment.json` of a segment."""
    size = (number + 1) * SEGMENT_ENTRIES
    head = Checkpoint(origin=copy.genesis.origin, size=size, root=tree.head(size).root())
    return Segment(
        version=1,
        network=copy.network.hex(),
        segment=number,
        entries=SEGMENT_ENTRIES,
        previous=previous,
        checkpoint=head.format().decode(),
    )


def _hash_held(archive: Path, held: int, pruned: Pruned, copy: LogCopy, tree: ProvenTree) -> str:
    """SHA-256 of the last file of an archive that is of this log."""
    if not held:
        return ""
    path = segment_path(archive, held - 1)
    if held * SEGMENT_ENTRIES > copy.checkpoint.size:
        raise InvalidInput("archive-other", str(path))
    if not path.exists():
        return pruned.files[held - 1]
    expected = describe_segment(copy, tree, held - 1, hash_segment(archive, held - 2, pruned))
    if _read_segment(path) != expected:
        raise InvalidInput("archive-other", str(path))
    return verify_segment(archive, expected, tree)


def hash_segment(archive: Path, number: int, pruned: Pruned) -> str:
    """SHA-256 of the file of a segment, which may be kept elsewhere; none before the first."""
    if number < 0:
        return ""
    if number < len(pruned.files):
        return pruned.files[number]
    return _hash_file(segment_path(archive, number))


def _write_segment(archive: Path, segment: Segment, tree: ProvenTree) -> str:
    """Write the file of a segment, every tile proven; its SHA-256."""
    path = segment_path(archive, segment.segment)
    names = bundle_names(segment.segment)
    with new_file(path) as file, _Tar(file) as tar:
        tar.add(_SEGMENT_NAME, _encode_segment(segment))
        try:
            bundles = read_bundles(tree, segment.segment * SEGMENT_ENTRIES)
            for name, (_, entries, _) in zip(names, bundles, strict=False):
                tar.add(name, encode_entries(entries))
        except Divergence as error:
            raise diverged(error) from None
    return tar.sha256


def _write_head(directory: Path, archive: Path, copy: LogCopy) -> None:
    size = copy.checkpoint.size
    count = size // SEGMENT_ENTRIES
    implied = {ENTRIES_LEVEL: count * SEGMENT_TILES, 0: count * SEGMENT_TILES, 1: count}
    epochs = map(epoch_path, range(copy.epochs.epoch_of(size)))
    tiles = (tile.format() for tile in tile_paths(size) if tile.index >= implied.get(tile.level, 0))
    with new_file(archive / HEAD) as file, _Tar(file) as tar:
        for name in (*_PLAIN_NAMES, *epochs, *tiles):
            data = copy.read(name)
            if data is not None:
                tar.add(name, data)
            elif name != "genesis.signatures.json":
                raise InvalidInput("file-unreadable", str(directory / name))


def verify_segment(archive: Path, expected: Segment, tree: ProvenTree) -> str:
    """Check a file against the tree and the file before; its SHA-256. Raises `InvalidAnswer`."""
    path = segment_path(archive, expected.segment)
    leaves: list[Hash] = []
    names = iter([_SEGMENT_NAME, *bundle_names(expected.segment)])
    try:
        with _Tar(None) as tar:
            for name, data in _read_members(path):
                if name != next(names, None):
                    raise InvalidEncoding(f"{name} does not belong there")
                if name == _SEGMENT_NAME and data != _encode_segment(expected):
                    raise InvalidEncoding(f"{name} is not that of this log and the file before")
                if name != _SEGMENT_NAME:
                    leaves.append(root_of(hash_leaves(decode_entries(data, TILE_WIDTH))))
                tar.add(name, data)
        tile, at = divmod(expected.segment, TILE_WIDTH)
        if len(leaves) != SEGMENT_TILES or root_of(leaves) != tree.hashes(2, tile)[at]:
            raise InvalidEncoding("the entries are not those of the log")
        # One segment, one file: the bytes around the members are checked too.
        if tar.sha256 != _hash_file(path):
            raise InvalidEncoding("not the canonical bytes of its members")
    except (LedgerError, tarfile.TarError) as error:
        raise InvalidAnswer("archive-invalid", f"{path}: {error}") from None
    return tar.sha256


def _restore_segment(path: Path, number: int, directory: Path) -> None:
    """Write the files that a verified segment implies."""
    roots: list[Hash] = []
    for name, data in _read_members(path):
        if name == _SEGMENT_NAME:
            continue
        leaves = hash_leaves(decode_entries(data, TILE_WIDTH))
        index = number * SEGMENT_TILES + len(roots)
        _write_missing(directory / name, data)
        level0 = TilePath(level=0, index=index).format()
        _write_missing(directory / level0, b"".join(leaves))
        roots.append(root_of(leaves))
    _write_missing(directory / TilePath(level=1, index=number).format(), b"".join(roots))


def _restore_head(archive: Path, directory: Path, genesis: Genesis | None) -> None:
    path = archive / HEAD
    files: dict[str, bytes] = {}
    held = _plain_reader(directory)
    try:
        with _Tar(None) as tar:
            for name, data in _read_members(path):
                tar.add(name, data)
                if name in _PLAIN_NAMES or _EPOCH.fullmatch(name):
                    files[name] = data
                else:
                    TilePath.parse(name)
                    write_file(directory / name, data)
        if tar.sha256 != _hash_file(path):
            raise InvalidEncoding("not the canonical bytes of its members")
        copy, tree = open_proven(lambda name: files.get(name) or held(name), genesis)
        if "genesis.signatures.json" in files:
            verify_founders(copy.genesis, decode_signatures(files["genesis.signatures.json"]))
        for _ in read_bundles(tree, copy.checkpoint.size // SEGMENT_ENTRIES * SEGMENT_ENTRIES):
            pass
    except FileNotFoundError:
        raise InvalidInput("folder-not-found", str(path)) from None
    except (LedgerError, tarfile.TarError) as error:
        raise InvalidAnswer("archive-invalid", f"{path}: {error}") from None
    files["policy"] = copy.epochs.policy_for(copy.checkpoint.size).format()
    # The checkpoint is the last of them, and stands on what is verified.
    for name in sorted(files, key=lambda name: name == "checkpoint"):
        write_file(directory / name, files[name])


def _plain_reader(directory: Path) -> Read:
    """Reads what is there, also of a mirror that is not whole."""

    def read(name: str) -> bytes | None:
        try:
            with (directory / name).open("rb") as file:
                return file.read(FILE_BYTES_MAX)
        except (FileNotFoundError, NotADirectoryError):
            return None

    return read


def _write_missing(path: Path, data: bytes) -> None:
    if not path.exists():
        write_file(path, data)


def _encode_segment(segment: Segment) -> bytes:
    return msgspec.json.encode(segment) + b"\n"


def _read_segment(path: Path) -> Segment:
    try:
        name, data = next(_read_members(path))
        if name == _SEGMENT_NAME:
            return msgspec.json.decode(data, type=Segment)
    except (StopIteration, tarfile.TarError, msgspec.DecodeError, LedgerError) as error:
        raise InvalidAnswer("archive-invalid", f"{path}: {error}") from None
    raise InvalidAnswer("archive-invalid", f"{path}: {name}")


def _read_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the regular files in a tar. Raises `InvalidEncoding`, `TarError`."""
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            if not member.isreg() or member.size > FILE_BYTES_MAX:
                raise InvalidEncoding(f"{member.name} is no file of an archive")
            file = tar.extractfile(member)
            assert file is not None, "a regular file has content"
            yield member.name, file.read()


class _Tar:
    """A tar whose bytes depend on names and contents only, and their SHA-256 after it is closed.

    Without a file there is only the SHA-256.
    """

    def __init__(self, file: IO[bytes] | None) -> None:
        self.sha256 = ""
        self._size = 0
        self._file = file
        self._digest = hashlib.sha256()
        # It writes and tells, which is all that is asked of it.
        fileobj = cast(IO[bytes], self)
        self._tar = tarfile.TarFile(fileobj=fileobj, mode="w", format=tarfile.USTAR_FORMAT)

    def write(self, data: bytes) -> int:
        """For the tar: bytes in order."""
        self._digest.update(data)
        self._size += len(data)
        return len(data) if self._file is None else self._file.write(data)

    def tell(self) -> int:
        """For the tar: how many."""
        return self._size

    def add(self, name: str, data: bytes) -> None:
        """Append a file."""
        self._tar.addfile(_member(name, len(data)), io.BytesIO(data))

    def __enter__(self) -> "_Tar":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tar.close()
        self.sha256 = self._digest.hexdigest()


def _member(name: str, size_bytes: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size_bytes, 0o644
    return member


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
