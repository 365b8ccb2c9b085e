"""Parts of a replay: they add up, wherever they are cut, and a bad state is never believed."""

import shutil
from pathlib import Path

import msgspec
import pytest

from contracts.replay import replay
from ledger.blocks import RECORDS
from ledger.catchup.statefile import read_head, read_state, write_state
from tests.unit.contracts.test_replay import add_executed
from tests.unit.contracts.test_replay_epochs import Governed
from tests.unit.ledger.builders import make_request
from tests.unit.tools.audit.copies import HEIGHTS, make_log, make_part, write_copy
from tools.audit.results import Result, join, join_run
from tools.audit.segments import (
    expect_entries,
    find_behind,
    find_states,
    plan,
    replay_one,
    replay_parts,
    state_path,
)
from tools.exits import InvalidInput
from tools.mirror import folder_reader


def counts(result: Result) -> tuple[int, ...]:
    return (result.blocks, result.events, result.refused, result.permit, result.review, result.deny)


def test_every_way_to_cut_in_two_gives_the_whole(log: Governed, stated: Path) -> None:
    genesis = log.chain.genesis
    whole = replay_one(make_part(stated, genesis))
    report = replay(folder_reader(stated))
    assert (whole.blocks, whole.events, whole.refused) == (
        report.blocks, report.events, report.refused,
    )  # fmt: skip
    assert find_states(stated) == list(range(1, HEIGHTS + 1))
    for height in range(1, HEIGHTS + 1):
        first = replay_one(make_part(stated, genesis, 0, height))
        second = replay_one(make_part(stated, genesis, height, 0))
        assert first.last == second.first
        joined = join([second, first]).whole
        assert joined is not None
        assert counts(joined) == counts(whole)
        assert (joined.first, joined.last, joined.acts) == (whole.first, whole.last, whole.acts)


def test_parts_by_processes_are_the_parts_by_hand(log: Governed, stated: Path) -> None:
    parts = plan(stated, log.chain.genesis, from_height=2, to_height=7, every=0)
    assert [(part.from_height, part.to_height) for part in parts] == [
        (2, 3), (3, 4), (4, 5), (5, 6), (6, 7),
    ]  # fmt: skip
    seen: list[int] = []
    results = replay_parts(parts, 2, seen.append)
    assert results == [replay_one(part) for part in parts]
    assert seen[-1] == results[-1].last.entries - results[0].first.entries
    assert join_run(results, results[0].size).whole is not None


def test_what_a_part_will_take_is_told_by_its_states(log: Governed, stated: Path) -> None:
    """It is what the bar counts to, give or take a block."""
    whole = replay_one(make_part(stated, log.chain.genesis))
    for first, last in ((0, 0), (0, 4), (3, 0), (2, 7)):
        result = replay_one(make_part(stated, log.chain.genesis, first, last))
        told = expect_entries(stated, whole.last.entries, from_height=first, to_height=last)
        assert abs(told - (result.last.entries - result.first.entries)) <= 10, (first, last)
    missing = expect_entries(stated, 500, from_height=HEIGHTS + 1, to_height=HEIGHTS + 2)
    assert missing == 500


def test_only_wanted_states_are_kept(log: Governed, tmp_path: Path) -> None:
    folder = write_copy(tmp_path, log)
    replay_one(make_part(folder, log.chain.genesis, every=3))
    assert find_states(folder) == [3, 6]
    replay_one(make_part(folder, log.chain.genesis, 6, every=4))
    assert find_states(folder) == [3, 6, 8]
    assert not [path for path in (folder / "snapshots").iterdir() if path.suffix != ".state"]


@pytest.fixture
def copy(stated: Path, tmp_path: Path) -> Path:
    """The copy with its states, for one test to change."""
    return Path(shutil.copytree(stated, tmp_path / "copy"))


def refused(log: Governed, copy: Path, height: int = 4, last: int = 0) -> str:
    with pytest.raises(InvalidInput) as caught:
        replay_one(make_part(copy, log.chain.genesis, height, last))
    return caught.value.code


def test_a_part_without_its_state_says_nothing(log: Governed, copy: Path) -> None:
    (copy / "snapshots/4.state").unlink()
    assert refused(log, copy) == "snapshot-not-found"


def test_a_part_beyond_the_end_says_nothing(log: Governed, copy: Path) -> None:
    assert refused(log, copy, 4, 9) == "height-unknown"
    with pytest.raises(InvalidInput):
        replay_parts([make_part(copy, log.chain.genesis, 4, 9)], 2, lambda _: None)


