"""A log of two full segments and some more, its mirror, its archive.

Every 4,096 entries a block begins, and each block is a day after the one before. The entries
between are no records: what archives and prunes does not read them.
"""

from pathlib import Path

from ledger.blocks import HEADERS, Header
from ledger.quorum.epochs import EpochChain
from tests.unit.ledger.builders import TIME_MS, make_copy, make_genesis
from tools.audit.archive import Archived, archive_mirror, restore_archive
from tools.audit.period import DAY_MS
from tools.mirror.folder import no_progress
from tools.mirror.pruned import SEGMENT_ENTRIES

GENESIS = make_genesis()
BLOCK_ENTRIES = 4_096


def make_header(height: int) -> bytes:
    header = Header(
        entry=1, version=1, network=bytes(32), epoch=0, height=height, view=height,
        parent_view=height - 1, proposer=0, time_ms=TIME_MS + height * DAY_MS,
        parent_hash=bytes(32), tree_size=(height - 1) * BLOCK_ENTRIES, tree_root=bytes(32),
        record_count=1_000, records_root=bytes(32), state_digest=bytes(32),
        engine="toy", validators_hash=bytes(32), next_validators=b"",
    )  # fmt: skip
    return HEADERS.encode(header)


def make_entry(index: int) -> bytes:
    height, rest = divmod(index, BLOCK_ENTRIES)
    return index.to_bytes(8, "big") if rest else make_header(height + 1)


ENTRIES = [make_entry(index) for index in range(2 * SEGMENT_ENTRIES + 700)]
# The newest block is that of height 33; the first segment has heights 1 to 16.
NEWEST = 33


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "policy").write_bytes(EpochChain(GENESIS).policy_for(1).format())
    return folder


def lay_mirror(folder: Path) -> Path:
    return lay(folder, make_copy(ENTRIES))


def archived(mirror: Path, archive: Path) -> Archived:
    return archive_mirror(mirror, archive, genesis=GENESIS, on_progress=no_progress)


def restored(archive: Path, folder: Path) -> int:
    done = restore_archive(archive, folder, genesis=GENESIS, on_progress=no_progress)
    return done.segments


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
