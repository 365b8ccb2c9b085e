"""`tally audit replay`, `segment` and `merge`: steps, exit codes and documents."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ledger.genesis import encode_genesis_json
from ledger.keys import SecretKey, format_public_key, format_secret_key
from tests.unit.contracts.test_replay import add_executed
from tests.unit.contracts.test_replay_epochs import Governed
from tests.unit.ledger.builders import make_genesis
from tests.unit.tools.audit.copies import HEIGHTS, make_log, write_copy
from tools.cli import main

KEY = SecretKey(b"a" * 32)
AUDITOR = format_public_key(KEY.public)


def tally(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, arguments)])


def document(*arguments: str | Path, exit_code: int = 0) -> dict[str, Any]:
    done = tally(*arguments, "--json")
    assert done.exit_code == exit_code, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found["error"] if exit_code == 1 or "error" in found else found


@pytest.fixture
def genesis(log: Governed, tmp_path: Path) -> Path:
    path = tmp_path / "genesis.json"
    path.write_bytes(encode_genesis_json(log.chain.genesis))
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "auditor.key"
    path.write_text(format_secret_key(KEY))
    path.chmod(0o600)
    return path


@pytest.fixture
def copy(stated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stated, tmp_path / "copy"))


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A copy whose last block claims another state."""
    log = make_log()
    add_executed(log.chain, [], state_digest=bytes(32))
    return write_copy(tmp_path / "bad", log)


# --- replay ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_valid_log_is_told_in_ten_steps(copy: Path, genesis: Path, jobs: str) -> None:
    done = tally("replay", copy, "--genesis", genesis, "--jobs", jobs)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [int(line.split()[0]) for line in lines[:10]] == list(range(1, 11))
    assert lines[8].split()[1:4] == ["outcomes", "executed", "again:"]
    assert "share 306" in lines[8]
    assert lines[10].startswith("Replay valid: ")


@pytest.mark.parametrize(("jobs", "parts"), [("1", 1), ("2", HEIGHTS)])
def test_one_process_and_many_give_the_same(
    log: Governed, copy: Path, genesis: Path, jobs: str, parts: int
) -> None:
    # The last state is that of the whole log: nothing is left to replay after it.
    (copy / "snapshots" / f"{HEIGHTS}.state").unlink()
    found = document("replay", copy, "--genesis", genesis, "--jobs", jobs)
    last = log.chain.blocks[-1].header
    assert (found["replay"], found["parts"]) == ("valid", parts)
    assert (found["from_height"], found["to_height"]) == (0, HEIGHTS)
    assert (found["entries"], found["blocks"]) == (log.chain.range.size, HEIGHTS)
    assert found["state_digest"] == last.state_digest.hex()
    assert found["acts"] == {"governance": 6, "share": 306, "validator": 4}


def test_a_part_begins_and_ends_where_it_is_told(copy: Path, genesis: Path) -> None:
    found = document("replay", copy, "--genesis", genesis, "--from", "3", "--to", "6")
    assert (found["from_height"], found["to_height"], found["blocks"]) == (3, 6, 3)


def test_states_are_kept_on_the_way(log: Governed, genesis: Path, tmp_path: Path) -> None:
    folder = write_copy(tmp_path / "fresh", log)
    document("replay", folder, "--genesis", genesis, "--snapshots-every", "5", "--jobs", "1")
    assert [path.name for path in (folder / "snapshots").iterdir()] == ["5.state"]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_the_first_divergence_is_named(bad: Path, log: Governed, jobs: str) -> None:
    found = document("replay", bad, "--jobs", jobs, exit_code=3)
    assert (found["code"], found["exit_code"]) == ("replay-diverged", 3)
    divergence = found["divergence"]
    assert (divergence["step"], divergence["name"]) == (10, "state")
    assert divergence["entry"] == log.chain.range.size
    assert divergence["found"] == bytes(32).hex()
    assert divergence["expected"].startswith("state_digest ")


