"""The socket of the own gateway: small JSON questions and answers.

Whoever may open the socket may ask; the system decides that. Errors have the gateway's own words.
"""

import http.client
import json
import os
import socket
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tools.exits import InvalidAnswer, InvalidInput, NotFound, RefusedEvent, Unreachable
from tools.words import language

DATA_DIR, SOCKET = "gateway-data", "gateway.sock"
CALL_S_MAX = 90.0
ANSWER_BYTES_MAX = 64 * 1024 * 1024
DIGEST_DIGITS = 64
PREFIX_DIGITS_MIN = 6
PAGE_ROWS = 500


def connect(line: socket.socket, path: Path) -> None:
    """Connect by the open folder: the system takes paths of about a hundred bytes only."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        line.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("gateway", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """As the base class asks: open the connection."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        connect(self.sock, self._path)


class GatewaySocket:
    """A gateway by the path of its socket."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, route: str, **query: str) -> dict[str, Any]:
        """The answer to a question. Raises `ToolError`."""
        return self._call("GET", f"{route}?{urlencode(query)}" if query else route, None)

    def post(self, route: str, document: object = None) -> dict[str, Any]:
        """The answer to an order. Raises `ToolError`."""
        return self._call("POST", route, document)

    def find(self, exchange: str) -> dict[str, Any]:
        """The job of an exchange, by its digest or enough first digits. Raises `ToolError`."""
        is_hex = all(digit in "0123456789abcdef" for digit in exchange)
        if not is_hex or not PREFIX_DIGITS_MIN <= len(exchange) <= DIGEST_DIGITS:
            raise InvalidInput("exchange-digits", exchange[:DIGEST_DIGITS])
        before = int(exchange.ljust(DIGEST_DIGITS, "0"), 16) - 1
        query = {"after": f"{before:064x}"} if before >= 0 else {}
        page = self.get("/v1/jobs", limit="2", **query)["items"]
        found = [job for job in page if job["exchange"].startswith(exchange)]
        if not found:
            raise NotFound("job-missing", exchange)
        if len({job["exchange"] for job in found}) > 1:
            raise InvalidInput("exchange-ambiguous", exchange)
        return dict(found[0])

    def jobs(self, stage: str = "") -> list[dict[str, Any]]:
        """All jobs, or those of one stage."""
        found: list[dict[str, Any]] = []
        query = {"stage": stage} if stage else {}
        while True:
            page = self.get("/v1/jobs", limit=str(PAGE_ROWS), **query)["items"]
            found += page
            if len(page) < PAGE_ROWS:
                return found
            query["after"] = page[-1]["exchange"]

    def _call(self, method: str, route: str, document: object) -> dict[str, Any]:
        connection = UnixConnection(self.path, CALL_S_MAX)
        try:
            body = None if document is None else json.dumps(document)
            connection.request(method, route, body, {"Accept-Language": language()})
            response = connection.getresponse()
            answer = json.loads(response.read(ANSWER_BYTES_MAX))
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
            raise Unreachable("gateway-unreachable", f"{self.path}: {reason}") from None
        except (http.client.HTTPException, ValueError) as error:
            raise InvalidAnswer("answer-malformed", f"{self.path}: {error}") from None
        finally:
            connection.close()
        if not isinstance(answer, dict):
            raise InvalidAnswer("answer-malformed", str(self.path))
        if response.status != http.client.OK:
            _refuse(response.status, answer)
        return answer


def _refuse(status: int, answer: dict[str, Any]) -> None:
    code = str(answer.get("code") or answer.get("state") or status)
    detail = str(answer.get("detail") or answer.get("exchange") or "")
    kind = NotFound if status == http.client.NOT_FOUND else RefusedEvent
    raise kind(
        code, detail, title=str(answer.get("title", "")), advice=str(answer.get("advice", ""))
    )


def socket_of(config: Path) -> Path:
    """Where the gateway of a configuration has its socket. Raises `InvalidInput`."""
    try:
        document = tomllib.loads(config.read_text("utf-8"))
        section = document["gateway"]
        data_dir, name = section.get("data_dir", DATA_DIR), section.get("socket", SOCKET)
        return Path(config.resolve().parent, data_dir, name)
    except OSError as error:
        raise InvalidInput("gateway-config", f"{config}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput("gateway-config", f"{config}: {error}") from None
