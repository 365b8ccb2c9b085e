"""Commitments of reference ids: equal for those with the key, and in the form of the event."""

import hashlib
import hmac
from pathlib import Path

import msgspec
import pytest

from ledger.exchange.references import REFERENCES_MAX, ShareReferenced
from node.crs.errors import InvalidDocument, InvalidKey
from node.crs.references import ReferenceKey, make_key, read_key, read_references
from tests.unit.node.crs import messages as m

KEY = ReferenceKey(year="2024", secret=bytes(range(32)))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_commitment_is_a_keyed_hash_of_kind_and_id() -> None:
    said = b"tallystick/reference/v1\0document\0DE2024A1"
    assert KEY.commit("document", "DE2024A1") == hmac.new(KEY.secret, said, "sha256").digest()
    assert KEY.commit("message", "DE2024A1") != KEY.commit("document", "DE2024A1")
    other = ReferenceKey(year="2024", secret=bytes(32))
    assert other.commit("document", "DE2024A1") != KEY.commit("document", "DE2024A1")
    assert KEY.id == hashlib.sha256(b"tallystick/reference-key/v1\0" + KEY.secret).digest()
    assert KEY.secret.hex() not in repr(KEY)


def test_a_key_is_made_once_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = make_key(path, "2024")
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key(path) == key
    with pytest.raises(InvalidKey, match="reference-key-exists"):
        make_key(path, "2024")
    with pytest.raises(InvalidKey, match="reference-key-year"):
        make_key(tmp_path / "other", "24")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    make_key(path, "2024")
    path.chmod(mode)
    with pytest.raises(InvalidKey, match="reference-key-open"):
        read_key(path)


@pytest.mark.parametrize("text", ["", "tallystick-reference-key 2024 00\n", "x" * 300])
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "key", text)
    path.chmod(0o600)
    with pytest.raises(InvalidKey, match="reference-key-unreadable"):
        read_key(path)


def test_a_message_becomes_the_body_of_an_event(tmp_path: Path) -> None:
    text = m.message(m.body(
        m.institution(indicator="OECD0"),
        m.group(m.account(indicator="OECD2", corrected="DE2023A1"),
                m.account("DE2024A2", indicator="OECD13", corrected="DE2023A2")),
    ))  # fmt: skip
    (batch,) = read_references(write(tmp_path / "m.xml", text), KEY)
    assert (batch["period"], batch["receiving"]) == ("2024-12-31", "CN")
    assert batch["message"] == KEY.commit("message", "DE2024CN0001").hex()
    assert batch["key_id"] == KEY.id.hex()
    said = [
        (each["indicator"], each["document"], each["corrected"]) for each in batch["references"]
    ]
    assert said == [
        ("resend", KEY.commit("document", "DE2024F1").hex(), ""),
        ("corrected", KEY.commit("document", "DE2024A1").hex(),
         KEY.commit("document", "DE2023A1").hex()),
        ("deleted", KEY.commit("document", "DE2024A2").hex(),
         KEY.commit("document", "DE2023A2").hex()),
    ]  # fmt: skip
    assert "DE2024" not in repr(batch)
    parts = {name: bytes.fromhex(batch[name]) for name in ("key_id", "message")}
    references = [
        {**each, "document": bytes.fromhex(each["document"]),
         "corrected": bytes.fromhex(each["corrected"])}
        for each in batch["references"]
    ]  # fmt: skip
    document = {**batch, **parts, "references": references, "exchange": bytes(32)}
    msgspec.msgpack.decode(msgspec.msgpack.encode(document), type=ShareReferenced)


def test_long_messages_come_in_parts(tmp_path: Path) -> None:
    accounts = [m.account(f"DE2024A{number}") for number in range(2 * REFERENCES_MAX)]
    path = write(tmp_path / "m.xml", m.message(m.body(m.institution(), m.group(*accounts))))
    sizes = [len(batch["references"]) for batch in read_references(path, KEY)]
    assert sizes == [REFERENCES_MAX, REFERENCES_MAX, 1]


def test_a_message_without_documents_has_no_references(tmp_path: Path) -> None:
    path = write(tmp_path / "m.xml", m.message("", kind="CRS703"))
    assert list(read_references(path, KEY)) == []


def test_the_key_is_that_of_the_period(tmp_path: Path) -> None:
    path = write(tmp_path / "m.xml", m.message(period="2023-12-31"))
    with pytest.raises(InvalidKey, match="reference-key-other-year: 2023, 2024"):
        list(read_references(path, KEY))


def test_unsafe_xml_has_no_references(tmp_path: Path) -> None:
    path = write(tmp_path / "m.xml", m.message(head="<!DOCTYPE Message>"))
    with pytest.raises(InvalidDocument, match="crs-xml-doctype"):
        list(read_references(path, KEY))
