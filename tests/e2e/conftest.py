"""A log that four real nodes made, and its mirror; made once for all tests that only read it."""

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.e2e.network import ASKER, OWNER, Net, running
from tools.mirror import mirror_log


@pytest.fixture(scope="session")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a network with more than 256 entries, mirrored to `mirror` inside it."""
    folder = tmp_path_factory.mktemp("mirrored") / "net"
    with running(folder) as net:
        fill(net)
        url = net.local.node(OWNER).api
        asyncio.run(
            mirror_log(
                url, folder / "mirror", genesis=net.genesis, on_progress=lambda done, total: None
            )
        )
    return folder


def fill(net: Net) -> None:
    for _ in range(6):
        requests = [net.request() for _ in range(40)]
        requests += [net.request(legal_basis="yrd-pilot-2019") for _ in range(5)]
        results = net.submit_batch(requests)
        assert {each["state"] for each in results} == {"final"}
    delivered = net.submit_final(net.deliver(requests[0].digest, OWNER), ASKER)
    # Final at the one that took it: the other may be a block behind.
    net.wait_height(OWNER, delivered["height"])
    net.wait_checkpoint(OWNER, delivered["index"] + 1)


@pytest.fixture
def mirror(stopped: Path, tmp_path: Path) -> Path:
    """A copy of the mirror for one test to change."""
    shutil.copytree(stopped / "mirror", tmp_path / "mirror")
    return tmp_path / "mirror"
