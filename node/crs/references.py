"""Keyed commitments of reference ids: the key file of a year, and the references of a message.

A key file is one line of text with mode 0600, `tallystick-reference-key YEAR HEX`. One member makes
it and hands it to the others outside the network, sealed to their encryption keys. What goes on the
ledger is described in `ledger.exchange.references`.
"""

import hashlib
import hmac
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ledger.exchange.references import REFERENCES_MAX
from node.crs.check import check_xml
from node.crs.errors import InvalidKey
from node.crs.message import Reader, Record

REFERENCE_DOMAIN = b"tallystick/reference/v1\0"
KEY_DOMAIN = b"tallystick/reference-key/v1\0"
_HEAD = "tallystick-reference-key"
_LINE = re.compile(rf"{_HEAD} ([0-9]{{4}}) ([0-9a-f]{{64}})\n")
Kind = Literal["message", "document"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceKey:
    """The secret that members share for one year of reporting periods."""

    year: str
    secret: bytes

    def __repr__(self) -> str:
        return f"ReferenceKey({self.year}, {self.id.hex()[:16]})"

    @property
    def id(self) -> bytes:
        """What stands on the ledger in place of the key."""
        return hashlib.sha256(KEY_DOMAIN + self.secret).digest()

    def commit(self, kind: Kind, id_: str) -> bytes:
        """Commitment of the id of a message or document, as it stands in the message."""
        said = REFERENCE_DOMAIN + kind.encode() + b"\0" + id_.encode()
        return hmac.digest(self.secret, said, "sha256")


def make_key(path: Path, year: str) -> ReferenceKey:
    """A new key in a new file. Raises `InvalidKey` or `OSError`."""
    if not re.fullmatch(r"[0-9]{4}", year):
        raise InvalidKey("reference-key-year", year)
    key = ReferenceKey(year=year, secret=os.urandom(32))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InvalidKey("reference-key-exists", path.name) from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{_HEAD} {year} {key.secret.hex()}\n")
    return key


def read_key(path: Path) -> ReferenceKey:
    """The key in a file that is for its owner's eyes only. Raises `InvalidKey` or `OSError`."""
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
        data = file.read(256)
    if mode & 0o077:
        raise InvalidKey("reference-key-open", f"{path.name}: {mode:04o}")
    found = _LINE.fullmatch(data.decode("ascii", errors="replace"))
    if found is None:
        raise InvalidKey("reference-key-unreadable", path.name)
    return ReferenceKey(year=found[1], secret=bytes.fromhex(found[2]))


def read_references(path: Path, key: ReferenceKey) -> Iterator[dict[str, Any]]:
    """Bodies of `share.referenced` without the exchange, one for each `REFERENCES_MAX` documents.

    Raises `InvalidDocument` for XML that is not safe and `InvalidKey` for a key of another year.
    """
    check_xml(path)
    yield from walk_references(path, key)


def walk_references(
    path: Path, key: ReferenceKey, tell: Callable[[], None] = lambda: None
) -> Iterator[dict[str, Any]]:
    """The same of a file that is known to be safe; `tell` is called for every part of it."""
    reader = Reader(path)
    batch: list[dict[str, str]] = []
    head: dict[str, str] = {}
    for part in reader.parts():
        tell()
        if not isinstance(part, Record):
            continue
        head = head or _head(reader, key)
        batch.append(_reference(part, key))
        if len(batch) == REFERENCES_MAX:
            yield {**head, "references": batch}
            batch = []
    if batch:
        yield {**head, "references": batch}


def _head(reader: Reader, key: ReferenceKey) -> dict[str, str]:
    header = reader.header
    if header.period[:4] != key.year:
        raise InvalidKey("reference-key-other-year", f"{header.period[:4]}, {key.year}")
    return {
        "key_id": key.id.hex(),
        "message": key.commit("message", header.message_id).hex(),
        "period": header.period,
        "receiving": header.receiving,
    }


def _reference(record: Record, key: ReferenceKey) -> dict[str, str]:
    corrected = record.corrected_id
    return {
        "document": key.commit("document", record.document_id).hex(),
        "indicator": record.indicator,
        "corrected": key.commit("document", corrected).hex() if corrected else "",
    }
