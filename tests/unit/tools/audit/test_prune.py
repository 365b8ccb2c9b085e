"""Pruning: what is old by the log's own time, proven first, recorded first; killed anywhere."""

import asyncio
import functools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ledger.errors import Divergence
from ledger.genesis import encode_genesis_json
from ledger.tlog.merkle import CompactRange, hash_leaves
from ledger.verify import verify_log
from tests.unit.ledger.builders import TIME_MS, make_copy
from tests.unit.tools.audit.archived import (
    ENTRIES,
    GENESIS,
    NEWEST,
    archived,
    contents,
    lay,
    lay_mirror,
    restored,
)
from tests.unit.tools.mirror.servers import LogServer, listening
from tools.audit.archive import segment_path
from tools.audit.period import DAY_MS, format_day
from tools.audit.prune import Cut, Pruning, Upkeep, prune_mirror
from tools.cli import main
from tools.exits import ERROR, OK, UNVERIFIED, USAGE, InvalidAnswer, InvalidInput
from tools.mirror import Mirror
from tools.mirror.folder import folder_reader, no_progress
from tools.mirror.pruned import SEGMENT_ENTRIES, bundle_names, read_pruned
from tools.mirror.update import mirror_from

ALL = Cut(keep=0)
FIRST = Cut(keep=SEGMENT_ENTRIES)


def pruned(mirror: Path, archive: Path, cut: Cut, *, dry_run: bool = False) -> Pruning:
    return prune_mirror(mirror, archive, cut, genesis=GENESIS, dry_run=dry_run)


def spoil(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:9_000] + b"?" + data[9_001:])


@pytest.mark.parametrize(
    ("cut", "segments"),
    [
        # The last block of the first segment is that of height 16, of the second that of 32.
        (Cut(height=16), 0),
        (Cut(height=17), 1),
        (Cut(height=32), 1),
        (Cut(height=33), 2),
        (Cut(time_ms=TIME_MS + 16 * DAY_MS), 0),
        (Cut(time_ms=TIME_MS + 16 * DAY_MS + 1), 1),
        (Cut(time_ms=TIME_MS + 10**6 * DAY_MS), 2),
        (Cut(days=NEWEST - 16), 0),
        (Cut(days=NEWEST - 17), 1),
        (Cut(days=1), 1),
        (Cut(days=0), 2),
        (Cut(keep=2 * SEGMENT_ENTRIES), 0),
        (FIRST, 1),
        (ALL, 2),
    ],
)
def test_what_is_older_than_the_cut_may_go(
    mirror: Path, archive: Path, made: Path, cut: Cut, segments: int
) -> None:
    """A dry run says it and leaves everything; the run then does what it said."""
    whole = contents(made / "mirror")
    told = pruned(mirror, archive, cut, dry_run=True)
    assert contents(mirror) == whole
    assert pruned(mirror, archive, cut) == told
    names = [name for number in range(segments) for name in bundle_names(number)]
    assert told.freed_bytes == sum(len(whole[name]) for name in names)
    assert set(contents(mirror)) - {"pruned.json"} == set(whole) - set(names)
    assert [each.file for each in told.gone] == ["000000.tar", "000001.tar"][:segments]
    assert told.pruned_entries == segments * SEGMENT_ENTRIES


def test_the_record_names_files_and_root(mirror: Path, archive: Path) -> None:
    told = pruned(mirror, archive, FIRST)
    record = read_pruned(mirror)
    first = ENTRIES[:SEGMENT_ENTRIES]
    assert record.root == CompactRange().extend(hash_leaves(first)).root().hex() == told.root
    assert record.files == (told.gone[0].sha256,)
    assert (told.gone[0].first, told.gone[0].last) == (0, SEGMENT_ENTRIES - 1)
    # What needs the entries is told which file has them.
    with pytest.raises(InvalidInput) as caught:
        verify_log(folder_reader(mirror), genesis=GENESIS)
    assert caught.value.code == "entries-archived"
    assert caught.value.facts["file"] == "000000.tar"
    assert caught.value.facts["sha256"] == told.gone[0].sha256
    assert told.gone[0].sha256 in caught.value.detail


