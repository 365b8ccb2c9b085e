"""Archives: the same bytes for all, each file proven and chained, and what is made of them."""

import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.ledger.builders import make_copy
from tests.unit.tools.audit.archived import ENTRIES, archived, contents, lay, restored
from tools.audit.archive import HEAD, segment_path
from tools.exits import InvalidAnswer, InvalidInput
from tools.mirror.pruned import SEGMENT_ENTRIES


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


# --- the commands -----------------------------------------------------------------------------


def test_a_mirror_is_not_made_of_an_archive_with_a_gap(archive: Path, tmp_path: Path) -> None:
    """The files after it are put back, and the one that is missing is named."""
    segment_path(archive, 0).unlink()
    with pytest.raises(InvalidAnswer, match=r"000000\.tar: no such file") as caught:
        restored(archive, tmp_path / "again")
    assert caught.value.code == "archive-invalid"
    assert (tmp_path / "again/tile/entries/256").exists()


def test_the_first_file_has_none_before_it(archive: Path, tmp_path: Path) -> None:
    """It is not asked what stands before it, as a file is whose predecessor is elsewhere."""
    path = segment_path(archive, 0)
    spoil(path, lambda data: data.replace(b'"previous":""', b'"previous":"x"', 1))
    with pytest.raises(InvalidAnswer) as caught:
        restored(archive, tmp_path / "again")
    assert caught.value.code == "archive-invalid"
