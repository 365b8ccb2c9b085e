"""Fetching from another agency's gateway over real TLS, whatever that gateway does."""

import asyncio
import os
import resource
import shutil
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from node.gateway import partners
from node.gateway.jobs import Failed, Job
from node.gateway.partners import Directory
from tests.builders import ASKER, OWNER
from tests.unit.node.gateway.lines import Answering, Line, line
from tests.unit.node.gateway.samples import make_job, make_payload, until

DATA = os.urandom(300_000)
FAR_MS = 10**14
Story = Callable[[Line], Awaitable[None]]


def play(folder: Path, story: Story) -> None:
    async def main() -> None:
        async with asyncio.timeout(40), line(folder) as made:
            await story(made)

    asyncio.run(main())


async def offer(made: Line, data: bytes = DATA, **changed: object) -> Job:
    """The owner has a payload for the asker in its outbox."""
    payload = make_payload(size_bytes=len(data), outbox_until_ms=FAR_MS)
    job = make_job(**{"stage": "offered", "payload": payload, **changed})  # type: ignore[arg-type]  # a test's
    await made.store.save([job])
    (made.outbox / job.file_name).write_bytes(data)
    return job


def path_of(job: Job) -> str:
    return f"/v1/payloads/{job.exchange.hex()}/{job.correction}"


async def fetch(made: Line, size_bytes: int = len(DATA), by: Directory | None = None) -> Path:
    """The default payload, by the asker."""
    target = made.folder / "fetched"
    path = path_of(make_job())
    await (by or made.asker).fetch_file(OWNER, path, target, size_bytes)
    return target


async def refusal(work: Awaitable[object]) -> tuple[str, bool]:
    with pytest.raises(Failed) as caught:
        await work
    return caught.value.code, caught.value.retry


