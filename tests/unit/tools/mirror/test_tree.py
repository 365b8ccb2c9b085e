"""Hashes read from afar: each proven, whatever is asked, and no tile of another tree taken."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest

from ledger.errors import InvalidProof, LedgerError
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import prove_consistency, root_of, verify_consistency
from tests.unit.ledger.builders import ORIGIN, LeafReader, make_copy
from tools.mirror import tree as tree_module
from tools.mirror.tree import RemoteTree, head_root

T = TypeVar("T")

SIZE = 66_000  # a full tile of level 1, and tiles that are not full on each level
ENTRIES = [number.to_bytes(4, "big") for number in range(SIZE)]
READER = LeafReader(ENTRIES)


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return make_copy(ENTRIES)


class Remote:
    """Files of a log far away; `asked` are the names that were fetched."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[str] = []

    async def fetch(self, names: Sequence[str], take: Callable[[list[bytes]], T]) -> T:
        self.asked += names
        return take([self.files[name] for name in names])


def tree_of(remote: Remote, held: dict[str, bytes] | None = None) -> RemoteTree:
    root = head_root(READER, SIZE)
    checkpoint = Checkpoint(origin=ORIGIN, size=SIZE, root=root)
    return RemoteTree(remote.fetch, checkpoint, (held or {}).get)


@pytest.mark.parametrize("old", [1, 2, 255, 256, 257, 40_000, 65_535, 65_536, 65_537, SIZE])
def test_any_earlier_head_is_computed_of_few_tiles(files: dict[str, bytes], old: int) -> None:
    remote = Remote(files)
    tree = tree_of(remote)

    async def story() -> None:
        await tree.open()
        root = await tree.compute(lambda reader: head_root(reader, old))
        proof = await tree.compute(lambda reader: prove_consistency(reader, old, SIZE))
        assert root == root_of(READER.read_hash(0, index) for index in range(old))
        verify_consistency(old, root, SIZE, tree.checkpoint.root, proof)

    asyncio.run(story())
    assert len(remote.asked) == len(set(remote.asked)) <= 6
    assert tree.downloaded == len(remote.asked)


def test_what_is_here_is_not_fetched_unless_it_is_damaged(files: dict[str, bytes]) -> None:
    remote, held = Remote(files), dict(files)
    held["tile/0/000"] = bytes(len(held["tile/0/000"]))

    async def story() -> None:
        tree = tree_of(remote, held)
        await tree.open()
        await tree.hashes(0, 1)
        assert not remote.asked
        await tree.hashes(0, 0)
        assert remote.asked == ["tile/0/000"]

    asyncio.run(story())


@pytest.mark.parametrize("name", ["tile/0/000", "tile/1/000"])
@pytest.mark.parametrize("change", [lambda data: data[:-1] + b"?", lambda data: data[32:]])
def test_a_tile_of_another_tree_is_not_taken(
    files: dict[str, bytes], name: str, change: Callable[[bytes], bytes]
) -> None:
    tree = tree_of(Remote({**files, name: change(files[name])}))

    async def story() -> None:
        await tree.open()
        await tree.hashes(0, 0)

    with pytest.raises(LedgerError):
        asyncio.run(story())


def test_only_so_many_tiles_are_kept(
    files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_module, "TILES_KEPT_MAX", 4)
    remote = Remote(files)

    async def story() -> None:
        tree = tree_of(remote)
        await tree.open()
        for tile in range(6):
            await tree.hashes(0, tile)
        seen = len(remote.asked)
        await tree.hashes(0, 5)
        assert remote.asked[seen:] == []
        await tree.hashes(0, 0)
        assert remote.asked[-1] == "tile/0/000"

    asyncio.run(story())


@pytest.mark.parametrize(("level", "index"), [(0, SIZE), (4, SIZE // 16), (16, 1), (17, 0)])
def test_a_subtree_that_is_not_whole_has_no_hash(
    files: dict[str, bytes], level: int, index: int
) -> None:
    tree = tree_of(Remote(files))

    async def story() -> None:
        await tree.open()
        await tree.compute(lambda reader: reader.read_hash(level, index))

    with pytest.raises(InvalidProof, match=f"no subtree {index} of level {level}"):
        asyncio.run(story())
