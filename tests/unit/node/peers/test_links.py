"""Links on real TLS sockets: who is let in, what is kept apart, what is bounded."""

import asyncio
import dataclasses
import datetime as dt
import http
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from node.config import Address
from node.errors import StartRefused
from node.peers import links as links_module
from node.peers.links import CONSENSUS_FRAMES_MAX, PATHS, REPLACED_MAX, Channel, Links, Peer
from tests.refusals import told
from tools.founding import make_certificate
from tools.localnet import free_ports
from tools.wan import Line, Way

NOW = dt.datetime.now(dt.UTC)
WAIT_S = 10


class Site:
    """One node's certificate files, address and what it heard."""

    def __init__(self, folder: Path, name: str, port: int, now: dt.datetime = NOW) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        key, certificate = make_certificate(name, now)
        self.key_file, self.certificate_file = folder / f"{name}.key", folder / f"{name}.pem"
        self.key_file.write_bytes(key)
        self.certificate_file.write_bytes(certificate)
        self.der = x509.load_pem_x509_certificate(certificate).public_bytes(Encoding.DER)
        self.address = Address("127.0.0.1", port)
        self.peer = Peer(member=name, certificates=(self.der,), address=self.address)
        self.frames: asyncio.Queue[tuple[str, Channel, bytes]] = asyncio.Queue()
        self.connected: asyncio.Queue[str] = asyncio.Queue()

    def links(self, *pinned: "Site") -> Links:
        return Links(
            peers=[site.peer for site in pinned],
            listen=self.address,
            certificate_file=str(self.certificate_file),
            key_file=str(self.key_file),
            on_frame=lambda *frame: self.frames.put_nowait(frame),
            on_connected=self.connected.put_nowait,
        )


def sites(folder: Path, count: int = 2, **changed: dt.datetime) -> list[Site]:
    return [
        Site(folder, name, port, **changed)
        for name, port in zip("ab", free_ports(count), strict=True)
    ]


@asynccontextmanager
async def running(*links: Links) -> AsyncIterator[None]:
    for each in links:
        await each.listen()
    tasks = [asyncio.create_task(each.run()) for each in links]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for each in links:
            await each.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(WAIT_S):
            await test()

    asyncio.run(limited())


def shows(site: Site) -> ssl.SSLContext:
    """A client that shows the certificate of `site` and believes any server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(site.certificate_file, site.key_file)
    return context


async def knock(site: Site, certificate: Site | None, path: str = PATHS[Channel.BULK]) -> int:
    """Status that a client with this certificate gets, which trusts the site."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=site.der)
    if certificate is not None:
        context.load_cert_chain(certificate.certificate_file, certificate.key_file)
    url = f"https://{site.address}{path}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, ssl=context):
        return 101


def test_frames_go_both_ways_on_both_channels(tmp_path: Path) -> None:
    async def test() -> None:
        a, b = sites(tmp_path)
        first, second = a.links(b), b.links(a)
        async with running(first, second):
            assert (await a.connected.get(), await b.connected.get()) == ("b", "a")
            first.send("b", Channel.CONSENSUS, b"vote")
            second.send(None, Channel.BULK, b"block")
            assert await b.frames.get() == ("a", Channel.CONSENSUS, b"vote")
            assert await a.frames.get() == ("b", Channel.BULK, b"block")
            assert first.is_connected("b")
            assert first.silent_ms("b") >= 0
        assert not first.is_connected("b")

    run(test)


def test_a_vote_does_not_wait_behind_bulk(tmp_path: Path) -> None:
    """48 MB of bulk stand in the queue before the vote; the vote arrives before their end."""

    async def test() -> None:
        a, b = sites(tmp_path)
        first, second = a.links(b), b.links(a)
        async with running(first, second):
            await a.connected.get()
            for _ in range(6):
                first.send("b", Channel.BULK, bytes(8_000_000))
            first.send("b", Channel.CONSENSUS, b"vote")
            before_vote = 0
            while (await b.frames.get())[1] is Channel.BULK:
                before_vote += 1
            assert before_vote < 6
            for _ in range(6 - before_vote):
                assert (await b.frames.get())[1] is Channel.BULK

    run(test)


def test_a_lost_peer_is_found_again(tmp_path: Path) -> None:
    async def test() -> None:
        a, b = sites(tmp_path)
        first = a.links(b)
        async with running(first):
            async with running(b.links(a)):
                assert await a.connected.get() == "b"
            first.send("b", Channel.CONSENSUS, b"kept while the peer was away")
            async with running(b.links(a)):
                assert await a.connected.get() == "b"
                await b.connected.get()
                first.send("b", Channel.CONSENSUS, b"later")
                heard = [(await b.frames.get())[2]]
                while heard[-1] != b"later":
                    heard.append((await b.frames.get())[2])

    run(test)


