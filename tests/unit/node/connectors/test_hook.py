"""The HTTP receiver: signed, once, durable on the other side or tried again."""

import hmac
import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.connectors.errors import InvalidOptions, ReceiverFailed
from node.connectors.hook import HttpReceiver
from tests.unit.node.connectors.asks import EXCHANGE, delivery, invoice, jsonl
from tests.unit.node.connectors.service import Service, private, reply, serve

KEY = "0123456789abcdef0123456789abcdef"
PIECES = (jsonl(invoice(1)), jsonl(invoice(2)))


@pytest.fixture
def service() -> Iterator[Service]:
    with serve() as served:
        served.answer = reply(201)
        yield served


def make(service: Service, folder: Path, **options: Any) -> HttpReceiver:
    private(folder / "key", f"{KEY}\n")
    values = {"url": service.url, "signature_key_file": "key", "timeout_s": 5, **options}
    return HttpReceiver(values, folder)


def signature(request: dict[str, Any]) -> str:
    """As a service computes it from what it got."""
    headers = request["headers"]
    head = f"{request['method']} {headers['Idempotency-Key']}\n"
    about = headers.get("Tallystick-Delivery", "") + "\n"
    mac = hmac.new(KEY.encode(), head.encode() + about.encode() + request["body"], "sha256")
    return f"sha256={mac.hexdigest()}"


def refusal(receiver: HttpReceiver, *pieces: bytes, **changed: Any) -> tuple[str, bool]:
    with pytest.raises(ReceiverFailed) as caught:
        receiver.receive(delivery(*pieces, **changed))
    return caught.value.code, caught.value.retry


def test_a_message_is_posted_as_what_it_is(service: Service, tmp_path: Path) -> None:
    made = delivery(b"<a>\n", b"</a>", form="crs", answer=b"<status/>", record_count=7)
    make(service, tmp_path).receive(made)
    (request,) = service.got
    assert request["body"] == b"<a>\n</a>"
    assert request["headers"]["Content-Type"] == "application/xml"
    assert json.loads(request["headers"]["Tallystick-Delivery"])["form"] == "crs"
    assert signature(request) == request["headers"]["Tallystick-Signature"]


def test_a_delivery_is_posted_with_its_signature(service: Service, tmp_path: Path) -> None:
    private(tmp_path / "token", "s3cret")
    receiver = make(service, tmp_path, token_file="token")
    receiver.check()
    receiver.receive(delivery(*PIECES, correction=2))
    (request,) = service.got
    headers = request["headers"]
    assert (request["method"], request["path"]) == ("POST", "/records")
    assert request["body"] == b"".join(PIECES)
    assert headers["Authorization"] == "Bearer s3cret"
    assert headers["Content-Type"] == "application/jsonl"
    assert headers["Idempotency-Key"] == f"{EXCHANGE.hex()}.2"
    assert json.loads(headers["Tallystick-Delivery"])["record_count"] == 2
    assert headers["Tallystick-Signature"] == signature(request)
    assert signature({**request, "body": PIECES[0]}) != signature(request)
    receiver.close()


def test_sending_gives_signs_of_life(service: Service, tmp_path: Path) -> None:
    told: list[int] = []
    piece = jsonl(invoice(1)) * 10_000
    make(service, tmp_path).receive(delivery(piece, alive=lambda: told.append(1)))
    assert len(told) > len(piece) // 300_000
    assert service.got[0]["body"] == piece


def test_an_empty_delivery(service: Service, tmp_path: Path) -> None:
    make(service, tmp_path).receive(delivery())
    assert service.got[0]["body"] == b""
    assert service.got[0]["headers"]["Tallystick-Signature"] == signature(service.got[0])


def test_erasing_is_signed_and_what_is_gone_is_fine(service: Service, tmp_path: Path) -> None:
    receiver = make(service, tmp_path, url=service.url + "/?a=b")
    for status in (204, 404, 410):
        service.answer = reply(status)
        receiver.erase(EXCHANGE)
    request = service.got[0]
    assert (request["method"], request["path"]) == ("DELETE", f"/records/{EXCHANGE.hex()}?a=b")
    assert request["headers"]["Tallystick-Signature"] == signature(request)
    for status, code, retry in ((403, "agency-refused", False), (500, "agency-busy", True)):
        service.answer = reply(status)
        with pytest.raises(ReceiverFailed) as caught:
            receiver.erase(EXCHANGE)
        assert (caught.value.code, caught.value.retry) == (code, retry)


@pytest.mark.parametrize(
    ("status", "code", "retry"),
    [
        (500, "agency-busy", True),
        (503, "agency-busy", True),
        (429, "agency-busy", True),
        (400, "agency-refused", False),
        (404, "agency-refused", False),
        (410, "agency-refused", False),
        (302, "agency-refused", False),
    ],
)
def test_what_is_tried_again(
    service: Service, tmp_path: Path, status: int, code: str, retry: bool
) -> None:
    service.answer = reply(status, b"x", Location="http://127.0.0.1:1/")
    assert refusal(make(service, tmp_path), *PIECES) == (code, retry)


def test_no_answer_is_tried_again_under_the_same_key(service: Service, tmp_path: Path) -> None:
    service.answer = b""
    receiver = make(service, tmp_path, timeout_s=1)
    assert refusal(receiver, *PIECES) == ("agency-unreachable", True)
    service.stalls = True
    assert refusal(receiver, *PIECES) == ("agency-timeout", True)
    service.stalls, service.answer = False, reply(200)
    receiver.receive(delivery(*PIECES))
    assert len({request["headers"]["Idempotency-Key"] for request in service.got}) == 1
    assert len({request["headers"]["Tallystick-Signature"] for request in service.got}) == 1


def test_a_service_that_refuses_before_it_has_read_everything(tmp_path: Path) -> None:
    """It answers and goes away while records are still being sent."""
    with serve() as service:
        service.reads = False
        service.answer = reply(413)
        code, _ = refusal(make(service, tmp_path), jsonl(invoice(1)) * 200_000)
    assert code == "agency-refused"


def test_a_stream_that_breaks_sends_nothing(service: Service, tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield PIECES[0]
        raise RuntimeError

    receiver = make(service, tmp_path)
    with pytest.raises(RuntimeError):
        receiver.receive(delivery(*PIECES, pieces=broken()))
    assert refusal(receiver, *PIECES, pieces=iter(PIECES[:1])) == ("delivery-incomplete", True)
    assert not service.got


def test_records_have_no_name_on_the_way(service: Service, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    seen: list[list[Path]] = []

    def answer(request: dict[str, Any]) -> bytes:
        seen.append(list(spool.iterdir()))
        return reply(200)

    service.answer = answer
    make(service, tmp_path, spool_dir="spool").receive(delivery(*PIECES))
    assert seen == [[]]


def test_a_full_disk_is_tried_again(service: Service, tmp_path: Path) -> None:
    receiver = make(service, tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        assert refusal(receiver, b"{}\n" * 100_000) == ("spool-failed", True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    nowhere = make(service, tmp_path, spool_dir="absent")
    assert refusal(nowhere, *PIECES) == ("spool-failed", True)


def test_the_key_is_a_secret(service: Service, tmp_path: Path) -> None:
    make(service, tmp_path)
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(InvalidOptions) as caught:
        HttpReceiver({"url": service.url, "signature_key_file": "key"}, tmp_path)
    assert caught.value.code == "secret-open"
    with pytest.raises(InvalidOptions) as caught:
        HttpReceiver({"url": service.url}, tmp_path)
    assert (caught.value.code, caught.value.detail) == ("option-missing", "signature_key_file")
