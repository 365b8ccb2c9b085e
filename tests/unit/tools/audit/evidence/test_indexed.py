"""Evidence by an index has the same bytes as that of a whole walk, from whatever state it goes."""

import shutil
from pathlib import Path

import pytest

from tests.unit.contracts.drafts.pasts import write_copy
from tests.unit.tools.audit.evidence.case import Case, bundle_of, make_case
from tests.unit.tools.audit.evidence.test_command import code_of, tally
from tools.audit.evidence.bundle import folder_name, make_files, pack
from tools.audit.evidence.gather import gather_by_index
from tools.audit.evidence.indexed import walk_to
from tools.audit.index.build import open_index
from tools.audit.segments import Part, replay_one, state_path
from tools.exits import ERROR, NOT_FOUND, InvalidInput


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case()


@pytest.fixture(scope="module")
def indexed(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with an index, and a state file of every third block."""
    folder = write_copy(case.chain, tmp_path_factory.mktemp("indexed") / "copy")
    with open_index(folder, genesis=case.chain.genesis, jobs=1) as index:
        assert index.how == "built"
    replay_one(Part(directory=folder, genesis=None, from_height=0, to_height=0, every=3))
    return folder


@pytest.fixture
def copy(indexed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(indexed, tmp_path / "copy"))


def by_index(case: Case, folder: Path) -> bytes:
    with open_index(folder, genesis=case.chain.genesis, jobs=1) as index:
        assert index.how == "kept"
        evidence = gather_by_index(folder, index, case.exchange)
    return pack(make_files(evidence), folder_name(case.exchange))


@pytest.mark.parametrize("left", [(), (3,), (3, 6), "all"])
def test_it_is_that_of_a_whole_walk(case: Case, copy: Path, left: tuple[int, ...] | str) -> None:
    heights = [int(path.stem) for path in (copy / "snapshots").iterdir()]
    for height in heights:
        if left != "all" and height not in left:
            state_path(copy, height).unlink()
    assert by_index(case, copy) == bundle_of(case)


def test_the_walk_begins_at_the_last_state_before_a_block(case: Case, copy: Path) -> None:
    """So a state file that is none is found if it is that one, and else not read."""
    state_path(copy, 6).write_bytes(b"none")
    with open_index(copy, genesis=case.chain.genesis, jobs=1) as index:
        ((block, happened, _),) = walk_to(copy, index.copy, [4])
        assert (block.header.height, len(happened)) == (4, len(block.records))
        with pytest.raises(InvalidInput) as caught:
            list(walk_to(copy, index.copy, [4, 8]))
    assert caught.value.code == "snapshot-invalid"


@pytest.mark.parametrize(
    ("without", "steps"), [((), 1 + 2), ((6,), 1 + 4), ((3,), 4 + 2), ((3, 6), 4 + 4)]
)
def test_the_way_is_told_block_by_block(
    case: Case, copy: Path, without: tuple[int, ...], steps: int
) -> None:
    """To block 4 from the state of 3 or the genesis, then to 8 from that of 6 or from there."""
    seen: list[tuple[int, int]] = []
    for height in without:
        state_path(copy, height).unlink()
    with open_index(copy, genesis=case.chain.genesis, jobs=1) as index:
        list(walk_to(copy, index.copy, [4, 8], lambda *each: seen.append(each)))
    assert seen == [(done, steps) for done in range(1, steps + 1)]


def test_a_state_of_another_height_is_refused(case: Case, copy: Path) -> None:
    shutil.copy(state_path(copy, 3), state_path(copy, 6))
    with (
        open_index(copy, genesis=case.chain.genesis, jobs=1) as index,
        pytest.raises(InvalidInput, match="height 3"),
    ):
        list(walk_to(copy, index.copy, [7]))


def test_the_command_goes_by_the_index(case: Case, copy: Path, tmp_path: Path) -> None:
    """It meets a bad state file, which the walk from the genesis does not look at."""
    trust = ("--genesis", copy / "genesis.json")
    out = tmp_path / "case.zip"
    assert tally("evidence", case.exchange.hex(), copy, "-o", out, *trust)["decisions"] == 3
    assert out.read_bytes() == bundle_of(case)
    short = tmp_path / "short.zip"
    tally("evidence", case.exchange.hex()[:8], copy, "-o", short, *trust)
    assert short.read_bytes() == bundle_of(case)
    check = ("verify-evidence", out, "--genesis-hash", case.trusted, "--log", copy)
    assert tally(*check)["log"] is True
    nothing = ("evidence", "ab" * 32, copy, "-o", tmp_path / "2.zip", *trust)
    assert code_of(*nothing, exit_code=NOT_FOUND) == "exchange-not-found"
    for path in (copy / "snapshots").iterdir():
        path.write_bytes(b"none")
    again = ("evidence", case.exchange.hex(), copy, "-o", tmp_path / "3.zip", *trust)
    assert code_of(*again, exit_code=ERROR) == "snapshot-invalid"
    (copy / "index.sqlite").unlink()
    few = ("evidence", case.exchange.hex()[:8], copy, "-o", tmp_path / "4.zip", *trust)
    assert code_of(*few, exit_code=ERROR) == "digest-invalid"
    tally(*again)
    assert (tmp_path / "3.zip").read_bytes() == bundle_of(case)
