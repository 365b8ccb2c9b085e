"""Deliveries to a real receiver: signed, in order, at least once, over failures and restarts."""

import asyncio
import base64
import datetime as dt
import hashlib
import hmac
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from yarl import URL

from ledger.events import Event
from node.hooks.delivery import Delivery, Hooks, HookState, is_wanted
from node.hooks.settings import Hook
from tests.builders import ASKER, OWNER, approve, request, world
from tests.refusals import start_refused
from tests.unit.node.api.harness import Served, run

SECRET = b"s" * 32
BACK_AND_FORTH = ("webhook-id", "webhook-timestamp", "webhook-signature")


@dataclass(slots=True)
class Receiver:
    """Keeps what it takes; `answers` are the statuses of the next attempts, then 204."""

    url: URL = field(default_factory=URL)
    answers: list[int] = field(default_factory=list)
    attempts: list[str] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    retry_after: str = ""

    async def take(self, received: web.Request) -> web.Response:
        body = await received.read()
        id_, stamp, signature = (received.headers[name] for name in BACK_AND_FORTH)
        expected = hmac.new(SECRET, f"{id_}.{stamp}.".encode() + body, hashlib.sha256).digest()
        assert signature == "v1," + base64.b64encode(expected).decode()
        assert received.content_type == "application/cloudevents+json"
        self.attempts.append(id_)
        status = self.answers.pop(0) if self.answers else 204
        if status < 300:
            self.taken.append(json.loads(body))
        headers = {"Retry-After": self.retry_after} if self.retry_after else {}
        if status in range(300, 400):
            headers["Location"] = str(self.url)
        return web.Response(status=status, headers=headers)


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    port = runner.addresses[0][1]
    receiver.url = URL(f"http{'s' if tls else ''}://localhost:{port}/")
    try:
        yield receiver
    finally:
        await runner.cleanup()


def hook_of(receiver: Receiver, **changed: Any) -> Hook:
    base: dict[str, Any] = {
        "id": "cases", "url": receiver.url, "secret": SECRET, "kinds": frozenset(),
        "member": None, "exchange": b"", "pair": None, "from_height": 1, "tls": True,
    }  # fmt: skip
    return Hook(**{**base, **changed})


@asynccontextmanager
async def delivering(node: Served, hook: Hook, folder: Path) -> AsyncIterator[Delivery]:
    delivery = Delivery(hook, folder, pause_s_min=0.001)
    task = asyncio.create_task(delivery.run(node.service))
    try:
        yield delivery
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(is_true: Callable[[], bool]) -> None:
    for _ in range(5_000):
        if is_true():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never came")


def play(folder: Path, story: Callable[[Served, Receiver], Awaitable[None]]) -> None:
    async def with_receiver(node: Served) -> None:
        async with receiving() as receiver:
            await story(node, receiver)

    run(folder, with_receiver)


def ids(*events: Event) -> list[str]:
    return [event.digest.hex() for event in events]


ASKED = [request(label=str(each)) for each in range(4)]


def test_records_come_signed_in_order_and_once(tmp_path: Path) -> None:
    async def story(node: Served, receiver: Receiver) -> None:
        for event in ASKED[:2]:
            await node.submit(event.data)
        async with delivering(node, hook_of(receiver), tmp_path) as delivery:
            await until(lambda: len(receiver.taken) == 2)
            for event in ASKED[2:]:
                await node.submit(event.data)
            await until(lambda: delivery.state().delivered == 4)
            assert delivery.state().last_delivered_ms > 0
        assert receiver.attempts == ids(*ASKED)
        found = receiver.taken[0]
        assert found["type"] == "tallystick.share.requested.v1"
        assert found["data"]["outcome"]["applied"] is True

    play(tmp_path, story)


