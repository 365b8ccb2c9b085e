"""Receipts: the example in both directions, every flipped bit, strictness."""

import pytest

from ledger.errors import InvalidCheckpoint, InvalidEncoding, InvalidProof, LedgerError
from ledger.tlog.merkle import SIZE_MAX, hash_leaves, prove_inclusion
from ledger.tlog.policy import Policy
from ledger.tlog.receipt import EXTRA_BYTES_MAX, RECEIPT_BYTES_MAX, Receipt, verify_receipt
from tests.unit.ledger.tlog.samples import (
    EXAMPLE,
    EXAMPLE_ENTRIES,
    NodeReader,
    build_note,
    build_policy,
    flip_bit,
)

DATA = (EXAMPLE / "event-257.tlog-proof").read_bytes()
ENTRY = (EXAMPLE / "leaf.bin").read_bytes()
POLICY = Policy.parse((EXAMPLE / "policy.txt").read_bytes())
READER = NodeReader(hash_leaves(EXAMPLE_ENTRIES))
HEAD = "c2sp.org/tlog-proof@v1\n"
NOTE = build_note().format().decode()


def build_receipt(*, index: int = 257, extra: bytes | None = None, **note: object) -> Receipt:
    proof = prove_inclusion(READER, index, 300)
    return Receipt(index=index, proof=proof, note=build_note(**note), extra=extra)


def test_example_receipt_is_rebuilt() -> None:
    assert build_receipt().format() == DATA


def test_example_receipt_is_read() -> None:
    receipt = Receipt.parse(DATA)
    assert receipt.index == 257
    assert receipt.format() == DATA
    verify_receipt(receipt, ENTRY, POLICY)


def test_every_entry_has_a_receipt() -> None:
    policy = build_policy()
    for index, entry in enumerate(EXAMPLE_ENTRIES[::13]):
        verify_receipt(build_receipt(index=13 * index), entry, policy)


def test_every_flipped_bit() -> None:
    # All four cosigners are needed, so that no line can be lost unnoticed.
    policy = build_policy(threshold=4)
    verify_receipt(Receipt.parse(DATA), ENTRY, policy)
    for bit in range(8 * len(DATA)):
        with pytest.raises(LedgerError):
            verify_receipt(Receipt.parse(flip_bit(DATA, bit)), ENTRY, policy)
    for bit in range(8 * len(ENTRY)):
        with pytest.raises(InvalidProof):
            verify_receipt(Receipt.parse(DATA), flip_bit(ENTRY, bit), policy)


def test_receipt_needs_the_quorum() -> None:
    verify_receipt(build_receipt(cosigned_by=(0, 2, 3)), ENTRY, POLICY)
    with pytest.raises(InvalidCheckpoint):
        verify_receipt(build_receipt(cosigned_by=(0, 2)), ENTRY, POLICY)


def test_extra_data_round_trip() -> None:
    for extra in (b"x", bytes(EXTRA_BYTES_MAX)):
        receipt = build_receipt(extra=extra)
        assert Receipt.parse(receipt.format()) == receipt
        verify_receipt(receipt, ENTRY, POLICY)
    for extra in (b"", bytes(EXTRA_BYTES_MAX + 1)):
        with pytest.raises(InvalidEncoding):
            build_receipt(extra=extra)


@pytest.mark.parametrize("index", [-1, SIZE_MAX])
def test_index_refused(index: int) -> None:
    with pytest.raises(InvalidEncoding):
        Receipt(index=index, proof=(), note=build_note())


@pytest.mark.parametrize("proof", [(bytes(31),), (bytes(32),) * 64])
def test_proof_refused(proof: tuple[bytes, ...]) -> None:
    with pytest.raises(InvalidEncoding):
        Receipt(index=0, proof=proof, note=build_note())


HASH_LINE = "ERERERERERERERERERERERERERERERERERERERERERE=\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEAD,
        HEAD + "index 0\n",
        HEAD + "index 0\n" + NOTE,
        HEAD + "index 0\n\n",
        HEAD + "\n" + NOTE,
        "index 0\n\n" + NOTE,
        HEAD.replace("v1", "v2") + "index 0\n\n" + NOTE,
        HEAD.replace("\n", "\r\n") + "index 0\n\n" + NOTE,
        HEAD + "index 00\n\n" + NOTE,
        HEAD + "index +1\n\n" + NOTE,
        HEAD + "index  1\n\n" + NOTE,
        HEAD + "index \n\n" + NOTE,
        HEAD + "index \u0661\n\n" + NOTE,
        HEAD + "extra \nindex 0\n\n" + NOTE,
        HEAD + "extra YQ\nindex 0\n\n" + NOTE,
        HEAD + "index 0\nextra YQ==\n\n" + NOTE,
        HEAD + "extra YQ==\nextra YQ==\nindex 0\n\n" + NOTE,
        HEAD + "index 0\nYQ==\n\n" + NOTE,
        HEAD + "index 0\n" + HASH_LINE * 64 + "\n" + NOTE,
        HEAD + "index 0\n\n\n" + NOTE.split("\n\n")[1],
        HEAD + "index 0\n\n" + NOTE + " ",
        HEAD + "index 0\n\n" + "x" * RECEIPT_BYTES_MAX,
    ],
)
def test_receipts_refused(text: str) -> None:
    with pytest.raises(InvalidEncoding):
        Receipt.parse(text.encode())
