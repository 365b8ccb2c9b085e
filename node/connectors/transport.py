"""HTTP to a service of the agency itself: TLS, token, timeouts, and which failures are tried again.

Redirections are not followed and proxies of the environment not used: the token and the records go
to the address that is configured, or nowhere. Plain HTTP goes to this machine only.
"""

import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

from node.config import LOOPBACK
from node.connectors.errors import ConnectorFailed, InvalidOptions, ReceiverFailed
from node.connectors.options import (
    PATH,
    REQUIRED,
    Form,
    count,
    option,
    read_private,
    read_secret,
)

PIECE_BYTES = 1 << 18

_BUSY = frozenset({408, 425, 429})


def _url(value: Any, _base: Path) -> SplitResult:
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise ValueError
    url = urlsplit(value)
    is_ours = url.scheme == "https" or (url.scheme == "http" and url.hostname in LOOPBACK)
    # Asking for the port raises ValueError if it is none.
    if not is_ours or not url.hostname or url.username or url.fragment or url.port == 0:
        raise ValueError
    if " " in value:
        raise ValueError
    return url


URL = Form("https://… | http://127.0.0.1…", _url)

SERVICE_OPTIONS = (
    option("url", URL, REQUIRED, "服务网址", "URL of the service"),
    option(
        "token_file",
        PATH,
        None,
        "令牌文件，以 `Authorization: Bearer` 发送",
        "file with a token, sent as `Authorization: Bearer`",
    ),
    option(
        "ca_file",
        PATH,
        None,
        "签发服务证书的 CA（PEM）；默认用系统所信任的",
        "CA of the service's certificate (PEM); by default those that the system trusts",
    ),
    option("certificate_file", PATH, None, "客户端证书（PEM）", "client certificate (PEM)"),
    option("key_file", PATH, None, "客户端证书的私钥（PEM）", "its private key (PEM)"),
    option(
        "timeout_s",
        count(1, 3_600),
        30,
        "连接及两次数据之间最长等待",
        "longest wait for a connection and between two pieces of data",
    ),
)


class Body(Protocol):
    """What is sent."""

    def read(self, size: int = ..., /) -> bytes:
        """The next piece; empty at the end."""
        ...


class Service:
    """One service; each request has a connection of its own."""

    def __init__(
        self, values: Mapping[str, Any], failed: type[ConnectorFailed] | type[ReceiverFailed]
    ) -> None:
        self._url: SplitResult = values["url"]
        self._timeout_s: int = values["timeout_s"]
        self._failed = failed
        self._headers = {"User-Agent": "tallystick"}
        self._token_file: Path | None = values["token_file"]
        self._authorise()
        self._tls = _make_tls(values) if self._url.scheme == "https" else None

    def check(self) -> None:
        """Connect, and let go."""
        connection = self._connect()
        try:
            connection.connect()
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()

    def ask(
        self,
        method: str,
        headers: Mapping[str, str],
        body: bytes | Body | None = None,
        *,
        below: str = "",
    ) -> tuple[HTTPConnection, HTTPResponse]:
        """Send, and the answer once its head is here; `below` is a path under that of the URL."""
        try:
            # Read each time: tokens that live for an hour are replaced in place.
            named = {**self._headers, **self._authorise(), **headers}
        except InvalidOptions as error:
            raise self._failed(error.code, error.detail, retry=True) from None
        path = self._url.path.rstrip("/") + f"/{below}" if below else self._url.path or "/"
        target = f"{path}?{self._url.query}" if self._url.query else path
        connection = self._connect()
        try:
            try:
                connection.request(method, target, body, named)
            except (BrokenPipeError, ConnectionResetError):
                pass  # who does not read to the end may have answered why
            return connection, connection.getresponse()
        except (OSError, HTTPException) as error:
            connection.close()
            raise self._unreachable(error) from None

    def refuse(self, status: int) -> ConnectorFailed | ReceiverFailed:
        """What a status means that is not one of success."""
        if status >= 500 or status in _BUSY:
            return self._failed("agency-busy", str(status), retry=True)
        return self._failed("agency-refused", str(status), retry=False)

    def _authorise(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        token = read_secret(self._token_file, "token_file")
        if not token.isascii():
            raise InvalidOptions("secret-form", f"token_file: {self._token_file}")
        return {"Authorization": f"Bearer {token.decode()}"}

    def _connect(self) -> HTTPConnection:
        host = self._url.hostname or ""
        if self._tls is None:
            return HTTPConnection(
                host, self._url.port, timeout=self._timeout_s, blocksize=PIECE_BYTES
            )
        return HTTPSConnection(
            host,
            self._url.port,
            timeout=self._timeout_s,
            context=self._tls,
            blocksize=PIECE_BYTES,
        )

    def _unreachable(self, error: OSError | HTTPException) -> ConnectorFailed | ReceiverFailed:
        place = self._url.netloc
        if isinstance(error, TimeoutError):
            return self._failed("agency-timeout", f"{place}: {self._timeout_s} s", retry=True)
        if isinstance(error, ssl.SSLCertVerificationError):
            return self._failed("agency-tls", f"{place}: {error.verify_message}", retry=False)
        reason = getattr(error, "strerror", None) or type(error).__name__
        return self._failed("agency-unreachable", f"{place}: {reason}", retry=True)


def _make_tls(values: Mapping[str, Any]) -> ssl.SSLContext:
    ca, certificate, key = (values[name] for name in ("ca_file", "certificate_file", "key_file"))
    if (certificate is None) != (key is None):
        raise InvalidOptions("option-missing", "key_file" if key is None else "certificate_file")
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise InvalidOptions("option-file", f"ca_file: {ca}: {error.strerror}") from None
    if certificate is not None:
        read_private(key, "key_file")
        try:
            # With an empty password an encrypted key is refused, not asked for at the terminal.
            context.load_cert_chain(certificate, key, password="")
        except OSError as error:
            detail = f"certificate_file, key_file: {error.strerror}"
            raise InvalidOptions("option-file", detail) from None
    return context
