"""Tiles: both third-party logs are rebuilt byte for byte, read back, and refused when changed."""

from pathlib import Path

import pytest

from ledger.errors import InvalidEncoding, InvalidProof, LedgerError
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import (
    EMPTY_ROOT,
    SIZE_MAX,
    hash_leaf,
    hash_leaves,
    prove_consistency,
    prove_inclusion,
    verify_consistency,
    verify_inclusion,
)
from ledger.tlog.note import SignedNote
from ledger.tlog.tiles import (
    ENTRIES_LEVEL,
    ENTRY_BYTES_MAX,
    TilePath,
    TileReader,
    decode_entries,
    encode_entries,
    split_hashes,
    tile_hashes,
    tile_paths,
    verify_tiles,
)
from tests.unit.ledger.tlog.samples import (
    EXAMPLE,
    EXAMPLE_ENTRIES,
    TESSERA,
    NodeReader,
    flip_bit,
    naive_root,
)


def build_tiles(entries: list[bytes], size: int) -> dict[str, bytes]:
    reader = NodeReader(hash_leaves(entries[:size]), step=97)
    return {
        tile.format(): encode_entries(entries[tile.index * 256 :][: tile.width])
        if tile.level == ENTRIES_LEVEL
        else tile_hashes(reader, tile)
        for tile in tile_paths(size)
    }


def getter(tiles: dict[str, bytes]):
    def get_tile(level: int, index: int, width: int) -> bytes:
        return tiles[TilePath(level=level, index=index, width=width).format()]

    return get_tile


