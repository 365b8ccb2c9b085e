"""Receiver: a folder for each delivery, which appears under its name complete and durable.

    <exchange in hex>.<correction>/records.jsonl     the records, or instead
    <exchange in hex>.<correction>/message.xml       the message of the reporting standard, and
    <exchange in hex>.<correction>/status.xml        the status message about it
    <exchange in hex>.<correction>/report.json       the quality report
    <exchange in hex>.<correction>/delivery.json     whose records these are, and how many

Folders have mode 0700, files 0600. Erasing unlinks: what a disk or a copy still holds afterwards is
beyond a program, so the disk must be encrypted.
"""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from ledger.errors import InvalidEncoding
from ledger.storage import sync_folder
from node.connectors.errors import ReceiverFailed
from node.connectors.interface import Delivery
from node.connectors.options import PATH, option, read_options
from node.records.report import decode_report

INBOX_OPTIONS = (
    option(
        "path",
        PATH,
        "inbox",
        "收件文件夹，须在加密磁盘上",
        "the folder, on an encrypted disk",
    ),
)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class FolderReceiver:
    """Options as in `INBOX_OPTIONS`; the folder is made where its parent exists."""

    def __init__(self, options: Mapping[str, Any], base: Path) -> None:
        self._root: Path = read_options(INBOX_OPTIONS, options, base)["path"]

    def check(self) -> None:
        """Whether the folder is there and can be written to."""
        with self._told():
            self._root.mkdir(mode=0o700, exist_ok=True)
            if not os.access(self._root, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def receive(self, delivery: Delivery) -> None:
        """Write everything beside its place, then give it its name."""
        self.check()
        name = f"{delivery.exchange.hex()}.{delivery.correction}"
        about, report = delivery.describe(), _report(delivery.report)
        place, draft = self._root / name, self._root / f".{name}.part"
        if place.exists():
            self._compare(place, about)
            with self._told():
                # Whoever gave it its name may have been killed before that was durable.
                sync_folder(self._root)
            return
        with self._told():
            if draft.exists():
                shutil.rmtree(draft)
            draft.mkdir(mode=0o700)
            try:
                name = "message.xml" if delivery.form else "records.jsonl"
                _write(draft / name, delivery.checked_pieces())
                if delivery.answer:
                    _write(draft / "status.xml", (delivery.answer,))
                _write(draft / "report.json", (report,))
                _write(draft / "delivery.json", (about,))
                sync_folder(draft)
                draft.rename(place)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
            sync_folder(self._root)

    def erase(self, exchange: bytes) -> None:
        """Unlink every delivery and half-written draft of the exchange."""
        if not self._root.exists():
            return
        with self._told():
            for pattern in (f"{exchange.hex()}.*", f".{exchange.hex()}.*"):
                for folder in sorted(self._root.glob(pattern)):
                    shutil.rmtree(folder)
            sync_folder(self._root)

    def close(self) -> None:
        """Nothing stays open between two deliveries."""

    def _compare(self, place: Path, about: bytes) -> None:
        with self._told():
            known = (place / "delivery.json").read_bytes()
        if known != about:
            raise ReceiverFailed("delivery-differs", place.name, retry=False)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            code = "inbox-full" if error.errno in _FULL else "inbox-failed"
            raise ReceiverFailed(code, f"{self._root}: {error.strerror}", retry=True) from None


def _report(data: bytes) -> bytes:
    try:
        return msgspec.json.format(msgspec.json.encode(decode_report(data)), indent=2) + b"\n"
    except InvalidEncoding:
        raise ReceiverFailed("report-invalid", retry=False) from None


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(descriptor)
