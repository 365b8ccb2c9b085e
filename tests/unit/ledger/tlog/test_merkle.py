"""Tree hashes and proofs against vectors, a naive twin, and every flipped bit."""

import base64
import json
from pathlib import Path

import pytest

from ledger.errors import InvalidEncoding, InvalidProof
from ledger.tlog.merkle import (
    EMPTY_ROOT,
    SIZE_MAX,
    CompactRange,
    hash_leaf,
    hash_leaves,
    prove_consistency,
    prove_inclusion,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from tests.unit.ledger.tlog.samples import (
    VECTORS,
    NodeReader,
    flip_bit,
    leaves_of,
    naive_consistency,
    naive_path,
    naive_root,
)

SIZES = 101
LEAVES = leaves_of(SIZES)
READER = NodeReader(LEAVES)
ROOTS = [naive_root(LEAVES[:size]) for size in range(SIZES + 1)]


def read_probes(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def decode(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def verdict(check, *arguments) -> bool:
    try:
        check(*arguments)
    except InvalidProof:
        return False
    return True


def test_hashes_of_the_go_implementation() -> None:
    assert hash_leaf(b"hello world") == decode("TszzRgjTG6xce+z2AG31kAXYKBgQVtCSCE40HmuwBb0=")
    assert decode("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=") == EMPTY_ROOT
    assert hash_leaves([b"a", b""]) == [hash_leaf(b"a"), hash_leaf(b"")]


def test_inclusion_probes() -> None:
    probes = read_probes(VECTORS / "merkle_inclusion.jsonl")
    assert len(probes) == 98
    for probe in probes:
        accepted = verdict(
            verify_inclusion,
            decode(probe["leafHash"]),
            probe["leafIdx"],
            probe["treeSize"],
            [decode(item) for item in probe["proof"] or ()],
            decode(probe["root"]),
        )
        assert accepted is not probe["wantErr"], probe["path"]


def test_consistency_probes() -> None:
    probes = read_probes(VECTORS / "merkle_consistency.jsonl")
    assert len(probes) == 98
    for probe in probes:
        accepted = verdict(
            verify_consistency,
            probe["size1"],
            decode(probe["root1"]),
            probe["size2"],
            decode(probe["root2"]),
            [decode(item) for item in probe["proof"] or ()],
        )
        # The one probe with roots of 12 bytes: our hashes have 32.
        is_odd = len(decode(probe["root1"])) == 12 and not probe["wantErr"]
        assert accepted is (not probe["wantErr"] and not is_odd), probe["path"]


def test_roots_of_all_small_sizes_grown_in_every_step() -> None:
    for step in range(1, SIZES):
        head = CompactRange()
        for start in range(0, SIZES, step):
            head = head.extend(LEAVES[start : start + step])
            assert head.root() == ROOTS[head.size]
    head = CompactRange()
    for size, leaf in enumerate(LEAVES):
        assert head.root() == root_of(LEAVES[:size]) == ROOTS[size]
        head = head.append(leaf)


@pytest.mark.parametrize("step", [1, 2, 7, 64, 101])
def test_grow_yields_every_complete_subtree_once(step: int) -> None:
    reader = NodeReader(LEAVES, step)
    for level in range(7):
        for index in range(SIZES >> level):
            span = LEAVES[index << level : (index + 1) << level]
            assert reader.read_hash(level, index) == naive_root(span)


def test_head_round_trip() -> None:
    for size in range(SIZES):
        head = CompactRange().extend(LEAVES[:size])
        assert len(head.hashes) == size.bit_count()
        assert CompactRange.decode(head.encode()) == head


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(7),
        bytes(8 + 32),
        (1).to_bytes(8, "big"),
        (3).to_bytes(8, "big") + bytes(65),
        (2**63).to_bytes(8, "big") + bytes(32),
    ],
)
def test_head_bytes_refused(data: bytes) -> None:
    with pytest.raises(InvalidEncoding):
        CompactRange.decode(data)


def test_head_size_is_bounded() -> None:
    head = CompactRange(size=SIZE_MAX, hashes=tuple(bytes(32) for _ in range(63)))
    with pytest.raises(InvalidEncoding):
        head.append(bytes(32))


def test_every_inclusion_proof_up_to_100() -> None:
    for size in range(1, SIZES):
        for index in range(size):
            proof = prove_inclusion(READER, index, size)
            assert list(proof) == naive_path(index, LEAVES[:size])
            verify_inclusion(LEAVES[index], index, size, proof, ROOTS[size])


def test_every_consistency_proof_up_to_100() -> None:
    for new in range(SIZES):
        for old in range(new + 1):
            proof = prove_consistency(READER, old, new)
            if old:
                assert list(proof) == naive_consistency(old, LEAVES[:new])
            verify_consistency(old, ROOTS[old], new, ROOTS[new], proof)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 13])
