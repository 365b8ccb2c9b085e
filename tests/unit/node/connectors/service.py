"""A service of an agency for tests: real HTTP on loopback, with answers told beforehand."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any


@dataclass
class Service:
    """What it got, and what it answers: the whole bytes after reading a request."""

    url: str = ""
    answer: bytes | Callable[[dict[str, Any]], bytes] = b"HTTP/1.1 204 None\r\n\r\n"
    got: list[dict[str, Any]] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)  # instead of `answer`, one after the other
    reads: bool = True  # the body, before it answers
    stalls: bool = False  # after its answer the connection stays open, until the end of the test
    is_over: Event = field(default_factory=Event)


def reply(status: int, body: bytes = b"", **headers: str) -> bytes:
    """An answer with its length."""
    named = {"Content_Length": str(len(body)), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} Status\r\n{head}\r\n".encode() + body


def chunked(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """An answer in chunks."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + end


@contextmanager
def serve(tls: ssl.SSLContext | None = None) -> Iterator[Service]:
    """The service, on a free port."""
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            request = {
                "method": self.command,
                "path": self.path,
                "headers": dict(self.headers.items()),
                "body": self.rfile.read(size) if service.reads else b"",
            }
            service.got.append(request)
            answer = service.answer
            for part in service.parts or (answer(request) if callable(answer) else answer,):
                self.wfile.write(part)
            self.close_connection = True
            if service.stalls:
                self.wfile.flush()
                service.is_over.wait(30)

        do_POST = do_DELETE = handle_any  # noqa: N815 - names that the library asks for

        def log_message(self, *rest: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *rest: object) -> None:
            pass  # a client that goes away is part of some tests

        def get_request(self) -> tuple[socket.socket, Any]:
            connection, address = super().get_request()
            return (tls.wrap_socket(connection, server_side=True) if tls else connection), address

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        service.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}/records"
        try:
            yield service
        finally:
            service.is_over.set()
            server.shutdown()
            thread.join()


def private(path: Path, text: str) -> Path:
    """A file for its owner alone."""
    path.write_text(text)
    path.chmod(0o600)
    return path