def test_restoring_gives_back_every_byte(mirror: Path, archive: Path, made: Path) -> None:
    pruned(mirror, archive, FIRST)
    assert archived(mirror, archive).written == 0
    assert pruned(mirror, archive, ALL).pruned_entries == 2 * SEGMENT_ENTRIES
    assert restored(archive, mirror) == 2
    assert contents(mirror) == contents(made / "mirror")
    with pytest.raises(Divergence):
        verify_log(folder_reader(mirror), genesis=GENESIS)  # these entries are no blocks


def test_one_file_is_enough_for_its_segment(mirror: Path, archive: Path, made: Path) -> None:
    """The others may be kept elsewhere, also when the archive and the mirror grow."""
    pruned(mirror, archive, ALL)
    elsewhere = segment_path(archive, 0).rename(archive / "kept")
    assert restored(archive, mirror) == 1
    assert read_pruned(mirror).entries == 2 * SEGMENT_ENTRIES
    assert (mirror / "tile/entries/256").exists()
    assert archived(mirror, archive).segments == 2
    assert [each.file for each in pruned(mirror, archive, ALL).gone] == ["000001.tar"]
    elsewhere.rename(segment_path(archive, 0))
    assert restored(archive, mirror) == 2
    assert contents(mirror) == contents(made / "mirror")


@pytest.mark.parametrize("number", [0, 1])
def test_nothing_goes_before_all_of_it_is_proven(
    mirror: Path, archive: Path, made: Path, number: int
) -> None:
    spoil(segment_path(archive, number))
    with pytest.raises(InvalidAnswer) as caught:
        pruned(mirror, archive, ALL)
    assert caught.value.code == "archive-invalid"
    assert contents(mirror) == contents(made / "mirror")


def test_a_file_that_does_not_follow_the_one_before_proves_nothing(
    mirror: Path, archive: Path, made: Path, tmp_path: Path
) -> None:
    """Its entries are right, but it names another first file."""
    pruned(mirror, archive, FIRST)
    record = mirror / "pruned.json"
    other = json.loads(record.read_bytes())
    other["files"] = ["ab" * 32]
    record.unlink()
    record.write_text(json.dumps(other))
    with pytest.raises(InvalidAnswer, match=r"000001\.tar") as caught:
        pruned(mirror, archive, ALL)
    assert caught.value.code == "archive-invalid"
    assert (mirror / "tile/entries/256").exists()


def test_what_is_not_archived_stays(mirror: Path, archive: Path) -> None:
    segment_path(archive, 1).unlink()
    told = pruned(mirror, archive, ALL)
    assert (len(told.gone), told.unarchived, told.pruned_entries) == (1, 1, SEGMENT_ENTRIES)
    segment_path(archive, 0).unlink()
    assert pruned(mirror, archive, ALL).unarchived == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.unit.tools.audit.archived import GENESIS
from tools.audit.prune import Cut, prune_mirror

mirror, archive, limit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
steps = 0

def count(event, arguments):
    global steps
    is_write = event == "open" and arguments[1] == "w"
    if event in ("os.remove", "os.rename") or is_write:
        steps += 1
        if steps == limit:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
