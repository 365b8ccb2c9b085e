"""Properties of `ledger.tlog`: what is written is read back, garbage gives our errors only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import LedgerError
from ledger.tlog.checkpoint import Checkpoint, cosign, verify_cosignature
from ledger.tlog.merkle import (
    EMPTY_ROOT,
    SIZE_MAX,
    CompactRange,
    prove_consistency,
    prove_inclusion,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from ledger.tlog.note import (
    COSIGNATURE_ED25519,
    ED25519,
    Signature,
    SignedNote,
    SigningKey,
    VerifierKey,
)
from ledger.tlog.policy import Group, Log, Policy, Witness
from ledger.tlog.receipt import Receipt
from ledger.tlog.tiles import TilePath, decode_entries, encode_entries
from tests.unit.ledger.tlog.samples import (
    EXAMPLE,
    NodeReader,
    leaves_of,
    naive_root,
)

HASHES = st.binary(min_size=32, max_size=32)
TEXT = st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), exclude_characters="+")
NAMES = st.text(TEXT, min_size=1, max_size=60)
WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=9)
SEEDS = st.binary(min_size=32, max_size=32)
SIGNATURES = st.builds(
    Signature,
    name=NAMES,
    key_hash=st.binary(min_size=4, max_size=4),
    raw=st.binary(min_size=1, max_size=99),
)
NOTES = st.builds(
    SignedNote,
    text=st.text(TEXT | st.just("\n")).map(lambda text: f"{text}\n".encode()),
    signatures=st.lists(SIGNATURES, min_size=1, max_size=5).map(tuple),
)
CHECKPOINTS = st.builds(
    Checkpoint, origin=NAMES, size=st.integers(1, SIZE_MAX), root=HASHES
) | st.builds(Checkpoint, origin=NAMES, size=st.just(0), root=st.just(EMPTY_ROOT))
RECEIPTS = st.builds(
    Receipt,
    index=st.integers(0, SIZE_MAX - 1),
    proof=st.lists(HASHES, max_size=63).map(tuple),
    note=NOTES,
    extra=st.none() | st.binary(min_size=1, max_size=99),
)
LEAVES = leaves_of(300)
READER = NodeReader(LEAVES)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    seeds = draw(st.lists(SEEDS, min_size=1, max_size=6, unique=True))
    names = draw(
        st.lists(WORDS, min_size=10, max_size=10, unique=True).filter(lambda n: "none" not in n)
    )
    cosigners = [SigningKey(name="w", kind=COSIGNATURE_ED25519, seed=seed) for seed in seeds]
    witnesses = tuple(
        Witness(name=name, key=key.verifier, url=draw(st.just("") | WORDS))
        for name, key in zip(names, cosigners, strict=False)
    )
    members = tuple(item.name for item in witnesses)
    split = draw(st.integers(1, len(members)))
    inner = Group(name=names[-1], threshold=draw(st.integers(1, split)), members=members[:split])
    outer_members = (inner.name, *members[split:])
    threshold = draw(st.integers(1, len(outer_members)))
    outer = Group(name=names[-2], threshold=threshold, members=outer_members)
    log = Log(key=SigningKey(name=draw(NAMES), kind=ED25519, seed=draw(SEEDS)).verifier)
    quorum = draw(st.sampled_from([outer.name, inner.name, *members, "none"]))
    return Policy(logs=(log,), witnesses=witnesses, groups=(inner, outer), quorum=quorum)


@given(NOTES)
def test_note_round_trip(note: SignedNote) -> None:
    assert SignedNote.parse(note.format()) == note


@given(CHECKPOINTS)
def test_checkpoint_round_trip(checkpoint: Checkpoint) -> None:
    assert Checkpoint.parse(checkpoint.format()) == checkpoint


@given(RECEIPTS)
def test_receipt_round_trip(receipt: Receipt) -> None:
    assert Receipt.parse(receipt.format()) == receipt


@given(policies())
def test_policy_round_trip(policy: Policy) -> None:
    assert Policy.parse(policy.format()) == policy


@given(NAMES, st.sampled_from((ED25519, COSIGNATURE_ED25519)), SEEDS)
def test_key_round_trip(name: str, kind: int, seed: bytes) -> None:
    key = SigningKey(name=name, kind=kind, seed=seed).verifier
    assert VerifierKey.parse(key.format()) == key


@given(CHECKPOINTS, NAMES, SEEDS, st.integers(0, 2**63 - 1))
def test_cosignature_round_trip(
    checkpoint: Checkpoint, name: str, seed: bytes, time_s: int
) -> None:
    key = SigningKey(name=name, kind=COSIGNATURE_ED25519, seed=seed)
    assert verify_cosignature(cosign(checkpoint, key, time_s), key.verifier, checkpoint) == time_s


@given(st.integers(-1, 7), st.integers(0, SIZE_MAX), st.integers(1, 256))
def test_tile_path_round_trip(level: int, position: int, width: int) -> None:
    index = position >> (8 * max(level, 0) + 9)
    tile = TilePath(level=level, index=index, width=width if level < 7 else 1)
    assert TilePath.parse(tile.format()) == tile


@given(st.lists(st.binary(max_size=99), min_size=1, max_size=256))
def test_entries_round_trip(entries: list[bytes]) -> None:
    assert decode_entries(encode_entries(entries), len(entries)) == entries


@given(st.binary(max_size=200), st.integers(1, 256))
def test_entries_read_are_canonical(data: bytes, width: int) -> None:
    try:
        entries = decode_entries(data, width)
    except LedgerError:
        return
    assert encode_entries(entries) == data


@given(st.lists(HASHES, max_size=70), st.lists(HASHES, max_size=70))
def test_head_grows_like_the_naive_tree(first: list[bytes], second: list[bytes]) -> None:
    head = CompactRange().extend(first).extend(second)
    assert head.root() == naive_root(first + second) == root_of(first + second)
    assert CompactRange.decode(head.encode()) == head


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 299))
def test_proofs_of_any_size(one: int, other: int, leaf: int) -> None:
    old, new = sorted((one, other))
    index = leaf % new
    old_root, new_root = root_of(LEAVES[:old]), root_of(LEAVES[:new])
    verify_inclusion(LEAVES[index], index, new, prove_inclusion(READER, index, new), new_root)
    verify_consistency(old, old_root, new, new_root, prove_consistency(READER, old, new))


SAMPLES = (
    (EXAMPLE / "log" / "checkpoint").read_bytes(),
    (EXAMPLE / "event-257.tlog-proof").read_bytes(),
    (EXAMPLE / "policy.txt").read_bytes(),
    (EXAMPLE / "log.vkey").read_bytes().strip(),
    b"tile/0/x001/234.p/17",
)
PARSERS = (
    SignedNote.parse,
    Checkpoint.parse,
    Receipt.parse,
    Policy.parse,
    CompactRange.decode,
    lambda data: VerifierKey.parse(data.decode("latin-1")),
    lambda data: TilePath.parse(data.decode("latin-1")),
    lambda data: decode_entries(data, 3),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A sample with a piece replaced by other bytes, or bytes that were never a sample."""
    data = draw(st.sampled_from(SAMPLES) | st.binary(max_size=300))
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(len(data), start + 20)))
    return data[:start] + draw(st.binary(max_size=20)) + data[end:]


@pytest.mark.parametrize("at", range(len(PARSERS)))
@given(data=damaged())
def test_garbage_gives_our_errors_only(at: int, data: bytes) -> None:
    try:
        value = PARSERS[at](data)
    except LedgerError:
        return
    if isinstance(value, (SignedNote, Checkpoint, Receipt)):
        assert value.format() == data
