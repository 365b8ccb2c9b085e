"""Two copies: equal, one the beginning of the other, or the first entry that differs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ledger.tlog.tiles import TilePath
from tests.unit.contracts.drafts.pasts import write_copy
from tests.unit.ledger.builders import ChainBuilder, make_event, make_genesis
from tests.unit.tools.test_epochs import code_of, node_of, tally
from tools.audit.index.compare import describe_entry
from tools.cli import main
from tools.exits import ERROR, OK, UNREACHABLE, UNVERIFIED


def chain_of(counts: Sequence[int], *, odd: int = -1, genesis: Any = None) -> ChainBuilder:
    """Blocks of so many events; from block `odd` on the events are others."""
    chain, number = ChainBuilder(genesis), 0
    for at, count in enumerate(counts):
        base = 1_000_000 if 0 <= odd <= at else 0
        chain.add([make_event(base + number + n, network=chain.network) for n in range(count)])
        number += count
    return chain


def written(chain: ChainBuilder, folder: Path) -> Path:
    return write_copy(chain, folder)


def first_difference(one: ChainBuilder, other: ChainBuilder) -> int:
    """The slow way."""
    pairs = zip(one.entries, other.entries, strict=False)
    return next(at for at, (a, b) in enumerate(pairs) if a != b)


@pytest.fixture(scope="module")
def long() -> ChainBuilder:
    return chain_of([3] * 90)


@pytest.mark.parametrize("counts", [[], [1], [3] * 5, [3] * 64, [3] * 90])
def test_a_beginning_is_told_in_both_directions(
    long: ChainBuilder, tmp_path: Path, counts: list[int]
) -> None:
    one, other = written(chain_of(counts), tmp_path / "a"), written(long, tmp_path / "b")
    is_equal = len(counts) == 90
    for names in ((one, other), (other, one)):
        if counts == [1]:
            told = tally("audit", "compare", *names, exit_code=UNVERIFIED)
            assert (told["result"], told["first"]) == ("different", 0)
            continue
        told = tally("audit", "compare", *names)
        assert told["result"] == ("equal" if is_equal else "prefix")
        assert told["first"] is None


@pytest.mark.parametrize("odd", [0, 1, 2, 31, 62, 63, 64, 85, 89])
def test_the_first_entry_that_differs_is_named(
    long: ChainBuilder, tmp_path: Path, odd: int
) -> None:
    forked = chain_of([3] * 90, odd=odd)
    shorter = chain_of([3] * (odd + 1), odd=odd)
    first = first_difference(long, forked)
    one = written(long, tmp_path / "a")
    for number, other in enumerate((forked, shorter)):
        folder = written(other, tmp_path / f"b{number}")
        told = tally("audit", "compare", one, folder, exit_code=UNVERIFIED)
        assert (told["result"], told["first"]) == ("different", first)
        entries = [bytes.fromhex(side["entry"]) for side in told["sides"]]
        assert entries == [long.entries[first], other.entries[first]]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_stands_on_each_side_in_words(
    long: ChainBuilder, tmp_path: Path, language: str
) -> None:
    one = written(long, tmp_path / "a")
    two = written(chain_of([3] * 90, odd=4), tmp_path / "b")
    three = written(chain_of([3] * 20), tmp_path / "c")
    other = written(chain_of([1], genesis=make_genesis(name="other")), tmp_path / "d")
    words = {
        "en": ("DIFFERENT from entry 16", "header of block 5", "is the beginning of",
               "DIFFERENT networks", "Equal: both checkpoints are of the same 360 entries"),
        "zh": ("从条目 16 起不同", "区块 5 的区块头", "的开头",
               "网络不同", "所签为相同的 360 个条目"),
    }[language]  # fmt: skip
    shown = [say(one, two, language), say(one, two, language), say(three, one, language),
             say(one, other, language), say(one, one, language)]  # fmt: skip
    for word, (text, code) in zip(words, shown, strict=True):
        assert word in text
        assert code == (UNVERIFIED if word in words[:2] + words[3:4] else OK)


def say(one: Path, other: Path, language: str) -> tuple[str, int]:
    done = CliRunner().invoke(main, ["audit", "compare", str(one), str(other), "--lang", language])
    return done.stdout, done.exit_code


def test_other_networks_are_no_fork(long: ChainBuilder, tmp_path: Path) -> None:
    other = written(chain_of([1], genesis=make_genesis(name="other")), tmp_path / "b")
    told = tally("audit", "compare", written(long, tmp_path / "a"), other, exit_code=UNVERIFIED)
    assert (told["result"], told["first"]) == ("other-network", None)
    genesis = tmp_path / "a" / "genesis.json"
    pinned = ("audit", "compare", tmp_path / "a", other, "--genesis", genesis)
    assert code_of(tally(*pinned, exit_code=UNVERIFIED)) == "copy-invalid"
    done = CliRunner().invoke(main, [*map(str, pinned), "--lang", "zh"])
    assert "第 1 步 创世" in done.stderr  # in words, as a replay tells it


def test_nodes_are_compared_without_a_copy(long: ChainBuilder, tmp_path: Path) -> None:
    folder = written(long, tmp_path / "a")
    with node_of(long) as same, node_of(chain_of([3] * 90, odd=70)) as forked:
        assert tally("audit", "compare", same, folder)["result"] == "equal"
        told = tally("audit", "compare", same, forked, exit_code=UNVERIFIED)
    assert told["first"] == first_difference(long, chain_of([3] * 90, odd=70))
    assert not list(Path(tmp_path).glob("tally-*"))


@pytest.mark.parametrize(
    "tile",
    [
        TilePath(level=0, index=0),
        TilePath(level=0, index=1, width=104),
        TilePath(level=1, index=0, width=1),
    ],
)
def test_hash_tiles_are_not_believed(long: ChainBuilder, tmp_path: Path, tile: TilePath) -> None:
    """One that hides or invents a difference is found, and the side is named."""
    forked = chain_of([3] * 90, odd=20 if (tile.level, tile.index) == (0, 0) else 70)
    first = first_difference(long, forked)
    true = written(forked, tmp_path / "a")
    path, refused = tile.format(), 0
    data = long.copy()[path]
    for at in range(0, len(data), 32 * 7):
        lying = written(long, tmp_path / f"b{at}")
        (lying / path).write_bytes(data[:at] + bytes(32) + data[at + 32 :])
        done = CliRunner().invoke(main, ["audit", "compare", str(true), str(lying), "--json"])
        assert done.exit_code == UNVERIFIED
        told = json.loads(done.stdout)
        if "error" in told:
            assert code_of(told) == "copy-invalid"
            assert f"b{at}: " in told["error"]["detail"]
            refused += 1
        else:
            # Nothing of what was changed was needed to prove this.
            assert told["first"] == first
    assert refused


def test_an_invented_difference_of_equal_logs_is_found(long: ChainBuilder, tmp_path: Path) -> None:
    true, lying = written(long, tmp_path / "a"), written(long, tmp_path / "b")
    path = lying / TilePath(level=0, index=1, width=104).format()
    data = path.read_bytes()
    for at in range(0, len(data), 32):
        path.write_bytes(data[:at] + bytes(32) + data[at + 32 :])
        told = tally("audit", "compare", true, lying, exit_code=UNVERIFIED)
        assert code_of(told) == "copy-invalid"


def test_a_fork_that_is_hidden_behind_true_hashes_is_found(
    long: ChainBuilder, tmp_path: Path
) -> None:
    """A node with another history serves the tiles of the true one."""
    forked = chain_of([3] * 90, odd=40)
    true = written(long, tmp_path / "a")
    lying = written(long, tmp_path / "b")
    (lying / "checkpoint").write_bytes(forked.checkpoint())
    told = tally("audit", "compare", true, lying, exit_code=UNVERIFIED)
    assert code_of(told) == "copy-invalid"


@pytest.mark.parametrize("name", ["genesis.json", "tile/0/001.p/104"])
def test_a_side_without_a_file(long: ChainBuilder, tmp_path: Path, name: str) -> None:
    true, broken = written(long, tmp_path / "a"), written(long, tmp_path / "b")
    (broken / name).unlink()
    told = tally("audit", "compare", true, broken, exit_code=UNVERIFIED)
    assert code_of(told) == "copy-invalid"


def test_a_side_that_is_not_complete(long: ChainBuilder, tmp_path: Path) -> None:
    true, begun = written(long, tmp_path / "a"), written(long, tmp_path / "b")
    (begun / "checkpoint").unlink()
    told = tally("audit", "compare", true, begun, exit_code=ERROR)
    assert code_of(told) == "copy-incomplete"


def test_sides_that_are_not_there(long: ChainBuilder, tmp_path: Path) -> None:
    folder = written(long, tmp_path / "a")
    told = tally("audit", "compare", folder, tmp_path / "none", exit_code=ERROR)
    assert code_of(told) == "folder-not-found"
    told = tally("audit", "compare", folder, tmp_path, exit_code=ERROR)
    assert code_of(told) == "folder-no-copy"  # a wrong path is no accusation
    told = tally("audit", "compare", folder, "http://127.0.0.1:9", exit_code=UNREACHABLE)
    assert code_of(told) == "unreachable"


def test_an_entry_that_is_none_is_described() -> None:
    assert "no record of this version" in describe_entry(b"\x00")
