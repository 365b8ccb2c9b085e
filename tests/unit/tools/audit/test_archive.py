"""Archives: the same bytes for all, each file proven and chained, pruning, restoring."""

import asyncio
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ledger.errors import Divergence
from ledger.genesis import encode_genesis_json
from ledger.quorum.epochs import EpochChain
from ledger.verify import verify_log
from tests.unit.ledger.builders import make_copy, make_genesis
from tests.unit.tools.mirror.servers import LogServer, listening
from tools.audit.archive import (
    HEAD,
    SEGMENT_ENTRIES,
    Archived,
    archive_mirror,
    restore_archive,
    segment_path,
)
from tools.cli import main
from tools.exits import ERROR, OK, InvalidAnswer, InvalidInput
from tools.mirror import Mirror
from tools.mirror.folder import folder_reader, no_progress
from tools.mirror.update import mirror_from

GENESIS = make_genesis()
ENTRIES = [number.to_bytes(8, "big") for number in range(2 * SEGMENT_ENTRIES + 700)]


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "policy").write_bytes(EpochChain(GENESIS).policy_for(1).format())
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`mirror` of two full segments and some more, and its `archive`."""
    folder = tmp_path_factory.mktemp("archived")
    mirror = lay(folder / "mirror", make_copy(ENTRIES))
    assert archived(mirror, folder / "archive").written == 2
    return folder


@pytest.fixture
def mirror(made: Path, tmp_path: Path) -> Path:
    """A mirror whose files may be removed or replaced, not written into."""
    return Path(shutil.copytree(made / "mirror", tmp_path / "mirror", copy_function=os.link))


@pytest.fixture
def archive(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "archive", tmp_path / "archive"))


def archived(mirror: Path, archive: Path, keep_entries: int | None = None) -> Archived:
    return archive_mirror(
        mirror, archive, genesis=GENESIS, keep_entries=keep_entries, on_progress=no_progress
    )


def restored(archive: Path, folder: Path) -> int:
    done = restore_archive(archive, folder, genesis=GENESIS, on_progress=no_progress)
    return done.segments


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_all_who_archive_a_log_have_the_same_segments(made: Path, tmp_path: Path) -> None:
    """Also one who archives in two steps, under other checkpoints."""
    folder, archive = tmp_path / "mirror", tmp_path / "archive"
    lay(folder, make_copy(ENTRIES[: SEGMENT_ENTRIES + 5]))
    assert archived(folder, archive).written == 1
    shutil.rmtree(folder)
    lay(folder, make_copy(ENTRIES, cosigners=("north", "south", "west")))
    again = archived(folder, archive)
    assert (again.segments, again.written) == (2, 1)
    for number in range(2):
        path = segment_path(archive, number)
        assert path.read_bytes() == segment_path(made / "archive", number).read_bytes()
    assert archived(folder, archive).written == 0


def test_a_segment_is_a_plain_tar_of_static_files(made: Path, tmp_path: Path) -> None:
    with tarfile.open(segment_path(made / "archive", 1)) as tar:
        names = tar.getnames()
        tar.extractall(tmp_path, filter="data")
        assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in tar} == {(0, 0, 0, "", 0o644)}
    assert names[0] == "segment.json"
    assert (names[1], names[-1], len(names)) == ("tile/entries/256", "tile/entries/511", 257)
    for name in names[1:]:
        assert (tmp_path / name).read_bytes() == (made / "mirror" / name).read_bytes()


def test_a_mirror_is_made_out_of_the_archive_alone(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    assert restored(made / "archive", folder) == 2
    assert contents(folder) == contents(made / "mirror")


def test_pruned_entries_are_in_the_archive(mirror: Path, archive: Path, made: Path) -> None:
    assert archived(mirror, archive, keep_entries=1_000).pruned_entries == SEGMENT_ENTRIES
    left = contents(mirror)
    assert "tile/entries/255" not in left
    assert "tile/entries/256" in left
    assert left["tile/0/000"] == contents(made / "mirror")["tile/0/000"]
    # Whoever needs them is told where they are.
    file = hashlib.sha256(segment_path(archive, 0).read_bytes()).hexdigest()
    with pytest.raises(InvalidInput, match=f"sha256 {file}") as caught:
        verify_log(folder_reader(mirror), genesis=GENESIS)
    assert caught.value.code == "entries-archived"
    # A second run archives nothing anew, and prunes the rest.
    again = archived(mirror, archive, keep_entries=0)
    assert (again.written, again.pruned_entries) == (0, 2 * SEGMENT_ENTRIES)
    assert restored(archive, mirror) == 2
    assert contents(mirror) == contents(made / "mirror")
    with pytest.raises(Divergence):
        verify_log(folder_reader(mirror), genesis=GENESIS)  # these entries are no blocks


def test_entries_are_not_pruned_before_their_archive_is_proven(
    mirror: Path, archive: Path, made: Path
) -> None:
    fine = contents(archive)
    for number, code in ((0, "archive-other"), (1, "archive-invalid")):
        spoil(segment_path(archive, number), lambda data: data[:9_000] + b"?" + data[9_001:])
        with pytest.raises((InvalidAnswer, InvalidInput)) as caught:
            archived(mirror, archive, keep_entries=0)
        assert caught.value.code == code
        assert contents(mirror) == contents(made / "mirror")
        lay_back(archive, fine)


def lay_back(archive: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (archive / name).write_bytes(data)


def spoil(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:9_000] + b"?" + data[9_001:],  # an entry
        lambda data: data[:600] + b"?" + data[601:],  # segment.json
        lambda data: data[:330] + b"root\x00" + data[335:],  # the name of an owner
        lambda data: data + bytes(512),
        lambda data: data[:-20_000],
        lambda data: data[:1_024] + data[5_120:],
        lambda data: b"",
    ],
)
@pytest.mark.parametrize("number", [0, 1])
def test_a_changed_segment_is_refused(
    archive: Path, tmp_path: Path, number: int, change: Callable[[bytes], bytes]
) -> None:
    spoil(segment_path(archive, number), change)
    with pytest.raises(InvalidAnswer) as caught:
        restored(archive, tmp_path / "again")
    assert caught.value.code == "archive-invalid"
    assert segment_path(archive, number).name in caught.value.detail


@pytest.mark.parametrize("number", [0, 1])
def test_an_archive_of_other_entries_is_refused(archive: Path, tmp_path: Path, number: int) -> None:
    entry = (number * SEGMENT_ENTRIES + 100).to_bytes(8, "big")
    path = segment_path(archive, number)
    assert path.read_bytes().count(entry) == 1
    spoil(path, lambda data: data.replace(entry, b"another!"))
    with pytest.raises(InvalidAnswer, match="the entries are not those of the log"):
        restored(archive, tmp_path / "again")


def test_an_entry_of_an_archive_has_its_own_name(archive: Path, tmp_path: Path) -> None:
    """Its bytes are what the log says, but they would be written somewhere else."""
    path = segment_path(archive, 0)
    with tarfile.open(path) as tar:
        files = [(member.name, tar.extractfile(member)) for member in tar]
        named = [(name, file.read()) for name, file in files if file is not None]
    named[-1] = ("../outside", named[-1][1])
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in named:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
    with pytest.raises(InvalidAnswer, match=r"\.\./outside does not belong there"):
        restored(archive, tmp_path / "again")
    assert not (tmp_path / "outside").exists()


def test_a_link_in_an_archive_is_refused(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(segment_path(archive, 0), "w") as tar:
        link = tarfile.TarInfo("segment.json")
        link.type, link.linkname = tarfile.SYMTYPE, "elsewhere"
        tar.addfile(link)
    with pytest.raises(InvalidAnswer, match=r"segment.json is no file of an archive"):
        restored(archive, tmp_path / "again")


@pytest.mark.parametrize("place", [0.1, 0.4, 0.7])
def test_a_changed_head_is_refused(archive: Path, tmp_path: Path, place: float) -> None:
    def change(data: bytes) -> bytes:
        # Somewhere inside the content of a file, not in the zeros behind it.
        at = next(i for i in range(int(len(data) * place), len(data)) if data[i] > 64)
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    spoil(archive / HEAD, change)
    with pytest.raises(InvalidAnswer) as caught:
        restored(archive, tmp_path / "again")
    assert caught.value.code in ("archive-invalid", "replay-diverged")
    assert not (tmp_path / "again" / "checkpoint").exists()


def test_a_name_that_leads_out_of_the_folder_is_refused(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive / HEAD, "a") as tar:
        tar.addfile(tarfile.TarInfo("../outside"))
    with pytest.raises(InvalidAnswer, match="not the path of a tile"):
        restored(archive, tmp_path / "again")
    assert not (tmp_path / "outside").exists()


def test_the_archive_of_another_log_is_not_continued(
    mirror: Path, archive: Path, tmp_path: Path
) -> None:
    other = [b"other", *ENTRIES[1:]]
    folder = lay(tmp_path / "other", make_copy(other))
    for each, message in ((folder, "000001"), (lay_short(tmp_path), "000001")):
        with pytest.raises(InvalidInput, match=message) as caught:
            archived(each, archive)
        assert caught.value.code == "archive-other"


def lay_short(tmp_path: Path) -> Path:
    """A mirror that is behind the archive."""
    return lay(tmp_path / "short", make_copy(ENTRIES[: SEGMENT_ENTRIES + 5]))


def test_a_mirror_with_a_damaged_tile_is_not_archived(mirror: Path, tmp_path: Path) -> None:
    path = mirror / "tile" / "entries" / "300"
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-1] + b"\xfe")
    with pytest.raises(InvalidAnswer) as caught:
        archived(mirror, tmp_path / "new")
    assert caught.value.code == "replay-diverged"
    assert not segment_path(tmp_path / "new", 1).exists()


def test_no_archive_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        restored(tmp_path / "none", tmp_path / "again")
    assert caught.value.code == "folder-not-found"


def test_a_damaged_note_of_what_was_pruned(mirror: Path) -> None:
    (mirror / "pruned.json").write_bytes(b"{")
    with pytest.raises(InvalidInput) as caught:
        folder_reader(mirror)
    assert caught.value.code == "pruned-malformed"


# --- the commands -----------------------------------------------------------------------------


def tally(*arguments: object, exit_code: int = OK) -> dict[str, Any]:
    result = CliRunner().invoke(main, ["audit", *map(str, arguments), "--lang", "zh", "--json"])
    assert result.exit_code == exit_code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_the_commands_archive_prune_and_restore(
    mirror: Path, archive: Path, made: Path, tmp_path: Path
) -> None:
    path = tmp_path / "genesis.json"
    path.write_bytes(encode_genesis_json(GENESIS))
    trust = ("--genesis", path)
    told = tally("archive", mirror, archive, *trust)
    assert (told["segments"], told["written"], told["pruned_entries"]) == (2, 0, 0)
    told = tally("archive", mirror, archive, "--prune", "--keep", SEGMENT_ENTRIES, *trust)
    assert told["pruned_entries"] == SEGMENT_ENTRIES
    assert len(told["last"]) == 64
    answer = tally("replay", mirror, *trust, exit_code=ERROR)
    assert answer["error"]["code"] == "entries-archived"
    assert tally("restore", archive, mirror, *trust)["segments"] == 2
    assert contents(mirror) == contents(made / "mirror")


def test_a_pruned_mirror_still_follows_the_log(mirror: Path, archive: Path) -> None:
    """What was pruned is not fetched again, though every hash is verified."""
    archived(mirror, archive, keep_entries=0)
    longer = [*ENTRIES, *(b"new" for _ in range(500))]
    server = LogServer(make_copy(longer))

    async def story() -> Mirror:
        async with asyncio.timeout(60), listening(server) as urls:
            return await mirror_from(urls, mirror, genesis=GENESIS, on_progress=no_progress)

    made = asyncio.run(story())
    assert made.checkpoint.size == len(longer)
    asked = sorted(path.rpartition("entries/")[2] for path in server.asked if "entries" in path)
    assert asked == ["514", "515", "516.p/176"]
    assert not (mirror / "tile/entries/000").exists()
    assert restored(archive, mirror) == 2
    assert {name: data for name, data in contents(mirror).items() if name != "policy"} == make_copy(
        longer
    )
