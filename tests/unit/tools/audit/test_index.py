"""The index of a copy: made in one pass, extended, made anew when it is damaged."""

import ctypes
import fcntl
import json
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ledger.events import ShareDisputed
from ledger.genesis import Genesis, encode_genesis_json
from ledger.governance.actions import SetRoles
from tests.unit.contracts.drafts.pasts import (
    add_executed,
    ask,
    make_past,
    make_past_genesis,
    write_copy,
)
from tests.unit.contracts.test_replay_epochs import Governed
from tests.unit.ledger.builders import (
    ChainBuilder,
    break_signature,
    make_record,
    make_request,
    officer_secret,
)
from tests.unit.tools.audit.logs import ASKER, Story
from tests.unit.tools.test_epochs import code_of, tally
from tools.audit.index import build
from tools.audit.index.asking import describe_records
from tools.audit.index.build import open_index
from tools.audit.index.tables import INDEX_NAME, SEAL_NAME, STATE_NAME, connect, write_seal
from tools.exits import ERROR, OK, UNVERIFIED, InvalidAnswer

BLOCKS = 3
# Numbers of words depend on when they came: rows are compared with the words themselves.
TABLES = {
    "block": "SELECT * FROM block ORDER BY 1",
    "exchange": "SELECT x.*, period_from, period_to FROM exchange x JOIN event e "
    "ON e.idx = x.idx ORDER BY 1",
    "code": "SELECT text, idx FROM code JOIN word w ON w.id = code.id ORDER BY 1, 2",
    "incident": "SELECT * FROM incident ORDER BY 1, 2",
    "officer": "SELECT * FROM officer ORDER BY 1",
    "set": "SELECT idx, text FROM record JOIN word w ON w.id = policy_set ORDER BY 1",
}


@pytest.fixture(scope="module")
def chain() -> ChainBuilder:
    return make_past(BLOCKS)


@pytest.fixture
def copy(chain: ChainBuilder, tmp_path: Path) -> Path:
    return write_copy(chain, tmp_path / "copy")


def how(folder: Path, **options: Any) -> str:
    with open_index(folder, genesis=None, jobs=1, **options) as index:
        assert index.covered.size == index.copy.checkpoint.size
        return index.how


def dump(folder: Path) -> dict[str, list[Any]]:
    """All rows of all tables, and the state."""
    with open_index(folder, genesis=None, jobs=1) as index:
        found = {name: list(index.db.execute(asked)) for name, asked in TABLES.items()}
        indexes = [idx for (idx,) in index.db.execute("SELECT idx FROM event ORDER BY 1")]
        found["event"] = describe_records(index.db, indexes)
        found["state"] = list(index.state.scan(b"x/"))
    with closing(connect(folder / STATE_NAME)) as states:
        found["subject"] = list(states.execute("SELECT * FROM subject ORDER BY 1, 2"))
        assert found["subject"]
    return found


def test_it_is_made_once_and_kept(copy: Path, chain: ChainBuilder) -> None:
    assert [how(copy), how(copy), how(copy, anew=True), how(copy)] == [
        "built", "kept", "rebuilt", "kept",
    ]  # fmt: skip
    with open_index(copy, genesis=chain.genesis, jobs=1) as index:
        assert index.covered.root == chain.range.root()
        assert index.covered.time_ms == chain.time_ms
        assert {key: index.state.get(key) for key in chain.state.pairs} == chain.state.pairs
        assert index.state.get(b"x/none") is None


def test_one_that_is_extended_equals_one_made_anew(tmp_path: Path) -> None:
    """Also where exchanges of the part before change their state, and a block is empty."""
    story = Story(blocks=2)
    folder = write_copy(story.chain, tmp_path / "copy")
    assert how(folder) == "built"
    add_executed(story.chain, [])
    story.live()
    write_copy(story.chain, folder)
    assert how(folder) == "extended"
    extended = dump(folder)
    assert how(folder, anew=True) == "rebuilt"
    assert dump(folder) == extended
    assert len(extended["event"]) == sum(len(block.records) for block in story.chain.blocks)


