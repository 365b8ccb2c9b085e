"""Checkpoints and cosignatures: vectors in both directions, strictness, flipped bits."""

import json

import pytest

from ledger.errors import (
    InvalidCheckpoint,
    InvalidEncoding,
    InvalidKey,
    InvalidSignature,
    LedgerError,
)
from ledger.tlog.checkpoint import (
    TIME_S_MAX,
    Checkpoint,
    cosign,
    decode_decimal,
    sign_checkpoint,
    verify_checkpoint,
    verify_cosignature,
    verify_cosignatures,
    verify_quorum,
)
from ledger.tlog.merkle import EMPTY_ROOT, SIZE_MAX
from ledger.tlog.note import (
    COSIGNATURE_ED25519,
    Signature,
    SignedNote,
    SigningKey,
    VerifierKey,
)
from tests.unit.ledger.tlog.samples import (
    EXAMPLE,
    EXAMPLE_TIME_S,
    TESSERA,
    VECTORS,
    build_note,
    example_keys,
    flip_bit,
    naive_root,
)

LOG_KEY, COSIGNERS = example_keys()
CHECKPOINT = Checkpoint.parse(build_note().text)
ROOT = b"\x11" * 32
ROOT_TEXT = "ERERERERERERERERERERERERERERERERERERERERERE="


def read_mldsa() -> tuple[VerifierKey, bytes]:
    text = (VECTORS / "torchwood_mldsa.txt").read_text()
    head, note = text.split("--- checkpoint ---\n")
    vkey = next(line for line in head.split("\n") if line.startswith("vkey "))
    return VerifierKey.parse(vkey.removeprefix("vkey ")), note.encode()


def test_example_log_is_rebuilt_from_its_seeds() -> None:
    assert build_note().format() == (EXAMPLE / "log" / "checkpoint").read_bytes()


def test_example_log_is_read() -> None:
    info = json.loads((EXAMPLE / "info.json").read_text())
    note = SignedNote.parse((EXAMPLE / "log" / "checkpoint").read_bytes())
    checkpoint = verify_checkpoint(note, VerifierKey.parse(info["log_vkey"]))
    assert (checkpoint.origin, checkpoint.size) == ("ledger.example/exchange", 300)
    message = f"cosignature/v1\ntime {info['cosig_time']}\n".encode() + note.text
    assert message.hex() == info["cosign_message_hex"]
    keys = [VerifierKey.parse(item["vkey"]) for item in info["witness"]]
    assert verify_cosignatures(note, keys) == dict.fromkeys(keys, EXAMPLE_TIME_S)
    verify_quorum(note, keys, 4)


def test_tessera_checkpoints_are_read() -> None:
    key = VerifierKey.parse((TESSERA / "log.vkey").read_text().strip())
    paths = sorted(TESSERA.glob("checkpoint*"))
    assert len(paths) >= 14
    for path in paths:
        data = path.read_bytes()
        note = SignedNote.parse(data)
        checkpoint = verify_checkpoint(note, key)
        assert note.format() == data
        assert checkpoint.format() == note.text
        if path.suffix:
            assert checkpoint.size == int(path.suffix[1:])


def test_mldsa_cosignature_of_torchwood() -> None:
    key, data = read_mldsa()
    note = SignedNote.parse(data)
    assert note.format() == data
    assert VerifierKey.parse(key.format()) == key
    assert verify_cosignatures(note, [key]) == {key: 0}
    verify_quorum(note, [key], 1)


def test_flipped_bits_of_an_mldsa_cosignature() -> None:
    key, data = read_mldsa()
    note = SignedNote.parse(data)
    checkpoint, line = Checkpoint.parse(note.text), note.signatures[0]
    for bit in (0, 7, 63, 64, 65, 9_999, 19_407, 8 * len(line.raw) - 1):
        changed = Signature(name=line.name, key_hash=line.key_hash, raw=flip_bit(line.raw, bit))
        with pytest.raises(InvalidSignature):
            verify_cosignature(changed, key, checkpoint)
    short = Signature(name=line.name, key_hash=line.key_hash, raw=line.raw[:-1])
    with pytest.raises(InvalidSignature):
        verify_cosignature(short, key, checkpoint)
    for other in (
        Checkpoint(origin="example.com/mldsa-lo", size=checkpoint.size, root=checkpoint.root),
        Checkpoint(origin=checkpoint.origin, size=2, root=checkpoint.root),
        Checkpoint(origin=checkpoint.origin, size=checkpoint.size, root=ROOT),
    ):
        with pytest.raises(InvalidSignature):
            verify_cosignature(line, key, other)


def verify_signed_and_cosigned(data: bytes) -> None:
    note = SignedNote.parse(data)
    verify_checkpoint(note, LOG_KEY.verifier)
    verify_quorum(note, [COSIGNERS[0].verifier], 1)


