"""Single entries of a copy, each proven to be under the checkpoint."""

from ledger.errors import InvalidEncoding, InvalidProof
from ledger.tlog.merkle import Hash, hash_leaf, prove_inclusion, verify_inclusion
from ledger.tlog.tiles import ENTRIES_LEVEL, TILE_WIDTH, TilePath, TileReader, decode_entries
from ledger.verify import LogCopy, Step, diverge

UNDER = "an entry under the checkpoint"


class Entries:
    """Reads entries of a copy whose checkpoint is verified. Tiles of hashes are kept."""

    def __init__(self, copy: LogCopy) -> None:
        self._copy = copy
        self._size = copy.checkpoint.size
        self.hashes = TileReader(self._get_tile, self._size)

    def read(self, index: int) -> bytes:
        """Entry `index`. Raises `Divergence` if it is not what the checkpoint covers."""
        first = index - index % TILE_WIDTH
        width = min(TILE_WIDTH, self._size - first)
        data = self._get_tile(ENTRIES_LEVEL, index // TILE_WIDTH, width)
        try:
            entry = decode_entries(data, width)[index - first]
        except InvalidEncoding as error:
            diverge(Step.ENTRIES, index, UNDER, str(error))
        self.verify_leaf(index, hash_leaf(entry))
        return entry

    def verify_leaf(self, index: int, leaf: Hash) -> None:
        """Check the hash of an entry, by tiles of hashes. Raises `Divergence`."""
        try:
            proof = prove_inclusion(self.hashes, index, self._size)
            verify_inclusion(leaf, index, self._size, proof, self._copy.checkpoint.root)
        except (InvalidEncoding, InvalidProof) as error:
            diverge(Step.ENTRIES, index, UNDER, str(error))

    def _get_tile(self, level: int, index: int, width: int) -> bytes:
        path = TilePath(level=level, index=index, width=width).format()
        data = self._copy.read(path)
        if data is None:
            diverge(Step.TILES, -1, path, "no such file")
        return data