def test_signatures_are_verified_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = make_past(2)
    folder = write_copy(chain, tmp_path / "copy")
    verified: list[int] = []

    @contextmanager
    def noting(jobs: int) -> Iterator[Any]:
        def map_noting(function: Any, tasks: Any) -> Any:
            kept = list(tasks)
            verified.extend(index for task in kept for index, *_ in task.signed)
            return map(function, kept)

        del jobs
        yield map_noting

    monkeypatch.setattr(build, "event_map", noting)
    assert how(folder) == "built"
    assert len(verified) == sum(len(block.records) for block in chain.blocks)
    del verified[:]
    first_new = chain.range.size + 1
    add_executed(chain, [ask(chain, 10_000), ask(chain, 10_001)])
    write_copy(chain, folder)
    assert how(folder) == "extended"
    assert verified == [first_new, first_new + 1]


def test_a_bad_signature_in_what_is_new_is_found(tmp_path: Path) -> None:
    chain = make_past(1)
    folder = write_copy(chain, tmp_path / "copy")
    how(folder)
    event = break_signature(ask(chain, 10_000))
    chain.add(records=(make_record(event),), state_digest=chain.blocks[-1].header.state_digest)
    write_copy(chain, folder)
    with pytest.raises(InvalidAnswer, match="step 8 events"):
        how(folder)


