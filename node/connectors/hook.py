"""Receiver: a service of the agency that takes deliveries.

It gets `POST` with the records as JSON Lines, or a message of the reporting standard as it came,
and these headers; any status of success means that it has them durably. The same key twice is one
delivery. The status message about a message is at the gateway's socket.

    Idempotency-Key: <exchange in hex>.<correction>
    Tallystick-Delivery: what the delivery is, JSON in ASCII
    Tallystick-Signature: sha256=<HMAC-SHA-256 in hex, key: the line of signature_key_file>

What is signed are the method, a space, the idempotency key, a line feed, the value of
`Tallystick-Delivery`, a line feed, and the body. At the end of retention it gets `DELETE` below
the same URL, with the exchange in hex as last segment and as `Idempotency-Key`, no
`Tallystick-Delivery` and no body; 404 and 410 are success too.

The signature stands before the body, as services expect it, so the records are first written to a
temporary file without a name. The commitment on the ledger could not stand in for it: only those
who know its blind can check it.
"""

import errno
import hmac
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import IO, Any

from node.connectors.errors import ReceiverFailed
from node.connectors.interface import Delivery
from node.connectors.options import PATH, REQUIRED, option, read_options, read_secret
from node.connectors.transport import SERVICE_OPTIONS, Body, Service

HOOK_OPTIONS = (
    *SERVICE_OPTIONS,
    option(
        "signature_key_file",
        PATH,
        REQUIRED,
        "签名密钥文件（一行）",
        "file with the key of the signature (one line)",
    ),
    option(
        "spool_dir",
        PATH,
        None,
        "临时文件夹，须在加密磁盘上；默认用系统的",
        "folder for temporary files, on an encrypted disk; by default the system's",
    ),
)

_GONE = frozenset({404, 410})


class _Body:
    """A file to send that tells of every piece."""

    def __init__(self, file: IO[bytes], alive: Callable[[], None]) -> None:
        self._file = file
        self._alive = alive

    def read(self, size: int = -1, /) -> bytes:
        """The next piece."""
        self._alive()
        return self._file.read(size)


class HttpReceiver:
    """Options as in `HOOK_OPTIONS`."""

    def __init__(self, options: Mapping[str, Any], base: Path) -> None:
        values = read_options(HOOK_OPTIONS, options, base)
        self._service = Service(values, ReceiverFailed)
        self._key = read_secret(values["signature_key_file"], "signature_key_file")
        self._spool_dir: Path | None = values["spool_dir"]

    def check(self) -> None:
        """Whether the service takes connections."""
        self._service.check()

    def receive(self, delivery: Delivery) -> None:
        """Spool and sign, then send."""
        key, about = f"{delivery.exchange.hex()}.{delivery.correction}", delivery.describe()
        mac = self._begin("POST", key, about)
        with self._spool() as file:
            for piece in delivery.checked_pieces():
                mac.update(piece)
                self._write(file, piece)
            file.seek(0)
            headers = {
                "Content-Type": "application/xml" if delivery.form else "application/jsonl",
                "Content-Length": str(delivery.size_bytes),
                "Idempotency-Key": key,
                "Tallystick-Delivery": about.decode(),
                "Tallystick-Signature": f"sha256={mac.hexdigest()}",
            }
            self._send("POST", headers, _Body(file, delivery.alive))

    def erase(self, exchange: bytes) -> None:
        """Tell the service to erase all deliveries of the exchange."""
        key = exchange.hex()
        signature = self._begin("DELETE", key, b"").hexdigest()
        headers = {"Idempotency-Key": key, "Tallystick-Signature": f"sha256={signature}"}
        self._send("DELETE", headers, None, below=key)

    def close(self) -> None:
        """Nothing stays open between two deliveries."""

    def _begin(self, method: str, key: str, about: bytes) -> hmac.HMAC:
        return hmac.new(self._key, f"{method} {key}\n".encode() + about + b"\n", "sha256")

    def _send(
        self, method: str, headers: Mapping[str, str], body: Body | None, *, below: str = ""
    ) -> None:
        connection: HTTPConnection
        connection, answer = self._service.ask(method, headers, body, below=below)
        connection.close()
        is_gone = method == "DELETE" and answer.status in _GONE
        answer.close()
        if not 200 <= answer.status < 300 and not is_gone:
            raise self._service.refuse(answer.status)

    @contextmanager
    def _spool(self) -> Iterator[IO[bytes]]:
        with ExitStack() as stack:
            with self._told():
                file = stack.enter_context(tempfile.TemporaryFile(dir=self._spool_dir, buffering=0))
            yield file

    def _write(self, file: IO[bytes], piece: bytes) -> None:
        with self._told():
            view = memoryview(piece)
            while view:
                view = view[file.write(view) :]

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = errno.errorcode.get(error.errno or 0, "")
            raise ReceiverFailed("spool-failed", reason, retry=True) from None