def test_every_flipped_bit_of_an_inclusion_proof(size: int) -> None:
    for index in range(size):
        proof = prove_inclusion(READER, index, size)
        parts = [LEAVES[index], ROOTS[size], *proof]
        for at, part in enumerate(parts):
            for bit in range(256):
                leaf, root, *path = [*parts[:at], flip_bit(part, bit), *parts[at + 1 :]]
                assert not verdict(verify_inclusion, leaf, index, size, path, root)


@pytest.mark.parametrize("new", [1, 2, 3, 7, 8, 9, 13])
def test_every_flipped_bit_of_a_consistency_proof(new: int) -> None:
    for old in range(1, new + 1):
        proof = prove_consistency(READER, old, new)
        parts = [ROOTS[old], ROOTS[new], *proof]
        for at, part in enumerate(parts):
            for bit in range(256):
                root1, root2, *path = [*parts[:at], flip_bit(part, bit), *parts[at + 1 :]]
                assert not verdict(verify_consistency, old, root1, new, root2, path)


def test_a_proof_of_other_length_or_hash_size_is_refused() -> None:
    for size in range(1, SIZES, 7):
        for index in range(0, size, 5):
            proof = prove_inclusion(READER, index, size)
            others = [(*proof, bytes(32)), (bytes(32), *proof)]
            if proof:
                others += [proof[1:], proof[:-1], (*proof[:-1], proof[-1][:31])]
            for other in others:
                assert not verdict(verify_inclusion, LEAVES[index], index, size, other, ROOTS[size])
        for old in range(0, size, 5):
            proof = prove_consistency(READER, old, size)
            others = [(*proof, bytes(32)), (bytes(32), *proof)]
            if proof:
                others += [proof[1:], proof[:-1], (*proof[:-1], proof[-1][:31])]
            for other in others:
                assert not verdict(verify_consistency, old, ROOTS[old], size, ROOTS[size], other)


def test_other_index_or_size_is_refused() -> None:
    proof = prove_inclusion(READER, 5, 13)
    for index in range(-1, 20):
        for size in range(-1, 20):
            accepted = verdict(verify_inclusion, LEAVES[5], index, size, proof, ROOTS[13])
            # From 9 to 16 leaves the path of leaf 5 has the same shape: only a checkpoint, not
            # a proof, binds the size to the root.
            assert accepted is (index == 5 and 9 <= size <= 16)


def test_size_zero() -> None:
    verify_consistency(0, EMPTY_ROOT, 5, ROOTS[5], ())
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, ())
    assert not verdict(verify_consistency, 0, bytes(32), 5, ROOTS[5], ())
    assert not verdict(verify_consistency, 0, EMPTY_ROOT, 5, ROOTS[5], (bytes(32),))
    assert not verdict(verify_consistency, 0, bytes(32), 0, bytes(32), ())
    assert not verdict(verify_consistency, 5, ROOTS[5], 4, ROOTS[4], ())
    assert not verdict(verify_consistency, 5, ROOTS[5], 5, ROOTS[4], ())


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5)])
def test_no_proof_of_what_is_not_there(index: int, size: int) -> None:
    with pytest.raises(InvalidProof):
        prove_inclusion(READER, index, size)
    with pytest.raises(InvalidProof):
        prove_consistency(READER, size + 1, size)
