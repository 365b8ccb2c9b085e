"""Signed notes and verifier keys: vectors, strictness, every flipped bit."""

import pytest

from ledger.errors import InvalidEncoding, InvalidKey, InvalidSignature, LedgerError
from ledger.tlog.note import (
    COSIGNATURE_ED25519,
    ED25519,
    NOTE_BYTES_MAX,
    SIGNATURES_MAX,
    Signature,
    SignedNote,
    SigningKey,
    VerifierKey,
    sign_note,
    verify_message,
    verify_note,
)
from tests.unit.ledger.tlog.samples import EXAMPLE, TESSERA, example_keys, flip_bit

# From the Go package golang.org/x/mod/sumdb/note.
GO_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
GO_LINE = (
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuw"
    "HjG1Yu72IneyaQM=\n"
)
GO_TEXT = "This is an example message.\n"

KEY = SigningKey(name="log.example", kind=ED25519, seed=bytes(range(32)))


def note_bytes(*, text: str = GO_TEXT, blank: str = "\n", lines: str = GO_LINE) -> bytes:
    return (text + blank + lines).encode()


def test_the_note_of_the_go_implementation() -> None:
    key = VerifierKey.parse(GO_KEY)
    note = SignedNote.parse(note_bytes())
    verify_note(note, key)
    assert note.format() == note_bytes()
    assert key.format() == GO_KEY
    assert key.key_hash.hex() == "530d903a"


def test_keys_of_the_vectors() -> None:
    log_key, _ = example_keys()
    assert log_key.verifier.format() + "\n" == (EXAMPLE / "log.vkey").read_text()
    text = (TESSERA / "log.vkey").read_text().strip()
    assert VerifierKey.parse(text).format() == text


def test_every_flipped_bit_of_a_note() -> None:
    data = sign_note(b"one\n\ntwo\n", KEY).format()
    verify_note(SignedNote.parse(data), KEY.verifier)
    for bit in range(8 * len(data)):
        with pytest.raises(LedgerError):
            verify_note(SignedNote.parse(flip_bit(data, bit)), KEY.verifier)


def test_every_flipped_bit_of_a_verifier_key() -> None:
    data = KEY.verifier.format().encode()
    for bit in range(8 * len(data)):
        with pytest.raises(LedgerError):
            VerifierKey.parse(flip_bit(data, bit).decode("latin-1"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        GO_TEXT.encode(),
        note_bytes(blank=""),
        note_bytes(lines=""),
        note_bytes(lines="\n"),
        note_bytes(lines=GO_LINE[:-1]),
        note_bytes(lines=GO_LINE + "\n"),
        note_bytes(lines=GO_LINE.replace("\n", "\r\n")),
        note_bytes(lines=GO_LINE.replace("—", "-")),
        note_bytes(lines=GO_LINE.replace(" Uw", "  Uw")),
        note_bytes(lines=GO_LINE.replace(" Uw", "\u00a0Uw")),
        note_bytes(lines=GO_LINE.replace("foo", "f+o")),
        note_bytes(lines=GO_LINE.replace("foo", "f\u2003o")),
        note_bytes(lines=GO_LINE.replace("=", "")),
        note_bytes(lines=GO_LINE.replace("aQM=", "aQN=")),
        note_bytes(lines=GO_LINE.replace("Kuw", "K\nuw")),
        note_bytes(lines="—  Uw2QOkn8\n"),
        note_bytes(lines="— name \n"),
        note_bytes(lines="— name Uw2QOg==\n"),
        note_bytes(lines=f"— {'n' * 256} Uw2QOkn8\n"),
        note_bytes(text="tab\there\n"),
        note_bytes(text="nul\0\n"),
        note_bytes().replace(b"This", b"\xff"),
        note_bytes(lines=GO_LINE * (SIGNATURES_MAX + 1)),
        note_bytes(text="x" * NOTE_BYTES_MAX + "\n"),
    ],
)
def test_notes_refused(data: bytes) -> None:
    with pytest.raises(InvalidEncoding):
        SignedNote.parse(data)