def read_folder(folder: Path) -> dict[str, bytes]:
    files = [path for path in (folder / "tile").rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def read_checkpoint(path: Path) -> Checkpoint:
    return Checkpoint.parse(SignedNote.parse(path.read_bytes()).text)


def test_example_log_is_rebuilt() -> None:
    assert build_tiles(EXAMPLE_ENTRIES, 300) == read_folder(EXAMPLE / "log")


def test_example_log_is_read() -> None:
    checkpoint = read_checkpoint(EXAMPLE / "log" / "checkpoint")
    verify_tiles(getter(read_folder(EXAMPLE / "log")), checkpoint.size, checkpoint.root)


def test_tessera_log_is_rebuilt_at_every_size() -> None:
    files = read_folder(TESSERA)
    entries = decode_entries(files["tile/entries/000.p/15"], 15)
    rebuilt: dict[str, bytes] = {}
    for size in range(16):
        tiles = build_tiles(entries, size)
        rebuilt |= tiles
        # The log was never published at size 13.
        path = TESSERA / f"checkpoint.{size}"
        if path.exists():
            assert read_checkpoint(path).size == size
            verify_tiles(getter(tiles), size, read_checkpoint(path).root)
    assert {name: rebuilt[name] for name in files} == files
    assert len(files) >= 28


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 300, 512, 777])
def test_every_changed_tile_is_found(size: int) -> None:
    entries = [b"entry %d" % index for index in range(size)]
    tiles = build_tiles(entries, size)
    root = naive_root(hash_leaves(entries))
    verify_tiles(getter(tiles), size, root)
    with pytest.raises(InvalidProof):
        verify_tiles(getter(tiles), size, flip_bit(root, 3))
    for name, data in tiles.items():
        for bit in {0, 8, 17, 8 * (len(data) // 2), 8 * len(data) - 1}:
            with pytest.raises(LedgerError):
                verify_tiles(getter(tiles | {name: flip_bit(data, bit)}), size, root)
        for other in (b"", data[:-1], data + b"\0"):
            with pytest.raises(LedgerError):
                verify_tiles(getter(tiles | {name: other}), size, root)


def test_a_tree_of_three_levels() -> None:
    size = 256 * 256 + 300
    entries = [b"%d" % index for index in range(size)]
    reader = NodeReader(hash_leaves(entries), step=1000)
    tiles = build_tiles(entries, size)
    assert set(tiles) >= {"tile/2/000.p/1", "tile/1/001.p/1", "tile/0/257.p/44"}
    verify_tiles(getter(tiles), size, reader.head.root())
    tile_reader = TileReader(getter(tiles), size)
    for index in (0, 65_535, 65_536, size - 1):
        proof = prove_inclusion(tile_reader, index, size)
        assert proof == prove_inclusion(reader, index, size)
        verify_inclusion(hash_leaf(entries[index]), index, size, proof, reader.head.root())
    for old in (1, 255, 256, 65_536, 65_800):
        proof = prove_consistency(tile_reader, old, size)
        old_root = naive_root(hash_leaves(entries[:old]))
        verify_consistency(old, old_root, size, reader.head.root(), proof)


def test_tile_reader_gives_every_hash_of_the_tree() -> None:
    leaves = hash_leaves(EXAMPLE_ENTRIES)
    reader = NodeReader(leaves)
    asked: list[tuple[int, int, int]] = []
    get_tile = getter(read_folder(EXAMPLE / "log"))

    def counted(level: int, index: int, width: int) -> bytes:
        asked.append((level, index, width))
        return get_tile(level, index, width)

    tile_reader = TileReader(counted, 300)
    for level in range(9):
        for index in range(300 >> level):
            assert tile_reader.read_hash(level, index) == reader.read_hash(level, index)
    assert sorted(asked) == [(0, 0, 256), (0, 1, 44), (1, 0, 1)]
    for level, index in ((0, 300), (1, 150), (8, 1), (9, 0), (0, -1), (-1, 0)):
        with pytest.raises(InvalidProof):
            tile_reader.read_hash(level, index)


def test_tile_reader_refuses_a_short_tile() -> None:
    with pytest.raises(InvalidEncoding):
        TileReader(lambda level, index, width: bytes(32 * width - 1), 5).read_hash(0, 0)


@pytest.mark.parametrize(
    ("path", "tile"),
    [
        ("tile/0/000", TilePath(level=0, index=0)),
        ("tile/7/000.p/1", TilePath(level=7, index=0, width=1)),
        ("tile/0/x001/234.p/17", TilePath(level=0, index=1234, width=17)),
        ("tile/1/x001/x000/000", TilePath(level=1, index=1_000_000)),
        ("tile/entries/999.p/255", TilePath(level=ENTRIES_LEVEL, index=999, width=255)),
    ],
)
def test_paths(path: str, tile: TilePath) -> None:
    assert tile.format() == path
    assert TilePath.parse(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "checkpoint",
        "tile/0/0",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/000\n",
        "tile/00/000",
        "tile/8/000",
        "tile/-1/000",
        "tile/0/0000",
        "tile/0/001/234",
        "tile/0/x000/234",
        "tile/0/x001",
        "tile/0/X001/234",
        "tile/0/x001/x234",
        "tile/0/../000",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/-1",
        "tile/0/\u0660\u0660\u0660",
        "tile/entries/000.p/1/",
        "tile/data/000",
        "tile/entry/000",
        "tile/7/001",
        "tile/0/" + "x999/" * 9 + "999",
        "tile/0/" + "x001/" * 6 + "999",
    ],
)
def test_paths_refused(path: str) -> None:
    with pytest.raises(InvalidEncoding):
        TilePath.parse(path)


@pytest.mark.parametrize(
    "fields",
    [
        {"level": -2, "index": 0},
        {"level": 8, "index": 0},
        {"level": 0, "index": -1},
        {"level": 0, "index": 0, "width": 0},
        {"level": 0, "index": 0, "width": 257},
        {"level": 0, "index": SIZE_MAX >> 8},
    ],
)
def test_tiles_refused(fields: dict[str, int]) -> None:
    with pytest.raises(InvalidEncoding):
        TilePath(**fields)


def test_tile_paths_of_all_small_sizes() -> None:
    assert list(tile_paths(0)) == []
    for size in range(1, 600):
        tiles = list(tile_paths(size))
        assert sum(tile.width for tile in tiles if tile.level == ENTRIES_LEVEL) == size
        for level in range(3):
            widths = sum(tile.width for tile in tiles if tile.level == level)
            assert widths == size // 256**level
        assert [TilePath.parse(tile.format()) for tile in tiles] == tiles


def test_entries_round_trip() -> None:
    for entries in ([b""], [b"a", b"", b"\0" * ENTRY_BYTES_MAX], [b"x"] * 256):
        assert decode_entries(encode_entries(entries), len(entries)) == entries


@pytest.mark.parametrize("entries", [[], [b""] * 257, [bytes(ENTRY_BYTES_MAX + 1)]])
def test_entries_refused(entries: list[bytes]) -> None:
    with pytest.raises(InvalidEncoding):
        encode_entries(entries)


@pytest.mark.parametrize(
    ("data", "width"),
    [(b"", 1), (b"\0", 1), (b"\0\1", 1), (b"\0\1ab", 1), (b"\0\0\0\0", 1), (b"\0\0", 2)],
)
def test_entry_bytes_refused(data: bytes, width: int) -> None:
    with pytest.raises(InvalidEncoding):
        decode_entries(data, width)


def test_hash_tile_of_other_width_is_refused() -> None:
    assert split_hashes(bytes(64), 2) == [bytes(32)] * 2
    for size_bytes in (0, 63, 65, 96):
        with pytest.raises(InvalidEncoding):
            split_hashes(bytes(size_bytes), 2)
    with pytest.raises(InvalidEncoding):
        tile_hashes(NodeReader([EMPTY_ROOT]), TilePath(level=ENTRIES_LEVEL, index=0, width=1))