def http(
    head: str, body: bytes = b"", *, endless: bytes = b"", end: bytes = b"\r\n\r\n"
) -> Answering:
    """A server that answers every request alike; `endless` is sent again and again."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head.replace("\n", "\r\n").encode() + end + body)
        try:
            await writer.drain()
            while endless and not writer.is_closing():
                writer.write(endless)
                await writer.drain()
                # A connection that just broke takes what is written, at once: let the loop see it.
                await asyncio.sleep(0)
        except ConnectionError:
            pass  # the client has had enough

    return answer


def test_a_payload_and_its_report_arrive_as_they_are(tmp_path: Path) -> None:
    async def story(made: Line) -> None:
        job = await offer(made)
        target = await fetch(made)
        assert target.read_bytes() == DATA
        assert target.stat().st_mode & 0o777 == 0o600
        assert await made.asker.fetch_small(OWNER, f"{path_of(job)}/report") == b"report"

    play(tmp_path, story)


@pytest.mark.parametrize("have", [0, 1, 150_000, len(DATA) - 1, len(DATA)])
def test_only_what_is_missing_is_fetched(tmp_path: Path, have: int) -> None:
    async def story(made: Line) -> None:
        await offer(made)
        # What is there already may be anything: it is looked at when the payload is opened.
        (made.folder / "fetched").write_bytes(bytes(have))
        assert (await fetch(made)).read_bytes() == bytes(have) + DATA[have:]

    play(tmp_path, story)


def test_a_target_that_is_too_long_is_begun_anew(tmp_path: Path) -> None:
    async def story(made: Line) -> None:
        await offer(made)
        (made.folder / "fetched").write_bytes(bytes(len(DATA) + 1))
        assert (await fetch(made)).read_bytes() == DATA

    play(tmp_path, story)


def test_a_connection_that_is_cut_is_resumed_where_it_was(tmp_path: Path) -> None:
    asked: list[int] = []

    async def cutting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        start = int(head.split("bytes=")[1].split("-")[0])
        asked.append(start)
        size = len(DATA)
        writer.write(
            f"HTTP/1.1 206 Partial Content\r\nContent-Length: {size - start}\r\n"
            f"Content-Range: bytes {start}-{size - 1}/{size}\r\n\r\n".encode()
            + DATA[start : start + 90_000]
        )
        await writer.drain()

    async def story(made: Line) -> None:
        await made.answer(cutting)
        for _ in range(3):
            assert await refusal(fetch(made)) == ("partner-unreachable", True)
        assert (await fetch(made)).read_bytes() == DATA
        assert asked == [0, 90_000, 180_000, 270_000]

    play(tmp_path, story)


RANGE = f"Content-Range: bytes 0-{len(DATA) - 1}/{len(DATA)}"


@pytest.mark.parametrize(
    ("header", "expected"),
    [("", b""), ("X-Quality-Report: cmVwb3J0\n", b"report"), ("X-Quality-Report: %\n", b"")],
)
def test_a_report_that_does_not_come_along_is_asked_for(
    tmp_path: Path, header: str, expected: bytes
) -> None:
    async def story(made: Line) -> None:
        await made.answer(http(f"HTTP/1.1 206 P\n{header}{RANGE}\nConnection: close", DATA))
        told = await made.asker.fetch_file(
            OWNER, path_of(make_job()), made.folder / "fetched", len(DATA)
        )
        assert told == expected

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (http(f"HTTP/1.1 206 P\n{RANGE}\nConnection: close", DATA[:-1]), "payload-size-wrong"),
        (http(f"HTTP/1.1 206 P\n{RANGE}\nConnection: close", DATA + b"x"), "payload-size-wrong"),
        (http(f"HTTP/1.1 206 P\n{RANGE}\nConnection: close", endless=DATA), "payload-size-wrong"),
        (http("HTTP/1.1 206 P\nContent-Range: bytes 0-4/5\nContent-Length: 5", b"abcde"),
         "payload-size-wrong"),
        (http("HTTP/1.1 206 P\nContent-Length: 5", b"abcde"), "payload-size-wrong"),
        (http(f"HTTP/1.1 200 OK\nContent-Length: {len(DATA)}", DATA), "partner-refused"),
        (http("HTTP/1.1 302 F\nLocation: https://127.0.0.1:1/\nContent-Length: 0"),
         "partner-refused"),
        (http("HTTP/1.1 404 N\nX-Problem: payload-not-ready\nContent-Length: 0"),
         "payload-not-ready"),
        (http("HTTP/1.1 500 N\nX-Problem: \x1b[2Jheld\nContent-Length: 0"), "partner-refused"),
        (http("HTTP/1.1 500 N\nX-Problem: work-memory\nContent-Length: 0"), "partner-refused"),
        (http("HTTP/1.1 206 P\nX-Long: " + "x" * 100_000), "partner-unreachable"),
        (http("HTTP/1.1 206 P\n" + "\n".join(f"X-{n}: x" for n in range(100_000))),
         "partner-unreachable"),
        (http("HTTP/1.1 206 P\nX: ", endless=b"X: y\r\n" * 999, end=b"\r\n"),
         "partner-unreachable"),
        (http("not http"), "partner-unreachable"),
        (http("HTTP/1.1 206 P\nTransfer-Encoding: chunked\n" + RANGE, b"zz\r\n"),
         "partner-unreachable"),
    ],
    ids=[
        "fewer", "more", "endless", "other-range", "no-range", "whole", "redirect", "problem",
        "escapes", "own-code", "long-header", "many-headers", "endless-headers", "no-http", "chunk",
    ],
)  # fmt: skip
def test_a_payload_that_is_sent_otherwise_is_refused(
    tmp_path: Path, answer: Answering, code: str
) -> None:
    async def story(made: Line) -> None:
        await made.answer(answer)
        assert await refusal(fetch(made)) == (code, True)
        assert (made.folder / "fetched").stat().st_size <= len(DATA)

    play(tmp_path, story)


def test_redirects_lead_nowhere_not_even_to_the_own_node(tmp_path: Path) -> None:
    reached: list[bytes] = []

    async def inner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(await reader.read(100))
        writer.close()

    async def story(made: Line) -> None:
        server = await asyncio.start_server(inner, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        for scheme in ("http", "https"):
            target = f"{scheme}://127.0.0.1:{port}/v1/status"
            await made.answer(http(f"HTTP/1.1 307 T\nLocation: {target}\nContent-Length: 0"))
            assert await refusal(fetch(made)) == ("partner-refused", True)
            small = made.asker.fetch_small(OWNER, "/v1/questions/00")
            assert await refusal(small) == ("partner-refused", True)
        server.close()
        assert reached == []

    play(tmp_path, story)


def test_proxies_of_the_environment_are_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def story(made: Line) -> None:
        await offer(made)
        assert (await fetch(made)).read_bytes() == DATA

    play(tmp_path, story)


def test_a_small_answer_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partners, "SMALL_BYTES_MAX", 1_000)

    async def story(made: Line) -> None:
        ok = "HTTP/1.1 200 OK\nConnection: close"
        await made.answer(http(ok, bytes(1_000)))
        assert len(await made.asker.fetch_small(OWNER, "/")) == 1_000
        for answer in (http(ok, bytes(1_001)), http(ok, endless=bytes(100_000))):
            await made.answer(answer)
            assert await refusal(made.asker.fetch_small(OWNER, "/")) == (
                "partner-answer-large", True
            )  # fmt: skip
        # What says that it is packed is taken as it is: nothing grows here.
        await made.answer(http(f"{ok}\nContent-Encoding: gzip", b"\x1f\x8bnot unpacked"))
        assert await made.asker.fetch_small(OWNER, "/") == b"\x1f\x8bnot unpacked"

    play(tmp_path, story)


def test_who_sends_drop_by_drop_does_not_hold_a_place_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first has room for a handshake, since something is to come before the time is over.
    monkeypatch.setattr(partners, "IDLE_S", 2)
    monkeypatch.setattr(partners, "SMALL_S", 0.2)
    monkeypatch.setattr(partners, "SLOWEST_BYTES_S", 1_000_000)

    async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status = "206 P" if "bytes=" in head else "200 OK"
        writer.write(f"HTTP/1.1 {status}\r\n{RANGE}\r\nConnection: close\r\n\r\n".encode())
        try:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            pass  # the client has had enough

    async def story(made: Line) -> None:
        await made.answer(dripping)
        assert await refusal(fetch(made)) == ("partner-unreachable", True)
        assert (made.folder / "fetched").stat().st_size > 1, "what came stays for the next attempt"
        assert await refusal(made.asker.fetch_small(OWNER, "/")) == ("partner-unreachable", True)

    play(tmp_path, story)


@pytest.mark.parametrize("name", ["cn-3205-tax", "nobody", "owner-next", ASKER])
def test_who_shows_another_certificate_than_the_partners_is_not_talked_to(
    tmp_path: Path, name: str
) -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1_000))

    async def story(made: Line) -> None:
        await made.answer(listen, name=name)
        assert await refusal(fetch(made)) == ("partner-certificate-wrong", True)
        small = made.asker.fetch_small(OWNER, "/v1/questions/00")
        assert await refusal(small) == ("partner-certificate-wrong", True)
        assert not any(heard)

    play(tmp_path, story)


def test_a_partner_nobody_knows_or_reaches(tmp_path: Path) -> None:
    async def story(made: Line) -> None:
        asked = made.ledger.asked
        small = made.asker.fetch_small("cn-3301-bank", "/")
        assert await refusal(small) == ("partner-without-gateway", True)
        # The next attempt looks whether there is one now.
        made.ledger.gateways["cn-3301-bank"] = made.ledger.gateways[OWNER]
        small = made.asker.fetch_small("cn-3301-bank", "/")
        assert (await refusal(small))[0] != "partner-without-gateway"
        assert made.ledger.asked > asked
        made.ledger.gateways[OWNER] = ("127.0.0.1:1", made.ledger.gateways[OWNER][1])
        made.expire()
        assert await refusal(fetch(made)) == ("partner-unreachable", True)

    play(tmp_path, story)


def test_certificates_are_rotated_without_a_gap(tmp_path: Path) -> None:
    """Two pinned, then the new one in use, then the old one gone."""

    async def story(made: Line) -> None:
        await offer(made)
        address, (old,) = made.ledger.gateways[OWNER]
        new = made.identities["owner-next"].der
        await made.asker.fetch_small(OWNER, path_of(make_job()) + "/report")
        made.ledger.gateways[OWNER] = address, (old, new)
        made.expire()
        await made.asker.fetch_small(OWNER, path_of(make_job()) + "/report")
        report = http("HTTP/1.1 200 OK\nContent-Length: 2", b"ok")
        await made.answer(report, name="owner-next")
        assert await made.asker.fetch_small(OWNER, "/") == b"ok"
        made.ledger.gateways[OWNER] = made.ledger.gateways[OWNER][0], (new,)
        made.expire()
        assert await made.asker.fetch_small(OWNER, "/") == b"ok"
        await made.answer(report, name=OWNER)
        small = made.asker.fetch_small(OWNER, "/")
        assert await refusal(small) == ("partner-certificate-wrong", True)

    play(tmp_path, story)


def test_an_open_connection_is_no_longer_believed_when_its_certificate_is_gone(
    tmp_path: Path,
) -> None:
    async def story(made: Line) -> None:
        await offer(made)
        await made.asker.fetch_small(OWNER, path_of(make_job()) + "/report")
        address, _ = made.ledger.gateways[OWNER]
        made.ledger.gateways[OWNER] = address, (made.identities["owner-next"].der,)
        made.asker.expire()
        small = made.asker.fetch_small(OWNER, path_of(make_job()) + "/report")
        assert await refusal(small) == ("partner-certificate-wrong", True)

    play(tmp_path, story)


def test_new_certificates_for_many_fetches_at_once_leave_no_connection_open(
    tmp_path: Path,
) -> None:
    async def story(made: Line) -> None:
        job = await offer(made)
        path = f"{path_of(job)}/report"
        await made.asker.fetch_small(OWNER, path)
        address, (old,) = made.ledger.gateways[OWNER]
        made.ledger.gateways[OWNER] = address, (old, made.identities["owner-next"].der)
        made.asker.expire()
        reports = await asyncio.gather(*(made.asker.fetch_small(OWNER, path) for _ in range(20)))
        assert set(reports) == {b"report"}
        assert made.ledger.asked <= 4

    play(tmp_path, story)


def test_an_inbox_without_room_is_told_and_goes_on_when_there_is(tmp_path: Path) -> None:
    async def story(made: Line) -> None:
        await offer(made)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            assert await refusal(fetch(made)) == ("inbox-disk", True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        assert (made.folder / "fetched").stat().st_size <= 100_000
        assert (await fetch(made)).read_bytes() == DATA

    play(tmp_path, story)


def test_directory_is_read_again_only_when_it_may_have_changed(tmp_path: Path) -> None:
    async def story(made: Line) -> None:
        asked = made.ledger.asked
        for _ in range(10):
            await made.asker.refresh()
        assert made.ledger.asked == asked
        made.asker.expire()
        await asyncio.gather(*(made.asker.refresh() for _ in range(10)))
        assert made.ledger.asked == asked + 1
        made.ledger.is_down = True
        made.asker.expire()
        assert await refusal(made.asker.refresh()) == ("node-refused", True)
        # What was known is still known, and read again as soon as the node answers.
        assert made.asker.members_of(made.identities[OWNER].der) == {OWNER}
        made.ledger.is_down = False
        await made.asker.refresh()

    play(tmp_path, story)


def test_what_expires_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    async def story(made: Line) -> None:
        asked = made.ledger.asked
        made.asker.expire()
        reading = asyncio.create_task(made.asker.refresh())
        await until(lambda: made.ledger.asked > asked or reading.done())
        made.asker.expire()
        await reading
        await made.asker.refresh()
        assert made.ledger.asked == asked + 2

    play(tmp_path, story)


def test_news_is_looked_at_at_once(tmp_path: Path) -> None:
    async def story(made: Line) -> None:
        keeping = asyncio.create_task(made.asker.keep_fresh())
        made.ledger.gateways["new"] = "127.0.0.1:1", (made.identities["nobody"].der,)
        await asyncio.sleep(0.1)
        assert not made.asker.members_of(made.identities["nobody"].der)
        made.asker.expire()
        async with asyncio.timeout(10):
            await until(lambda: made.asker.members_of(made.identities["nobody"].der) == {"new"})
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    play(tmp_path, story)


def test_keeping_fresh_outlives_a_node_that_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partners, "STALE_S", 0.01)

    async def story(made: Line) -> None:
        keeping = asyncio.create_task(made.asker.keep_fresh())
        made.ledger.is_down = True
        asked = made.ledger.asked
        await until(lambda: made.ledger.asked > asked + 2)
        made.ledger.is_down = False
        made.ledger.gateways["new"] = "127.0.0.1:1", (made.identities["nobody"].der,)
        await until(lambda: made.asker.members_of(made.identities["nobody"].der) == {"new"})
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    play(tmp_path, story)


def test_only_the_newest_protocol_is_spoken(tmp_path: Path) -> None:
    async def story(made: Line) -> None:
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname = False
        old.verify_mode = ssl.CERT_NONE
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        old.load_cert_chain(*made.identities[ASKER].files)
        host, port = made.ledger.gateways[OWNER][0].split(":")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(host, int(port), ssl=old)

    play(tmp_path, story)


def test_what_would_fill_the_disk_is_not_even_asked_for(tmp_path: Path) -> None:
    """A partner may put any size on the ledger, and send as much."""

    async def story(made: Line) -> None:
        target = tmp_path / "in.sealed"
        for size_bytes in (2**40 * 1_000, shutil.disk_usage(tmp_path).free):
            fetching = made.asker.fetch_file(OWNER, "/v1/payloads/00/0", target, size_bytes)
            assert await refusal(fetching) == ("inbox-disk", True)
        assert target.stat().st_size == 0

    play(tmp_path, story)