def test_a_fault_before_anything_is_executed_is_named(copy: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_bytes(encode_genesis_json(make_genesis(name="Another")))
    found = document("replay", copy, "--genesis", other, exit_code=3)
    assert (found["divergence"]["step"], found["divergence"]["entry"]) == (1, -1)


def test_what_cannot_be_told_is_neither_valid_nor_invalid(copy: Path, genesis: Path) -> None:
    (copy / "snapshots/4.state").unlink()
    given = ("replay", copy, "--genesis", genesis)
    assert document(*given, "--from", "4", exit_code=1)["code"] == "snapshot-not-found"
    assert document(*given, "--to", "99", exit_code=1)["code"] == "height-unknown"
    shutil.copy(copy / "snapshots/5.state", copy / "snapshots/4.state")
    assert document(*given, "--jobs", "2", exit_code=1)["code"] == "snapshot-invalid"


def test_a_part_ends_behind_its_beginning(copy: Path, key: Path, tmp_path: Path) -> None:
    ends = ("--from", "4", "--to", "4")
    signing = ("segment", copy, *ends, "--key", key, "--out", tmp_path / "part.json")
    for given in (("replay", copy, *ends), signing):
        done = tally(*given)
        assert (done.exit_code, "--from 4 --to 4" in done.output) == (2, True)
    assert not (tmp_path / "part.json").exists()


def test_parts_need_a_folder() -> None:
    for more in (("--from", "3"), ("--snapshots-every", "3"), ("--cluster", "tcp://x")):
        done = tally("replay", "http://127.0.0.1:1", *more)
        assert (done.exit_code, "folder" in done.output) == (2, True)


# --- segment and merge ----------------------------------------------------------------------------


def segment(copy: Path, genesis: Path, key: Path, first: int, last: int) -> Path:
    out = copy.parent / f"{first}-{last}.json"
    ends = ("--from", str(first), "--to", str(last))
    given = ("--genesis", genesis, "--key", key, "--out", out, "--jobs", "1")
    assert document("segment", copy, *ends, *given)["auditor"] == AUDITOR
    return out


def test_signed_parts_are_merged(log: Governed, copy: Path, genesis: Path, key: Path) -> None:
    files = [segment(copy, genesis, key, *each) for each in ((0, 3), (3, 7), (7, 0), (3, 4))]
    given = ("merge", *files, "--genesis", genesis)
    found = document(*given, "--auditor", AUDITOR)
    assert (found["replay"], found["entries"]) == ("valid", log.chain.range.size)
    assert (found["overlaps"], found["auditors"]) == ([[3, 4]], [AUDITOR])
    text = tally(*given).stdout
    assert "heights 3 to 4" in text
    assert AUDITOR in text


def test_a_gap_is_named(copy: Path, genesis: Path, key: Path) -> None:
    files = [segment(copy, genesis, key, *each) for each in ((0, 3), (4, 5))]
    found = document("merge", *files, "--genesis", genesis, exit_code=1)
    assert (found["code"], found["gaps"]) == ("segments-incomplete", [[3, 4], [5, 0]])


def test_a_part_with_a_fault_is_signed_and_merged(
    copy: Path, bad: Path, key: Path, tmp_path: Path
) -> None:
    out = tmp_path / "fault.json"
    done = tally("segment", bad, "--key", key, "--out", out, "--jobs", "1")
    assert (done.exit_code, "step 10 state" in done.stdout) == (3, True)
    found = document("merge", out, exit_code=3)
    assert (found["code"], found["divergence"]["name"]) == ("replay-diverged", "state")


def test_auditors_who_contradict_each_other_are_named(copy: Path, genesis: Path, key: Path) -> None:
    import msgspec

    from tools.audit.results import read_result, sign_result

    files = [segment(copy, genesis, key, *each) for each in ((0, 3), (3, 0))]
    lie = msgspec.structs.replace(read_result(files[0].read_bytes(), "").result, permit=99)
    other = copy.parent / "lie.json"
    other.write_bytes(sign_result(lie, SecretKey(b"b" * 32)))
    found = document("merge", *files, other, "--genesis", genesis, exit_code=3)
    assert found["code"] == "segments-contradict"
    assert found["contradictions"] == ["heights 0 to 3: counts differ"]
    assert len(found["auditors"]) == 2
    assert document("merge", *files, "--auditor", AUDITOR)["replay"] == "valid"


def test_files_that_do_not_count_are_refused(
    copy: Path, genesis: Path, key: Path, tmp_path: Path
) -> None:
    file = segment(copy, genesis, key, 0, 0)
    stranger = format_public_key(SecretKey(b"b" * 32).public)
    found = document("merge", file, "--auditor", stranger, exit_code=1)
    assert (found["code"], AUDITOR in found["detail"]) == ("auditor-unknown", True)
    assert document("merge", file, "--auditor", "x", exit_code=1)["code"] == "public-key-invalid"
    other = tmp_path / "other.json"
    other.write_bytes(encode_genesis_json(make_genesis(name="Another")))
    found = document("merge", file, "--genesis", other, exit_code=1)
    assert found["code"] == "segments-mixed"
    missing = tmp_path / "missing"
    assert document("merge", missing, exit_code=1)["code"] == "file-unreadable"
    missing.write_bytes(b"{}")
    assert document("merge", missing, exit_code=1)["code"] == "segment-file-invalid"
