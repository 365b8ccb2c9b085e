"""Sealed payloads: they open where they must, and nowhere else."""

import hashlib
import hmac
import re
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InvalidKey
from node.sealing import format as sealed_format
from node.sealing.errors import InvalidPayload
from node.sealing.format import (
    CHUNK_BYTES_MAX,
    CONTEXTS,
    HEADER_BYTES,
    TAG_BYTES,
    ChunkCipher,
    Context,
    decode_header,
)
from node.sealing.keys import (
    DecryptionKey,
    format_decryption_key,
    generate_key,
    parse_decryption_key,
    seal_to,
)
from node.sealing.opener import Opener
from node.sealing.sealer import Sealer
from node.sealing.words import catalogue, describe
from tests.vectors.sealing_cases import CHUNK_BYTES, CONTEXT, KEY, PLAINTEXTS, read_cases

VECTORS = Path(__file__).resolve().parents[3] / "vectors" / "sealing"
CASES = read_cases()
SEALED_BYTES = CHUNK_BYTES + TAG_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A payload and what is needed to open it."""

    sealed: bytes
    commitment: bytes
    blind: bytes = b""
    context: Context = CONTEXT

    @property
    def header(self) -> bytes:
        return self.sealed[:HEADER_BYTES]


def seal(plaintext: bytes, *, context: Context = CONTEXT, piece: int = 10**6) -> Sealed:
    sealer = Sealer(KEY.public, context, chunk_bytes=CHUNK_BYTES)
    sealed = sealer.header
    for start in range(0, len(plaintext), piece):
        sealer.receive(plaintext[start : start + piece])
        while (chunk := sealer.next_chunk()) is not None:
            sealed += chunk
    sealed += sealer.finish()
    return Sealed(sealed=sealed, commitment=sealer.commitment, blind=sealer.blind, context=context)


def open_whole(
    payload: Sealed, *, key: DecryptionKey = KEY, piece: int = 10**6, limit: int = 2**36
) -> bytes:
    opener = Opener(key, payload.context, payload.header, size_bytes_max=limit)
    return read_rest(opener, payload, piece)


def read_rest(opener: Opener, payload: Sealed, piece: int = 10**6) -> bytes:
    plaintext = b""
    while data := payload.sealed[opener.offset : opener.offset + piece]:
        opener.receive(data)
        while (part := opener.next_chunk()) is not None:
            plaintext += part
    return plaintext + opener.finish(payload.commitment)


def frozen(name: str) -> Sealed:
    case = {key: bytes.fromhex(value) for key, value in CASES[name].items()}
    return Sealed(sealed=case["sealed"], commitment=case["commitment"], blind=case["blind"])


def refusal(payload: Sealed, **options: int) -> InvalidPayload:
    with pytest.raises(InvalidPayload) as caught:
        open_whole(payload, **options)
    return caught.value


@pytest.mark.parametrize("name", PLAINTEXTS)
def test_a_frozen_payload_opens(name: str) -> None:
    assert open_whole(frozen(name)) == PLAINTEXTS[name] == bytes.fromhex(CASES[name]["plaintext"])


def test_the_worked_example_is_the_frozen_payload() -> None:
    said: dict[str, str] = {}
    name = ""
    for line in (sealed_format.__doc__ or "").partition("Worked example")[2].split("\n"):
        if found := re.fullmatch(r"    (?:([a-z][a-z0-9 ]{0,12}?) +| {15})([0-9a-f]+)", line):
            name = found[1] or name
            said[name] = said.get(name, "") + found[2]
    payload = frozen("short")
    header = decode_header(payload.header)
    secret = KEY.open(header.sealed_secrets, header.info(CONTEXT))
    assert said == {
        "prefix": payload.sealed[:77].hex(),
        "context": CONTEXTS.encode(CONTEXT).hex(),
        "content key": secret[:32].hex(),
        "blind": secret[32:].hex(),
        "binding": hashlib.sha256(header.info(CONTEXT) + header.sealed_secrets).hexdigest(),
        "nonce": bytes([*bytes(11), 1]).hex(),
        "chunk 0": payload.sealed[HEADER_BYTES:].hex(),
        "commitment": payload.commitment.hex(),
    }
    assert said["commitment"] == CASES["short"]["commitment"]


def test_another_implementation_sealed_to_this_kind_of_key() -> None:
    """X-Wing with HKDF-SHA-256 and AES-256-GCM, made by Tink for the key of the draft's vectors."""
    key = DecryptionKey(
        bytes.fromhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26")
    )
    sealed = bytes.fromhex((VECTORS / "xwing_hpke.hex").read_text("ascii").replace("\n", ""))
    assert key.public[1:].hex().startswith("e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b")
    assert key.open(sealed, b"Ode on a Grecian Urn") == b"Beauty is truth, truth beauty"