@pytest.mark.parametrize("part", range(8))
def test_damage_anywhere_is_mended(copy: Path, part: int) -> None:
    how(copy)
    whole = dump(copy)
    for name in (INDEX_NAME, STATE_NAME):
        data = bytearray((copy / name).read_bytes())
        data[len(data) * part // 8 + 40] ^= 1
        (copy / name).write_bytes(data)
        assert how(copy) == "rebuilt"
        assert dump(copy) == whole


def test_damage_of_the_state_is_found_by_who_reads_it(copy: Path) -> None:
    how(copy)
    (copy / STATE_NAME).write_bytes(b"no database")
    assert how(copy, with_state=False) == "kept"
    assert how(copy) == "rebuilt"


@pytest.mark.parametrize("change", ["cut", "empty", "gone", "no seal", "other version", "no meta"])
def test_an_index_that_is_none_is_made_anew(copy: Path, change: str) -> None:
    how(copy)
    path = copy / INDEX_NAME
    if change == "gone":
        path.unlink()
    elif change == "no seal":
        (copy / SEAL_NAME).unlink()
    elif change in ("cut", "empty"):
        path.write_bytes(path.read_bytes()[: 10_000 if change == "cut" else 0])
    else:
        statement = (
            "UPDATE meta SET value = 0 WHERE name = 'version'" if change == "other version"
            else "DROP TABLE meta"
        )  # fmt: skip
        with closing(connect(path, write=True)) as db:
            db.execute(statement)
            db.commit()
        write_seal(copy)
    assert how(copy) == ("built" if change == "gone" else "rebuilt")
    assert how(copy) == "kept"


def test_a_sealed_state_that_is_not_that_of_the_log_is_made_anew(tmp_path: Path) -> None:
    """Sealed again, so only executing what is new finds it."""
    story = Story(blocks=1)
    folder = write_copy(story.chain, tmp_path / "copy")
    how(folder)
    with closing(connect(folder / STATE_NAME, write=True)) as db:
        db.execute("DELETE FROM state WHERE key >= x'782f' AND key < x'7830'")
        db.commit()
    write_seal(folder)
    story.live()
    write_copy(story.chain, folder)
    assert how(folder) == "rebuilt"


def test_what_a_broken_run_left_is_replaced(copy: Path) -> None:
    (copy / f".{INDEX_NAME}.part").write_bytes(b"half")
    assert how(copy) == "built"
    assert not list(copy.glob(".*.part"))


def test_one_process_waits_while_another_looks_after_the_index(copy: Path) -> None:
    how(copy)
    with (copy / f".{INDEX_NAME}.lock").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        other = threading.Thread(target=how, args=(copy,))
        other.start()
        other.join(1)
        assert other.is_alive()
    other.join()


def test_who_waits_is_told_for_what(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told = ""
    with (copy / f".{INDEX_NAME}.lock").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        other = threading.Thread(target=how, args=(copy,))
        other.start()
        while not told:
            told = capfd.readouterr().err
    other.join()
    assert str(copy) in told


@contextmanager
def no_file_larger(size_bytes: int) -> Iterator[None]:
    """What a full disk does to whoever writes on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_index_for_which_there_is_no_room_is_named(tmp_path: Path) -> None:
    chain = make_past(2)
    copy = write_copy(chain, tmp_path / "copy")
    with no_file_larger(8_192):
        told = tally("audit", "search", copy, "--jobs", 1, exit_code=ERROR)
    assert code_of(told) == "index-unwritable"
    assert not list(copy.glob(".*.part")), "what was begun is removed"
    how(copy)
    add_executed(chain, [ask(chain, 10_000)])
    write_copy(chain, copy)
    with no_file_larger(8_192):
        told = tally("audit", "search", copy, "--jobs", 1, exit_code=ERROR)
    assert code_of(told) == "index-unwritable"
    assert how(copy) == "extended", "the index that there was is whole"


_CAPBSET_DROP, _DAC_OVERRIDE = 24, 1


def without_override() -> None:
    """Let the rights of folders count also for root."""
    ctypes.CDLL(None).prctl(_CAPBSET_DROP, _DAC_OVERRIDE, 0, 0, 0)


def search_by_process(folder: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tools.cli", "audit", "search", str(folder), "--json", *more]
    return subprocess.run(command, preexec_fn=without_override, capture_output=True, text=True)


def test_a_folder_that_nobody_can_write_is_asked(copy: Path) -> None:
    copy.chmod(0o555)
    try:
        told = search_by_process(copy, "--jobs", "1")
        assert told.returncode == ERROR
        assert code_of(json.loads(told.stdout)) == "index-unwritable"
        copy.chmod(0o755)
        how(copy)
        copy.chmod(0o555)
        told = search_by_process(copy)
        assert (told.returncode, json.loads(told.stdout)["index"]) == (OK, "kept")
    finally:
        copy.chmod(0o755)


@pytest.mark.parametrize("blocks", [1, BLOCKS, BLOCKS + 1])
def test_another_network_in_the_folder_is_indexed_anew(
    copy: Path, tmp_path: Path, blocks: int
) -> None:
    how(copy)
    other = write_copy(make_past(blocks, genesis=renamed()), tmp_path / "other")
    for name in (INDEX_NAME, STATE_NAME, SEAL_NAME):
        (other / name).write_bytes((copy / name).read_bytes())
    assert how(other) == "rebuilt"


def renamed() -> Genesis:
    return make_past_genesis(name="another")


def test_an_older_copy_gets_an_index_of_its_own(copy: Path, tmp_path: Path) -> None:
    how(copy)
    older = write_copy(make_past(2), tmp_path / "older")
    for name in (INDEX_NAME, STATE_NAME, SEAL_NAME):
        (older / name).write_bytes((copy / name).read_bytes())
    assert how(older) == "rebuilt"


@pytest.mark.parametrize("blocks", [(50,), (50, 1), (40, 60), (90,)])
def test_another_history_of_the_network_is_a_finding(
    chain: ChainBuilder, copy: Path, tmp_path: Path, blocks: tuple[int, ...]
) -> None:
    """A quorum signed both: an index is not made anew over the trace of that.

    The other one is as long; longer, with a block that begins where the index ends; or without.
    """
    how(copy)
    forked = make_past(2)
    ends = {forked.range.size}
    for number, count in enumerate(blocks, start=9):
        add_executed(forked, [ask(forked, number * 1_000 + at) for at in range(count)])
        ends.add(forked.range.size)
    assert (chain.range.size in ends) == (blocks[0] == 50)
    other = write_copy(forked, tmp_path / "other")
    for name in (INDEX_NAME, STATE_NAME, SEAL_NAME):
        (other / name).write_bytes((copy / name).read_bytes())
    told = tally("audit", "index", other, "--jobs", 1, exit_code=UNVERIFIED)
    assert code_of(told) == "index-other-history"
    assert tally("audit", "index", other, "--jobs", 1, "--rebuild")["index"] == "rebuilt"


def test_a_copy_that_does_not_verify_is_refused(chain: ChainBuilder, tmp_path: Path) -> None:
    files = chain.copy()
    entries = next(name for name in files if name.startswith("tile/entries/"))
    changed = bytes([files[entries][100] ^ 1])
    data = files[entries][:100] + changed + files[entries][101:]
    folder = write_copy(chain, tmp_path / "copy", **{entries: data})
    told = tally("audit", "search", folder, "--jobs", 1, exit_code=UNVERIFIED)
    assert code_of(told) == "replay-diverged"
    assert not (folder / INDEX_NAME).exists()
    assert not list(folder.glob(".*.part")), "what was begun is removed"


def test_a_copy_of_another_network_than_pinned_is_refused(copy: Path, tmp_path: Path) -> None:
    other = tmp_path / "genesis.json"
    other.write_bytes(encode_genesis_json(renamed()))
    options = ("--jobs", 1, "--genesis", other)
    told = tally("audit", "search", copy, *options, exit_code=UNVERIFIED)
    assert code_of(told) == "replay-diverged"
    assert code_of(tally("audit", "search", tmp_path / "none", exit_code=ERROR)) == (
        "folder-not-found"
    )


def test_a_lie_about_the_state_is_refused(tmp_path: Path) -> None:
    chain = make_past(1)
    add_executed(chain, [], state_digest=bytes(32))
    with pytest.raises(InvalidAnswer, match="step 10 state"):
        how(write_copy(chain, tmp_path / "copy"))


def test_roles_are_those_in_which_the_officer_acted(tmp_path: Path) -> None:
    """What a block changes counts after it, for the index as for the contracts."""
    log = Governed()
    change = SetRoles(key=officer_secret("north").public, roles=("admin",))
    asked = [log.sign("north", make_request()) for _ in range(2)]
    add_executed(log.chain, [asked[0], *log.change(change)])
    add_executed(log.chain, [asked[1]])
    told = tally("audit", "search", write_copy(log.chain, tmp_path / "copy"), "--jobs", 1)
    roles = {each["event"]: (each["roles"], each["code"]) for each in told["records"]}
    before, after = (roles[each.digest.hex()] for each in asked)
    assert "requester" in before[0]
    assert after == ("admin", "role-missing")


def test_a_word_in_the_index_is_no_statement(tmp_path: Path) -> None:
    """What others write into events is bound, never part of a statement."""
    story = Story(blocks=1)
    odd = ShareDisputed(exchange=story.exchange, reason="x", text="'); DROP TABLE event; --")
    story.act(ASKER, odd, applied=False)
    folder = write_copy(story.chain, tmp_path / "copy")
    assert tally("audit", "search", folder, "--code", "x", "--jobs", 1)["total"] == 1


def test_index_says_what_it_covers(copy: Path, chain: ChainBuilder) -> None:
    told = tally("audit", "index", copy, "--jobs", 1)
    assert (told["index"], told["entries"], told["height"]) == (
        "built", chain.range.size, len(chain.blocks),
    )  # fmt: skip
    assert told["root"] == chain.range.root().hex()
    assert told["events"] == sum(len(block.records) for block in chain.blocks)
    assert tally("audit", "index", copy, "--jobs", 1, exit_code=OK)["index"] == "kept"


def test_an_index_of_an_empty_log(tmp_path: Path) -> None:
    empty = write_copy(ChainBuilder(make_past_genesis()), tmp_path / "copy")
    assert tally("audit", "search", empty, "--jobs", 1)["total"] == 0
    assert tally("audit", "gaps", empty, "--jobs", 1)["tasks"] == []


def test_a_connection_that_reads_leaves_nothing_behind(copy: Path) -> None:
    how(copy)
    before = sorted(path.name for path in copy.iterdir())
    with open_index(copy, genesis=None, jobs=1) as index, pytest.raises(sqlite3.OperationalError):
        index.db.execute("DELETE FROM event")
    assert sorted(path.name for path in copy.iterdir()) == before
