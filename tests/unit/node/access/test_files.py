"""Files of the access log: appended, continued, cut at a torn end, trimmed when anchored."""

import os
from pathlib import Path

import pytest

from ledger.access.lines import LINE_BYTES_MAX, NO_LINE, hash_line, parse_line
from node.access.files import DAY_MS, NO_TAIL, Files, Reading
from tests.refusals import start_refused

START_MS = 20_454 * DAY_MS


def reading(at_ms: int = START_MS, name: str = "5") -> Reading:
    return Reading(
        at_ms=at_ms, address="192.0.2.7", agent="x", route="readEntry",
        ids={"index": name}, status=200,
    )  # fmt: skip


def lines_of(folder: Path) -> list[bytes]:
    return [
        line for path in sorted(folder.iterdir()) for line in path.read_bytes().split(b"\n")[:-1]
    ]


def check_chain(folder: Path) -> None:
    before = NO_LINE
    for n, data in enumerate(lines_of(folder), start=1):
        line = parse_line(data)
        assert (line.n, line.previous) == (n, before.hex())
        before = hash_line(data)


def test_lines_make_one_chain_over_files_and_restarts(tmp_path: Path) -> None:
    for day in range(3):
        files = Files(tmp_path, file_bytes_max=600)
        files.append([reading(START_MS + day * DAY_MS + each) for each in range(5)])
        files.close()
    assert Files(tmp_path).tail.n == 15
    assert Files(tmp_path).first is not None
    check_chain(tmp_path)
    assert len(list(tmp_path.iterdir())) > 3


def test_a_file_holds_lines_of_one_day_and_its_name_says_which(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.append([reading(START_MS + DAY_MS - 1), reading(START_MS + DAY_MS)])
    files.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["20260101-000000000001.jsonl", "20260102-000000000002.jsonl"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())


def test_time_never_goes_back(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.append([reading(START_MS + 9), reading(START_MS)])
    files.append([reading(START_MS + 1)])
    files.close()
    assert [parse_line(line).at_ms for line in lines_of(tmp_path)] == [START_MS + 9] * 3


def test_half_a_line_after_a_power_cut_is_cut_off(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.append([reading(), reading()])
    files.close()
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for cut in range(1, len(whole) // 2):
        path.write_bytes(whole[:-cut])
        again = Files(tmp_path)
        assert again.tail.n == 1
        again.append([reading()])
        again.close()
        check_chain(tmp_path)
        for extra in sorted(tmp_path.iterdir())[1:]:
            extra.unlink()


def test_a_file_that_holds_nothing_whole_goes(tmp_path: Path) -> None:
    (tmp_path / "20260101-000000000001.jsonl").write_bytes(b'{"n":1,')
    assert Files(tmp_path).tail == NO_TAIL
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data", [b"no line\n", b"x" * (3 * LINE_BYTES_MAX)])
def test_a_damaged_end_stops_the_start(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "20260101-000000000001.jsonl").write_bytes(data)
    start_refused(lambda: Files(tmp_path), "start-access-damaged")


def test_a_folder_that_is_none_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "access").write_bytes(b"")
    told = start_refused(lambda: Files(tmp_path / "access"), "start-access-unusable")
    assert told.detail == f"{tmp_path / 'access'}: File exists"


def test_a_line_is_found_by_its_hash(tmp_path: Path) -> None:
    files = Files(tmp_path, file_bytes_max=600)
    files.append([reading(name=str(each)) for each in range(9)])
    for n, data in enumerate(lines_of(tmp_path), start=1):
        assert files.find(hash_line(data)) == n
    assert files.find(b"\x01" * 32) is None
    files.close()


def test_old_files_go_once_they_are_anchored(tmp_path: Path) -> None:
    files = Files(tmp_path)
    for day in range(4):
        files.append([reading(START_MS + day * DAY_MS)])
    late_ms = START_MS + 99 * DAY_MS
    most = 10**9
    assert files.trim(before_ms=late_ms, size_bytes_max=most, anchored=0) == 0
    assert files.trim(before_ms=START_MS + 2 * DAY_MS, size_bytes_max=most, anchored=4) == 2
    assert files.trim(before_ms=late_ms, size_bytes_max=most, anchored=4) == 1
    # The last one is being written.
    assert files.trim(before_ms=late_ms, size_bytes_max=0, anchored=4) == 0
    files.close()
    assert Files(tmp_path).tail.n == 4


def test_too_much_goes_before_its_time_but_only_if_anchored(tmp_path: Path) -> None:
    files = Files(tmp_path, file_bytes_max=1)
    files.append([reading() for _ in range(4)])
    assert files.trim(before_ms=0, size_bytes_max=1, anchored=2) == 2
    assert files.trim(before_ms=0, size_bytes_max=1, anchored=2) == 0
    files.close()


def test_what_was_synced_is_there_without_close(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.append([reading()])
    tail = files.sync()
    descriptor = os.open(next(tmp_path.iterdir()), os.O_RDONLY)
    data = os.read(descriptor, 4_096)
    os.close(descriptor)
    assert hash_line(data[:-1]) == tail.digest
    files.close()