@given(st.integers(0, 4 * CHUNK_BYTES), st.integers(1, 3_000), st.integers(1, 3_000))
def test_any_size_in_any_pieces(size: int, in_piece: int, out_piece: int) -> None:
    plaintext = bytes(index % 251 for index in range(size))
    payload = seal(plaintext, piece=in_piece)
    chunks = max(1, -(-size // CHUNK_BYTES))
    assert len(payload.sealed) == HEADER_BYTES + size + chunks * TAG_BYTES
    assert open_whole(payload, piece=out_piece) == plaintext


def test_the_commitment_is_the_documented_hmac() -> None:
    one, two = seal(b"guess me"), seal(b"guess me")
    message = b"tallystick/payload/v1\0guess me"
    assert one.commitment == hmac.digest(one.blind, message, "sha256")
    assert one.commitment != two.commitment
    assert one.blind not in one.sealed


def test_every_flipped_bit_is_refused() -> None:
    payload = frozen("short")
    for bit in range(len(payload.sealed) * 8):
        damaged = bytearray(payload.sealed)
        damaged[bit // 8] ^= 1 << bit % 8
        assert refusal(replace(payload, sealed=bytes(damaged))).code.startswith("sealed-")


@given(st.data())
def test_a_flipped_bit_in_any_chunk_is_refused_there(data: st.DataObject) -> None:
    payload = frozen("three-chunks")
    place = data.draw(st.integers(HEADER_BYTES, len(payload.sealed) - 1))
    damaged = bytearray(payload.sealed)
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    error = refusal(replace(payload, sealed=bytes(damaged)))
    chunk = (place - HEADER_BYTES) // SEALED_BYTES
    assert error.code == "sealed-chunk-damaged"
    assert error.values == {
        "chunk": str(chunk),
        "offset": str(HEADER_BYTES + chunk * SEALED_BYTES),
    }


@pytest.mark.parametrize("name", ["short", "three-chunks"])
def test_every_shorter_payload_is_refused(name: str) -> None:
    payload = frozen(name)
    for size in range(0, len(payload.sealed), 1 if name == "short" else 7):
        code = refusal(replace(payload, sealed=payload.sealed[:size])).code
        if size < HEADER_BYTES:
            assert code == ("sealed-unknown" if size < 7 else "sealed-truncated")
        else:
            assert code in ("sealed-truncated", "sealed-chunk-damaged")


def test_a_cut_between_chunks_is_named_a_cut() -> None:
    payload = frozen("three-chunks")
    for chunks in (0, 1, 2):
        cut = payload.sealed[: HEADER_BYTES + chunks * SEALED_BYTES]
        assert refusal(replace(payload, sealed=cut)).code == "sealed-truncated"


def test_bytes_after_the_end_are_refused() -> None:
    for name, extra, code in (
        ("short", b"\0", "sealed-chunk-damaged"),
        ("one-full-chunk", b"\0", "sealed-extended"),
        ("one-full-chunk", bytes(2 * SEALED_BYTES), "sealed-extended"),
        ("three-chunks", bytes(SEALED_BYTES), "sealed-chunk-damaged"),
    ):
        payload = frozen(name)
        assert refusal(replace(payload, sealed=payload.sealed + extra)).code == code


def test_chunks_in_another_order_are_refused() -> None:
    payload = frozen("three-chunks")
    header, first, second, last = (
        payload.sealed[start:end]
        for start, end in (
            (0, HEADER_BYTES),
            (HEADER_BYTES, HEADER_BYTES + SEALED_BYTES),
            (HEADER_BYTES + SEALED_BYTES, HEADER_BYTES + 2 * SEALED_BYTES),
            (HEADER_BYTES + 2 * SEALED_BYTES, len(payload.sealed)),
        )
    )
    for chunks in ((second, first, last), (first, first, last), (first, last), (last,)):
        error = refusal(replace(payload, sealed=header + b"".join(chunks)))
        assert error.code == "sealed-chunk-damaged"


def test_a_chunk_of_another_payload_is_refused() -> None:
    payload, other = seal(bytes(2_500)), seal(bytes(2_500))
    middle = HEADER_BYTES + SEALED_BYTES
    mixed = payload.sealed[:middle] + other.sealed[middle:]
    assert refusal(replace(payload, sealed=mixed)).code == "sealed-chunk-damaged"


def test_a_wrong_key_is_named_with_the_right_one() -> None:
    other = DecryptionKey(bytes(32))
    with pytest.raises(InvalidPayload) as caught:
        open_whole(frozen("short"), key=other)
    assert caught.value.code == "sealed-key-wrong"
    assert caught.value.values == {"expected": KEY.hash.hex()[:16], "used": other.hash.hex()[:16]}
    for language in ("zh", "en"):
        detail = describe(caught.value, language).detail
        assert KEY.hash.hex()[:16] in detail
        assert other.hash.hex()[:16] in detail


@pytest.mark.parametrize(
    "change",
    [
        {"network": b"\x5b" * 32},
        {"exchange": b"\xe2" * 32},
        {"requester": "shanghai2"},
        {"provider": "requester"},
        {"dataset": "vat-invoices-2"},
        {"requester": "zhejiang", "provider": "shanghai"},
    ],
)
def test_a_payload_of_another_exchange_is_refused(change: dict[str, str | bytes]) -> None:
    context = msgspec.structs.replace(CONTEXT, **change)
    payload = replace(frozen("short"), context=context)
    assert refusal(payload).code == "sealed-context-wrong"
    # A prefix that claims the other context does not help, nor does a prefix of the other key.
    honest = seal(b"x", context=context).sealed
    forged = payload.sealed[:45] + honest[45:77] + payload.sealed[77:]
    assert refusal(replace(payload, sealed=forged)).code == "sealed-header-damaged"


def test_a_payload_renamed_to_another_key_is_refused() -> None:
    other = DecryptionKey(bytes(32))
    payload = frozen("short")
    forged = replace(payload, sealed=payload.sealed[:13] + other.hash + payload.sealed[45:])
    with pytest.raises(InvalidPayload, match="sealed-header-damaged"):
        open_whole(forged, key=other)


@pytest.mark.parametrize(
    ("place", "value", "code"),
    [
        (0, b"T", "sealed-unknown"),
        (7, b"\x02", "sealed-version-unknown"),
        (8, b"\x02", "sealed-suite-unknown"),
        (9, bytes(4), "sealed-chunk-size-invalid"),
        (9, (1_023).to_bytes(4, "big"), "sealed-chunk-size-invalid"),
        (9, (512).to_bytes(4, "big"), "sealed-chunk-size-invalid"),
        (9, (2 * CHUNK_BYTES_MAX).to_bytes(4, "big"), "sealed-chunk-size-invalid"),
        (9, (2_048).to_bytes(4, "big"), "sealed-header-damaged"),
    ],
)
def test_the_prefix_is_read_strictly(place: int, value: bytes, code: str) -> None:
    payload = frozen("short")
    data = payload.sealed[:place] + value + payload.sealed[place + len(value) :]
    assert refusal(replace(payload, sealed=data)).code == code


def test_another_content_than_on_the_ledger_is_refused() -> None:
    payload = replace(seal(b"one"), commitment=seal(b"one").commitment)
    assert refusal(payload).code == "sealed-commitment-wrong"


def test_an_empty_last_chunk_after_others_is_refused() -> None:
    """One content, one number of chunks: the sealer never does this."""
    full = frozen("one-full-chunk")
    header = decode_header(full.header)
    secret = KEY.open(header.sealed_secrets, header.info(CONTEXT))
    cipher = ChunkCipher(secret[:32], header, CONTEXT)
    chunks = cipher.seal(0, PLAINTEXTS["one-full-chunk"], is_last=False)
    chunks += cipher.seal(1, b"", is_last=True)
    assert refusal(replace(full, sealed=full.header + chunks)).code == "sealed-chunk-damaged"


def test_too_large_is_refused_on_both_sides() -> None:
    payload = frozen("three-chunks")
    assert open_whole(payload, limit=2_500) == PLAINTEXTS["three-chunks"]
    for limit in (0, 1_023, 1_024, 2_047, 2_048, 2_499):
        assert refusal(payload, limit=limit).code == "sealed-too-large"
    opener = Opener(KEY, CONTEXT, payload.header, size_bytes_max=CHUNK_BYTES)
    opener.receive(payload.sealed[HEADER_BYTES:])
    with pytest.raises(InvalidPayload, match="sealed-too-large"):
        opener.next_chunk()  # nothing is given out before it
    sealer = Sealer(KEY.public, CONTEXT, chunk_bytes=CHUNK_BYTES, size_bytes_max=10)
    sealer.receive(bytes(10))
    with pytest.raises(InvalidPayload, match="sealed-too-large"):
        sealer.receive(b"\0")


@given(st.integers(HEADER_BYTES, HEADER_BYTES + 2_548), st.integers(1, 3_000))
def test_a_transfer_goes_on_after_a_break_and_after_a_restart(cut: int, piece: int) -> None:
    payload, plaintext = frozen("three-chunks"), PLAINTEXTS["three-chunks"]
    first = Opener(KEY, CONTEXT, payload.header)
    first.receive(payload.sealed[first.offset : cut])
    written = b""
    while (part := first.next_chunk()) is not None:
        written += part
    assert first.offset == cut
    second = Opener(KEY, CONTEXT, payload.header)
    for start in range(0, len(written), CHUNK_BYTES):
        second.restore(written[start : start + CHUNK_BYTES])
    assert second.offset == HEADER_BYTES + len(written) // CHUNK_BYTES * SEALED_BYTES
    for opener in (first, second):
        assert written + read_rest(opener, payload, piece) == plaintext


def test_altered_plaintext_that_is_restored_is_refused() -> None:
    payload = frozen("three-chunks")
    opener = Opener(KEY, CONTEXT, payload.header)
    opener.restore(bytes(CHUNK_BYTES))
    with pytest.raises(InvalidPayload, match="sealed-commitment-wrong"):
        read_rest(opener, payload)


@pytest.mark.parametrize("chunk", [0, 1, 2])
def test_a_damaged_chunk_is_fetched_again(chunk: int) -> None:
    payload = frozen("three-chunks")
    damaged = bytearray(payload.sealed)
    damaged[HEADER_BYTES + chunk * SEALED_BYTES] ^= 1
    opener = Opener(KEY, CONTEXT, payload.header)
    opener.receive(bytes(damaged[HEADER_BYTES:]))
    written = b""
    for _ in range(min(chunk, 2)):
        written += opener.next_chunk() or b""
    with pytest.raises(InvalidPayload, match="sealed-chunk-damaged"):
        opener.finish(payload.commitment) if chunk == 2 else opener.next_chunk()
    assert opener.offset == HEADER_BYTES + chunk * SEALED_BYTES
    assert written + read_rest(opener, payload) == PLAINTEXTS["three-chunks"]


def test_nobody_seals_to_a_malformed_key() -> None:
    for key in (b"", KEY.public[:-1], b"\x02" + KEY.public[1:], KEY.public[:-32] + bytes(32)):
        with pytest.raises(InvalidKey):
            Sealer(key, CONTEXT)
        with pytest.raises(InvalidKey):
            seal_to(key, b"", b"")


def test_a_key_file_leads_back_to_the_key() -> None:
    text = format_decryption_key(KEY)
    assert parse_decryption_key(text).public == KEY.public
    assert KEY.seed.hex() not in repr(KEY)
    assert generate_key().public != generate_key().public
    for wrong in ("", text.upper(), text[:-2], " " + text, text.replace("v1", "v2")):
        with pytest.raises(InvalidKey) as caught:
            parse_decryption_key(wrong)
        assert KEY.seed.hex() not in str(caught.value)
    with pytest.raises(InvalidKey):
        DecryptionKey(bytes(31))


def test_every_code_has_words_in_both_languages_and_no_word_is_idle() -> None:
    source = "".join(
        path.read_text("utf-8") for path in Path(sealed_format.__file__).parent.glob("*.py")
    )
    codes = set(re.findall(r'"(sealed-[a-z-]+)"', source))
    assert set(catalogue("en")) == set(catalogue("zh")) == codes
    for code in codes:
        places = [
            sorted(re.findall(r"\{([a-z]+)\}", catalogue(name)[code]["detail"]))
            for name in ("en", "zh")
        ]
        assert places[0] == places[1]
