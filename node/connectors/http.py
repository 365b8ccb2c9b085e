"""Connector: a service of the agency that answers asks.

It gets `POST` with the ask as JSON (`exchange` in hex, `dataset`, `requester`, `purpose`, `fields`,
`period_from`, `period_to`, `subjects` with `kind` and `id`) and answers 200 with the records in the
format that is configured, or 204 for none. The answer is read while it comes; an end that nobody
can tell from a break is refused, so it needs `Content-Length` or chunks.
"""

from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

import msgspec

from node.connectors.errors import ConnectorFailed
from node.connectors.interface import SOURCE_FORMATS, Ask, Source
from node.connectors.options import choice, count, option, read_options
from node.connectors.transport import PIECE_BYTES, SERVICE_OPTIONS, Service

HTTP_OPTIONS = (
    *SERVICE_OPTIONS,
    option(
        "format",
        choice(*SOURCE_FORMATS),
        "jsonl",
        "应答格式；`message` 为单个申报标准报文，原样发送",
        "format of the answer; `message`: one message of the reporting standard, sent as it is",
    ),
    option("encoding", choice("utf-8", "gb18030"), "utf-8", "字符编码", "encoding"),
    option("amounts", choice("fen", "yuan"), "fen", "金额单位", "unit of amounts"),
    option(
        "size_bytes_max",
        count(1, 1 << 40),
        1 << 32,
        "应答最多字节数",
        "most bytes of an answer",
    ),
)


class HttpConnector:
    """Options as in `HTTP_OPTIONS`."""

    def __init__(self, options: Mapping[str, Any], base: Path) -> None:
        self._options = read_options(HTTP_OPTIONS, options, base)
        self._service = Service(self._options, ConnectorFailed)
        self._open: tuple[HTTPConnection, HTTPResponse] | None = None

    def check(self) -> None:
        """Whether the service takes connections."""
        self._service.check()

    def read(self, ask: Ask) -> Source:
        """Ask, and the answer as it comes."""
        self.close()
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        self._open = self._service.ask("POST", headers, encode_ask(ask))
        answer = self._open[1]
        try:
            is_empty = self._check_answer(answer)
        except ConnectorFailed:
            self.close()
            raise
        if is_empty:
            self.close()
            is_message = self._options["format"] == "message"
            return Source(format="message" if is_message else "jsonl", pieces=iter(()))
        return Source(
            format=self._options["format"],
            encoding=self._options["encoding"],
            amounts=self._options["amounts"],
            pieces=self._pieces(answer),
        )

    def close(self) -> None:
        """Break off an answer that is still coming."""
        if self._open is not None:
            # The library lets either of them hold the socket.
            for held in self._open:
                held.close()
            self._open = None

    def _check_answer(self, answer: HTTPResponse) -> bool:
        """Whether there are no records."""
        if answer.status == 204:
            return True
        if answer.status != 200:
            raise self._service.refuse(answer.status)
        coding = answer.headers.get("Content-Encoding", "identity")
        if coding != "identity" or (answer.length is None and not answer.chunked):
            raise ConnectorFailed("answer-form", coding, retry=False)
        self._bound(answer.length or 0)
        return False

    def _pieces(self, answer: HTTPResponse) -> Iterator[bytes]:
        try:
            yield from self._whole(answer)
        finally:
            if self._open is not None and self._open[1] is answer:
                self.close()

    def _whole(self, answer: HTTPResponse) -> Iterator[bytes]:
        announced, size_bytes = answer.length, 0
        try:
            while piece := answer.read(PIECE_BYTES):
                size_bytes += len(piece)
                self._bound(size_bytes)
                yield piece
        except TimeoutError:
            raise ConnectorFailed("agency-timeout", f"{size_bytes} B", retry=True) from None
        except (OSError, HTTPException):
            raise ConnectorFailed("answer-truncated", f"{size_bytes} B", retry=True) from None
        # The library takes the end of a connection for the end of what was announced, and
        # one that `close` broke off for the last chunk.
        is_ours = self._open is not None and self._open[1] is answer
        if not is_ours or (announced is not None and size_bytes != announced):
            raise ConnectorFailed("answer-truncated", f"{size_bytes} B", retry=True)

    def _bound(self, size_bytes: int) -> None:
        if size_bytes > self._options["size_bytes_max"]:
            raise ConnectorFailed("answer-large", str(self._options["size_bytes_max"]), retry=False)


def encode_ask(ask: Ask) -> bytes:
    """An ask as JSON."""
    return msgspec.json.encode(
        {
            "exchange": ask.exchange.hex(),
            "dataset": ask.dataset,
            "requester": ask.requester,
            "purpose": ask.purpose,
            "fields": ask.fields,
            "period_from": ask.period_from,
            "period_to": ask.period_to,
            "subjects": [{"kind": one.kind, "id": one.id} for one in ask.subjects],
        }
    )