def test_a_new_hook_begins_now(tmp_path: Path) -> None:
    async def story(node: Served, receiver: Receiver) -> None:
        await node.submit(ASKED[0].data)
        async with delivering(node, hook_of(receiver, from_height=None), tmp_path) as delivery:
            await until(lambda: delivery.state().height > 0)
            await node.submit(ASKED[1].data)
            await until(lambda: bool(receiver.taken))
        assert receiver.attempts == ids(ASKED[1])

    play(tmp_path, story)


def test_what_is_not_taken_is_tried_again_and_nothing_overtakes_it(tmp_path: Path) -> None:
    async def story(node: Served, receiver: Receiver) -> None:
        receiver.answers = [500, 301, 404, 429]
        for event in ASKED[:2]:
            await node.submit(event.data)
        async with delivering(node, hook_of(receiver), tmp_path) as delivery:
            await until(lambda: len(receiver.taken) == 2)
            await until(lambda: delivery.state().failures == 0)
        assert receiver.attempts == ids(*[ASKED[0]] * 5, ASKED[1])

    play(tmp_path, story)


def test_after_a_restart_it_goes_on_where_it_was(tmp_path: Path) -> None:
    async def story(node: Served, receiver: Receiver) -> None:
        for event in ASKED[:3]:
            await node.submit(event.data)
        receiver.answers = [204, *[503] * 10_000]
        async with delivering(node, hook_of(receiver), tmp_path) as delivery:
            await until(lambda: delivery.state().failures > 2)
            assert delivery.state().last_error == "HTTP 503"
        receiver.answers = []
        async with delivering(node, hook_of(receiver), tmp_path):
            await until(lambda: len(receiver.taken) == 3)
        assert [found["id"] for found in receiver.taken] == ids(*ASKED[:3])

    play(tmp_path, story)


def test_a_crash_before_the_cursor_is_saved_delivers_twice_with_one_id(tmp_path: Path) -> None:
    async def story(node: Served, receiver: Receiver) -> None:
        await node.submit(ASKED[0].data)
        path = tmp_path / "cases.json"
        path.write_bytes(b'{"height":1,"index":-1}')
        before = path.read_bytes()
        for _ in range(2):
            path.write_bytes(before)
            async with delivering(node, hook_of(receiver), tmp_path) as delivery:
                await until(lambda: delivery.state().delivered == 1)
        assert receiver.attempts == ids(ASKED[0]) * 2

    play(tmp_path, story)


def test_a_dead_hook_holds_up_nobody(tmp_path: Path) -> None:
    async def story(node: Served, receiver: Receiver) -> None:
        dead = hook_of(receiver, id="dead", url=URL("http://127.0.0.1:9/"))
        hooks = Hooks((dead, hook_of(receiver)), tmp_path / "hooks")
        task = asyncio.create_task(hooks.run(node.service))
        for event in ASKED:
            await node.submit(event.data)
        await until(lambda: hooks.states()[1].delivered == 4)
        await until(lambda: hooks.states()[0].failures >= 1)
        first, second = hooks.states()
        assert (first.id, first.delivered, second.delivered) == ("dead", 0, 4)
        assert "Connect" in first.last_error
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    play(tmp_path, story)


def test_a_receiver_that_asks_for_time_gets_it(tmp_path: Path) -> None:
    async def story(node: Served, receiver: Receiver) -> None:
        receiver.answers, receiver.retry_after = [503], "1"
        await node.submit(ASKED[0].data)
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        async with delivering(node, hook_of(receiver), tmp_path):
            await until(lambda: bool(receiver.taken))
        assert loop.time() - started_s >= 1

    play(tmp_path, story)


def test_pauses_grow_to_a_bound_and_differ_by_chance(tmp_path: Path) -> None:
    hook = hook_of(Receiver(url=URL("https://a.example/")))
    pauses = {}
    for share in (0.0, 1.0):
        delivery = Delivery(hook, tmp_path, random_share=partial(float, share))
        pauses[share] = []
        for failures in (1, 2, 3, 9, 10, 10_000):
            delivery._failures = failures
            pauses[share].append(delivery._pause_s())
    assert pauses[1.0] == [1, 2, 4, 256, 300, 300]
    assert pauses[0.0] == [pause / 2 for pause in pauses[1.0]]


