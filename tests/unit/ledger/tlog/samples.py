"""Vectors, builders and a naive twin of RFC 6962 for the tests of `ledger.tlog`."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from ledger.tlog.checkpoint import Checkpoint, cosign, sign_checkpoint
from ledger.tlog.merkle import CompactRange, Hash, hash_leaf
from ledger.tlog.note import COSIGNATURE_ED25519, ED25519, SignedNote, SigningKey
from ledger.tlog.policy import Group, Log, Policy, Witness

VECTORS = Path(__file__).parents[3] / "vectors"
EXAMPLE = VECTORS / "example_log"
TESSERA = VECTORS / "tessera_log"
EXAMPLE_ORIGIN = "ledger.example/exchange"
EXAMPLE_ENTRIES = [f"event-{index}\n".encode() for index in range(300)]
EXAMPLE_TIME_S = 1_767_225_600


def leaves_of(count: int) -> list[Hash]:
    return [hash_leaf(b"leaf %d" % index) for index in range(count)]


# RFC 6962 sections 2.1, 2.1.1 and 2.1.2, as they are written there.


def naive_root(leaves: Sequence[Hash]) -> Hash:
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = naive_split(len(leaves))
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_split(count: int) -> int:
    k = 1
    while 2 * k < count:
        k *= 2
    return k


def naive_path(index: int, leaves: Sequence[Hash]) -> list[Hash]:
    if len(leaves) <= 1:
        return []
    k = naive_split(len(leaves))
    if index < k:
        return [*naive_path(index, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(index - k, leaves[k:]), naive_root(leaves[:k])]


def naive_consistency(old: int, leaves: Sequence[Hash], is_whole: bool = True) -> list[Hash]:
    if old == len(leaves):
        return [] if is_whole else [naive_root(leaves)]
    k = naive_split(len(leaves))
    if old <= k:
        return [*naive_consistency(old, leaves[:k], is_whole), naive_root(leaves[k:])]
    return [*naive_consistency(old - k, leaves[k:], False), naive_root(leaves[:k])]


class NodeReader:
    """Hashes of all complete subtrees, gathered while the tree grows in the given steps."""

    def __init__(self, leaves: Sequence[Hash], step: int = 1) -> None:
        self._nodes: dict[tuple[int, int], Hash] = {}
        head = CompactRange()
        for start in range(0, len(leaves), step):
            grown_head, levels = head.grow(leaves[start : start + step])
            for level, hashes in enumerate(levels):
                for at, node in enumerate(hashes, head.size >> level):
                    self._nodes[level, at] = node
            head = grown_head
        self.head = head

    def read_hash(self, level: int, index: int) -> Hash:
        return self._nodes[level, index]


def flip_bit(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def example_keys() -> tuple[SigningKey, list[SigningKey]]:
    """The log key and the four cosigning keys of the example log."""
    info = json.loads((EXAMPLE / "info.json").read_text())
    log_key = SigningKey(
        name=EXAMPLE_ORIGIN, kind=ED25519, seed=bytes.fromhex(info["log_seed_hex"])
    )
    cosigners = [
        SigningKey(
            name=item["name"],
            kind=COSIGNATURE_ED25519,
            seed=bytes.fromhex(item["seed_hex"]),
        )
        for item in info["witness"]
    ]
    return log_key, cosigners


def build_note(
    *,
    entries: Sequence[bytes] = EXAMPLE_ENTRIES,
    origin: str = EXAMPLE_ORIGIN,
    cosigned_by: Sequence[int] = (0, 1, 2, 3),
    time_s: int = EXAMPLE_TIME_S,
) -> SignedNote:
    """A cosigned checkpoint of these entries; the defaults are those of the example log."""
    log_key, cosigners = example_keys()
    log_key = SigningKey(name=origin, kind=ED25519, seed=log_key.seed)
    root = naive_root([hash_leaf(entry) for entry in entries])
    checkpoint = Checkpoint(origin=origin, size=len(entries), root=root)
    note = sign_checkpoint(checkpoint, log_key)
    lines = [cosign(checkpoint, cosigners[at], time_s) for at in cosigned_by]
    return SignedNote(text=note.text, signatures=(*note.signatures, *lines))


def build_policy(*, threshold: int = 3) -> Policy:
    """The policy of the example log: `threshold` of its four cosigners."""
    log_key, cosigners = example_keys()
    witnesses = tuple(
        Witness(name=f"V{at}", key=key.verifier, url=f"https://validator{at}.example/")
        for at, key in enumerate(cosigners, 1)
    )
    group = Group(
        name="validators", threshold=threshold, members=tuple(item.name for item in witnesses)
    )
    return Policy(
        logs=(Log(key=log_key.verifier),), witnesses=witnesses, groups=(group,), quorum=group.name
    )
