"""What fails on the way to a node is told in Chinese: connections, TLS, times and cut answers."""

import asyncio
import datetime as dt
import re
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from contracts.words.sentences import tell
from node.api.server import tls_context
from tests.sentences import words_of
from tools.founding import make_certificate

LENGTH = 100


async def wait(request: web.Request) -> web.Response:
    """Answer never."""
    del request
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def cut(request: web.Request) -> web.StreamResponse:
    """Answer less than is said."""
    response = web.StreamResponse(headers={"Content-Length": str(LENGTH)})
    await response.prepare(request)
    await response.write(b"cut")
    assert request.transport is not None
    request.transport.close()
    return response


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer nothing."""
    writer.close()


async def ask(url: str) -> str:
    """What the client says of an answer that does not come."""
    timeout = aiohttp.ClientTimeout(total=0.5)
    with pytest.raises((aiohttp.ClientError, OSError, TimeoutError)) as caught:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url) as response,
        ):
            await response.read()
    return str(caught.value) or type(caught.value).__name__


async def fail(way: str, certificate: Path, key: Path) -> str:
    app = web.Application()
    app.router.add_get("/wait", wait)
    app.router.add_get("/cut", cut)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    plain = web.TCPSite(runner, "127.0.0.1", 0)
    sealed = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls_context(certificate, key))
    await plain.start()
    await sealed.start()
    mute = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    (_, open_port), (_, tls_port) = runner.addresses
    mute_port = mute.sockets[0].getsockname()[1]
    url = {
        "no tls": f"https://127.0.0.1:{open_port}/",
        "strange": f"https://127.0.0.1:{tls_port}/",
        "tls": f"http://127.0.0.1:{tls_port}/",
        "wait": f"http://127.0.0.1:{open_port}/wait",
        "cut": f"http://127.0.0.1:{open_port}/cut",
        "mute": f"http://127.0.0.1:{mute_port}/",
    }[way]
    try:
        return f"{url}: {await ask(url)}"
    finally:
        mute.close()
        await runner.cleanup()


@words_of("aiohttp", "python")
@pytest.mark.parametrize(
    ("way", "zh"),
    [
        ("no tls", "对方应答的不是 TLS"), ("strange", "证书验证失败：自签名证书"),
        ("tls", ""), ("wait", "超时"), ("mute", ""),
        ("cut", "应答不完整：应有 100 字节，只收到 3 字节"),
    ],
)  # fmt: skip
def test_a_failed_connection_is_told_in_chinese(way: str, zh: str, tmp_path: Path) -> None:
    key, certificate = make_certificate("cn-3301-tax", dt.datetime.now(dt.UTC))
    (tmp_path / "certificate").write_bytes(certificate)
    (tmp_path / "key").write_bytes(key)
    said = asyncio.run(fail(way, tmp_path / "certificate", tmp_path / "key"))
    told = tell(said, "zh")
    assert zh in told
    assert not re.search("[a-z]{3,} [a-z]{3,}", told), told
