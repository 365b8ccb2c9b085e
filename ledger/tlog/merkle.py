r"""Merkle tree of RFC 6962 over SHA-256: heads, proofs, verification.

Format (RFC 6962 section 2.1). Every hash has 32 bytes.

    empty tree       SHA-256()
    leaf             SHA-256(0x00 || entry)
    inner node       SHA-256(0x01 || left || right), left is the largest complete subtree

The complete subtree `(level, index)` covers the leaves `[index << level, (index + 1) << level)`;
level 0 is the leaves. A tree head is kept as a `CompactRange`: the size and one hash for each bit
set in it, largest subtree first. Its bytes are

    size                8 bytes, big-endian
    hashes              32 bytes for each bit set in the size

A proof lists hashes from the leaf towards the root (RFC 6962 sections 2.1.1 and 2.1.2).
Only the empty proof starts at size 0, and the root of size 0 is the root of the empty tree.

Worked example, checked by a test:

>>> a, b, c = hash_leaf(b"a"), hash_leaf(b"b"), hash_leaf(b"c")
>>> head = CompactRange().extend((a, b, c))
>>> head.root().hex()
'36642e73c2540ab121e3a6bf9545b0a24982cd830eb13d3cd19de3ce6c021ec1'
>>> head.encode().hex()[:48]
'0000000000000003b137985ff484fb600db93107c77b0365'
>>> verify_inclusion(c, 2, 3, (hash_children(a, b),), head.root())
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ledger.errors import InvalidEncoding, InvalidProof

Hash: TypeAlias = bytes

HASH_BYTES = 32
# Sizes are signed 64-bit numbers in every implementation we exchange trees with.
SIZE_MAX = 2**63 - 1
EMPTY_ROOT: Hash = hashlib.sha256(b"").digest()

_SIZE_BYTES = 8


class HashReader(Protocol):
    """Where proofs take their hashes from."""

    def read_hash(self, level: int, index: int) -> Hash:
        """Hash of the complete subtree `index` of `level`; level 0 is the leaves."""


def hash_leaf(data: bytes) -> Hash:
    """Leaf hash of one entry (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def hash_leaves(entries: Iterable[bytes]) -> list[Hash]:
    """Leaf hashes of many entries."""
    sha256 = hashlib.sha256
    return [sha256(b"\x00" + data).digest() for data in entries]


def hash_children(left: Hash, right: Hash) -> Hash:
    """Hash of the node above `left` and `right` (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactRange:
    """The head of an append-only tree: all that is needed to grow it and to know its root."""

    size: int = 0
    hashes: tuple[Hash, ...] = ()

    def append(self, leaf_hash: Hash) -> "CompactRange":
        """The head after one more leaf."""
        return self.grow((leaf_hash,))[0]

    def extend(self, leaf_hashes: Iterable[Hash]) -> "CompactRange":
        """The head after more leaves."""
        return self.grow(leaf_hashes)[0]

    def grow(self, leaf_hashes: Iterable[Hash]) -> tuple["CompactRange", list[list[Hash]]]:
        """The head after more leaves, and the subtrees that became complete.

        Item `level` of the list holds the hashes of the new complete subtrees of that level, the
        first of which has the index `self.size >> level`. Stored together, they serve
        `HashReader.read_hash` for every later proof.
        """
        sha256 = hashlib.sha256
        complete = list(self.hashes)
        nodes = list(leaf_hashes)
        size = self.size + len(nodes)
        if size > SIZE_MAX:
            raise InvalidEncoding(f"tree size {size} is above {SIZE_MAX}")
        grown: list[list[Hash]] = []
        rest: list[Hash] = []
        subtrees = self.size
        while nodes:
            grown.append(nodes)
            # The last complete subtree of this level, if alone, is the left sibling of our first.
            if subtrees & 1:
                nodes = [complete.pop(), *nodes]
            if len(nodes) & 1:
                rest.append(nodes[-1])
            pairs = iter(nodes)
            nodes = [
                sha256(b"\x01" + left + right).digest()
                for left, right in zip(pairs, pairs, strict=False)
            ]
            subtrees >>= 1
        rest.reverse()
        return CompactRange(size=size, hashes=(*complete, *rest)), grown

    def root(self) -> Hash:
        """Root of the whole tree."""
        return _fold(self.hashes) if self.hashes else EMPTY_ROOT

    def encode(self) -> bytes:
        """Bytes of the head, see the format above."""
        return self.size.to_bytes(_SIZE_BYTES, "big") + b"".join(self.hashes)

    @staticmethod
    def decode(data: bytes) -> "CompactRange":
        """The head whose bytes are `data`, or `InvalidEncoding`."""
        size = int.from_bytes(data[:_SIZE_BYTES], "big")
        if len(data) != _SIZE_BYTES + HASH_BYTES * size.bit_count() or size > SIZE_MAX:
            raise InvalidEncoding("a tree head is its size and one hash for each bit set in it")
        starts = range(_SIZE_BYTES, len(data), HASH_BYTES)
        return CompactRange(size=size, hashes=tuple(data[at : at + HASH_BYTES] for at in starts))


def root_of(leaf_hashes: Iterable[Hash]) -> Hash:
    """Root of the tree with exactly these leaves."""
    return CompactRange().extend(leaf_hashes).root()


def prove_inclusion(reader: HashReader, index: int, size: int) -> tuple[Hash, ...]:
    """Proof that leaf `index` is in the tree of `size` leaves (RFC 6962 section 2.1.1)."""
    if not 0 <= index < size:
        raise InvalidProof(f"no leaf {index} in a tree of {size} leaves")
    proof: list[Hash] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(_root_between(reader, middle, end))
            end = middle
        else:
            proof.append(_root_between(reader, start, middle))
            start = middle
    proof.reverse()
    return tuple(proof)


def prove_consistency(reader: HashReader, old: int, new: int) -> tuple[Hash, ...]:
    """Proof that the tree of `old` leaves is a prefix of that of `new` (section 2.1.2)."""
    if not 0 <= old <= new:
        raise InvalidProof(f"a tree of {old} leaves is no prefix of one of {new}")
    if old == 0:
        return ()
    proof: list[Hash] = []
    start, end = 0, new
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(_root_between(reader, middle, end))
            end = middle
        else:
            proof.append(_root_between(reader, start, middle))
            start = middle
    # The verifier knows the root of [0, old) already.
    if start != 0:
        proof.append(_root_between(reader, start, end))
    proof.reverse()
    return tuple(proof)


def verify_inclusion(
    leaf_hash: Hash, index: int, size: int, proof: Sequence[Hash], root: Hash
) -> None:
    """Check that `leaf_hash` is leaf `index` of the tree of `size` leaves under `root`.

    Raises `InvalidProof`.
    """
    if not 0 <= index < size <= SIZE_MAX:
        raise InvalidProof(f"no leaf {index} in a tree of {size} leaves")
    _verify_lengths(leaf_hash, root, *proof)
    # Below the point where the paths of this leaf and of the last leaf meet there is a sibling
    # at every level; above it only where the subtree is a right child.
    below = (index ^ (size - 1)).bit_length()
    above = (index >> below).bit_count()
    if len(proof) != below + above:
        raise InvalidProof(f"{len(proof)} hashes in the proof, {below + above} are needed")
    if _climb(leaf_hash, index, proof[:below], proof[below:]) != root:
        raise InvalidProof(f"leaf {index} is not under the root of {size} leaves")


def verify_consistency(
    old_size: int, old_root: Hash, new_size: int, new_root: Hash, proof: Sequence[Hash]
) -> None:
    """Check that the tree under `old_root` is a prefix of the tree under `new_root`.

    Raises `InvalidProof`.
    """
    if not 0 <= old_size <= new_size <= SIZE_MAX:
        raise InvalidProof(f"a tree of {old_size} leaves is no prefix of one of {new_size}")
    _verify_lengths(old_root, new_root, *proof)
    for size, root in ((old_size, old_root), (new_size, new_root)):
        if size == 0 and root != EMPTY_ROOT:
            raise InvalidProof("the root of size 0 is not that of the empty tree")
    if old_size in (0, new_size):
        if proof:
            raise InvalidProof("nothing is to be proven, but the proof is not empty")
        if old_size == new_size and old_root != new_root:
            raise InvalidProof(f"two roots for the same {old_size} leaves")
        return
    # The walk starts at the smallest complete subtree that ends at old_size.
    last = old_size - 1
    skipped = (old_size & -old_size).bit_length() - 1
    below = (last ^ (new_size - 1)).bit_length() - skipped
    above = (last >> (skipped + below)).bit_count()
    is_whole = old_size == 1 << skipped
    count = below + above + (not is_whole)
    if len(proof) != count:
        raise InvalidProof(f"{len(proof)} hashes in the proof, {count} are needed")
    start = old_root if is_whole else proof[0]
    siblings = proof if is_whole else proof[1:]
    path, crown = siblings[:below], siblings[below:]
    index = last >> skipped
    lefts = tuple(node for level, node in enumerate(path) if index >> level & 1)
    if _climb(start, 0, (), (*lefts, *crown)) != old_root:
        raise InvalidProof(f"the proof does not lead to the root of {old_size} leaves")
    if _climb(start, index, path, crown) != new_root:
        raise InvalidProof(f"the proof does not lead to the root of {new_size} leaves")


def _climb(node: Hash, index: int, path: Sequence[Hash], crown: Sequence[Hash]) -> Hash:
    """The root reached from `node`: siblings by the bits of `index`, then left siblings only."""
    for level, sibling in enumerate(path):
        is_right = index >> level & 1
        node = hash_children(sibling, node) if is_right else hash_children(node, sibling)
    for sibling in crown:
        node = hash_children(sibling, node)
    return node


def _fold(hashes: Sequence[Hash]) -> Hash:
    """Root above complete subtrees of falling size; at least one."""
    node = hashes[-1]
    for left in hashes[-2::-1]:
        node = hash_children(left, node)
    return node


def _root_between(reader: HashReader, start: int, end: int) -> Hash:
    """Root of the leaves [start, end); start is a multiple of every subtree size used."""
    hashes: list[Hash] = []
    while start < end:
        level = (end - start).bit_length() - 1
        hashes.append(reader.read_hash(level, start >> level))
        start += 1 << level
    return _fold(hashes)


def _split(size: int) -> int:
    """Largest power of two below `size`; size > 1 (RFC 6962 section 2.1)."""
    return 1 << ((size - 1).bit_length() - 1)


def _verify_lengths(*hashes: Hash) -> None:
    if any(len(item) != HASH_BYTES for item in hashes):
        raise InvalidProof(f"a hash has {HASH_BYTES} bytes")
