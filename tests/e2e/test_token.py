"""A node whose keys are on a token votes and cosigns in a network, and none is left in a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.keys import parse_secret_key
from tests.e2e.network import ASKER, OWNER, Net
from tests.softhsm import fresh_token, needs_token, put_on_token

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120), needs_token]


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    (tmp_path / "hsm").mkdir()
    with fresh_token(tmp_path / "hsm") as token:
        net = Net(tmp_path / "net")
        config = net.local.node_directory(net.members[-1]) / "node.toml"
        text = config.read_text().replace("[keys]\n", f'[keys]\npin_file = "{token / "pin"}"\n')
        for name in ("consensus", "cosigning"):
            path = config.parent / "keys" / f"{name}.key"
            put_on_token(name, parse_secret_key(path.read_text()))
            path.unlink()
            text = text.replace(f'"keys/{name}.key"', f'"pkcs11:token=tally;object={name}"')
        config.write_text(text)
        net.local.start()
        try:
            net.local.wait_ready()
            yield net
        finally:
            net.local.stop()


def test_a_network_needs_the_votes_of_a_token(net: Net) -> None:
    """With another node gone, three of four are a quorum: the one with the token is of it."""
    token = net.members[-1]
    silent = next(member for member in net.members if member not in (ASKER, OWNER, token))
    net.local.kill(silent)
    done = [net.submit_final(net.request()) for _ in range(20)]
    assert all(each["outcome"]["applied"] for each in done)
    net.local.stop([token])
    net.local.start([token])
    net.local.wait_ready([token])
    last = net.submit_final(net.request())
    net.wait_height(token, last["height"])