def test_text_may_hold_empty_lines_and_other_line_separators() -> None:
    text = "a\n\n\u2028b\u0085\n\n\n".encode()
    note = sign_note(text, KEY)
    assert SignedNote.parse(note.format()) == note
    assert SignedNote.parse(note.format()).text == text


def test_unknown_signatures_are_ignored() -> None:
    key = VerifierKey.parse(GO_KEY)
    other_hash = Signature(name=key.name, key_hash=bytes(4), raw=b"x")
    other_name = Signature(name="other", key_hash=key.key_hash, raw=b"x")
    note = SignedNote.parse(note_bytes())
    mixed = SignedNote(text=note.text, signatures=(other_hash, other_name, *note.signatures))
    verify_note(mixed, key)
    with pytest.raises(InvalidSignature):
        verify_note(SignedNote(text=note.text, signatures=(other_hash, other_name)), key)


def test_two_lines_of_one_key_are_refused() -> None:
    note = sign_note(b"a\n", KEY)
    doubled = SignedNote(text=note.text, signatures=note.signatures * 2)
    with pytest.raises(InvalidSignature):
        verify_note(doubled, KEY.verifier)


def test_a_signature_of_other_length_is_refused() -> None:
    signature = KEY.sign(b"a\n")
    verify_message(KEY.verifier, b"a\n", signature)
    for wrong in (signature[:-1], signature + b"\0", b""):
        with pytest.raises(InvalidSignature):
            verify_message(KEY.verifier, b"a\n", wrong)
    # The first byte of the message moved to the end of the signature.
    with pytest.raises(InvalidSignature):
        verify_message(KEY.verifier, b"\n", signature + b"a")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com/foo",
        GO_KEY.replace("530d903a", "530D903A"),
        GO_KEY.replace("530d903a", "530d903b"),
        GO_KEY.replace("530d903a", "530d903"),
        GO_KEY.replace("+530d", "+ 530d"),
        GO_KEY.replace("example", "exam ple"),
        GO_KEY.replace("3U2k", "3U2"),
        GO_KEY[:-4],
        GO_KEY + "\n",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "a+530d903a+",
        "x" * 5000,
    ],
)
def test_verifier_keys_refused(text: str) -> None:
    with pytest.raises((InvalidEncoding, InvalidKey)):
        VerifierKey.parse(text)


@pytest.mark.parametrize(
    "raw",
    [
        bytes(32),
        (1).to_bytes(32, "little"),
        (2**255 - 20).to_bytes(32, "little"),
        (2**255 - 19).to_bytes(32, "little"),
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        bytes(31),
    ],
)
def test_points_that_accept_forgeries_are_no_keys(raw: bytes) -> None:
    for kind in (ED25519, COSIGNATURE_ED25519):
        with pytest.raises(InvalidKey):
            VerifierKey(name="weak", kind=kind, raw=raw)


def test_kinds_are_not_mixed_up() -> None:
    with pytest.raises(InvalidKey):
        SigningKey(name="a", kind=0x02, seed=bytes(32))
    with pytest.raises(InvalidKey):
        SigningKey(name="a", kind=ED25519, seed=bytes(31))
    cosigner = SigningKey(name="log.example", kind=COSIGNATURE_ED25519, seed=KEY.seed)
    assert cosigner.verifier.key_hash != KEY.verifier.key_hash
    note = sign_note(b"a\n", KEY)
    with pytest.raises(InvalidKey):
        sign_note(b"a\n", cosigner)
    with pytest.raises(InvalidKey):
        verify_note(note, cosigner.verifier)


def test_a_seed_is_not_shown() -> None:
    assert KEY.seed.hex() not in repr(KEY)
    assert repr(KEY.seed) not in repr(KEY)
