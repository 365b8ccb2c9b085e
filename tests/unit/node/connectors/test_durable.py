"""Files and folders made durable together."""

import os
from pathlib import Path

import pytest

from node.connectors.durable import WAITING_MAX, sync_all


def test_all_are_synced_and_nothing_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / f"{number}" for number in range(2 * WAITING_MAX)]
    for file in files:
        file.write_bytes(b"data")
    synced: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    sync_all((*files, tmp_path))
    assert sorted(synced) == sorted(map(str, (*files, tmp_path)))
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before


def test_one_that_fails_is_told_when_all_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"data")
    ended: list[int] = []

    def fail(descriptor: int) -> None:
        ended.append(descriptor)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        sync_all((tmp_path / "file", tmp_path))
    assert len(ended) == 2
    with pytest.raises(FileNotFoundError):
        sync_all((tmp_path / "absent",))