def test_every_flipped_bit_of_a_cosigned_checkpoint() -> None:
    data = build_note(cosigned_by=(0,)).format()
    for bit in range(8 * len(data)):
        with pytest.raises(LedgerError):
            verify_signed_and_cosigned(flip_bit(data, bit))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n",
        "a\n1\n",
        f"a\n1\n{ROOT_TEXT}",
        f"\n1\n{ROOT_TEXT}\n",
        f"a b\n1\n{ROOT_TEXT}\n",
        f"a+b\n1\n{ROOT_TEXT}\n",
        f"a\r\n1\n{ROOT_TEXT}\n",
        f"{'a' * 256}\n1\n{ROOT_TEXT}\n",
        f"a\n\n{ROOT_TEXT}\n",
        f"a\n01\n{ROOT_TEXT}\n",
        f"a\n+1\n{ROOT_TEXT}\n",
        f"a\n-1\n{ROOT_TEXT}\n",
        f"a\n1 \n{ROOT_TEXT}\n",
        f"a\n1_0\n{ROOT_TEXT}\n",
        f"a\n\u0661\n{ROOT_TEXT}\n",
        f"a\n{SIZE_MAX + 1}\n{ROOT_TEXT}\n",
        f"a\n1\n{ROOT_TEXT[:-1]}\n",
        f"a\n1\n{ROOT_TEXT[:-2]}F=\n",
        f"a\n1\n{ROOT_TEXT[:-4]}\n",
        f"a\n1\n{ROOT_TEXT}\nextension\n",
        f"a\n1\n{ROOT_TEXT}\n\n",
    ],
)
def test_texts_refused(text: str) -> None:
    with pytest.raises(InvalidEncoding):
        Checkpoint.parse(text.encode())


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(InvalidEncoding):
        Checkpoint.parse(b"\xff\n1\n" + ROOT_TEXT.encode() + b"\n")


def test_empty_tree_has_one_root() -> None:
    with pytest.raises(InvalidCheckpoint):
        Checkpoint(origin="a", size=0, root=ROOT)
    assert Checkpoint(origin="a", size=0, root=EMPTY_ROOT).root == naive_root([])


@pytest.mark.parametrize("number", [0, 1, 9, 10, SIZE_MAX])
def test_decimal_round_trip(number: int) -> None:
    assert decode_decimal(str(number)) == number


def test_log_key_has_the_name_of_the_log() -> None:
    other = Checkpoint(origin="other.example", size=1, root=ROOT)
    with pytest.raises(InvalidKey):
        sign_checkpoint(other, LOG_KEY)
    with pytest.raises(InvalidCheckpoint):
        verify_checkpoint(build_note(origin="other.example"), LOG_KEY.verifier)


def test_cosignature_round_trip() -> None:
    for time_s in (0, 1, EXAMPLE_TIME_S, TIME_S_MAX):
        line = cosign(CHECKPOINT, COSIGNERS[0], time_s)
        assert len(line.raw) == 72
        assert verify_cosignature(line, COSIGNERS[0].verifier, CHECKPOINT) == time_s
    for time_s in (-1, TIME_S_MAX + 1):
        with pytest.raises(InvalidEncoding):
            cosign(CHECKPOINT, COSIGNERS[0], time_s)


def test_cosignature_of_another_key_kind_or_length_is_refused() -> None:
    line = cosign(CHECKPOINT, COSIGNERS[0], 1)
    with pytest.raises(InvalidSignature):
        verify_cosignature(line, COSIGNERS[1].verifier, CHECKPOINT)
    with pytest.raises(InvalidKey):
        verify_cosignature(line, LOG_KEY.verifier, CHECKPOINT)
    with pytest.raises(InvalidKey):
        cosign(CHECKPOINT, LOG_KEY, 1)
    for raw in (line.raw[:8], line.raw[:-1], line.raw + b"\0"):
        changed = Signature(name=line.name, key_hash=line.key_hash, raw=raw)
        with pytest.raises(InvalidSignature):
            verify_cosignature(changed, COSIGNERS[0].verifier, CHECKPOINT)


def test_quorum_counts() -> None:
    keys = [key.verifier for key in COSIGNERS]
    for present in range(5):
        note = build_note(cosigned_by=range(present))
        for quorum in range(5):
            if present >= quorum:
                verify_quorum(note, keys, quorum)
            else:
                with pytest.raises(InvalidCheckpoint):
                    verify_quorum(note, keys, quorum)


def test_one_public_key_counts_once() -> None:
    twin = SigningKey(name="twin", kind=COSIGNATURE_ED25519, seed=COSIGNERS[0].seed)
    note = build_note(cosigned_by=(0,))
    both = SignedNote(text=note.text, signatures=(*note.signatures, cosign(CHECKPOINT, twin, 1)))
    keys = [COSIGNERS[0].verifier, twin.verifier]
    assert len(verify_cosignatures(both, keys)) == 2
    verify_quorum(both, keys, 1)
    with pytest.raises(InvalidCheckpoint):
        verify_quorum(both, keys, 2)


def test_a_bad_line_of_a_known_key_is_refused_even_with_a_quorum() -> None:
    note = build_note()
    *good, last = note.signatures
    bad = Signature(name=last.name, key_hash=last.key_hash, raw=flip_bit(last.raw, 100))
    changed = SignedNote(text=note.text, signatures=(*good, bad))
    keys = [key.verifier for key in COSIGNERS]
    with pytest.raises(InvalidSignature):
        verify_quorum(changed, keys, 3)
    verify_quorum(changed, keys[:3], 3)