def test_a_dead_line_is_given_up_and_dialled_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing says that the line is dead, and what was sent on it would wait far too long."""
    monkeypatch.setitem(links_module.PING_S, Channel.CONSENSUS, 0.4)

    async def test() -> None:
        a, b = sites(tmp_path)
        there, back = Way(), Way()
        line = Line(b.address.port, there=there, back=back)
        address = Address("127.0.0.1", await line.listen())
        b.peer = dataclasses.replace(b.peer, address=address)
        first = a.links(b)
        async with running(first, b.links(a)):
            assert await a.connected.get() == "b"
            there.cut()
            # Both connections, although only one of them is asked for answers so often.
            while any(each.is_connected for each in first._outgoing.values()):
                first.send("b", Channel.BULK, bytes(1_000))
                await asyncio.sleep(0.01)
            there.heal()
            assert await a.connected.get() == "b"
            first.send("b", Channel.CONSENSUS, b"vote")
            while (await b.frames.get())[2] != b"vote":
                pass
        await line.close()

    run(test)


@pytest.mark.parametrize("path", PATHS.values())
def test_a_stranger_is_refused(tmp_path: Path, path: str) -> None:
    """Without a certificate, and with one of another network."""

    async def test() -> None:
        a, b = sites(tmp_path)
        stranger = Site(tmp_path / "other", "b", 1)
        async with running(a.links(b)):
            assert await knock(a, b, path) == 101
            for certificate in (None, stranger):
                with pytest.raises((aiohttp.ClientError, OSError)):
                    await knock(a, certificate, path)
        assert a.frames.empty()

    run(test)


def test_the_own_certificate_is_no_peer(tmp_path: Path) -> None:
    async def test() -> None:
        a, b = sites(tmp_path)
        async with running(a.links(b)):
            with pytest.raises((aiohttp.ClientError, OSError)):
                await knock(a, a)

    run(test)


def test_a_real_expired_certificate_is_refused_though_pinned(tmp_path: Path) -> None:
    async def test() -> None:
        a, _ = sites(tmp_path)
        expired = Site(tmp_path, "old", free_ports(1)[0], NOW - dt.timedelta(days=1_000))
        fine, old = a.links(expired), expired.links(a)
        async with running(fine, old):
            with pytest.raises((aiohttp.ClientError, OSError)):
                await knock(a, expired)
            # And nobody dials a server that shows it.
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await knock(expired, a)
        assert a.connected.empty()
        assert a.frames.empty()

    run(test)


def test_a_server_with_another_certificate_is_not_spoken_to(tmp_path: Path) -> None:
    """Somebody took over the address of a peer: no frame reaches it."""

    async def test() -> None:
        a, b = sites(tmp_path)
        impostor = Site(tmp_path / "other", "b", b.address.port)
        first = a.links(b)
        first.send("b", Channel.CONSENSUS, b"secret")
        async with running(first, impostor.links(a)):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await a.connected.get()
        assert impostor.frames.empty()

    run(test)


def test_only_tls_1_3_is_spoken(tmp_path: Path) -> None:
    async def test() -> None:
        a, b = sites(tmp_path)
        context = shows(b)
        async with running(a.links(b)):
            place = (a.address.host, a.address.port)
            _, writer = await asyncio.open_connection(*place, ssl=context)
            writer.close()
            await writer.wait_closed()
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises((ssl.SSLError, ConnectionResetError)):
                await asyncio.open_connection(*place, ssl=context)

    run(test)


def test_a_text_message_ends_the_connection_and_nothing_else(tmp_path: Path) -> None:
    async def test() -> None:
        a, b = sites(tmp_path)
        context = shows(b)
        url = f"https://{a.address}{PATHS[Channel.CONSENSUS]}"
        async with running(a.links(b)), aiohttp.ClientSession() as session:
            async with session.ws_connect(url, ssl=context) as socket:
                await socket.send_str("text")
                assert (await socket.receive()).type in (
                    aiohttp.WSMsgType.CLOSE,
                    aiohttp.WSMsgType.CLOSED,
                )
            async with session.ws_connect(url, ssl=context) as socket:
                await socket.send_bytes(b"frame")
                assert await a.frames.get() == ("b", Channel.CONSENSUS, b"frame")

    run(test)


def test_queues_are_bounded_and_count_what_they_drop(tmp_path: Path) -> None:
    a, b = sites(tmp_path)
    links = a.links(b)
    for number in range(CONSENSUS_FRAMES_MAX + 5):
        links.send("b", Channel.CONSENSUS, str(number).encode())
    assert links.dropped_frames() == 5
    assert links._outgoing["b", Channel.CONSENSUS].frames[0] == b"5"
    for _ in range(9):
        links.send(None, Channel.BULK, bytes(8_000_000))
    assert links.dropped_frames() == 6
    links.send("nobody", Channel.BULK, b"nobody")
    assert links.dropped_frames() == 6


def test_a_busy_port_is_named(tmp_path: Path) -> None:
    async def test() -> None:
        a, b = sites(tmp_path)
        first, second = a.links(b), a.links(b)
        async with running(first):
            with pytest.raises(StartRefused) as caught:
                await second.listen()
            assert caught.value.code == "start-peer-address"
            assert told(caught.value).detail.startswith(f"127.0.0.1:{a.address.port}: ")
            await second.close()

    run(test)


def test_a_peer_has_one_connection_a_channel_the_newest(tmp_path: Path) -> None:
    async def test() -> None:
        a, b = sites(tmp_path)
        context = shows(b)
        url = f"https://{a.address}{PATHS[Channel.BULK]}"
        async with (
            running(a.links(b)),
            aiohttp.ClientSession() as session,
            session.ws_connect(url, ssl=context) as older,
            session.ws_connect(url, ssl=context) as newer,
        ):
            ended = await older.receive()
            assert ended.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
            await newer.send_bytes(b"frame")
            assert await a.frames.get() == ("b", Channel.BULK, b"frame")

    run(test)


# --- peers that change at run time ---------------------------------------------------------------


def test_a_peer_that_is_added_later_is_let_in_and_dialled(tmp_path: Path) -> None:
    async def test() -> None:
        a, b = sites(tmp_path)
        first, second = a.links(), b.links(a)
        async with running(first, second):
            with pytest.raises((aiohttp.ClientError, OSError)):
                await knock(a, b)
            first.set_peers([b.peer])
            assert (await a.connected.get(), await b.connected.get()) == ("b", "a")
            first.send(None, Channel.CONSENSUS, b"vote")
            assert await b.frames.get() == ("a", Channel.CONSENSUS, b"vote")
            second.send("a", Channel.BULK, b"block")
            assert await a.frames.get() == ("b", Channel.BULK, b"block")
        assert first.members == ("b",)

    run(test)


def test_a_peer_that_is_removed_is_cut_off_and_refused(tmp_path: Path) -> None:
    async def test() -> None:
        a, b = sites(tmp_path)
        first, second = a.links(b), b.links(a)
        async with running(first, second):
            assert (await a.connected.get(), await b.connected.get()) == ("b", "a")
            url = f"https://{a.address}{PATHS[Channel.BULK]}"
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(url, ssl=shows(b)) as socket,
            ):
                first.set_peers([])
                assert (await socket.receive()).type in (
                    aiohttp.WSMsgType.CLOSED,
                    aiohttp.WSMsgType.ERROR,
                )
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                await knock(a, b)
            assert refusal.value.status == http.HTTPStatus.FORBIDDEN
            first.send("b", Channel.BULK, b"to nobody")
            first.send(None, Channel.BULK, b"to nobody")
            assert not first.is_connected("b")
            assert first.members == ()
        assert a.frames.empty()
        assert b.frames.empty()

    run(test)


def test_a_peer_with_another_certificate_and_address_is_dialled_anew(tmp_path: Path) -> None:
    """The old ones are believed no more."""

    async def test() -> None:
        a, b = sites(tmp_path)
        moved = Site(tmp_path / "moved", "b", free_ports(1)[0])
        first = a.links(b)
        async with running(first, b.links(a), moved.links(a)):
            assert await a.connected.get() == "b"
            first.set_peers([moved.peer])
            assert await a.connected.get() == "b"
            first.send("b", Channel.CONSENSUS, b"vote")
            assert await moved.frames.get() == ("a", Channel.CONSENSUS, b"vote")
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await knock(a, b)
            assert await knock(a, moved) == 101
        assert b.frames.empty()

    run(test)


def test_both_certificates_of_a_peer_that_changes_its_own_are_let_in(tmp_path: Path) -> None:
    async def test() -> None:
        a, b = sites(tmp_path)
        renewed = Site(tmp_path / "renewed", "b", free_ports(1)[0])
        both = Peer(member="b", certificates=(b.der, renewed.der), address=None)
        first = a.links()
        first.set_peers([both])
        async with running(first):
            for certificate in (b, renewed):
                assert await knock(a, certificate) == 101
        assert not first.is_connected("b")

    run(test)


def test_two_nodes_with_one_key_are_noticed(tmp_path: Path) -> None:
    async def test() -> None:
        a, b = sites(tmp_path)
        context = shows(b)
        url = f"https://{a.address}{PATHS[Channel.CONSENSUS]}"
        async with running(a.links(b)), aiohttp.ClientSession() as session:
            held = []
            with structlog.testing.capture_logs() as logs:
                for _ in range(1 + REPLACED_MAX):
                    assert not [each for each in logs if each["log_level"] == "warning"]
                    held.append(await session.ws_connect(url, ssl=context))
                    await held[-1].send_bytes(b"frame")
                    await a.frames.get()
            warned = [each["peer"] for each in logs if each["log_level"] == "warning"]
            assert warned == ["b"]

    run(test)


def test_a_peer_that_comes_back_is_no_second_node(tmp_path: Path) -> None:
    async def test() -> None:
        a, b = sites(tmp_path)
        context = shows(b)
        url = f"https://{a.address}{PATHS[Channel.CONSENSUS]}"
        async with running(a.links(b)), aiohttp.ClientSession() as session:
            with structlog.testing.capture_logs() as logs:
                for _ in range(2 * REPLACED_MAX):
                    async with session.ws_connect(url, ssl=context) as socket:
                        await socket.send_bytes(b"frame")
                        await a.frames.get()
            assert not [each for each in logs if each["log_level"] == "warning"]

    run(test)
