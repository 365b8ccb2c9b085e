"""The HTTP connector: what it sends, what it takes for an answer, and what it never does."""

import json
import os
import socket
import ssl
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from node.connectors.errors import ConnectorFailed, InvalidOptions
from node.connectors.http import HttpConnector
from node.records.errors import InvalidSource
from tests.unit.node.connectors.asks import EXCHANGE, FIELDS, SELLER, ask, clean, invoice, jsonl
from tests.unit.node.connectors.service import Service, chunked, private, reply, serve
from tools.founding import make_certificate

LINES = jsonl(invoice(1), invoice(2))


@pytest.fixture
def service() -> Iterator[Service]:
    with serve() as served:
        yield served


@pytest.fixture
def silent() -> Iterator[str]:
    """A socket that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


def make(url: str, **options: Any) -> HttpConnector:
    return HttpConnector({"url": url, "timeout_s": 5, **options}, Path("/"))


def refusal(connector: HttpConnector) -> ConnectorFailed:
    with pytest.raises(ConnectorFailed) as caught:
        clean(connector.read(ask()))
    connector.close()
    return caught.value


def test_an_ask_is_posted_and_the_answer_streamed(service: Service, tmp_path: Path) -> None:
    private(tmp_path / "token", "s3cret\n")
    connector = HttpConnector({"url": service.url + "?a=b", "token_file": "token"}, tmp_path)
    connector.check()
    for service.answer in (reply(200, LINES), chunked(LINES[:50], LINES[50:])):
        records, _ = clean(connector.read(ask(SELLER)))
        assert records == [invoice(1), invoice(2)]
    request = service.got[-1]
    assert (request["method"], request["path"]) == ("POST", "/records?a=b")
    assert request["headers"]["Authorization"] == "Bearer s3cret"
    assert json.loads(request["body"]) == {
        "exchange": EXCHANGE.hex(),
        "dataset": "invoice",
        "requester": "cn-3302-tax",
        "purpose": "audit",
        "fields": list(FIELDS),
        "period_from": "2026-01-01",
        "period_to": "2026-12-31",
        "subjects": [{"kind": "uscc", "id": SELLER}],
    }
    connector.close()


def test_a_token_may_be_replaced_meanwhile(service: Service, tmp_path: Path) -> None:
    private(tmp_path / "token", "first")
    connector = HttpConnector({"url": service.url, "token_file": "token"}, tmp_path)
    connector.read(ask())
    connector.close()
    private(tmp_path / "token", "second")
    connector.read(ask())
    tokens = [request["headers"]["Authorization"] for request in service.got]
    assert tokens == ["Bearer first", "Bearer second"]
    (tmp_path / "token").unlink()
    error = refusal(connector)
    assert (error.code, error.retry) == ("secret-unreadable", True)


def test_no_records_are_an_answer_too(service: Service) -> None:
    for service.answer in (reply(204), reply(200)):
        records, report = clean(make(service.url).read(ask()))
        assert (records, report.rows) == ([], 0)


def test_another_format_is_as_configured(service: Service) -> None:
    service.answer = reply(200, "发票号码,issued-on,金额(分)\n1,2026-07-03,1.5\n".encode("gb18030"))
    options = {"format": "csv", "encoding": "gb18030", "amounts": "yuan"}
    source = make(service.url, **options).read(ask())
    assert (source.format, source.encoding, source.amounts) == ("csv", "gb18030", "yuan")
    assert clean(source)[1].rows == 1
    connector = make(service.url, format="csv")
    with pytest.raises(InvalidSource) as caught:
        clean(connector.read(ask()))
    connector.close()
    assert caught.value.code == "source-encoding"


def test_a_message_is_streamed_as_it_is(service: Service) -> None:
    connector = HttpConnector({"url": service.url, "format": "message"}, Path())
    for answer, data in ((reply(200, b"<a>\r\n</a>"), b"<a>\r\n</a>"), (reply(204), b"")):
        service.answer = answer
        source = connector.read(ask())
        assert (source.format, b"".join(source.pieces)) == ("message", data)


def test_forbidden_fields_of_an_answer_do_not_go_on(service: Service) -> None:
    service.answer = reply(200, jsonl(invoice(1, **{"buyer-phone": "000-1234567", "x": "y"})))
    records, report = clean(make(service.url).read(ask()))
    assert records == [invoice(1)]
    assert {rule.rule for rule in report.rules} == {"field-unpermitted", "field-unknown"}


@pytest.mark.parametrize(
    ("answer", "code", "retry"),
    [
        (reply(500), "agency-busy", True),
        (reply(503), "agency-busy", True),
        (reply(429), "agency-busy", True),
        (reply(408), "agency-busy", True),
        (reply(400), "agency-refused", False),
        (reply(401), "agency-refused", False),
        (reply(404), "agency-refused", False),
        (reply(206, LINES), "agency-refused", False),
        (reply(302, Location="http://127.0.0.1:1/"), "agency-refused", False),
        (reply(200, LINES, Content_Encoding="gzip"), "answer-form", False),
        (b"HTTP/1.1 200 OK\r\n\r\n" + LINES, "answer-form", False),
        (reply(200, LINES, Content_Length="100000"), "answer-truncated", True),
        (chunked(LINES, end=b""), "answer-truncated", True),
        (chunked(LINES, end=b"zz\r\n"), "answer-truncated", True),
        (b"220 mail.example ESMTP\r\n", "agency-unreachable", True),
        (b"", "agency-unreachable", True),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "agency-unreachable", True),
    ],
)
def test_what_is_no_answer(service: Service, answer: bytes, code: str, retry: bool) -> None:
    service.answer = answer
    error = refusal(make(service.url))
    assert (error.code, error.retry) == (code, retry)


def test_an_answer_has_a_size(service: Service) -> None:
    for service.answer in (reply(200, LINES), chunked(LINES)):
        assert clean(make(service.url, size_bytes_max=len(LINES)).read(ask()))[1].rows == 2
        error = refusal(make(service.url, size_bytes_max=len(LINES) - 1))
        assert (error.code, error.retry) == ("answer-large", False)


def test_nobody_waits_for_ever(silent: str, service: Service) -> None:
    error = refusal(make(silent, timeout_s=1))
    assert (error.code, error.retry) == ("agency-timeout", True)
    service.stalls = True
    for service.answer in (reply(200, LINES, Content_Length="999"), chunked(LINES, end=b"")):
        error = refusal(make(service.url, timeout_s=1))
        assert (error.code, error.retry) == ("agency-timeout", True)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    connector = make(f"http://127.0.0.1:{port}/")
    with pytest.raises(ConnectorFailed) as caught:
        connector.check()
    assert (caught.value.code, caught.value.retry) == ("agency-unreachable", True)
    assert refusal(connector).code == "agency-unreachable"


def test_tls_with_certificates_of_both_sides(tmp_path: Path) -> None:
    key, certificate = make_certificate("agency", datetime.now(UTC))
    private(tmp_path / "key.pem", key.decode())
    (tmp_path / "cert.pem").write_bytes(certificate)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    tls.load_verify_locations(tmp_path / "cert.pem")
    tls.verify_mode = ssl.CERT_REQUIRED
    pair = {"certificate_file": "cert.pem", "key_file": "key.pem"}
    with serve(tls) as service:
        service.answer = reply(200, LINES)
        options = {"url": service.url, "timeout_s": 5, "ca_file": "cert.pem"}
        connector = HttpConnector({**options, **pair}, tmp_path)
        connector.check()
        assert clean(connector.read(ask()))[1].rows == 2
        error = refusal(HttpConnector(options, tmp_path))
        assert (error.code, error.retry) == ("agency-unreachable", True)
        untrusting = HttpConnector(
            {**options, **pair, "ca_file": str(_other_ca(tmp_path))}, tmp_path
        )
        with pytest.raises(ConnectorFailed) as caught:
            untrusting.check()
        assert (caught.value.code, caught.value.retry) == ("agency-tls", False)
        assert len(service.got) == 1


def _other_ca(folder: Path) -> Path:
    path = folder / "other.pem"
    path.write_bytes(make_certificate("another", datetime.now(UTC))[1])
    return path


def test_files_of_options_are_looked_at_when_it_is_made(tmp_path: Path) -> None:
    key, certificate = make_certificate("agency", datetime.now(UTC))
    (tmp_path / "cert.pem").write_bytes(certificate)
    private(tmp_path / "key.pem", key.decode())
    (tmp_path / "open.pem").write_bytes(key)
    (tmp_path / "open.pem").chmod(0o640)
    loaded = load_pem_private_key(key, None)
    locked = loaded.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pass")
    )
    private(tmp_path / "locked.pem", locked.decode())
    private(tmp_path / "two", "a\nb\n")
    private(tmp_path / "wide", "令牌\n")
    private(tmp_path / "empty", "\n")
    os.mkfifo(tmp_path / "pipe", 0o600)
    url = "https://127.0.0.1:1/"
    for code, options in (
        ("option-missing", {"certificate_file": "cert.pem"}),
        ("option-missing", {"key_file": "key.pem"}),
        ("option-file", {"ca_file": "absent.pem"}),
        ("option-file", {"ca_file": "key.pem"}),
        ("option-file", {"certificate_file": "key.pem", "key_file": "key.pem"}),
        ("option-file", {"certificate_file": "cert.pem", "key_file": "locked.pem"}),
        ("secret-open", {"certificate_file": "cert.pem", "key_file": "open.pem"}),
        ("secret-unreadable", {"certificate_file": "cert.pem", "key_file": "absent.pem"}),
        ("secret-open", {"token_file": "open.pem"}),
        ("secret-unreadable", {"token_file": "absent"}),
        ("secret-form", {"token_file": "two"}),
        ("secret-form", {"token_file": "wide"}),
        ("secret-form", {"token_file": "empty"}),
        ("secret-form", {"token_file": "pipe"}),
    ):
        with pytest.raises(InvalidOptions) as caught:
            HttpConnector({"url": url, **options}, tmp_path)
        assert caught.value.code == code, options


def test_a_credential_of_systemd_may_be_readable_by_a_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("s3cret")
    (tmp_path / "token").chmod(0o440)
    options = {"url": "http://127.0.0.1:1/", "token_file": "token"}
    with pytest.raises(InvalidOptions):
        HttpConnector(options, tmp_path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    HttpConnector(options, tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "http://agency.example/",
        "ftp://127.0.0.1/",
        "https://",
        "https:///x",
        "https://user:pass@agency.example/",
        "https://agency.example/#a",
        "https://agency.example:99999/",
        "https://agency.example:0/",
        "https://agency.example/ x",
        "https://agency.example/\r\nX: y",
        "https://单位.example/",
        "http://127.0.0.1.agency.example/",
        7,
    ],
)
def test_which_urls_are_taken(url: object) -> None:
    with pytest.raises(InvalidOptions) as caught:
        HttpConnector({"url": url}, Path())
    assert caught.value.code == "option-invalid"


def test_memory_does_not_grow_with_the_answer(service: Service) -> None:
    row = jsonl(invoice(1))
    block = row * 1_000
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(block) * 100}\r\n\r\n".encode()
    service.parts = [head, *[block] * 100]
    connector = make(service.url)
    tracemalloc.start()
    try:
        rows = sum(piece.count(b"\n") for piece in connector.read(ask()).pieces)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows == 100_000
    assert peak < 4_000_000


def test_an_answer_that_nobody_reads_to_the_end_is_let_go(service: Service) -> None:
    connector = make(service.url)
    for service.answer in (reply(200, LINES * 100_000), chunked(*[LINES] * 100_000)):
        source = connector.read(ask())
        assert next(source.pieces)
        connector.close()
        connector.close()
        for broken in (source, connector.read(ask())):
            connector.close()
            with pytest.raises(ConnectorFailed) as caught:
                list(broken.pieces)
            assert caught.value.code == "answer-truncated"