@pytest.mark.parametrize("lie", ["key", "value", "less", "more", "height", "index", "network"])
def test_a_state_that_is_not_that_of_the_header_is_not_believed(
    log: Governed, copy: Path, lie: str
) -> None:
    """Whoever made the file may have made every byte of it."""
    path = copy / "snapshots/4.state"
    with path.open("rb") as file:
        head = read_head(file.read)
        digest = log.chain.blocks[3].header.state_digest
        pairs = read_state(file.read, log.chain.range.size, digest)[0].pairs
    path.write_bytes(b"".join(write_state(head, sorted(pairs.items()))))
    replay_one(make_part(copy, log.chain.genesis, 4))
    first = min(pairs)
    match lie:
        case "key":
            pairs[first + b"x"] = pairs.pop(first)
        case "value":
            pairs[first] += b"x"
        case "less":
            del pairs[first]
        case "more":
            pairs[b"zz"] = b""
        case "height":
            head = msgspec.structs.replace(head, height=5)
        case "index":
            index = log.chain.blocks[4].header.tree_size
            head = msgspec.structs.replace(head, index=index)
        case _:
            head = msgspec.structs.replace(head, network=bytes(32))
    path.write_bytes(b"".join(write_state(head, sorted(pairs.items()))))
    assert refused(log, copy) == "snapshot-invalid"


def test_the_state_of_another_height_under_this_name_is_not_believed(
    log: Governed, copy: Path
) -> None:
    shutil.copy(copy / "snapshots/5.state", copy / "snapshots/4.state")
    assert refused(log, copy) == "snapshot-invalid"


# --- faults ---------------------------------------------------------------------------------------


@pytest.fixture
def forged(tmp_path: Path) -> tuple[Governed, Path, int]:
    """A log with states, one forged outcome in the block before the last, its entry."""
    log = make_log()
    events = [log.sign("east", make_request())]
    twin = make_log()
    twin.number = log.number - 1
    (true,) = add_executed(twin.chain, [twin.sign("east", make_request())])
    record = RECORDS.decode(true)
    outcome = msgspec.structs.replace(record.outcome, policies=())
    lie = RECORDS.encode(msgspec.structs.replace(record, outcome=outcome))
    entry = log.chain.range.size + 1
    add_executed(log.chain, events, records=(lie,))
    add_executed(log.chain, [])
    folder = write_copy(tmp_path / "forged", log)
    result = replay_one(make_part(folder, log.chain.genesis, every=2))
    assert result.fault is not None
    return log, folder, entry


def test_the_part_with_the_fault_names_it_and_the_others_are_valid(
    forged: tuple[Governed, Path, int],
) -> None:
    log, folder, entry = forged
    parts = plan(folder, log.chain.genesis, from_height=0, to_height=0, every=0)
    assert [part.from_height for part in parts] == [0, 2, 4, 6, 8]
    results = replay_parts(parts, 2, lambda _: None)
    assert [each.fault is None for each in results] == [True] * 4 + [False]
    fault = join_run(results, results[0].size).fault
    assert fault is not None
    assert (fault.step, fault.name, fault.entry) == (9, "outcomes", entry)
    assert join(results).whole is None
    assert join(results).fault == fault


def test_a_tile_that_fails_at_the_start_is_a_fault_of_the_copy(log: Governed, copy: Path) -> None:
    path = copy / "tile/entries/000"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    fault = replay_one(make_part(copy, log.chain.genesis, 4)).fault
    assert fault is not None
    assert fault.name == "entries"


def test_a_worker_with_another_copy_says_nothing(log: Governed, copy: Path) -> None:
    (copy / "checkpoint").write_bytes(b"another")
    parts = [make_part(copy, log.chain.genesis, 0, 4), make_part(copy, log.chain.genesis, 4)]
    with pytest.raises(InvalidInput) as caught:
        replay_parts(parts, 2, lambda _: None)
    assert (caught.value.code, "step 3" in caught.value.detail) == ("replay-diverged", True)


def test_the_states_that_need_none_of_some_entries(log: Governed, copy: Path) -> None:
    """Their blocks begin behind them; a file that is none is passed over."""
    for block in log.chain.blocks:
        begin, height = block.header.tree_size, block.header.height
        assert heights_behind(copy, begin) == list(range(height, HEIGHTS + 1))
        assert heights_behind(copy, begin + 1) == list(range(height + 1, HEIGHTS + 1))
    state_path(copy, 1).write_bytes(b"none")
    assert heights_behind(copy, 0) == list(range(2, HEIGHTS + 1))


def heights_behind(copy: Path, entries: int) -> list[int]:
    return [head.height for head in find_behind(copy, entries)]