def test_a_certificate_is_verified(tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    trusted = ssl.create_default_context(cafile=str(certificate))

    async def story(node: Served) -> None:
        await node.submit(ASKED[0].data)
        async with receiving(tls) as receiver:
            async with delivering(node, hook_of(receiver), tmp_path) as delivery:
                await until(lambda: delivery.state().failures > 1)
                assert "certificate" in delivery.state().last_error.lower()
            assert receiver.attempts == []
            async with delivering(node, hook_of(receiver, tls=trusted), tmp_path):
                await until(lambda: len(receiver.taken) == 1)

    run(tmp_path, story)


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, SHA256())
    )
    paths = folder / "server.pem", folder / "server.key"
    paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


@pytest.mark.parametrize("data", [b"", b"{}", b'{"height":1,"index":0,"more":1}'])
def test_a_damaged_cursor_stops_the_start(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "cases.json").write_bytes(data)
    hook = hook_of(Receiver(url=URL("https://a.example/")))
    told = start_refused(lambda: Delivery(hook, tmp_path), "start-hook-cursor")
    assert str(tmp_path / "cases.json") in told.detail


FILTERS: dict[str, tuple[dict[str, Any], tuple[bool, bool]]] = {
    "everything": ({}, (True, True)),
    "a kind": ({"kinds": frozenset(["share.approved"])}, (False, True)),
    "the requester": ({"member": ASKER}, (True, True)),
    "the provider": ({"member": OWNER}, (True, True)),
    "another member": ({"member": "de-tax"}, (False, False)),
    "the pair": ({"pair": (ASKER, OWNER)}, (True, True)),
    "the pair the other way": ({"pair": (OWNER, ASKER)}, (False, False)),
    "another exchange": ({"exchange": b"\x01" * 32}, (False, False)),
    "two filters": ({"kinds": frozenset(["share.requested"]), "member": OWNER}, (True, False)),
}


@pytest.mark.parametrize("name", FILTERS)
def test_filters(tmp_path: Path, name: str) -> None:
    changed, expected = FILTERS[name]

    async def story(node: Served) -> None:
        opened = request()
        await node.submit(opened.data)
        hook = hook_of(Receiver(url=URL("https://a.example/")), **changed)
        events = (opened, approve(opened))
        found = tuple(is_wanted(hook, event, node.service.state()) for event in events)
        assert found == expected

    run(tmp_path, story)


def test_an_event_of_no_exchange_is_its_members_alone() -> None:
    hook = hook_of(Receiver(url=URL("https://a.example/")), member=ASKER)
    unknown = approve(request())
    assert not is_wanted(hook, unknown, world().state)
    assert is_wanted(
        hook_of(Receiver(url=URL("https://a.example/")), member=OWNER), unknown, world().state
    )


def test_the_state_of_hooks_is_in_status_and_figures(tmp_path: Path) -> None:
    class Two:
        def states(self) -> tuple[HookState, ...]:
            return (
                HookState(
                    id="cases", height=7, delivered=3, failures=2, last_error="HTTP 500",
                    last_delivered_ms=5,
                ),
            )  # fmt: skip

    async def story(node: Served) -> None:
        found = (await node.get_json("/v1/status"))["hooks"]
        assert found == [
            {
                "id": "cases", "height": 7, "delivered": 3, "failures": 2,
                "last_error": "HTTP 500", "last_delivered_ms": 5,
            }
        ]  # fmt: skip
        host, port = node.metrics_address
        async with node.client.get(f"http://{host}:{port}/metrics") as response:
            assert 'tallystick_hook_failures{hook="cases"} 2.0' in await response.text()

    run(tmp_path, story, hooks=Two())