prune_mirror(mirror, archive, Cut(keep=0), genesis=GENESIS)
"""


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 258, 514, 515])
def test_killed_at_any_step_a_mirror_is_whole_or_says_what_it_lacks(
    mirror: Path, archive: Path, made: Path, limit: int
) -> None:
    """The record is written (1), put in place (2), then 512 tiles go (3 to 514); 515: none."""
    whole = contents(made / "mirror")
    command = [sys.executable, "-c", KILLED, str(mirror), str(archive), str(limit)]
    child = subprocess.run(command, timeout=120, check=False)
    assert (child.returncode == 0) == (limit == 515)
    left = contents(mirror)
    lost = set(whole) - set(left)
    assert len(lost) == max(limit - 3, 0)
    assert ("pruned.json" in left) == (limit > 2)
    recorded = {name for n in range(len(read_pruned(mirror).files)) for name in bundle_names(n)}
    assert lost <= recorded
    # Going on ends it, and the way back gives every byte.
    assert pruned(mirror, archive, ALL).pruned_entries == 2 * SEGMENT_ENTRIES
    assert set(whole) - set(contents(mirror)) == {*bundle_names(0), *bundle_names(1)}
    assert restored(archive, mirror) == 2
    assert contents(mirror) == whole


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b'{"version":1,"entries":65536,"archive":"ab"}',
        b'{"version":2,"entries":65536,"files":[]}',
        b'{"version":2,"entries":65536,"files":["AB"]}',
    ],
)
def test_a_damaged_record_is_refused_and_restored(
    mirror: Path, archive: Path, made: Path, data: bytes
) -> None:
    pruned(mirror, archive, FIRST)
    (mirror / "pruned.json").unlink()
    (mirror / "pruned.json").write_bytes(data)
    with pytest.raises(InvalidInput) as caught:
        folder_reader(mirror)
    assert caught.value.code == "pruned-malformed"
    restored(archive, mirror)
    assert contents(mirror) == contents(made / "mirror")


def test_a_mirror_that_grows_is_archived_and_pruned(tmp_path: Path) -> None:
    """Once a segment is full; until then nothing is looked at."""
    mirror, archive = tmp_path / "mirror", tmp_path / "archive"
    lay(mirror, make_copy(ENTRIES[: SEGMENT_ENTRIES + 5]))
    upkeep = Upkeep(mirror, archive, 10, GENESIS)
    done = upkeep.look(SEGMENT_ENTRIES + 5)
    assert done is not None
    assert done.pruning is not None
    assert (done.archived.written, done.pruning.gone) == (1, ())
    assert upkeep.look(SEGMENT_ENTRIES + 9) is None
    lay_mirror(mirror)
    done = upkeep.look(len(ENTRIES))
    assert done is not None
    assert done.pruning is not None
    assert (done.archived.written, done.pruning.pruned_entries) == (1, SEGMENT_ENTRIES)


# --- the commands -----------------------------------------------------------------------------


@pytest.fixture
def trust(tmp_path: Path) -> tuple[object, ...]:
    path = tmp_path / "genesis.json"
    path.write_bytes(encode_genesis_json(GENESIS))
    return ("--genesis", path)


def tally(*arguments: object, exit_code: int = OK) -> dict[str, Any]:
    result = CliRunner().invoke(main, ["audit", *map(str, arguments), "--lang", "zh", "--json"])
    assert result.exit_code == exit_code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_the_commands_archive_prune_and_restore(
    mirror: Path, archive: Path, made: Path, trust: tuple[object, ...]
) -> None:
    whole = contents(made / "mirror")
    told = tally("archive", mirror, archive, *trust)
    assert (told["segments"], told["written"]) == (2, 0)
    assert len(told["last"]) == 64
    prune = ("prune", mirror, "--archive", archive, *trust)
    told = tally(*prune, "--older-than", 10, "--dry-run")
    assert (told["dry_run"], told["pruned_entries"]) == (True, SEGMENT_ENTRIES)
    assert told["freed_bytes"] == sum(len(whole[name]) for name in bundle_names(0))
    assert contents(mirror) == whole
    told = tally(*prune, "--before", format_day(TIME_MS + 17 * DAY_MS))
    assert (told["dry_run"], told["pruned_entries"]) == (False, SEGMENT_ENTRIES)
    assert tally(*prune, "--before", 33)["pruned_entries"] == 2 * SEGMENT_ENTRIES
    answer = tally("replay", mirror, *trust, exit_code=ERROR)
    assert answer["error"]["code"] == "entries-archived"
    assert answer["error"]["file"] == "000000.tar"
    assert tally("restore", archive, mirror, *trust)["segments"] == 2
    assert contents(mirror) == whole


def test_a_log_without_a_full_segment_has_nothing_to_archive_yet(
    tmp_path: Path, trust: tuple[object, ...]
) -> None:
    folder = lay(tmp_path / "short", make_copy(ENTRIES[:9]))
    line = ["audit", "archive", folder, tmp_path / "archive", *trust, "--lang", "en"]
    result = CliRunner().invoke(main, list(map(str, line)))
    assert result.exit_code == OK, result.output
    assert result.stdout == "9 entries: a segment is full, and archived, at 65,536 entries.\n"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ((), "usage-invalid"),
        (("--before", "17", "--keep", "0"), "usage-invalid"),
        (("--before", "2026-02-30"), "date-invalid"),
        (("--before", "9" * 19), "date-invalid"),
    ],
)
def test_one_cut_is_named(
    mirror: Path, archive: Path, options: tuple[str, ...], code: str, trust: tuple[object, ...]
) -> None:
    told = tally("prune", mirror, "--archive", archive, *options, *trust, exit_code=USAGE)
    assert told["error"]["code"] == code


def test_days_to_keep_need_an_archive(tmp_path: Path) -> None:
    mirror = ("mirror", "http://127.0.0.1:1", tmp_path / "copy", "--keep-days", "3")
    assert tally(*mirror, exit_code=USAGE)["error"]["code"] == "usage-invalid"


def test_what_pruning_says(mirror: Path, archive: Path, trust: tuple[object, ...]) -> None:
    segment_path(archive, 1).unlink()
    arguments = ["audit", "prune", mirror, "--archive", archive, "--keep", 0, *trust]
    result = CliRunner().invoke(main, [*map(str, arguments), "--lang", "en"])
    assert result.exit_code == OK
    assert "0-65535" in result.stdout
    assert "1 more segments are old" in result.stdout
    assert "No state file lies behind entry 65536" in result.stdout


def test_a_spoiled_archive_is_told(mirror: Path, archive: Path, trust: tuple[object, ...]) -> None:
    spoil(segment_path(archive, 0))
    told = tally("prune", mirror, "--archive", archive, "--keep", 0, *trust, exit_code=UNVERIFIED)
    assert told["error"]["code"] == "archive-invalid"


def test_a_pruned_mirror_still_follows_the_log(mirror: Path, archive: Path) -> None:
    """What was pruned is not fetched again, though every hash is verified."""
    pruned(mirror, archive, ALL)
    longer = [*ENTRIES, *(b"new" for _ in range(500))]
    server = LogServer(make_copy(longer))

    async def story() -> Mirror:
        async with asyncio.timeout(60), listening(server) as urls:
            return await mirror_from(urls, mirror, genesis=GENESIS, on_progress=no_progress)

    grown = asyncio.run(story())
    assert grown.checkpoint.size == len(longer)
    asked = sorted(path.rpartition("entries/")[2] for path in server.asked if "entries" in path)
    assert asked == ["514", "515", "516.p/176"]
    assert not (mirror / "tile/entries/000").exists()
    assert restored(archive, mirror) == 2
    assert {name: data for name, data in contents(mirror).items() if name != "policy"} == make_copy(
        longer
    )


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Any web server that has the files of a mirror."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_mirror_archives_and_prunes_by_itself(
    made: Path, tmp_path: Path, trust: tuple[object, ...]
) -> None:
    """Again it archives nothing, fetches nothing that was pruned, and keeps the days it should."""
    copy, archive = tmp_path / "copy", tmp_path / "kept"
    with web_server(made / "mirror") as url:
        command = ("mirror", url, copy, "--archive", archive, "--keep-days", 10, *trust)
        assert tally(*command)["entries"] == len(ENTRIES)
        assert read_pruned(copy).entries == SEGMENT_ENTRIES
        assert tally(*command)["downloaded"] == 0
    assert contents(archive) == contents(made / "archive")
    assert restored(archive, copy) == 2
    assert contents(copy) == contents(made / "mirror")
